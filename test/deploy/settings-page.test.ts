/** The documentation of the settings is that of the list in worker/settings.ts. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { settingsPage, withSettingsTable } from '../../deploy/settings-page.ts';
import {
  parseSetting,
  SETTINGS,
  type Setting,
  type SettingName,
  START_SETTINGS,
} from '../../worker/settings.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const ALL: Record<string, Setting> = { ...START_SETTINGS, ...SETTINGS };

describe('npm run docs:settings', () => {
  it('npm run docs:settings has been run since a setting changed', () => {
    assert.equal(read('docs/settings.md'), settingsPage(), 'run npm run docs:settings');
    const readme = read('README.md');
    assert.equal(readme, withSettingsTable(readme), 'run npm run docs:settings');
  });
});

describe('the list of settings', () => {
  for (const [name, setting] of Object.entries(ALL)) {
    it(`the list of settings has a default and a sentence for ${name} that are right`, () => {
      for (const text of [setting.default, setting.machineDefault])
        if (text) assert.doesNotThrow(() => parseSetting(name as SettingName, text));
      assert.match(setting.about, /^.+\.$/);
      assert.ok(!setting.about.includes('|'), 'a table has this sentence in a cell');
    });
  }
});

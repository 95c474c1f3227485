// `npm run docs:settings`: writes docs/settings.md and the table of settings in the README.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { settingsPage, withSettingsTable } from './settings-page.ts';

const ROOT = join(import.meta.dirname, '..');
const README = join(ROOT, 'README.md');

writeFileSync(join(ROOT, 'docs/settings.md'), settingsPage());
writeFileSync(README, withSettingsTable(readFileSync(README, 'utf8')));

/**
 * What no tool checks for us: both homes run with the same behaviour of the runtime, and every file says what it is for.
 * The layers are in .dependency-cruiser.mjs, unused files and exports in knip.json, the rules for code in biome.json.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from '../standalone/config.ts';
import { DURABLE_OBJECTS } from '../worker/objects/classes.ts';

const ROOT = join(import.meta.dirname, '..');
const FOLDERS = ['worker', 'durable-objects', 'standalone', 'deploy', 'cli', 'bench', 'test'];

describe('the architecture', () => {
  it('both homes run with the same compatibility date and flags', () => {
    const settings = readFileSync(join(ROOT, 'wrangler.toml'), 'utf8');
    assert.match(settings, new RegExp(`^compatibility_date = "${COMPATIBILITY_DATE}"$`, 'm'));
    assert.ok(settings.includes(`compatibility_flags = ${JSON.stringify(COMPATIBILITY_FLAGS)}`));
  });

  it('wrangler.toml binds and creates every class of Durable Objects in worker/objects/classes.ts', () => {
    const wrangler = readFileSync(join(ROOT, 'wrangler.toml'), 'utf8');
    const table = /\[\[durable_objects\.bindings\]\]\nname = "(\w+)"\nclass_name = "(\w+)"/g;
    const bound = [...wrangler.matchAll(table)].map(([, binding, className]) => [binding, className]);
    assert.deepEqual(
      bound,
      Object.entries(DURABLE_OBJECTS).map(([binding, { className }]) => [binding, className]),
    );
    const created = [...wrangler.matchAll(/^new_sqlite_classes = (\[.*\])$/gm)].flatMap(
      ([, list = '[]']) => JSON.parse(list) as string[],
    );
    assert.deepEqual(created.sort(), bound.map(([, className]) => className).sort());
  });

  it('every file has a comment at its top that says what the file is for', () => {
    const files = FOLDERS.flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith('.ts'))
        .map((path) => join(folder, path)),
    );
    assert.notEqual(files.length, 0);
    const silent = files.filter((path) => !/^(?:#!.*\n)?\/[*/]/.test(readFileSync(join(ROOT, path), 'utf8')));
    assert.deepEqual(silent, []);
  });
});

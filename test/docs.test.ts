/** The documentation names files, headings and scripts that exist: a rename that forgets a page fails here. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';

const ROOT = join(import.meta.dirname, '..');
const PAGES = globSync(['*.md', 'docs/**/*.md', 'test/**/*.md'], { cwd: ROOT });
const FOLDERS = 'worker|durable-objects|standalone|cli|deploy|bench|test|docs';
/** A path in backticks. Those with a placeholder, such as `<class>`, or a pattern are left out. */
const PATH = new RegExp(`\`((?:${FOLDERS})/[\\w./-]+)\``, 'g');
const LINK = /\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g;
const { scripts }: { scripts: Record<string, string> } = JSON.parse(read('package.json'));

for (const page of PAGES) {
  describe(`the page ${page}`, () => {
    const text = read(page);

    it(`${page} links to pages and headings that exist`, () => {
      for (const [link, path = '', heading] of text.matchAll(LINK)) {
        const target = path === '' ? page : join(dirname(page), path);
        assert.ok(existsSync(join(ROOT, target)), `${link}: there is no ${target}`);
        if (heading !== undefined)
          assert.ok(headingsOf(target).includes(heading), `${link} has no such heading`);
      }
    });

    // Decisions are a record of their time, and the changelog of its releases.
    if (page.startsWith('docs/decisions/') || page === 'CHANGELOG.md') return;

    it(`${page} names files and scripts that exist`, () => {
      for (const [, path = ''] of text.matchAll(PATH))
        assert.ok(existsSync(join(ROOT, path)), `there is no ${path}`);
      for (const [, script = ''] of text.matchAll(/npm run (?:-s )?([a-z][\w:-]*)/g))
        assert.ok(script in scripts, `there is no script ${script}`);
    });
  });
}

describe('the page of clients', () => {
  it('the page of clients names the versions that are installed', () => {
    const page = read('docs/clients.md');
    for (const [, module, version = ''] of read('.ci/install-clients').matchAll(/^(\S+)@v(\S+) /gm))
      assert.ok(page.includes(version), `${module} is installed in version ${version}`);
  });
});

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** The anchors of a page, as GitHub makes them. */
function headingsOf(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

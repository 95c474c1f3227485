// docs/settings.md and the table of settings in the README, made from the list in worker/settings.ts.
import { SETTINGS, type Setting, START_SETTINGS } from '../worker/settings.ts';

const ALL: Record<string, Setting> = { ...START_SETTINGS, ...SETTINGS };

/** The README has those that a first registry needs. */
const IN_README = [
  'PORT',
  'HOST',
  'PUBLIC_URL',
  'STATE_DIR',
  'ADMIN_PASSWORD',
  'AUTH',
  'TLS_CERT',
  'TLS_KEY',
  'HTPASSWD',
  'SPARSE_MANIFESTS',
];

const README_TABLE = /(<!-- settings:begin -->\n)[\s\S]*?(<!-- settings:end -->)/;

const INTRODUCTION = `# Settings

On one machine, settings are environment variables of \`npm start\`. On Cloudflare they go under \`[vars]\` in \`wrangler.toml\`; those marked * are
secrets and are set by \`npx wrangler secret put NAME\`. An empty value is the same as none.

A wrong setting stops the start on one machine, and gets every request a 503 on Cloudflare. The message names all that are wrong.

This page is made by \`npm run docs:settings\` from \`worker/settings.ts\`.
`;

export function settingsPage(): string {
  const topics = [...new Set(Object.values(ALL).map(({ topic }) => topic))];
  const sections = topics.map((topic) => {
    const rows = Object.entries(ALL)
      .filter(([, setting]) => setting.topic === topic)
      .map(
        ([name, setting]) =>
          `| \`${name}\`${setting.isSecret ? ' *' : ''} | ${defaultOf(setting)} | ${setting.home} | ${setting.about} |\n`,
      );
    return `\n## ${topic}\n\n| setting | default | where | |\n|---|---|---|---|\n${rows.join('')}`;
  });
  return `${INTRODUCTION}${sections.join('')}`;
}

/** The README with its table made anew. */
export function withSettingsTable(readme: string): string {
  const rows = IN_README.map((name) => {
    const setting = ALL[name];
    if (setting === undefined) throw new Error(`there is no setting ${name}`);
    // Links of docs/settings.md are relative to docs/.
    return `| \`${name}\` | ${defaultOf(setting)} | ${setting.about.replaceAll('](', '](docs/')} |\n`;
  });
  if (!README_TABLE.test(readme)) throw new Error('the README has no place for the table of settings');
  const table = `| setting | default | |\n|---|---|---|\n${rows.join('')}`;
  return readme.replace(README_TABLE, (_, begin: string, end: string) => `${begin}${table}${end}`);
}

function defaultOf(setting: Setting): string {
  const usual = setting.default === null || setting.default === '' ? '' : `\`${setting.default}\``;
  return setting.machineDefault === undefined
    ? usual
    : `${usual}; \`${setting.machineDefault}\` on one machine`;
}

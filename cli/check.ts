// `longshore check`: compares what the registry knows with what is stored, and repairs what does not fit.
import { buildCommand } from '@stricli/core';
import { type CheckReport, type Result, runCheck } from './check/run-check.ts';
import { type Context, URL_OPTION, type Url } from './command.ts';
import { CommandFailure } from './failure.ts';
import { table } from './table.ts';

/** Fits Workers Free. */
const CALLS_DEFAULT = 40;

interface Options extends Url {
  repair: boolean;
  json: boolean;
  calls: number;
}

export const check = buildCommand({
  docs: {
    brief: 'Compare what the registry knows with what is stored, and repair what does not fit',
    fullDescription: `Compare what the registry knows with what is stored: content that nothing knows, bytes that are missing or too short, broken links,
manifests whose blobs are not there, and abandoned uploads. Pushes and pulls go on meanwhile. Without --repair nothing is changed.

It can be stopped at any time and run again. docs/operations.md explains each finding.

Exit codes: 0 nothing is wrong any more, 1 something is wrong.`,
  },
  parameters: {
    flags: {
      repair: { kind: 'boolean', default: false, withNegated: false, brief: 'Repair what is found' },
      json: { kind: 'boolean', default: false, withNegated: false, brief: 'Print the findings as JSON' },
      calls: {
        kind: 'parsed',
        parse: callsOf,
        default: String(CALLS_DEFAULT),
        brief: 'Calls that one request may make, 10 to 900. The default fits Workers Free, more is faster',
        placeholder: 'number',
      },
      url: URL_OPTION,
    },
  },
  async func(this: Context, { repair, json, calls, url }: Options) {
    const report = await runCheck(this.connect(url), { repair, calls });
    this.print(json ? `${JSON.stringify(report)}\n` : textOf(report));
    const wrong = report.results.filter(({ state }) => state !== 'repaired').length;
    if (wrong === 0) return;
    const what = wrong === 1 ? '1 finding is' : `${wrong} findings are`;
    throw new CommandFailure(
      `${what} not repaired.\n${repair ? 'The column ADVICE says what to do.' : 'Run it with --repair, and see docs/operations.md.'}`,
    );
  },
});

function callsOf(text: string): number {
  const calls = Number(text);
  if (Number.isInteger(calls) && calls >= 10 && calls <= 900) return calls;
  throw new Error('calls are a number from 10 to 900');
}

function textOf({ counts, results }: CheckReport): string {
  const { contents, links, blobs, stored } = counts;
  const compared = `Compared ${contents} contents, ${links} links and ${blobs} blobs of repositories with ${stored} stored contents.\n`;
  if (results.length === 0) return `${compared}Everything fits.\n`;
  const rows = results.map((result) => ({ ...result, finding: FINDINGS[result.kind], what: whatOf(result) }));
  return `${compared}${table(rows, ['finding', 'what', 'state', 'advice'])}`;
}

const FINDINGS: Record<Result['kind'], string> = {
  unlinked: 'blob without a link',
  lost: 'lost bytes',
  stale: 'link without a blob',
  left: 'content without a link',
  missing: 'manifest without a blob',
  leftover: 'unknown content',
  multipart: 'abandoned upload',
};

function whatOf({ about }: Result): string {
  const { repository, manifest, digest, key } = about;
  return [repository, manifest, digest, key].filter((part) => part !== undefined).join(' ');
}

// `npm run admin -- <command>`: manages a registry from the shell, over its management API. Secrets that it makes are all that
// it prints of them, on the standard output, so that they can go on to where they are needed.
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { printableLines } from '../worker/oci/printable.ts';
import { type Call, COMMANDS, type Command } from './commands.ts';
import { connect } from './connection.ts';
import { CommandFailure } from './failure.ts';
import { MORE_COMMANDS } from './more-commands.ts';

const ALL = [...COMMANDS, ...MORE_COMMANDS];

await run(process.argv.slice(2));

async function run(args: string[]): Promise<void> {
  if (args.length === 0 || args.includes('--help') || args.includes('-h')) {
    process.stdout.write(help());
    return;
  }
  try {
    const command = ALL.find(({ usage }) => wordsOf(usage).every((word, at) => args[at] === word));
    if (command === undefined)
      throw new CommandFailure(`there is no command ${args.slice(0, 2).join(' ')}: see --help`);
    const { values, positionals } = parse(command, args.slice(wordsOf(command.usage).length));
    const { url, ...own } = values;
    const api = connect(url === undefined ? undefined : String(url), process.env);
    process.stdout.write(printableLines(await command.run({ api, positionals, values: own })));
  } catch (fault) {
    if (!(fault instanceof CommandFailure)) throw fault;
    process.stderr.write(`${printableLines(fault.message)}\n`);
    process.exitCode = 1;
  }
}

function parse(command: Command, args: string[]): { values: Call['values']; positionals: string[] } {
  const kinds: NonNullable<Command['options']> = { ...command.options, url: 'one' };
  const known = Object.entries(kinds).map(([name, kind]) => {
    const short = name === 'n' ? { short: 'n' } : {};
    return [name, { type: kind === 'flag' ? 'boolean' : 'string', multiple: kind === 'many', ...short }];
  });
  const wanted = command.usage.match(/<[^>]+>/g) ?? [];
  const options = Object.fromEntries(known) as ParseArgsConfig['options'] & object;
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    if (positionals.length === wanted.length) return { values, positionals };
  } catch (fault) {
    throw new CommandFailure(`${(fault as Error).message}\nUsage: ${usageOf(command)}`);
  }
  throw new CommandFailure(`Usage: ${usageOf(command)}`);
}

function wordsOf(usage: string): string[] {
  return usage.replace(/<.*/, '').trim().split(' ');
}

function usageOf({ usage, options = {} }: Command): string {
  const shown = Object.entries(options).map(([name, kind]) => {
    if (kind === 'flag') return `[--${name}]`;
    return `[--${name} ...]`;
  });
  return [usage, ...shown].join(' ');
}

function help(): string {
  return `Usage: npm run admin -- <command> [--url http://localhost:8787]

${ALL.map((command) => `  ${usageOf(command)}\n      ${command.help}\n`).join('')}
Where: --url or LONGSHORE_URL. Who: LONGSHORE_USER and LONGSHORE_PASSWORD (a password or a token); for a registry on this
machine, the admin, by ADMIN_PASSWORD or by the password that is kept in STATE_DIR.
`;
}

/** The real command, run against the registry of a test. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Home } from '../../support/homes.ts';

const COMMAND = join(import.meta.dirname, '../../../cli/longshore.ts');

export interface Ended {
  out: string;
  err: string;
  code: number;
}

export class Command {
  readonly #home: Home;

  constructor(home: Home) {
    this.#home = home;
  }

  async run(args: string[], stdin = ''): Promise<Ended> {
    const { PATH, NODE_COMPILE_CACHE } = process.env;
    const env = { PATH, NODE_COMPILE_CACHE, LONGSHORE_URL: this.#home.url };
    const child = spawn(process.execPath, [COMMAND, ...args], { env });
    // A command may end before it has read its standard input.
    child.stdin.on('error', () => {});
    child.stdin.end(stdin);
    const [out, err, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    return { out, err, code: code as number };
  }

  /** Runs a command that has to succeed, and returns what it prints. */
  async does(...args: string[]): Promise<string> {
    const { out, err, code } = await this.run(args);
    assert.equal(code, 0, err);
    return out;
  }
}

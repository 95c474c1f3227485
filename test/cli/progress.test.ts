/** Progress on terminals of any width, as a screen shows it. */
import assert from 'node:assert/strict';
import { it, mock } from 'node:test';
import { openProgress } from '../../cli/progress/progress.ts';
import type { TransferEvent } from '../../cli/transfer/events.ts';

/** What a terminal does with text, and with the sequences that the progress uses. ECMA-48. */
class Screen {
  readonly isTTY = true;
  readonly columns: number;
  readonly rows = 24;
  readonly #lines: string[] = [''];
  #row = 0;
  #column = 0;

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    for (const [piece, count, command] of text.matchAll(/\x1b\[\??(\d*)([A-Za-z])|[^\x1b]/g)) {
      if (command === undefined) this.#put(piece);
      else if (command === 'A') this.#row = Math.max(0, this.#row - Number(count));
      else if (command === 'K') this.#clear();
      else if (command === 'J') {
        this.#clear();
        this.#lines.length = this.#row + 1;
      }
    }
  }

  get lines(): string[] {
    return this.#lines.map((line) => line.trimEnd()).filter((line) => line !== '');
  }

  #put(character: string): void {
    if (character === '\r') this.#column = 0;
    // The system adds the "\r".
    else if (character === '\n') this.#down();
    else {
      if (this.#column === this.columns) this.#down();
      const line = (this.#lines[this.#row] ?? '').padEnd(this.#column);
      this.#lines[this.#row] = `${line.slice(0, this.#column)}${character}${line.slice(this.#column + 1)}`;
      this.#column += 1;
    }
  }

  #down(): void {
    this.#column = 0;
    this.#row += 1;
    while (this.#lines.length <= this.#row) this.#lines.push('');
  }

  #clear(): void {
    // In the last column, a terminal clears the character that was just written.
    const column = Math.min(this.#column, this.columns - 1);
    this.#lines[this.#row] = (this.#lines[this.#row] ?? '').slice(0, column);
  }
}

const ONE = `sha256:${'1'.repeat(64)}`;
const TWO = `sha256:${'2'.repeat(64)}`;
const NOTE = 'ECONNRESET; trying again after a sentence that is longer than many terminals are wide';
const START = 'From the image app:1 of docker to registry.example.com/team/app:1';

const EVENTS: TransferEvent[] = [
  { event: 'start', from: 'the image app:1 of docker', to: 'registry.example.com/team/app:1' },
  ...[ONE, TWO].flatMap((digest): TransferEvent[] => [
    { event: 'blob', digest, mediaType: '', size: 100_000_000 },
    { event: 'blob-start', digest, offset: 0 },
    { event: 'blob-progress', digest, offset: 40_000_000 },
  ]),
  { event: 'note', message: NOTE },
  { event: 'blob-progress', digest: TWO, offset: 90_000_000 },
  { event: 'blob-end', digest: TWO, outcome: 'sent' },
  { event: 'blob-end', digest: ONE, outcome: 'sent' },
];

for (const columns of [10, 20, 40, 80, 500]) {
  it(`a terminal of ${columns} columns shows each line once and whole, and no rest of another`, (t) => {
    mock.timers.enable({ apis: ['setInterval'] });
    t.after(() => mock.timers.reset());
    const screen = new Screen(columns);
    const progress = openProgress({
      json: false,
      quiet: false,
      output: screen,
      errors: screen,
      env: { TERM: 'xterm' },
    });
    for (const event of EVENTS) {
      progress.listen(event);
      mock.timers.tick(100);
      for (const line of screen.lines) assert(line.length <= columns);
      const shown = screen.lines.join('').replaceAll(' ', '');
      assert.equal(shown.match(/blobs?done/g)?.length ?? 0, columns < 20 ? 0 : 1, shown);
    }
    progress.end();
    const shown = screen.lines.join('').replaceAll(' ', '');
    const wanted = [START, NOTE, '222222222222  sent  100 MB', '111111111111  sent  100 MB'];
    assert.equal(shown, wanted.join('').replaceAll(' ', ''));
  });
}

it('the "^C" of an interruption leaves nothing of the lines that move', (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.after(() => mock.timers.reset());
  const screen = new Screen(80);
  const options = { json: false, quiet: false, output: screen, errors: screen, env: { TERM: 'xterm' } };
  const progress = openProgress(options);
  for (const event of EVENTS.slice(0, 4)) progress.listen(event);
  mock.timers.tick(100);
  screen.write('^C');
  progress.end();
  assert.deepEqual(screen.lines, [START]);
});

it('a reason that repeats is printed once, with its number where it can change', (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.after(() => mock.timers.reset());
  const note: TransferEvent = { event: 'note', message: 'ECONNREFUSED; trying again' };
  const screen = new Screen(80);
  const options = { json: false, quiet: false, output: screen, errors: screen };
  const progress = openProgress({ ...options, env: { TERM: 'xterm' } });
  for (const event of [note, note, note]) progress.listen(event);
  mock.timers.tick(100);
  assert.deepEqual(screen.lines, [note.message, `${note.message} (3 times)`, '0 of 0 blobs done']);
  for (const event of EVENTS.slice(1, 4)) progress.listen(event);
  progress.listen(note);
  progress.end();
  assert.deepEqual(screen.lines, [note.message, note.message]);
  const log = new Screen(80);
  const lines = openProgress({ ...options, errors: log, env: { CI: 'true' } });
  for (const event of [note, note, note]) lines.listen(event);
  assert.deepEqual(log.lines, [note.message]);
  mock.timers.tick(10_000);
  assert.deepEqual(log.lines, [note.message, `${note.message} (3 times)`]);
  lines.end();
});

for (const [name, isTTY, env] of [
  ['a terminal that is dumb', true, { TERM: 'dumb' }],
  ['a CI job', true, { CI: 'true' }],
  ['a pipe', false, {}],
] as const) {
  it(`${name} gets whole lines without any control character`, () => {
    let text = '';
    const write = (piece: string) => {
      text += piece;
    };
    const errors = { isTTY, write };
    const progress = openProgress({ json: false, quiet: false, output: errors, errors, env });
    for (const event of EVENTS) progress.listen(event);
    progress.end();
    assert.match(text, /^[\x20-\x7e\n]*\n$/);
    assert(text.startsWith(`${START}\n`));
    assert(text.includes(`\n${NOTE}\n`));
  });
}

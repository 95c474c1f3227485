/** `npm run soak`: see README.md. */
import { parseArgs } from 'node:util';
import { shown } from './resources.ts';
import { soak } from './soak.ts';

const HELP = `npm run soak -- [options]

Many clients push, pull, list, cancel, delete and drop connections at random, and every answer is compared with a model.

  --minutes=N    how long the clients are at it (10)
  --home=HOME    disk or r2 (disk)
  --seed=N       repeats the choices of a run
  --clients=N    how many (40)
  --grace=N      seconds that unreferenced content is kept (30); 0 for production's day
  --auth=off     without access control
  --entry=PATH   another entry module of the Worker
`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    home: { type: 'string', default: 'disk' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    clients: { type: 'string', default: '40' },
    grace: { type: 'string', default: '30' },
    auth: { type: 'string', default: 'on' },
    entry: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help || (values.home !== 'disk' && values.home !== 'r2')) {
  process.stdout.write(HELP);
  process.exit(values.help ? 0 : 1);
}
const { home, minutes, seed, clients, grace, auth, entry } = values;
const again = `npm run soak -- --minutes=${minutes} --home=${home} --seed=${seed} --clients=${clients} --grace=${grace} --auth=${auth}`;
console.log(again);
const { report, samples, grown } = await soak({
  home,
  seed: Number(seed),
  clients: Number(clients),
  seconds: Number(minutes) * 60,
  graceSeconds: Number(grace),
  crashAfterSeconds: 5,
  access: auth !== 'off',
  ...(entry === undefined ? {} : { entry }),
  log: (line) => console.log(line),
});

const MiB = 1024 * 1024;
console.log(`\nRequests by kind and status\n${report.table()}\n`);
const [last] = samples.slice(-1);
if (last !== undefined) console.log(shown(last));
console.log(
  `${report.operations} operations, ${report.cut} connections cut, ${(report.bytesPushed / MiB).toFixed(0)} MiB pushed, ` +
    `${(report.bytesPulled / MiB).toFixed(0)} MiB pulled, 503: ${report.total(503)}, violations: ${report.violations.length}`,
);
for (const what of grown) console.log(`GROWN ${what}`);
if (report.violations.length + grown.length > 0) {
  console.log(`To repeat it: ${again}`);
  process.exitCode = 1;
}

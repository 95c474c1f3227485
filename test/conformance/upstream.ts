/**
 * `npm run conformance`: the conformance programs of the distribution specification, against a fresh registry of each home,
 * with sparse manifests off and on, with access control off and on. Where it is on they run as a robot that may pull from,
 * push to and delete in the two repositories that they use, and nothing else. No package registry serves the programs, so
 * they are named from outside:
 *
 *   CONFORMANCE        the program of the main branch (or `conformance` on the PATH)
 *   CONFORMANCE_V1_1   the released suite of v1.1.1, if it is to run too
 *
 *   npm run conformance [-- machine|cloudflare|proxy]
 *
 * `proxy` is one machine behind a wall and `longshore proxy`, whose clients log in through it.
 *
 * The program of the main branch exits with 0 on skips, so what counts is what its junit.xml says.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { startMachine } from '../../standalone/machine.ts';
import { Proxied } from '../cli/support/proxied.ts';
import { startDevelopment } from '../clients/support/development.ts';
import { Visitor } from '../support/visitor.ts';
import { startWall } from '../support/wall.ts';

const HOMES = ['machine', 'cloudflare', 'proxy'] as const;
type HomeName = (typeof HOMES)[number];
type Switch = 'off' | 'on';

/** What a program runs against. */
interface Given {
  home: HomeName;
  sparse: Switch;
  auth: Switch;
}

/** What the programs are told to log in with; nothing where access control is off. */
type Login = { OCI_USERNAME: string; OCI_PASSWORD: string } | Record<string, never>;

const MAIN_REPOSITORIES = ['conformance/one', 'conformance/two'] as const;
const V1_1_REPOSITORIES = ['released/one', 'released/two'] as const;

/** Fewer tests than this mean that a part of the program did not run. */
const MAIN_TESTS_MIN = { off: 950, on: 1000 };
const V1_1_TESTS_MIN = 70;
/** What the environment variables of the released suite leave out: reading tags and manifests that others pushed. */
const V1_1_SKIPS = [
  'Get tag name from environment',
  'Populate registry with test tags (no push)',
  'Cross-mounting of nonexistent blob should yield session id',
  'automatic content discovery disabled should return a 202',
];

interface Outcome {
  run: string;
  tests: number;
  complaints: string[];
}

const main = process.env.CONFORMANCE ?? onPath('conformance');
const released = process.env.CONFORMANCE_V1_1;
if (main === null) {
  console.error(
    'The conformance program is not there: name it in CONFORMANCE, or put `conformance` on the PATH.',
  );
  console.error(
    'It is built from the repository opencontainers/distribution-spec, folder conformance/, with Go.',
  );
  process.exit(1);
}

const wanted = HOMES.filter((home) => process.argv.length < 3 || process.argv.slice(2).includes(home));
const outcomes: Outcome[] = [];
for (const home of wanted) {
  for (const auth of ['off', 'on'] as const) {
    for (const sparse of ['off', 'on'] as const) {
      const given = { home, sparse, auth };
      outcomes.push(
        await onFreshRegistry(given, MAIN_REPOSITORIES, (url, folder, login) =>
          runMain(main, given, url, folder, login),
        ),
      );
    }
    if (released === undefined) continue;
    const given = { home, sparse: 'off', auth } as const;
    outcomes.push(
      await onFreshRegistry(given, V1_1_REPOSITORIES, (url, folder, login) =>
        runReleased(released, given, url, folder, login),
      ),
    );
  }
}

if (wanted.length === 0) console.error(`The homes are ${HOMES.join(' and ')}.`);
if (released === undefined) console.log('skipped the suite of v1.1.1: CONFORMANCE_V1_1 does not name it');
let failed = outcomes.length === 0;
for (const { run, tests, complaints } of outcomes) {
  console.log(`${complaints.length === 0 ? 'passed' : 'FAILED'}  ${run}: ${tests} tests`);
  for (const complaint of complaints) console.log(`        ${complaint}`);
  failed ||= complaints.length > 0;
}
process.exit(failed ? 1 : 0);

async function onFreshRegistry(
  { home, sparse, auth }: Given,
  repositories: readonly string[],
  run: (url: string, folder: string, login: Login) => Promise<Outcome>,
): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'longshore-conformance-'));
  const password = randomBytes(16).toString('hex');
  const vars = {
    AUTH: auth,
    ...(auth === 'on' ? { ADMIN_PASSWORD: password } : {}),
    ...(sparse === 'on' ? { SPARSE_MANIFESTS: 'true' } : {}),
  };
  const registry = await (home === 'cloudflare'
    ? startDevelopment(folder, vars)
    : startMachine({ stateDir: join(folder, 'state'), vars }));
  const front = home === 'proxy' ? await startFront(registry.url) : null;
  try {
    const login = auth === 'on' ? await makeRobot(registry.url, password, repositories) : {};
    return await run(front?.url ?? registry.url, folder, login);
  } finally {
    await front?.stop();
    await registry.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A proxy behind which bodies over 5 MB do not reach the registry. The largest manifests of the programs have 4 MiB. */
async function startFront(url: string): Promise<{ url: string; stop(): Promise<void> }> {
  const wall = await startWall(url, 5_000_000);
  const proxied = await Proxied.start(wall.url);
  return {
    url: proxied.url,
    async stop() {
      await proxied[Symbol.asyncDispose]();
      await wall[Symbol.asyncDispose]();
    },
  };
}

/** A maintainer of these repositories: that is the least role that may delete. */
async function makeRobot(url: string, password: string, repositories: readonly string[]): Promise<Login> {
  const grants = repositories.map((name) => ({ role: 'maintainer', repositories: name }));
  const admin = new Visitor({ url }, `admin:${password}`);
  const { json } = await admin.must(201, 'POST', '/api/v1/tokens', { json: { name: 'conformance', grants } });
  return { OCI_USERNAME: 'conformance', OCI_PASSWORD: String(json.token) };
}

/** Runs a program to its end. Meanwhile this process has to answer: it syncs the files of a registry on one machine. */
function ended(
  program: string,
  options: { stdio: 'ignore'; cwd?: string; env: NodeJS.ProcessEnv },
): Promise<{ status: number | null; error?: Error }> {
  return new Promise((resolve) => {
    const child = spawn(program, options);
    child.on('error', (error) => resolve({ status: null, error }));
    child.on('close', (status) => resolve({ status }));
  });
}

async function runMain(
  program: string,
  { home, sparse, auth }: Given,
  url: string,
  folder: string,
  login: Login,
): Promise<Outcome> {
  const results = join(folder, 'results');
  const { status, error } = await ended(program, {
    stdio: 'ignore',
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      OCI_REGISTRY: new URL(url).host,
      OCI_TLS: 'disabled',
      OCI_REPO1: MAIN_REPOSITORIES[0],
      OCI_REPO2: MAIN_REPOSITORIES[1],
      OCI_VERSION: 'dev',
      OCI_DATA_SPARSE: String(sparse === 'on'),
      OCI_RESULTS_DIR: results,
      ...login,
    },
  });
  const run = `main branch, ${home}, sparse manifests ${sparse}, access control ${auth}`;
  if (error !== undefined) return { run, tests: 0, complaints: [error.message] };
  const report = readReport(join(results, 'junit.xml'));
  const complaints = [...report.failures, ...report.errors, ...report.skips];
  if (status !== 0) complaints.push(`the program ended with ${status}`);
  if (report.tests < MAIN_TESTS_MIN[sparse])
    complaints.push(`${report.tests} tests are too few: a part did not run`);
  return { run, tests: report.tests, complaints };
}

async function runReleased(
  program: string,
  { home, auth }: Given,
  url: string,
  folder: string,
  login: Login,
): Promise<Outcome> {
  const results = join(folder, 'results');
  mkdirSync(results);
  const { status, error } = await ended(program, {
    stdio: 'ignore',
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      OCI_ROOT_URL: url,
      OCI_NAMESPACE: V1_1_REPOSITORIES[0],
      OCI_CROSSMOUNT_NAMESPACE: V1_1_REPOSITORIES[1],
      OCI_AUTOMATIC_CROSSMOUNT: '1',
      OCI_TEST_PULL: '1',
      OCI_TEST_PUSH: '1',
      OCI_TEST_CONTENT_DISCOVERY: '1',
      OCI_TEST_CONTENT_MANAGEMENT: '1',
      OCI_REPORT_DIR: results,
      ...login,
    },
  });
  const run = `v1.1.1, ${home}, access control ${auth}`;
  if (error !== undefined) return { run, tests: 0, complaints: [error.message] };
  const report = readReport(join(results, 'junit.xml'));
  const unasked = report.skips.filter((skip) => !V1_1_SKIPS.some((known) => skip.includes(known)));
  const complaints = [...report.failures, ...report.errors, ...unasked];
  if (status !== 0) complaints.push(`the suite ended with ${status}`);
  if (report.tests < V1_1_TESTS_MIN) complaints.push(`${report.tests} tests are too few: a part did not run`);
  return { run, tests: report.tests, complaints };
}

/** What a junit.xml says, both as the main branch's program and as Ginkgo write it. */
function readReport(path: string) {
  const xml = readFileSync(path, 'utf8');
  const tests = Number(/tests="(\d+)"/.exec(xml)?.[1] ?? 0);
  const report: Record<'failures' | 'errors' | 'skips', string[]> = { failures: [], errors: [], skips: [] };
  for (const [, attributes = '', content = ''] of xml.matchAll(
    /<testcase([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs,
  )) {
    const name = /name="([^"]*)"/.exec(attributes)?.[1] ?? 'a test without a name';
    if (/status="fail|<failure/.test(attributes + content)) report.failures.push(`failure: ${name}`);
    if (/status="error|<error/.test(attributes + content)) report.errors.push(`error: ${name}`);
    if (/status="skipped|<skipped/.test(attributes + content)) report.skips.push(`skip: ${name}`);
  }
  return { tests, ...report };
}

function onPath(program: string): string | null {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const paths = folders.map((folder) => join(folder, program));
  return paths.find((path) => spawnSync('test', ['-x', path]).status === 0) ?? null;
}

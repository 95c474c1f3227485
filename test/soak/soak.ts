/** A soak: many clients do random things at once, and what the registry answers is compared with a model of it. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GRACE_MS } from '../../durable-objects/graces.ts';
import { UPLOAD_LIFETIME_MS } from '../../worker/oci/limits.ts';
import { Home } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';
import { SoakClient } from './client.ts';
import { Contents } from './content.ts';
import { shortGraces, UPLOAD_LIFETIME_GRACES } from './graces.ts';
import { Model } from './model.ts';
import { Random } from './random.ts';
import { Violation } from './register.ts';
import { Report } from './report.ts';
import { growth, type Sample, sample, shown } from './resources.ts';
import { type Credentials, Session, type Surroundings } from './session.ts';
import { ANCHOR, type World } from './world.ts';

export interface SoakOptions {
  home: 'disk' | 'r2';
  seed: number;
  clients: number;
  /** How long the clients are at it, in s. */
  seconds: number;
  /** The graces of the collection of garbage, in s; 0 for those of production, with which nothing is collected in a run. */
  graceSeconds: number;
  /** The workerd process is killed under load once, and the clients go on for so long before (s). Only on disk. */
  crashAfterSeconds: number;
  /** Whether access control is on. Without it, requests wait for less. */
  access: boolean;
  /** The entry module of the Worker. */
  entry?: string;
  log: (line: string) => void;
}

export interface Outcome {
  report: Report;
  samples: Sample[];
  /** What has grown that must not. */
  grown: string[];
}

const OWN_ENTRY = join(import.meta.dirname, '../../worker/index.ts');
const ADMIN_PASSWORD = 'a long password of the soak admin';
const PASSWORD = 'a long password of the soak users';
const REPOSITORIES = 10;
const TAGS = ['v1', 'v2', 'v3', 'latest', 'edge', 'nightly', 'a', 'Z_9'];
const MANIFESTS_MAX = 12;
const SHARED_BLOBS = 20;
const ANCHOR_TRIES = 10;
const SAMPLE_MS = 3000;
const AUDITORS = 8;
/** Below this, a run says nothing of what grows. */
const GROWTH_MIN_SECONDS = 120;

/** Runs a soak, and ends what it has started. */
export async function soak(options: SoakOptions): Promise<Outcome> {
  const report = new Report(options.seed, options.log);
  const graces =
    options.graceSeconds > 0 ? await shortGraces(options.entry ?? OWN_ENTRY, options.graceSeconds) : null;
  const home = new Home(options.home, {
    entry: graces?.entry ?? options.entry ?? OWN_ENTRY,
    vars: {
      AUTH: options.access ? 'on' : 'off',
      // The soak counts what is left after the graces.
      UNDO_DAYS: '0',
      ADMIN_PASSWORD,
      TOKEN_LIFETIME: '60',
      TRUSTED_PROXIES: '127.0.0.1',
      // All clients are a few users.
      REQUEST_LIMIT: '0',
      // What the edge keeps has to end before the bytes do.
      ...(options.graceSeconds > 0 ? { CACHE_LIFETIME: String(Math.ceil(options.graceSeconds / 4)) } : {}),
    },
    onLog: (text) => keepLog(text),
  });
  const log: string[] = [];
  const keepLog = (text: string) => {
    log.push(text.trimEnd());
    if (log.length > 200) log.shift();
  };
  try {
    await home.start();
    const run = new Run(
      options,
      home,
      report,
      options.graceSeconds > 0 ? options.graceSeconds * 1000 : GRACE_MS,
    );
    const outcome = await run.run();
    if (report.violations.length > 0) report.say(`The registry's last words:\n${log.slice(-40).join('\n')}`);
    return outcome;
  } finally {
    await home.stop();
    graces?.remove();
  }
}

class Run {
  readonly #options: SoakOptions;
  readonly #home: Home;
  readonly #report: Report;
  readonly #model: Model;
  readonly #around: Surroundings;
  readonly #world: World;
  readonly #samples: Sample[] = [];
  #clients: SoakClient[] = [];
  #began = 0;

  constructor(options: SoakOptions, home: Home, report: Report, graceMs: number) {
    this.#options = options;
    this.#home = home;
    this.#report = report;
    const names = Array.from({ length: REPOSITORIES }, (_, at) =>
      at % 2 === 0 ? `team/app-${at}` : `lib/deep/er/x${at}`,
    );
    this.#model = new Model(names, [ANCHOR, ...TAGS], graceMs);
    this.#around = {
      model: this.#model,
      report,
      home: options.home,
      isDying: false,
      scopes: [...names.map((name) => `repository:${name}:pull,push,delete`), 'registry:catalog:*'],
    };
    const contents = new Contents(options.seed);
    const random = new Random(options.seed, 1000);
    this.#world = {
      around: this.#around,
      contents,
      uploads: {
        open: [],
        lifetimeMs: options.graceSeconds > 0 ? UPLOAD_LIFETIME_GRACES * graceMs : UPLOAD_LIFETIME_MS,
      },
      shared: Array.from({ length: SHARED_BLOBS }, () => contents.blob(random)),
      anchored: new Set(),
      manifestsMax: MANIFESTS_MAX,
      access: options.access ? { logins: ['ops', 'alice', 'admin'], reader: `reader:${PASSWORD}` } : null,
    };
  }

  async run(): Promise<Outcome> {
    const { seconds, crashAfterSeconds, home } = this.#options;
    await this.#prepare();
    await Promise.all(this.#clients.map((client) => this.#guarded(client, () => client.pushSlowly())));
    this.#report.say(`pushed over slow links: ${this.#report.violations.length} violations`);
    this.#began = performance.now();
    await this.#load(seconds, true);
    await this.#audit('after the load');
    await this.#home.restart();
    this.#moved();
    await this.#audit('after a restart');
    if (home === 'disk' && crashAfterSeconds > 0) {
      const loading = this.#load(crashAfterSeconds + 2, false);
      await sleep(crashAfterSeconds * 1000);
      this.#around.isDying = true;
      await this.#home.crash();
      this.#moved();
      await loading;
      this.#around.isDying = false;
      await this.#audit('after a SIGKILL under load');
      await this.#load(1, false);
    }
    for (const { session } of this.#clients) session.wire.close();
    const isLong = seconds >= GROWTH_MIN_SECONDS;
    return { report: this.#report, samples: this.#samples, grown: isLong ? growth(this.#samples) : [] };
  }

  /** Makes users and tokens, logs everybody in, and pushes an image to half of the repositories. */
  async #prepare(): Promise<void> {
    const credentials = this.#options.access ? await this.#makeAccounts() : [];
    this.#clients = Array.from({ length: this.#options.clients }, (_, at) => {
      const stream = new Random(this.#options.seed, at);
      const who = credentials[at % credentials.length] ?? null;
      const session = new Session(
        this.#around,
        stream,
        this.#home.url,
        who,
        `10.1.${at >> 8}.${(at & 255) + 1}`,
      );
      return new SoakClient(this.#world, session, stream);
    });
    for (const { session } of this.#options.access ? this.#clients : []) await session.logIn();
    for (const [at, repository] of this.#model.repositories.entries()) {
      const [client] = this.#clients;
      for (let tries = 0; client !== undefined && at % 2 === 0 && tries < ANCHOR_TRIES; tries++) {
        if (!this.#world.anchored.has(repository.name))
          await this.#guarded(client, () => client.anchor(repository));
      }
    }
  }

  async #makeAccounts(): Promise<Credentials[]> {
    const users = [
      ['ops', 'maintainer'],
      ['alice', 'maintainer'],
      ['reader', 'reader'],
    ];
    for (const [name = '', role = ''] of users) {
      await this.#manage('/users', { name, password: PASSWORD });
      await this.#manage('/rules', { subject: `user:${name}`, role, repositories: '**' });
    }
    const grants = [{ role: 'maintainer', repositories: '**' }];
    const { token: robot } = await this.#manage('/tokens', { name: 'ci', grants });
    const { token: personal } = await this.#manage('/tokens', { name: 'laptop', owner: 'alice' });
    // One that has logged in before does not wait for what others get wrong.
    const reader = { shown: `reader:${PASSWORD}`, bearer: false };
    const random = new Random(this.#options.seed, 2000);
    await new Session(this.#around, random, this.#home.url, reader, '10.2.0.1').logIn();
    return [
      { shown: `ops:${PASSWORD}`, bearer: true },
      { shown: `ci:${robot}`, bearer: true },
      { shown: `alice:${personal}`, bearer: true },
      { shown: `ops:${PASSWORD}`, bearer: false },
      { shown: `ci:${robot}`, bearer: false },
    ];
  }

  async #manage(path: string, body: unknown): Promise<Record<string, string>> {
    const admin = new Visitor(this.#home, `admin:${ADMIN_PASSWORD}`);
    return JSON.parse((await admin.must(201, 'POST', `/api/v1${path}`, { json: body })).text);
  }

  /** All clients are at it. */
  async #load(seconds: number, sampled: boolean): Promise<void> {
    const end = performance.now() + seconds * 1000;
    const isOver = () => performance.now() > end;
    const watch = sampled ? this.#watch(isOver) : Promise.resolve();
    const working = this.#clients.map(async (client) => {
      while (!isOver()) await this.#guarded(client, () => client.act());
    });
    await Promise.all([...working, watch]);
  }

  async #guarded(client: SoakClient, act: () => Promise<void>): Promise<void> {
    this.#report.operations++;
    try {
      await act();
    } catch (fault) {
      const what =
        fault instanceof Violation
          ? fault.message
          : `the soak is wrong: ${fault instanceof Error ? fault.stack : fault}`;
      this.#report.violation(what, client.session.trail);
    }
    if (this.#around.isDying) await sleep(20);
  }

  async #watch(isOver: () => boolean): Promise<void> {
    for (let taken = 0; !isOver(); taken++) {
      await sleep(SAMPLE_MS);
      const now = sample(this.#began, this.#home.stateDir);
      this.#samples.push(now);
      if (taken % 10 === 0) this.#report.say(`${shown(now)}  operations ${this.#report.operations}`);
    }
  }

  /** Everything that has to be there is, with the right bytes. */
  async #audit(when: string): Promise<void> {
    const before = this.#report.violations.length;
    const waiting = [...this.#model.repositories];
    const auditors = this.#clients.slice(0, AUDITORS).map(async (client) => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        const repository = next;
        await this.#guarded(client, () => client.audit(repository));
      }
    });
    await Promise.all(auditors);
    this.#report.say(`audited ${when}: ${this.#report.violations.length - before} violations`);
  }

  /** After a restart, connections are new and the address may be. */
  #moved(): void {
    for (const { session } of this.#clients) session.moveTo(this.#home.url);
  }
}

/**
 * `npm run bench -- --push`: an image of 1 GiB and one of 40 layers, pushed each way to a fresh registry. No way has a front before the
 * registry: one in this process would take the time of the same processors. test/clients/large-layers.clients.ts shows that the
 * ways pass a wall as Cloudflare's. The ways take turns, each with bytes of its own, because a registry stores the same bytes once.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startMachine } from '../standalone/machine.ts';
import { digestOf, noise } from '../test/clients/support/layout.ts';
import { servedProgram } from '../test/support/served-program.ts';
import { buildInDocker, type DockerStore } from './docker-push.ts';
import type { Options } from './options.ts';

const MiB = 1024 * 1024;
const OCI = 'application/vnd.oci.image';
/** regctl sends smaller chunks unless it is told. */
const REGCTL_CHUNK_BYTES = 32 * MiB;
const READY_MS = 20_000;
const TICKS_A_SECOND = 100; // Linux: USER_HZ.
/** It sends a layer in one body, which Cloudflare refuses if it is large. The others are compared with it. */
const CRANE = 'crane, in one body';

interface Scene {
  /** Of temporary files, and the home of the clients. */
  folder: string;
  /** The program of the package that the registry serves. */
  program: string;
  /** `127.0.0.1:PORT`. */
  registry: string;
}

interface Way {
  name: string;
  /** Programs besides Node. */
  needs: string[];
  run(scene: Scene, layout: string, image: string): Promise<void>;
}

/** docker pushes only what its store has, so an image of the same sizes is built there before the clock starts. */
const DOCKERS: { name: string; needs: string[]; store: DockerStore }[] = [
  { name: 'docker, classic store', needs: ['docker', 'dockerd'], store: 'classic' },
  { name: 'docker, containerd', needs: ['docker', 'dockerd-29', 'containerd'], store: 'containerd' },
];

const WAYS: Way[] = [
  {
    name: CRANE,
    needs: ['crane'],
    run: ({ folder, registry }, layout, image) =>
      ran(located('crane'), ['push', '--insecure', layout, `${registry}/${image}`], folder),
  },
  {
    name: 'longshore push',
    needs: [],
    run: ({ folder, program, registry }, layout, image) =>
      ran(
        process.execPath,
        [program, 'push', '--quiet', '--to', `${registry}/${image}`, `oci:${layout}`],
        folder,
      ),
  },
  {
    name: 'longshore proxy, crane',
    needs: ['crane'],
    run: async ({ folder, program, registry }, layout, image) => {
      const ready = join(folder, 'ready');
      const args = [
        program,
        'proxy',
        '--to',
        `http://${registry}`,
        '--port',
        '0',
        '--quiet',
        '--ready-file',
        ready,
      ];
      const child = started(process.execPath, args, folder);
      try {
        const url = await writtenTo(ready);
        await ran(located('crane'), ['push', '--insecure', layout, `${new URL(url).host}/${image}`], folder);
      } finally {
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
    },
  },
  {
    name: 'regctl, chunks',
    needs: ['regctl'],
    run: async ({ folder, registry }, layout, image) => {
      const chunk = String(REGCTL_CHUNK_BYTES);
      const settings = ['--tls', 'disabled', '--blob-chunk', chunk, '--blob-max', chunk, '--skip-check'];
      await ran(located('regctl'), ['registry', 'set', registry, ...settings], folder);
      await ran(
        located('regctl'),
        ['image', 'copy', `ocidir://${layout}:latest`, `${registry}/${image}`],
        folder,
      );
    },
  },
];

const IMAGES = [
  { name: '1 GiB in one layer', layerBytes: [1024 * MiB] },
  { name: '40 layers of 1 MiB', layerBytes: Array.from({ length: 40 }, () => MiB) },
];

/** Prints the rate of each way, and its ratio to crane's. False if a way failed. */
export async function benchPushes({ rounds, only }: Options): Promise<boolean> {
  let isWhole = true;
  console.log(`Pushes to one machine (workerd, blobs in a folder). The best of ${rounds} rounds.`);
  console.log(
    'All go straight to the registry, without a limit. crane and docker send a layer in one body, the others in chunks below 100 MB.\n',
  );
  console.log(
    'CPU is in seconds, of the clients and of workerd, in the round that needed least. On a busy machine it says more than the rate.\n',
  );
  console.log(line('image', 'way', 'MB/s', 'ratio', 'seconds', 'CPU, clients', 'CPU, workerd'));
  for (const { name, layerBytes } of IMAGES.filter((image) => only.test(image.name))) {
    const bytes = layerBytes.reduce((sum, size) => sum + size, 0);
    const best = new Map<string, Cost>();
    const take = async (way: string, measured: Promise<Cost>) => {
      try {
        best.set(way, leastOf(best.get(way), await measured));
      } catch (error) {
        isWhole = false;
        console.error(`${way}: ${error instanceof Error ? error.message : error}`);
      }
    };
    const isThere = ({ needs }: { needs: string[] }) => needs.every((program) => find(program) !== null);
    for (let round = 0; round < rounds; round += 1) {
      for (const way of WAYS.filter(isThere)) await take(way.name, measure(way, layerBytes));
      // A daemon needs root. It would compress a large layer for half a minute.
      if (layerBytes.length === 1 || process.getuid?.() !== 0) continue;
      for (const { name: docker, store } of DOCKERS.filter(isThere)) {
        await take(docker, measureDocker(store, layerBytes));
      }
    }
    const crane = best.get(CRANE);
    for (const [way, { seconds, cpu }] of best) {
      const ratio = crane === undefined ? '–' : (crane.seconds / seconds).toFixed(2);
      const rate = (bytes / 1e6 / seconds).toFixed(0);
      const cpus = [cpu?.clients, cpu?.workerd].map((value) => value?.toFixed(2) ?? '–');
      console.log(line(name, way, rate, ratio, seconds.toFixed(2), ...cpus));
    }
  }
  return isWhole;
}

interface Cost {
  seconds: number;
  /** Seconds of processors. Null where they are not known. */
  cpu: { clients: number; workerd: number } | null;
}

/** The cost of one image, whose bytes are new. */
async function measure(way: Way, layerBytes: number[]): Promise<Cost> {
  const folder = mkdtempSync(join(tmpdir(), 'longshore-bench-push-'));
  try {
    const program = join(folder, 'longshore.cjs');
    writeFileSync(program, servedProgram());
    const layout = join(folder, 'layout');
    writeNoise(layout, layerBytes);
    const machine = await startMachine({ stateDir: join(folder, 'registry'), vars: { AUTH: 'off' } });
    try {
      const scene = { folder, program, registry: new URL(machine.url).host };
      const before = cpuOf(machine.pid);
      const start = performance.now();
      await way.run(scene, layout, 'bench/app:1');
      const seconds = (performance.now() - start) / 1000;
      const after = cpuOf(machine.pid);
      if (before === null || after === null) return { seconds, cpu: null };
      const cpu = { clients: after.clients - before.clients, workerd: after.workerd - before.workerd };
      return { seconds, cpu };
    } finally {
      await machine.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Least of each: other work on the machine takes time from both. */
function leastOf(one: Cost | undefined, other: Cost): Cost {
  if (one === undefined) return other;
  const sum = ({ cpu }: Cost) => (cpu === null ? Number.POSITIVE_INFINITY : cpu.clients + cpu.workerd);
  return {
    seconds: Math.min(one.seconds, other.seconds),
    cpu: sum(one) < sum(other) ? one.cpu : other.cpu,
  };
}

/** Seconds that the clients, which have ended, and workerd have used. Null without /proc. */
function cpuOf(workerd: number): { clients: number; workerd: number } | null {
  // proc_pid_stat(5): after the name come the state and 10 more fields; then utime, stime, cutime and cstime.
  const times = (pid: number | 'self') => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 15)
      .map((ticks) => Number(ticks) / TICKS_A_SECOND);
  };
  if (!existsSync('/proc/self/stat')) return null;
  const [, , user = 0, system = 0] = times('self');
  const [ownUser = 0, ownSystem = 0] = times(workerd);
  return { clients: user + system, workerd: ownUser + ownSystem };
}

async function measureDocker(store: DockerStore, layerBytes: number[]): Promise<Cost> {
  const folder = mkdtempSync(join(tmpdir(), 'longshore-bench-push-'));
  const machine = await startMachine({ stateDir: join(folder, 'registry'), vars: { AUTH: 'off' } });
  try {
    const image = await buildInDocker(store, layerBytes, `${new URL(machine.url).host}/bench/app:1`);
    try {
      const start = performance.now();
      await image.push();
      return { seconds: (performance.now() - start) / 1000, cpu: null };
    } finally {
      await image.stop();
    }
  } finally {
    await machine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An OCI layout whose layers are noise: no client looks into what is compressed. */
function writeNoise(path: string, layerBytes: number[]): void {
  const blobs = join(path, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const keep = (mediaType: string, bytes: Buffer) => {
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const layers = layerBytes.map((size) => keep(`${OCI}.layer.v1.tar+gzip`, noise(size)));
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) };
  const config = keep(`${OCI}.config.v1+json`, json({ os: 'linux', architecture: 'amd64', rootfs }));
  const mediaType = `${OCI}.manifest.v1+json`;
  const manifest = keep(mediaType, json({ schemaVersion: 2, mediaType, config, layers }));
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  writeFileSync(
    join(path, 'index.json'),
    json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  writeFileSync(join(path, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
}

function started(program: string, args: string[], home: string): ChildProcess {
  return spawn(program, args, {
    env: { PATH: process.env.PATH, HOME: home, TMPDIR: home },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

async function ran(program: string, args: string[], home: string): Promise<void> {
  const child = started(program, args, home);
  let said = '';
  child.stderr?.on('data', (piece: Buffer) => {
    said = `${said}${piece}`.slice(-1000);
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ${args[0]} ended with ${code}: ${said}`);
}

async function writtenTo(path: string): Promise<string> {
  for (const end = performance.now() + READY_MS; performance.now() < end; await delay(20)) {
    if (existsSync(path) && readFileSync(path, 'utf8').endsWith('\n'))
      return readFileSync(path, 'utf8').trim();
  }
  throw new Error(`nothing was written to ${path}`);
}

function located(name: string): string {
  return find(name) ?? name;
}

/** Where the tests find their clients. */
function find(name: string): string | null {
  const installed = process.env.LONGSHORE_CLIENTS ?? join(homedir(), '.cache/longshore-clients');
  const folders = [installed, ...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

function line(image: string, way: string, ...figures: string[]): string {
  return [image.padEnd(20), way.padEnd(24), ...figures.map((figure) => figure.padStart(12))].join('  ');
}

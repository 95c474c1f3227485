/**
 * Chunked uploads cut at random: any content, in any chunks, told with any headers that the specification allows, comes back
 * byte for byte, whole and by any range. A failure prints the seed and the smallest plan that shows it.
 */
import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { after, before, it } from 'node:test';
import fc from 'fast-check';
import { PART_BYTES } from '../../worker/blobs/r2.ts';
import { type Answer, expectBody, expectHeader, expectStatus } from '../conformance/answer.ts';
import { Registry } from '../conformance/registry.ts';
import { digest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';

const MiB = 1024 * 1024;
const MAX_BYTES = 20 * MiB;
const SEED = 20_260_730;
const RUNS = 40;

/** How one chunk is sent. */
interface Manner {
  /** With Content-Range. */
  ranged: boolean;
  /** Without Content-Length. */
  chunked: boolean;
  /** To the Location of the POST, as some clients do, and not to that of the last answer. */
  first: boolean;
  /** After the registry was asked where the upload stands. */
  asks: boolean;
}

interface Plan {
  size: number;
  /** Where the content is cut, from 0 to 1. */
  cuts: number[];
  /** Bytes by which the cuts are moved, so that some lie at, beside or on top of each other. */
  shift: number;
  manners: Manner[];
  algorithm: 'sha256' | 'sha512';
  /** Whether the POST names the algorithm. */
  announced: boolean;
  /** Whether the last chunk comes with the PUT. */
  lastInPut: boolean;
  /** What is pulled, from 0 to 1. */
  pulls: [from: number, to: number][];
}

/** Of any content, and the same in every run. */
const pool = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(
  Buffer.alloc(MAX_BYTES),
);

const around = (unit: number, most: number) =>
  fc
    .tuple(fc.integer({ min: 1, max: most }), fc.integer({ min: -2, max: 2 }))
    .map(([n, by]) => n * unit + by);
const sizes = fc
  .oneof(
    { weight: 12, arbitrary: fc.nat({ max: 3000 }) },
    { weight: 5, arbitrary: fc.nat({ max: 2 * MiB }) },
    { weight: 6, arbitrary: around(MiB, 4) },
    { weight: 2, arbitrary: around(PART_BYTES, 2) },
    { weight: 1, arbitrary: fc.integer({ min: 10 * MiB, max: MAX_BYTES }) },
  )
  .map((size) => Math.min(size, MAX_BYTES));
const share = fc.double({ min: 0, max: 1, noNaN: true });
const manner = fc.record({
  ranged: fc.boolean(),
  chunked: fc.boolean(),
  first: fc.boolean(),
  asks: fc.boolean(),
});

const plans: fc.Arbitrary<Plan> = fc.record({
  size: sizes,
  cuts: fc.array(fc.oneof(share, fc.constantFrom(0, 1, 0.5)), { maxLength: 7 }),
  shift: fc.constantFrom(0, 0, 1, -1, MiB, PART_BYTES),
  manners: fc.array(manner, { minLength: 8, maxLength: 8 }),
  algorithm: fc.constantFrom('sha256', 'sha512'),
  announced: fc.boolean(),
  lastInPut: fc.boolean(),
  pulls: fc.array(fc.tuple(share, share), { minLength: 1, maxLength: 4 }),
});

eachHome((home) => {
  let registry: Registry;
  before(() => {
    registry = new Registry(home.url);
  });
  after(() => registry[Symbol.dispose]());

  it('content in any chunks comes back byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(plans, (plan) => pushAndPull(registry, plan)),
      { seed: SEED, numRuns: RUNS },
    );
  });

  it('pushes in any chunks pass no limit of production', async () =>
    assert.deepEqual(await home.violations(), []));
});

async function pushAndPull(registry: Registry, plan: Plan): Promise<void> {
  const repository = registry.repository();
  const content = pool.subarray(MAX_BYTES - plan.size);
  const of = digest(content, plan.algorithm);
  const chunks = cut(content, plan);
  const last = plan.lastInPut ? chunks.pop() : undefined;

  const begun = await repository.postUpload(plan.announced ? `?digest-algorithm=${plan.algorithm}` : '');
  expectStatus(begun, 202);
  let location = begun.location();
  let offset = 0;
  for (const [at, chunk] of chunks.entries()) {
    const { first, asks, ...how } = mannerOf(plan, at);
    if (asks) expectReceived(await registry.get(location), 204, offset);
    const to = first ? begun.location() : location;
    const answer = await repository.patchUpload(to, chunk, ...told(how, chunk, offset));
    offset += chunk.length;
    expectReceived(answer, 202, offset);
    location = answer.location();
  }
  const closing = told(mannerOf(plan, chunks.length), last ?? Buffer.alloc(0), offset);
  const put = await (last === undefined
    ? repository.putUpload(location, of)
    : repository.putUpload(location, of, last, ...closing));
  expectStatus(put, 201);
  expectHeader(put, 'Docker-Content-Digest', of);

  const whole = await registry.get(put.location());
  expectStatus(whole, 200);
  expectBody(whole, content);
  for (const [from, to] of plan.pulls) {
    const [start, end] = [Math.min(from, to), Math.max(from, to)].map((at) => Math.floor(at * plan.size)) as [
      number,
      number,
    ];
    const answer = await repository.getBlob(of, { Range: `bytes=${start}-${end}` });
    if (start >= plan.size) {
      expectStatus(answer, 416);
    } else {
      expectStatus(answer, 206);
      expectBody(answer, content.subarray(start, end + 1));
    }
  }
}

/** The chunks of a plan: together the content, some of them empty. */
function cut(content: Buffer, { cuts, shift, size }: Plan): Buffer[] {
  const places = cuts.flatMap((at) => [Math.floor(at * size), Math.floor(at * size) + shift]);
  const sorted = places.map((at) => Math.min(Math.max(at, 0), size)).sort((a, b) => a - b);
  const chosen = sorted.slice(0, 7);
  return [...chosen, size].map((end, at) => content.subarray(chosen[at - 1] ?? 0, end));
}

function mannerOf(plan: Plan, at: number): Manner {
  return plan.manners[at] ?? { ranged: false, chunked: false, first: false, asks: false };
}

/** An empty chunk has no range. */
function told(
  { ranged, chunked }: Pick<Manner, 'ranged' | 'chunked'>,
  chunk: Buffer,
  offset: number,
): [number | undefined, { chunked: boolean }] {
  return [ranged && chunk.length > 0 ? offset : undefined, { chunked }];
}

function expectReceived(answer: Answer, status: number, bytes: number): void {
  expectStatus(answer, status);
  expectHeader(answer, 'Range', `0-${Math.max(0, bytes - 1)}`);
}

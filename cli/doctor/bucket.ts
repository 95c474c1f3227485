// What the bucket of the registry enforces, tried on the user's own account: nothing else can show it. Each probe has a key of its own,
// which is deleted afterwards. docs/direct-uploads.md.
import { createHash, randomBytes } from 'node:crypto';
import type { Client } from '../client.ts';
import { type Grant, grantOf, type PartsGrant, type PutGrant } from '../transfer/direct-grant.ts';
import { bodyOf, discard } from '../transfer/http.ts';
import { bodyOfAnswer, S3Refusal, sendToS3 } from '../transfer/s3.ts';
import { signed } from '../transfer/sigv4.ts';
import { type Finding, note, ok, reasonOf, wrong } from './finding.ts';

const PROBE_BYTES = 100_000;
const DISTRUST =
  'Remove the S3 settings of the registry, so that clients do not use this way, and report it.';
const PERMISSION =
  'Check that the S3 token has "Object Read & Write" on this bucket, and that the three S3 settings belong together.';
const NETWORK = 'Check that this machine may reach the S3 endpoint. Without it, longshore push sends chunks.';

type Way = 'put' | 'query' | 'parts';

/** What a request came to: `200`, `400 BadDigest`, or why there was no answer. */
interface Outcome {
  text: string;
  isAnswer: boolean;
}

export async function checkBucket(client: Client, origin: string): Promise<Finding[]> {
  const check = 'direct uploads';
  const { data } = await client.GET('/direct-uploads', { params: { path: {} } });
  if (data?.isSetUp !== true) {
    const advice = 'To store large layers straight in R2, set the S3 credentials (docs/direct-uploads.md).';
    return [note(check, 'are not set up', advice)];
  }
  const probes = new Probes(client, origin);
  try {
    const first = await checkPut(probes);
    // Without the first, nothing more can be said.
    if (first.some(({ state }) => state === 'wrong')) return first;
    return [...first, ...(await checkParts(probes)), ...(await checkQuery(probes))];
  } catch (error) {
    return [wrong(check, reasonOf(error), PERMISSION)];
  } finally {
    await probes.end();
  }
}

async function checkPut(probes: Probes): Promise<Finding[]> {
  const bytes = randomBytes(PROBE_BYTES);
  const { id, grant } = await probes.begin('put', bytes);
  const check = 'R2: right bytes';
  const stored = await putTo(grant, bytes);
  if (!stored.isAnswer) return [wrong(check, stored.text, NETWORK)];
  if (stored.text !== '200') return [wrong(check, `were answered with ${stored.text}`, PERMISSION)];
  const found = await probes.stored(id);
  const digest = digestOf(bytes);
  if (found?.digest !== digest && found?.digest !== null) {
    return [
      wrong(
        check,
        'are not where the registry looks for them',
        'Check that S3_BUCKET_URL names the bucket that is bound as BLOBS.',
      ),
    ];
  }
  const right =
    found.digest === digest
      ? ok(check, 'are stored, with their SHA-256')
      : note(
          check,
          'are stored without their SHA-256',
          'Nothing. The registry reads each upload once to check it.',
        );
  const again = await putTo(grant, bytes);
  const replaced =
    again.text === '412 PreconditionFailed'
      ? ok('R2: a second PUT', 'is refused')
      : wrong('R2: a second PUT', `was answered with ${again.text}`, DISTRUST);
  return [right, await refusesOthers(probes, 'put', 'R2: wrong bytes', DISTRUST), replaced];
}

/** Bytes with another checksum than the grant says. */
async function refusesOthers(probes: Probes, way: Way, check: string, advice: string): Promise<Finding> {
  const { id, grant } = await probes.begin(way, randomBytes(PROBE_BYTES));
  const outcome = await putTo(grant, randomBytes(PROBE_BYTES));
  const found = await probes.stored(id);
  const isRefused = outcome.text !== '200' && found === null;
  return isRefused
    ? ok(check, `are refused (${outcome.text}), and nothing is stored`)
    : wrong(check, `were answered with ${outcome.text}${found === null ? '' : ', and are stored'}`, advice);
}

async function checkParts(probes: Probes): Promise<Finding[]> {
  const bytes = randomBytes(PROBE_BYTES);
  const { id, grant } = await probes.begin('parts', bytes);
  if (grant.way !== 'parts') return [];
  const part = { partNumber: '1', uploadId: grant.uploadId };
  const check = 'R2: temporary credentials';
  const md5 = (content: Buffer) => ({ 'content-md5': createHash('md5').update(content).digest('base64') });
  const damaged = await withGrant(grant, 'PUT', part, md5(randomBytes(10)), bytes);
  const stored = await withGrant(grant, 'PUT', part, md5(bytes), bytes);
  if (stored.text !== '200') {
    const advice = 'Nothing breaks: layers over 4.9 GiB go in chunks. Check the S3 settings, and report it.';
    return [wrong(check, `a part was answered with ${stored.text}`, advice)];
  }
  const whole = await withGrant(grant, 'PUT', {}, {}, bytes);
  const other = await withGrant(grant, 'POST', { uploads: '' }, {}, Buffer.alloc(0));
  const read = await withGrant(grant, 'GET', {}, {}, null);
  const refusals = [whole, other, read].map(({ text }) => text);
  const isLimited = refusals.every((text) => text.startsWith('403'));
  const xml = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${stored.etag}</ETag></Part></CompleteMultipartUpload>`;
  const completed = await withGrant(grant, 'POST', { uploadId: grant.uploadId }, {}, Buffer.from(xml));
  const found = await probes.stored(id);
  const isWhole = completed.text === '200' && found?.size === bytes.length;
  return [
    isWhole
      ? ok(check, 'store parts')
      : wrong(
          check,
          `the upload was completed with ${completed.text}`,
          'Report it. Layers over 4.9 GiB go in chunks if it fails.',
        ),
    isLimited
      ? ok('R2: their limits', 'no read, no other upload, no object at once')
      : wrong('R2: their limits', `other requests were answered with ${refusals.join(', ')}`, DISTRUST),
    damaged.text === '400 BadDigest'
      ? ok('R2: damaged parts', 'are refused (400 BadDigest)')
      : note(
          'R2: damaged parts',
          `were answered with ${damaged.text}`,
          'Nothing. The registry reads the content once to check it.',
        ),
  ];
}

/** For `DIRECT_UPLOAD`: clients of the containerd family send no headers of their own. */
async function checkQuery(probes: Probes): Promise<Finding[]> {
  const check = 'R2: checksum in the query';
  const bytes = randomBytes(PROBE_BYTES);
  const { grant } = await probes.begin('query', bytes);
  const right = await putTo(grant, bytes);
  const { state, result } = await refusesOthers(probes, 'query', check, '');
  if (right.text === '200' && state === 'ok')
    return [ok(check, 'is compared, with other parameters beside it')];
  const seen =
    right.text === '200' ? `wrong bytes ${result}` : `right bytes were answered with ${right.text}`;
  return [note(check, seen, 'Leave DIRECT_UPLOAD at false. Nothing else depends on it.')];
}

function putTo(grant: Grant, bytes: Buffer): Promise<Outcome> {
  const { url, headers } = grant as PutGrant;
  return outcomeOf(sendToS3({ method: 'PUT', url, headers, body: bodyOf(bytes) }).then(discard));
}

async function withGrant(
  grant: PartsGrant,
  method: string,
  query: Record<string, string>,
  headers: Record<string, string>,
  body: Buffer | null,
): Promise<Outcome & { etag: string }> {
  const url = new URL(grant.url);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const at = new Date(Date.now() + grant.clockAheadMs);
  const all = signed({ method, url, headers }, grant, { at });
  let etag = '';
  const sent = sendToS3({ method, url: url.href, headers: all, body: body === null ? null : bodyOf(body) });
  const outcome = await outcomeOf(
    sent.then(async (answer) => {
      etag = answer.header('ETag') ?? '';
      await bodyOfAnswer(answer);
    }),
  );
  return { ...outcome, etag };
}

async function outcomeOf(sent: Promise<void>): Promise<Outcome> {
  try {
    await sent;
    return { text: '200', isAnswer: true };
  } catch (error) {
    if (error instanceof S3Refusal) return { text: `${error.status} ${error.code}`.trim(), isAnswer: true };
    return { text: reasonOf(error), isAnswer: false };
  }
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

class Probes {
  readonly #client: Client;
  readonly #origin: string;
  readonly #ids: string[] = [];

  constructor(client: Client, origin: string) {
    this.#client = client;
    this.#origin = origin;
  }

  async begin(way: Way, bytes: Buffer): Promise<{ id: string; grant: Grant }> {
    const body = { way, digest: digestOf(bytes), size: bytes.length };
    const { data } = await this.#client.POST('/direct-uploads/probes', { params: { path: {} }, body });
    const id = data?.id ?? '';
    this.#ids.push(id);
    const grant = grantOf(data?.grant, this.#origin);
    if (grant === null)
      throw new Error('the registry gave a grant that this command does not understand: update it');
    return { id, grant };
  }

  /** Null if nothing is there. */
  async stored(id: string): Promise<{ size: number; digest: string | null } | null> {
    const params = { path: { id } };
    const { data } = await this.#client.GET('/direct-uploads/probes/{id}', { params });
    return data?.stored ?? null;
  }

  /** What cannot be deleted expires within two hours. */
  async end(): Promise<void> {
    for (const id of this.#ids)
      await this.#client.DELETE('/direct-uploads/probes/{id}', { params: { path: { id } } }).catch(() => {});
  }
}

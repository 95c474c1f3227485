/**
 * `/cli.tgz`: the command `longshore` as a package of npm, so that `npx https://HOST/cli.tgz push` works on a machine that has only
 * Node. `deploy/client-package.ts` makes the package.
 */
import { type Digest, digestOf } from '../oci/digest.ts';
import bytes from './cli.tgz';
import { answerWith } from './content.ts';

/** The next release has another package at the same path. */
const REVALIDATE = 'public, no-cache, no-transform';

const packed = new Uint8Array(bytes);
let digest: Digest | null = null;

/** Answers a GET or a HEAD. */
export async function clientPackage(request: Request): Promise<Response> {
  digest ??= await digestOf('sha256', packed);
  return answerWith(request, {
    digest,
    mediaType: 'application/gzip',
    size: packed.length,
    cacheControl: REVALIDATE,
    read: async (range) => (range === null ? packed : packed.subarray(range.first, range.last + 1)),
  });
}

/** Reports of the images that a cluster or a host runs. */
import * as z from 'zod/mini';
import { claimsFor } from '../auth/tokens/claims.ts';
import type { ReportedImage } from '../objects/catalog.ts';
import { isDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { isRepositoryName } from '../oci/reference.ts';
import { catalogOf } from '../stubs.ts';
import { type Operation, operation } from './operation.ts';
import { name } from './schemas.ts';

/** Images of one report. A larger cluster sends several. */
const IMAGES_MAX = 500;
const IMAGE_MAX_LENGTH = 1024;

export const RUNNING: Operation[] = [
  operation({
    id: 'running.report',
    method: 'POST',
    path: '/running',
    requires: 'credentials',
    summary: 'Report the images that a cluster or a host runs',
    description:
      'An image counts as running for three days after the last report of it. Images without a digest, of other registries, and of repositories that the caller may not pull are ignored.',
    body: z.strictObject({
      source: name.check(z.describe('The cluster or host.')),
      images: z
        .array(z.string().check(z.maxLength(IMAGE_MAX_LENGTH)))
        .check(
          z.maxLength(IMAGES_MAX),
          z.describe('As Kubernetes and Docker print them: `host/repository@sha256:...`.'),
        ),
    }),
    example: {
      source: 'cluster-1',
      images: [`registry.example.com/team-a/api@sha256:${'ab'.repeat(32)}`],
    },
    status: 200,
    answer: z.object({
      recorded: z.number().check(z.describe('The images that were recorded.')),
      ignored: z.number().check(z.describe('The images that were not.')),
    }),
    errors: { 409: 'There are too many reports.' },
    run: async ({ body, caller, services }) => {
      const images = imagesIn(body.images);
      const names = [...new Set(images.map(({ repository }) => repository))];
      const scopes = names.map((one) => ({ type: 'repository', name: one, actions: ['pull'] }));
      const { access } = await claimsFor(caller.identity, scopes, services.registry);
      const visible = new Set(access.map((one) => one.name));
      const known = images.filter(({ repository }) => visible.has(repository));
      if (!(await catalogOf(services.env).reportRunning(body.source, known))) {
        throw new OciError('CONFLICT', {
          message: 'there are too many reports of running images: report from fewer sources',
        });
      }
      return {
        body: { recorded: known.length, ignored: body.images.length - known.length },
        changed: body.source,
      };
    },
  }),
];

/** The images with a digest, each once. The host is left out: a cluster may use another name of the registry. */
function imagesIn(texts: string[]): ReportedImage[] {
  const found = new Map<string, ReportedImage>();
  for (const text of texts) {
    const [, path = '', digest = ''] = /^(?:[a-z-]+:\/\/)?([^@]+)@(.+)$/.exec(text) ?? [];
    const repository = repositoryIn(path);
    if (isDigest(digest) && isRepositoryName(repository))
      found.set(`${repository}@${digest}`, { repository, digest });
  }
  return [...found.values()];
}

/** Without the host before the first slash, and without a tag. A host has a dot or a port, or is localhost. */
function repositoryIn(path: string): string {
  const [first = '', ...rest] = path.split('/');
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  return (isHost ? rest.join('/') : path).replace(/:[^/]*$/, '');
}

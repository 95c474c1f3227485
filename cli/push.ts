// `longshore push`: sends an image to a registry, in chunks that pass every limit on request bodies.
import { buildCommand } from '@stricli/core';
import { type Context, positional, text } from './command.ts';
import { CommandFailure, EXIT } from './failure.ts';
import { taggedTarget } from './tagged-target.ts';
import { credentialsFor } from './transfer/credentials.ts';
import { openSource } from './transfer/open-source.ts';
import { pushImage } from './transfer/push-image.ts';
import type { Target } from './transfer/target.ts';
import {
  disposing,
  EXIT_CODES,
  JOBS_OPTION,
  type Jobs,
  PLATFORM_OPTION,
  type Platform,
  TRANSFER_ALIASES,
  TRANSFER_OPTIONS,
  type TransferOptions,
  transfer,
} from './transfer-command.ts';

interface Options extends TransferOptions, Jobs, Platform {
  to: string | undefined;
  zstd: boolean;
}

export const push = buildCommand({
  docs: {
    brief: 'Send an image to a registry, in chunks that pass every limit',
    fullDescription: `Send an image to a registry, in chunks that pass every limit on request bodies.

IMAGE is one of these:
  NAME                       an image of docker, or of podman if docker does not run
  docker:NAME, podman:NAME   an image of this one
  containerd:NAME            an image of containerd
  oci:PATH[:TAG]             an OCI layout, a folder or a tar archive
  docker-archive:PATH[:NAME] what docker save wrote
  PATH                       a folder or an archive that exists

Without --to, the name of the image says where to send it, as with docker push.
Layers that the registry has are not sent. A push that was interrupted continues if it is run again within a day.
It logs in with LONGSHORE_USER and LONGSHORE_PASSWORD, the identity token of a CI job, or the credentials of docker or podman.
On standard output it prints HOST/REPOSITORY:TAG@DIGEST.

${EXIT_CODES}`,
  },
  parameters: {
    flags: {
      to: text('Where to send it: HOST/REPOSITORY:TAG', 'target'),
      jobs: JOBS_OPTION,
      zstd: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Compress layers with zstd, not gzip, if the source has them uncompressed',
      },
      platform: PLATFORM_OPTION,
      ...TRANSFER_OPTIONS,
    },
    aliases: TRANSFER_ALIASES,
    positional: positional('image'),
  },
  async func(this: Context, { to, jobs, zstd, platform, ...options }: Options, image: string) {
    const target = to === undefined ? targetIn(image) : taggedTarget(to);
    const { env } = process;
    const advice = 'The registry keeps for a day what it has. Run the same command again to continue.';
    await transfer(this, options, advice, async ({ signal, listen, note }) => {
      const compression = zstd ? 'zstd' : 'gzip';
      const source = await openSource(image, { compression, signal, report: note, platform, env });
      const credentials = () => credentialsFor(target, env);
      return disposing([source], () => pushImage({ source, target, credentials, jobs, signal, listen, env }));
    });
  },
});

/** The target that an image's own name says. */
function targetIn(image: string): Target {
  const name = image.replace(/^(docker|podman|containerd):/, '');
  try {
    return taggedTarget(name);
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    throw new CommandFailure(
      `${JSON.stringify(image)} does not say to which registry it is sent.\nAdd --to HOST/REPOSITORY:TAG.`,
      EXIT.usage,
    );
  }
}

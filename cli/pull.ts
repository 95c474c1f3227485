// `longshore pull` and `longshore export`: write an image of a registry to files, every byte checked.
import { buildCommand } from '@stricli/core';
import { type Context, positional, text } from './command.ts';
import { taggedTarget } from './tagged-target.ts';
import { openDestination } from './transfer/destination.ts';
import { openSource } from './transfer/open-source.ts';
import { nameOf } from './transfer/push-image.ts';
import { saveImage } from './transfer/save-image.ts';
import {
  disposing,
  EXIT_CODES,
  PLATFORM_OPTION,
  type Platform,
  TRANSFER_ALIASES,
  TRANSFER_OPTIONS,
  type TransferOptions,
  transfer,
  usage,
} from './transfer-command.ts';

interface Options extends TransferOptions, Platform {}

const FLAGS = { platform: PLATFORM_OPTION, ...TRANSFER_OPTIONS };

export const pull = buildCommand({
  docs: {
    brief: 'Write an image of a registry to a folder or an archive',
    fullDescription: `Write an image of a registry to a folder or an archive.

--to is one of these:
  oci:FOLDER                 an OCI layout. Other images in it stay
  oci:FILE.tar               an OCI layout in an archive. docker load reads it, too
  docker-archive:FILE.tar    what docker save writes, of one platform

Every digest is checked. A pull to a folder that was interrupted continues if it is run again.

${EXIT_CODES}`,
  },
  parameters: {
    flags: { to: text('Where to write it', 'destination'), ...FLAGS },
    aliases: TRANSFER_ALIASES,
    positional: positional('image'),
  },
  async func(this: Context, { to, ...options }: Options & { to: string | undefined }, image: string) {
    if (to === undefined) usage('Say where to write the image: --to oci:FOLDER, for example.');
    await save(this, options, image, to);
  },
});

export const exportImage = buildCommand({
  docs: {
    brief: 'Write an image of a registry to an OCI layout',
    fullDescription: `Write an image of a registry to an OCI layout: a folder, or an archive if PATH ends in .tar. Other tools read it: skopeo, crane, oras, docker load.

All its platforms are written, unless --platform names one. Every digest is checked.

${EXIT_CODES}`,
  },
  parameters: { flags: FLAGS, aliases: TRANSFER_ALIASES, positional: positional('image', 'path') },
  async func(this: Context, options: Options, image: string, path: string) {
    await save(this, options, image, `oci:${path}`);
  },
});

async function save(
  context: Context,
  { platform, ...options }: Options,
  image: string,
  to: string,
): Promise<void> {
  const target = taggedTarget(image);
  const full = nameOf(target);
  const { env } = process;
  await transfer(
    context,
    options,
    'Run the same command again to continue.',
    async ({ signal, listen, note }) => {
      const destination = openDestination(to);
      const source = await openSource(`registry:${target.origin}/${full.slice(target.host.length + 1)}`, {
        compression: 'gzip',
        signal,
        report: note,
        platform,
        env,
      });
      const name = { full, tag: target.tag ?? target.digest ?? '' };
      return disposing([source, destination], () =>
        saveImage({ source, destination, image: name, signal, listen }),
      );
    },
  );
}

// `longshore copy`: sends an image from one registry to another, through this machine and without its disk.
import { buildCommand } from '@stricli/core';
import { type Context, positional } from './command.ts';
import { taggedTarget } from './tagged-target.ts';
import { credentialsFor, environmentsOfCopy } from './transfer/credentials.ts';
import { openSource } from './transfer/open-source.ts';
import { nameOf, pushImage } from './transfer/push-image.ts';
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

export const copy = buildCommand({
  docs: {
    brief: 'Copy an image from one registry to another',
    fullDescription: `Copy an image from one registry to another: HOST/REPOSITORY:TAG to HOST/REPOSITORY:TAG.

All its platforms are copied, unless --platform names one. Layers that the target has are not sent. Nothing is written to the disk.
LONGSHORE_USER and LONGSHORE_PASSWORD are sent to the target only, or to the source only if LONGSHORE_URL names it. The other one gets the
credentials of docker or podman.

${EXIT_CODES}`,
  },
  parameters: {
    flags: { jobs: JOBS_OPTION, platform: PLATFORM_OPTION, ...TRANSFER_OPTIONS },
    aliases: TRANSFER_ALIASES,
    positional: positional('from', 'to'),
  },
  async func(
    this: Context,
    { jobs, platform, ...options }: TransferOptions & Jobs & Platform,
    from: string,
    to: string,
  ) {
    const origin = taggedTarget(from);
    const target = taggedTarget(to);
    const { env } = process;
    const { sourceEnv, targetEnv } = environmentsOfCopy(origin, target, env);
    const advice = 'The registry keeps for a day what it has. Run the same command again to continue.';
    await transfer(this, options, advice, async ({ signal, listen, note }) => {
      const image = `registry:${origin.origin}/${nameOf(origin).slice(origin.host.length + 1)}`;
      const source = await openSource(image, {
        compression: 'gzip',
        signal,
        report: note,
        platform,
        env: sourceEnv,
      });
      return disposing([source], () =>
        pushImage({
          source,
          target,
          credentials: () => credentialsFor(target, targetEnv),
          mountFrom: origin.origin === target.origin ? origin.repository : null,
          jobs,
          signal,
          listen,
          env,
        }),
      );
    });
  },
});

// `longshore promote`: an image of one repository appears in another, with everything that belongs to it.
import { buildCommand } from '@stricli/core';
import { type Context, DRY_RUN, JSON_OPTION, texts, URL_OPTION, type Url } from './command.ts';
import { CommandFailure, EXIT } from './failure.ts';
import { bytesText, countText } from './progress/format.ts';
import { repositoryTarget } from './repository-target.ts';

interface Flags extends Url {
  attest: boolean;
  dryRun: boolean;
  json: boolean;
  tag: string[] | undefined;
}

type Target = ReturnType<typeof repositoryTarget>;

export const promote = buildCommand({
  docs: {
    brief: 'Promote an image to another repository, without copying its layers',
    fullDescription: `Promote an image to another repository of the registry, without copying its layers.

  longshore promote dev/api:sha-abc prod/api:1.4.2 --tag 1.4 --tag latest

Children, referrers and signatures come along. It needs pull on the source and push on the target, where the policies of the target hold.
All tags appear at once, at the end. A promotion that was interrupted can be repeated.`,
  },
  parameters: {
    flags: {
      tag: texts('Another tag in the target', 'tag'),
      attest: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Attach a statement of who promoted what, and when',
      },
      dryRun: DRY_RUN,
      json: JSON_OPTION,
      url: URL_OPTION,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'The image', placeholder: 'repository:tag|@digest', parse: repositoryTarget },
        { brief: 'Where it is to appear', placeholder: 'repository:tag', parse: repositoryTarget },
      ],
    },
  },
  async func(
    this: Context,
    { attest, dryRun, json, url, tag: others = [] }: Flags,
    source: Target,
    target: Target,
  ) {
    const reference = source.digest === null ? source.tag : source.digest;
    if (reference === null)
      throw new CommandFailure(
        `Say what to promote from ${source.name}: ${source.name}:TAG or ${source.name}@DIGEST.`,
        EXIT.usage,
      );
    if (target.tag === null)
      throw new CommandFailure(
        `Say the tag that the image gets in ${target.name}: ${target.name}:TAG.`,
        EXIT.usage,
      );
    const client = this.connect(url);
    const from = `${source.name}${source.digest === null ? ':' : '@'}${reference}`;
    const body = { from, tags: [target.tag, ...others], attest, dryRun };
    let step: { digest?: string } = {};
    let linked = 0;
    for (;;) {
      const { data } = await client.POST('/repositories/{name}/promotions', {
        params: { path: { name: target.name } },
        body: { ...body, ...step },
      });
      if (data === undefined) throw new CommandFailure('The answer of the registry is not complete.');
      linked += data.blobs.linked;
      if (data.state === 'running') {
        step = { digest: data.digest };
        continue;
      }
      const answer = { ...data, blobs: { ...data.blobs, linked } };
      this.print(json ? `${JSON.stringify(answer)}\n` : textOf(answer, target.name));
      return;
    }
  },
});

interface Answer {
  dryRun: boolean;
  from: string;
  digest: string;
  tags: { tag: string; digest: string; before: string | null }[];
  manifests: { total: number; copied: number };
  blobs: { total: number; linked: number; remaining: number };
  bytes: number;
  leftOut: { what: string; why: keyof typeof WHY }[];
  attestation: string | null;
}

function textOf(answer: Answer, target: string): string {
  const { dryRun, from, digest, tags, manifests, blobs, bytes, leftOut, attestation } = answer;
  const isNew = tags.some(({ before }) => before !== digest);
  const links = dryRun ? blobs.remaining : blobs.linked;
  return [
    isNew || manifests.copied > 0
      ? `${dryRun ? 'This would promote' : 'Promoted'} ${from} to ${target}:\n`
      : `${target} has ${from} already:\n`,
    ...tags.map(
      ({ tag, before }) => `  ${tag}${before === null || before === digest ? '' : `  was ${before}`}\n`,
    ),
    `  ${digest}\n`,
    `${countText(manifests.copied, 'manifest')} of ${manifests.total} copied, ${countText(links, 'blob')} of ${blobs.total} linked: none of ${bytesText(bytes)} copied.\n`,
    ...(attestation === null ? [] : [`Attestation: ${attestation}\n`]),
    ...(leftOut.length === 0 ? [] : ['Not promoted:\n']),
    ...leftOut.map(({ what, why }) => `  ${what}  ${WHY[why]}\n`),
  ].join('');
}

const WHY = {
  'referrers over the limit': 'it has more referrers than a promotion copies',
  'tag is there': 'the target has this tag, with another digest',
  'tag not covered': 'your access does not cover this tag',
  'referrers not covered':
    'the target has it for other tags too, and your access covers only some: no referrers',
};

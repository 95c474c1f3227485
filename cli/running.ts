// `longshore running`: reports the images that a host runs. It reads them from standard input.
import { text as textOf } from 'node:stream/consumers';
import { buildCommand } from '@stricli/core';
import { type Context, JSON_OPTION, positional, URL_OPTION, type Url } from './command.ts';

/** As many as one report may have, and less than fits its body. */
const IMAGES_AT_ONCE = 300;

export const running = buildCommand({
  docs: {
    brief: 'Report the images that a cluster or a host runs',
    fullDescription: `Report the images that a cluster or a host runs, so that the rule "running" keeps them. Reads one image a line from standard
input, as host/repository@sha256:... A report counts for three days (docs/retention.md).`,
  },
  parameters: { flags: { json: JSON_OPTION, url: URL_OPTION }, positional: positional('source') },
  async func(this: Context, { json, url }: { json: boolean } & Url, source: string) {
    const lines = (await textOf(process.stdin)).split(/\s+/).filter((line) => line.includes('@'));
    const images = [...new Set(lines)];
    const client = this.connect(url);
    const total = { recorded: 0, ignored: 0 };
    for (let at = 0; at < images.length; at += IMAGES_AT_ONCE) {
      const body = { source, images: images.slice(at, at + IMAGES_AT_ONCE) };
      const { data } = await client.POST('/running', { params: { path: {} }, body });
      total.recorded += data?.recorded ?? 0;
      total.ignored += data?.ignored ?? 0;
    }
    this.print(
      json ? `${JSON.stringify(total)}\n` : `${total.recorded} recorded, ${total.ignored} ignored\n`,
    );
  },
});

// `longshore whoami`: whose credentials are used.
import { buildCommand } from '@stricli/core';
import { textIn } from './client.ts';
import { type Context, URL_OPTION, type Url } from './command.ts';

export const whoami = buildCommand({
  docs: { brief: 'Print the subject that the credentials belong to' },
  parameters: { flags: { url: URL_OPTION } },
  async func(this: Context, { url }: Url) {
    const { data } = await this.connect(url).GET('/me', { params: { path: {} } });
    this.print(`${textIn(data?.subject)}${data?.admin ? ' (admin)' : ''}\n`);
  },
});

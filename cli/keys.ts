// `longshore keys`: the keys that the registry signs tokens with.
import { buildCommand, buildRouteMap } from '@stricli/core';
import { done } from './client.ts';
import { type Context, URL_OPTION, type Url } from './command.ts';

const rotate = buildCommand({
  docs: { brief: 'Sign tokens with a new key' },
  parameters: {
    flags: {
      dropOld: {
        kind: 'boolean',
        optional: true,
        withNegated: false,
        brief: 'Refuse all earlier tokens: use it when a key may have leaked',
      },
      url: URL_OPTION,
    },
  },
  async func(this: Context, { dropOld = undefined, url }: { dropOld: boolean | undefined } & Url) {
    const body = { dropOld: dropOld === true };
    await done(this.connect(url).POST('/keys/rotate', { params: { path: {} }, body }));
  },
});

export const keys = buildRouteMap({
  routes: { rotate },
  docs: { brief: 'Keys that the registry signs tokens with' },
});

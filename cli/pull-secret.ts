// `longshore pull-secret`: credentials for Kubernetes.
import { buildCommand, buildRouteMap } from '@stricli/core';
import { textIn } from './client.ts';
import {
  type Context,
  EXPIRES_OPTION,
  given,
  positional,
  text,
  texts,
  URL_OPTION,
  type Url,
} from './command.ts';

interface Options {
  repositories: string[] | undefined;
  namespace: string | undefined;
  secretName: string | undefined;
  expires: number | undefined;
}

const add = buildCommand({
  docs: {
    brief: 'Create a robot that may pull, and print its Kubernetes Secret',
    fullDescription:
      'Create a robot that may pull, and print its Kubernetes Secret, for "kubectl apply -f -".',
  },
  parameters: {
    flags: {
      repositories: texts('Repositories that it may pull, as a pattern', 'pattern'),
      namespace: text('Namespace of the Secret', 'namespace'),
      secretName: text('Name of the Secret', 'name'),
      expires: EXPIRES_OPTION,
      url: URL_OPTION,
    },
    positional: positional('name'),
  },
  async func(this: Context, options: Options & Url, name: string) {
    const { repositories = [], namespace, secretName, expires: expiresIn, url } = options;
    const { data } = await this.connect(url).POST('/pull-secrets', {
      params: { path: {} },
      body: { name, repositories, ...given({ namespace, secretName, expiresIn }) },
      headers: { Accept: 'application/yaml' },
      parseAs: 'text',
    });
    this.print(textIn(data));
  },
});

export const pullSecret = buildRouteMap({
  routes: { add },
  docs: { brief: 'Credentials for Kubernetes' },
});

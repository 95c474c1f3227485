// The clients that push by copying a layout to the registry, and pull by copying it from there to another one.
import { client, needs } from './client.ts';
import { type Layout, writeLayout } from './layout.ts';
import {
  type Login,
  type LoginClient,
  OWN_WORDS,
  type Person,
  type Refusals,
  SWALLOWED_AT_LOGIN,
} from './login.ts';
import type { Scene } from './registry.ts';

export function skopeo(): LoginClient {
  return copying('skopeo', {
    first: ['--insecure-policy'],
    says: SWALLOWED_AT_LOGIN,
    login: ({ name }, host) => ['login', '--tls-verify=false', '-u', name, '--password-stdin', host],
    logout: (host) => ['logout', host],
    push: (layout, to) => ['copy', '--dest-tls-verify=false', `oci:${layout}:latest`, `docker://${to}`],
    pull: (layout, from) => ['copy', '--src-tls-verify=false', `docker://${from}`, `oci:${layout}:latest`],
  });
}

export function skopeoWithCredentials(): LoginClient {
  const credentials = (side: string, { login }: Person) =>
    login === null ? [] : [`--${side}-creds`, `${login.name}:${login.password}`];
  const copy = ['copy', '--dest-tls-verify=false', '--src-tls-verify=false'];
  return copying(
    'skopeo',
    {
      first: ['--insecure-policy'],
      login: null,
      logout: null,
      push: (layout, to, person) => [
        ...[...copy, ...credentials('dest', person)],
        ...[`oci:${layout}:latest`, `docker://${to}`],
      ],
      pull: (layout, from, person) => [
        ...[...copy, ...credentials('src', person)],
        ...[`docker://${from}`, `oci:${layout}:latest`],
      ],
    },
    'skopeo copy --creds',
  );
}

export function crane(): LoginClient {
  return copying('crane', {
    first: ['--insecure'],
    // It stores the credentials and does not ask the registry.
    checksAtLogin: false,
    login: ({ name }, host) => ['auth', 'login', host, '-u', name, '--password-stdin'],
    logout: (host) => ['auth', 'logout', host],
    push: (layout, to) => ['push', layout, to],
    pull: (layout, from) => ['pull', '--format', 'oci', from, layout],
  });
}

export function oras(): LoginClient {
  return copying('oras', {
    login: ({ name }, host) => ['login', '--plain-http', '-u', name, '--password-stdin', host],
    logout: (host) => ['logout', host],
    push: (layout, to) => ['copy', '--from-oci-layout', `${layout}:latest`, '--to-plain-http', to],
    pull: (layout, from) => ['copy', '--from-plain-http', from, '--to-oci-layout', `${layout}:latest`],
  });
}

export function regctl(): LoginClient {
  const swallowed = /: unauthorized$/;
  return copying('regctl', {
    // Of what is refused it tells no more than that.
    says: {
      wrong: swallowed,
      expired: swallowed,
      reader: swallowed,
      anonymousPush: swallowed,
      anonymousPull: swallowed,
    },
    prepare: (host) => ['registry', 'set', '--skip-check', '--tls', 'disabled', host],
    login: ({ name }, host) => ['registry', 'login', '-u', name, '--pass-stdin', host],
    logout: (host) => ['registry', 'logout', host],
    push: (layout, to) => ['image', 'copy', `ocidir://${layout}:latest`, to],
    pull: (layout, from) => ['image', 'copy', from, `ocidir://${layout}:latest`],
  });
}

/** Clients that copy a layout to the registry, and from there to another one. */
function copying(
  name: string,
  commands: {
    first?: string[];
    says?: Partial<Refusals>;
    checksAtLogin?: boolean;
    login: ((login: Login, host: string) => string[]) | null;
    logout: ((host: string) => string[]) | null;
    push(layout: string, reference: string, person: Person): string[];
    pull(layout: string, reference: string, person: Person): string[];
    /** What a new home needs. */
    prepare?: (host: string) => string[];
  },
  title = name,
): LoginClient {
  let here: Scene;
  let layout: Layout;
  const { login, logout, first = [] } = commands;
  const as = async ({ home }: Person, args: string[], input = '') => {
    if (commands.prepare !== undefined) await client(name, home)(commands.prepare(here.host));
    return client(name, home, first)(args, { input });
  };
  return {
    name: title,
    options: needs(name),
    says: { ...OWN_WORDS, ...commands.says },
    asksWith: ['GET'],
    checksAtLogin: commands.checksAtLogin ?? login !== null,
    start: async (scene) => {
      here = scene;
      layout = await writeLayout(await scene.fresh(name));
    },
    login: login && ((person, shown) => as(person, login(shown, here.host), shown.password)),
    logout: logout && ((person) => as(person, logout(here.host))),
    push: (person, repository) => as(person, commands.push(layout.path, `${repository}:latest`, person)),
    pull: async (person, repository) =>
      as(person, commands.pull(await here.fresh('pulled'), `${repository}:latest`, person)),
  };
}

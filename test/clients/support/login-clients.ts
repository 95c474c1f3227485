// How each client logs in and out, pushes and pulls: with a home of its own for every login, so that no credentials are left
// from another one.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, client, environment, needs } from './client.ts';
import { startContainerd } from './containerd.ts';
import { startDocker } from './docker.ts';
import { noise, writeLayout } from './layout.ts';
import { type LoginClient, OWN_WORDS, type Person, SWALLOWED_AT_LOGIN } from './login.ts';
import { crane, oras, regctl, skopeo, skopeoWithCredentials } from './login-copies.ts';
import { podmanStorage, type Scene } from './registry.ts';

export function loginClients(): LoginClient[] {
  return [docker(), podman(), skopeo(), skopeoWithCredentials(), crane(), oras(), helm(), regctl(), ctr()];
}

function docker(): LoginClient {
  let run: Client;
  let here: Scene;
  const as = ({ home }: Person, args: string[], input = '') =>
    run(args, { cwd: home, env: environment(home), input });
  return {
    name: 'docker',
    options: needs('root', 'docker', 'dockerd'),
    // It puts words of its own into the place of any 401 but that of a login, so as not to tell what is there.
    says: {
      ...OWN_WORDS,
      reader: /denied: requested access to the resource is denied/,
      anonymousPush: /denied: requested access to the resource is denied/,
      anonymousPull: /pull access denied for \S+, repository does not exist or may require 'docker login'/,
    },
    asksWith: ['GET'],
    checksAtLogin: true,
    start: async (scene) => {
      here = scene;
      run = await startDocker(scene);
      const context = await scene.fresh('context');
      await writeFile(join(context, 'file'), noise(1000));
      await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY file /file\n');
      await run(['build', '--tag', 'built', context]);
    },
    login: (person, { name, password }) =>
      as(person, ['login', '--username', name, '--password-stdin', here.host], password),
    logout: (person) => as(person, ['logout', here.host]),
    push: async (person, repository) => {
      await as(person, ['tag', 'built', repository]);
      return as(person, ['push', repository]);
    },
    pull: async (person, repository) => {
      await as(person, ['rmi', '--force', repository]).catch(() => '');
      return as(person, ['pull', repository]);
    },
  };
}

function podman(): LoginClient {
  let here: Scene;
  const as = ({ home }: Person, args: string[], input = '') => {
    const run = client('podman', home, [...podmanStorage(here), '--cgroup-manager', 'cgroupfs']);
    return run(args, { input });
  };
  return {
    name: 'podman',
    options: needs('root', 'podman'),
    says: { ...OWN_WORDS, ...SWALLOWED_AT_LOGIN },
    asksWith: ['GET'],
    checksAtLogin: true,
    start: async (scene) => {
      here = scene;
      const context = await scene.fresh('context');
      await writeFile(join(context, 'file'), noise(1000));
      await writeFile(join(context, 'Containerfile'), 'FROM scratch\nCOPY file /file\n');
      const build = ['build', '--isolation', 'chroot', '--tag', 'localhost/built', context];
      await as({ home: scene.home, login: null }, build);
    },
    login: (person, { name, password }) =>
      as(person, ['login', '--tls-verify=false', '-u', name, '--password-stdin', here.host], password),
    logout: (person) => as(person, ['logout', here.host]),
    push: (person, repository) => as(person, ['push', '--tls-verify=false', 'localhost/built', repository]),
    pull: (person, repository) => as(person, ['pull', '--tls-verify=false', repository]),
  };
}

/** Charts: `charts/harbour` stands below the repository. */
function helm(): LoginClient {
  let here: Scene;
  let packed = '';
  const as = ({ home }: Person, args: string[], input = '') => client('helm', home)(args, { input });
  return {
    name: 'helm',
    options: needs('helm'),
    says: OWN_WORDS,
    asksWith: ['POST', 'GET'],
    checksAtLogin: true,
    start: async (scene) => {
      here = scene;
      const chart = join(await scene.fresh('chart'), 'harbour');
      await mkdir(chart);
      await writeFile(join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: harbour\nversion: 1.2.3\n');
      await client('helm', scene.home)(['package', chart, '--destination', scene.home]);
      packed = scene.path('harbour-1.2.3.tgz');
    },
    login: (person, { name, password }) =>
      as(person, ['registry', 'login', '--plain-http', '-u', name, '--password-stdin', here.host], password),
    logout: (person) => as(person, ['registry', 'logout', here.host]),
    push: (person, repository) => as(person, ['push', '--plain-http', packed, `oci://${repository}`]),
    pull: async (person, repository) =>
      as(person, [
        ...['pull', '--plain-http', `oci://${repository}/harbour`, '--version', '1.2.3'],
        ...['--destination', await here.fresh('pulled')],
      ]),
  };
}

/** Asks for tokens with POST. It keeps no credentials. */
function ctr(): LoginClient {
  let here: Scene;
  let run: Client;
  const credentials = ({ login }: Person) =>
    login === null ? [] : ['--user', `${login.name}:${login.password}`];
  return {
    name: 'ctr',
    options: needs('root', 'containerd', 'ctr'),
    // It reads the status of a refusal, and not its words.
    says: {
      wrong: /failed to fetch oauth token: unexpected status from GET request to \S+: 401 Unauthorized/,
      expired: /failed to fetch oauth token: unexpected status from GET request to \S+: 401 Unauthorized/,
      reader:
        /push access denied, repository does not exist or may require authorization: .*insufficient_scope/,
      anonymousPush:
        /push access denied, repository does not exist or may require authorization: .*insufficient_scope/,
      anonymousPull:
        /pull access denied, repository does not exist or may require authorization: .*insufficient_scope/,
    },
    asksWith: ['POST'],
    checksAtLogin: false,
    start: async (scene) => {
      here = scene;
      run = await startContainerd(scene);
      const { path } = await writeLayout(await scene.fresh('ctr'));
      await client('tar', here.home)(['-cf', `${path}.tar`, '-C', path, '.']);
      await run([
        ...['images', 'import', '--all-platforms', '--no-unpack'],
        ...['--base-name', 'localhost/built', `${path}.tar`],
      ]);
    },
    login: null,
    logout: null,
    push: (person, repository) =>
      run([
        ...['images', 'push', '--plain-http', ...credentials(person)],
        ...[`${repository}:latest`, 'localhost/built:latest'],
      ]),
    pull: (person, repository) =>
      run([
        'content',
        'fetch',
        '--plain-http',
        '--all-platforms',
        ...credentials(person),
        `${repository}:latest`,
      ]),
  };
}

// How docker and podman are found: addresses, contexts, certificates.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openSource } from '../../cli/transfer/open-source.ts';
import { noise } from '../clients/support/layout.ts';
import { classicEntries, layerTar, readSource } from './support/images.ts';
import { archive } from './support/tar.ts';

const IMAGE = archive(...classicEntries([layerTar(noise(1000))]));

let folder: string;
const servers: Server[] = [];

/** What an engine with one image answers. */
const engine: RequestListener = ({ url = '' }, response) => {
  if (url === '/images/app%3A1/json') return response.end('{"Id":"sha256:1"}');
  if (url === '/images/app%3A1/get') return response.end(IMAGE);
  response.statusCode = 404;
  response.end('{"message":"No such image"}');
};

async function listen(server: Server, ...address: [string] | [number, string]): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(...(address as [number, string]), resolve));
  return (server.address() as AddressInfo).port;
}

async function listenAt(path: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await listen(createServer(engine), path);
  return path;
}

/** A context of docker, in the folder of its settings. */
async function writeContext(settings: string, name: string, host: string, pems: Record<string, string> = {}) {
  const id = createHash('sha256').update(name).digest('hex');
  await mkdir(join(settings, 'contexts/meta', id), { recursive: true });
  const meta = { Name: name, Metadata: {}, Endpoints: { docker: { Host: host, SkipTLSVerify: false } } };
  await writeFile(join(settings, 'contexts/meta', id, 'meta.json'), JSON.stringify(meta));
  await mkdir(join(settings, 'contexts/tls', id, 'docker'), { recursive: true });
  for (const [file, path] of Object.entries(pems)) {
    await writeFile(join(settings, 'contexts/tls', id, 'docker', file), await readFile(path));
  }
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longshore-engine-'));
});
after(async () => {
  for (const server of servers) server.close();
  await rm(folder, { recursive: true, force: true });
});

async function found(image: string, env: NodeJS.ProcessEnv): Promise<string> {
  const source = await openSource(image, {
    compression: 'gzip',
    report: () => {},
    env: { HOME: join(folder, 'home'), XDG_STATE_HOME: folder, TMPDIR: folder, ...env },
  });
  try {
    return (await readSource(source)).name;
  } finally {
    await source[Symbol.asyncDispose]();
  }
}

const DOCKER = 'the image app:1 of docker';
const PODMAN = 'the image app:1 of podman';

describe('an image in docker', () => {
  it('an image in docker is found at a socket that DOCKER_HOST names', async () => {
    const path = await listenAt(join(folder, 'one.sock'));
    assert.equal(await found('app:1', { DOCKER_HOST: `unix://${path}` }), DOCKER);
  });

  it('an image in docker is found at a port that DOCKER_HOST names', async () => {
    const port = await listen(createServer(engine), 0, '127.0.0.1');
    assert.equal(await found('docker:app:1', { DOCKER_HOST: `tcp://127.0.0.1:${port}` }), DOCKER);
  });

  it('an image in docker is found by the current context, and by DOCKER_CONTEXT', async () => {
    const settings = join(folder, 'context');
    const path = await listenAt(join(folder, 'two.sock'));
    await writeContext(settings, 'rootless', `unix://${path}`);
    await writeFile(join(settings, 'config.json'), '{"currentContext":"rootless"}');
    assert.equal(await found('app:1', { DOCKER_CONFIG: settings }), DOCKER);
    await writeFile(join(settings, 'config.json'), '{}');
    assert.equal(await found('app:1', { DOCKER_CONFIG: settings, DOCKER_CONTEXT: 'rootless' }), DOCKER);
  });

  it('an image in docker is found by TLS with certificates of both sides, of DOCKER_CERT_PATH or of a context', async () => {
    const pem = (name: string) => join(folder, name);
    const make = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
    const names = ['-addext', 'subjectAltName=IP:127.0.0.1'];
    execFileSync('openssl', [...make, ...names, '-keyout', pem('key.pem'), '-out', pem('cert.pem')], {
      stdio: 'pipe',
    });
    await writeFile(pem('ca.pem'), await readFile(pem('cert.pem')));
    const [key, cert] = [await readFile(pem('key.pem')), await readFile(pem('cert.pem'))];
    const server = createSecureServer(
      { key, cert, ca: cert, requestCert: true, rejectUnauthorized: true },
      engine,
    );
    const port = await listen(server, 0, '127.0.0.1');
    const host = `tcp://127.0.0.1:${port}`;
    assert.equal(
      await found('app:1', { DOCKER_HOST: host, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: folder }),
      DOCKER,
    );
    const settings = join(folder, 'secure');
    await writeContext(settings, 'far', host, {
      'ca.pem': pem('ca.pem'),
      'cert.pem': pem('cert.pem'),
      'key.pem': pem('key.pem'),
    });
    assert.equal(await found('app:1', { DOCKER_CONFIG: settings, DOCKER_CONTEXT: 'far' }), DOCKER);
    // Without the certificate of the client, the server closes the connection.
    await assert.rejects(
      found('docker:app:1', { DOCKER_HOST: host, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: settings }),
      /docker at tcp:.* cannot be asked/,
    );
  });

  it('an image in docker is looked for in podman after docker', async () => {
    const path = await listenAt(join(folder, 'run/podman/podman.sock'));
    const nowhere = { DOCKER_HOST: `unix://${folder}/none.sock` };
    assert.equal(await found('app:1', { ...nowhere, XDG_RUNTIME_DIR: join(folder, 'run') }), PODMAN);
    assert.equal(await found('podman:app:1', { CONTAINER_HOST: `unix://${path}` }), PODMAN);
  });

  it('an image in docker is found although a folder and a program have its name', async () => {
    const path = await listenAt(join(folder, 'three.sock'));
    const image = createServer(({ url = '' }, response) => {
      if (url.endsWith('/json')) response.end('{"Id":"sha256:1"}');
      else response.end(IMAGE);
    });
    const port = await listen(image, 0, '127.0.0.1');
    const here = process.cwd();
    const project = join(folder, 'project');
    await mkdir(join(project, 'source'), { recursive: true });
    await writeFile(join(project, 'program'), `\x7fELF${'\0'.repeat(1000)}`);
    await writeFile(join(project, 'saved'), IMAGE);
    process.chdir(project);
    try {
      for (const name of ['source', 'program']) {
        assert.equal(
          await found(name, { DOCKER_HOST: `tcp://127.0.0.1:${port}` }),
          `the image ${name}:latest of docker`,
        );
      }
      assert.equal(await found('saved', { DOCKER_HOST: `unix://${path}` }), 'the archive saved');
    } finally {
      process.chdir(here);
    }
  });
});

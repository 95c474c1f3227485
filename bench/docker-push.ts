/** docker's own push, of an image that a daemon of its own has built before. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startDocker, startDockerOnContainerd } from '../test/clients/support/docker.ts';
import { noise } from '../test/clients/support/layout.ts';
import { Scene } from '../test/clients/support/registry.ts';

export type DockerStore = 'classic' | 'containerd';

export interface BuiltImage {
  push(): Promise<void>;
  /** Ends the daemon. */
  stop(): Promise<void>;
}

/** Builds an image with a layer for each size, and names it `reference`. */
export async function buildInDocker(
  store: DockerStore,
  layerBytes: readonly number[],
  reference: string,
): Promise<BuiltImage> {
  const here = new Scene();
  try {
    await here.open('bench-docker', null);
    const docker = await (store === 'classic' ? startDocker(here) : startDockerOnContainerd(here));
    const context = await here.fresh('context');
    const lines = ['FROM scratch'];
    for (const [index, bytes] of layerBytes.entries()) {
      await writeFile(join(context, `file-${index}`), noise(bytes));
      lines.push(`COPY file-${index} /file-${index}`);
    }
    await writeFile(join(context, 'Dockerfile'), lines.join('\n'));
    await docker(['build', '--quiet', '--tag', reference, context], { env: { DOCKER_BUILDKIT: '0' } });
    return {
      push: async () => void (await docker(['push', '--quiet', reference])),
      stop: () => here.close(),
    };
  } catch (error) {
    await here.close();
    throw error;
  }
}

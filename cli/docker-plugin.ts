// `docker longshore ...`: the command as a plugin of Docker's command. Docker docs, "Docker CLI plugins": Docker starts
// `docker-longshore docker-cli-plugin-metadata` to learn what it is, and then `docker-longshore longshore ...`.
import { chmodSync, copyFileSync, mkdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { buildCommand } from '@stricli/core';
import type { Context } from './command.ts';
import { CommandFailure } from './failure.ts';
import { VERSION } from './version.ts';

const PLUGIN = 'docker-longshore';
/** The one file of the packed command. */
const PACKED = 'longshore.cjs';

export const dockerCliPluginMetadata = buildCommand({
  docs: { brief: 'Describe the command to Docker' },
  parameters: {},
  func(this: Context) {
    const metadata = {
      SchemaVersion: '0.1.0',
      Vendor: 'Longshore',
      Version: VERSION,
      ShortDescription: 'Push images of any size to a Longshore registry',
    };
    this.print(`${JSON.stringify(metadata)}\n`);
  },
});

export const installDockerPlugin = buildCommand({
  docs: {
    brief: 'Add "docker longshore" to the docker command',
    fullDescription:
      'Add "docker longshore" to the docker command: a small launcher in ~/.docker/cli-plugins (or in DOCKER_CONFIG), and a copy of this command in ~/.local/share/longshore. Run it again to update the copy.',
  },
  parameters: {},
  func(this: Context) {
    if (process.platform === 'win32')
      throw new CommandFailure(
        'Docker on Windows starts only plugins that are .exe files, and this command is not one.\nUse it as: npx https://HOST/cli.tgz push ...',
      );
    const { env } = process;
    const home = env.HOME || homedir();
    const folder = join(env.DOCKER_CONFIG || join(home, '.docker'), 'cli-plugins');
    const path = join(folder, PLUGIN);
    try {
      const program = kept(join(env.XDG_DATA_HOME || join(home, '.local/share'), 'longshore'));
      mkdirSync(folder, { recursive: true });
      replace(path, (written) => writeFileSync(written, launcher(process.execPath, program)));
    } catch (error) {
      const { code, path: where } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      throw new CommandFailure(
        `The plugin cannot be written: ${code} at ${where ?? path}.\nCheck that this folder is yours.`,
      );
    }
    this.print(`${path}\n`);
  },
});

/** The path of this command, where it stays: npx may delete its own copy at any time. */
function kept(folder: string): string {
  const running = realpathSync(process.argv[1] ?? '');
  if (basename(running) !== PACKED) return running;
  const path = join(folder, PACKED);
  if (running === path) return path;
  mkdirSync(folder, { recursive: true });
  replace(path, (written) => copyFileSync(running, written));
  return path;
}

function replace(path: string, write: (written: string) => void): void {
  const written = `${path}.${process.pid}`;
  write(written);
  chmodSync(written, 0o755);
  renameSync(written, path);
}

/** Docker's own options come before the name of the plugin. Of these the command needs the daemon's address. */
function launcher(node: string, program: string): string {
  return `#!/bin/sh
# Written by: longshore install-docker-plugin
if [ "$1" != docker-cli-plugin-metadata ]; then
  while [ $# -gt 0 ] && [ "$1" != longshore ]; do
    case $1 in
      -H | --host) export DOCKER_HOST="$2" ;;
      --host=*) export DOCKER_HOST="\${1#--host=}" ;;
    esac
    shift
  done
  shift
fi
exec ${quoted(node)} ${quoted(program)} "$@"
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

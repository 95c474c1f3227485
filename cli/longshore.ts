#!/usr/bin/env node
// `longshore`: manages a registry from the shell, over its management API. On standard output it prints only the result, so
// that a secret can be piped to where it is needed.
import './young-generation.ts';
import { buildApplication, buildRouteMap, run, type StricliProcess, text_en } from '@stricli/core';
import { printableLines } from '../worker/oci/printable.ts';
import { abandonedUploads } from './abandoned-uploads.ts';
import { audit } from './audit.ts';
import { check } from './check.ts';
import { watchOutputs } from './closed-output.ts';
import { CONTEXT } from './command.ts';
import { copy } from './copy.ts';
import { purge, restore, rm, trash } from './deletions.ts';
import { dockerCliPluginMetadata, installDockerPlugin } from './docker-plugin.ts';
import { doctor } from './doctor.ts';
import { explain } from './explain.ts';
import { CommandFailure, EXIT } from './failure.ts';
import { diff, log } from './history.ts';
import { keys } from './keys.ts';
import { lifecycle } from './lifecycle.ts';
import { plan } from './plan.ts';
import { policy } from './policy.ts';
import { promote } from './promote.ts';
import { proxy } from './proxy.ts';
import { exportImage, pull } from './pull.ts';
import { pullSecret } from './pull-secret.ts';
import { push } from './push.ts';
import { retention } from './retention.ts';
import { rule } from './rule.ts';
import { running } from './running.ts';
import { token } from './token.ts';
import { trust } from './trust.ts';
import { usage } from './usage.ts';
import { user } from './user.ts';
import { VERSION } from './version.ts';
import { whoami } from './whoami.ts';

const root = buildRouteMap({
  routes: {
    push,
    pull,
    copy,
    export: exportImage,
    promote,
    proxy,
    doctor,
    check,
    log,
    diff,
    rm,
    trash,
    restore,
    purge,
    usage,
    user,
    token,
    rule,
    policy,
    lifecycle,
    retention,
    plan,
    running,
    trust,
    pullSecret,
    keys,
    audit,
    explain,
    whoami,
    abandonedUploads,
    installDockerPlugin,
    dockerCliPluginMetadata,
  },
  docs: {
    // Only Docker calls it.
    hideRoute: { dockerCliPluginMetadata: true },
    brief: 'Push images of any size, and manage a Longshore registry',
    fullDescription: `Push images of any size, and manage a Longshore registry.

push, pull, copy and export move images, and promote shows one in another repository. log, diff, rm, trash, restore, usage and purge
are about what a repository holds and held. The other commands manage a registry.

The command finds the registry by --url or LONGSHORE_URL, else at http://localhost:8787.
It logs in with LONGSHORE_USER and LONGSHORE_PASSWORD (a password or a token). For a registry on this machine it can also log
in as admin, with ADMIN_PASSWORD or the password that npm start saved in STATE_DIR.`,
  },
});

const application = buildApplication(root, {
  name: 'longshore',
  versionInfo: { currentVersion: VERSION },
  determineExitCode: (error) => (error instanceof CommandFailure ? error.exitCode : EXIT.failed),
  scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
  documentation: { caseStyle: 'convert-camel-to-kebab', disableAnsiColor: true },
  localization: {
    text: {
      ...text_en,
      exceptionWhileParsingArguments: (error) =>
        `${error instanceof Error ? error.message : error}\nAdd --help to see how the command is used.`,
      exceptionWhileRunningCommand: messageOf,
      noCommandRegisteredForInput: ({ input, corrections }) =>
        `There is no command ${input}.${corrections.map((name) => ` Did you mean ${name}?`).join('')}\nAdd --help to see the commands.`,
    },
  },
});

const shell: StricliProcess = {
  stdout: process.stdout,
  stderr: { write: (text) => process.stderr.write(printableLines(text)) },
  env: process.env,
};
watchOutputs();
// Without a top-level await, because the package of the command is CommonJS.
run(application, process.argv.slice(2), { ...CONTEXT, process: shell }).finally(() => {
  process.exitCode = exitCodeOf(shell.exitCode);
});

function messageOf(error: unknown): string {
  if (error instanceof CommandFailure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Stricli has codes of its own for arguments that it cannot read (-4) and commands that it does not know (-5). */
function exitCodeOf(code: unknown): number {
  if (typeof code !== 'number') return 0;
  if (code >= 0) return code;
  return code <= -4 ? EXIT.usage : EXIT.failed;
}

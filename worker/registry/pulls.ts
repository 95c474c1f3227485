/**
 * Pulls that are answered from a cache. The repository does not see them, so they are reported to it: at most one in an hour of each tag
 * or digest and isolate, after the answer.
 */
import { waitUntil } from 'cloudflare:workers';
import type { Env } from '../env.ts';
import { hasRepository, repositoryOf } from '../stubs.ts';

const REPORTED_APART_MS = 3600 * 1000;
/** Tags and digests that an isolate remembers. If there are more, some are reported again. */
const REMEMBERED_MAX = 20_000;

/** Repository and reference -> when the repository last heard of a pull (Unix time, ms). */
const heard = new Map<string, number>();

/** The repository was asked, and records the pull itself. */
export function pullKnown(repository: string, reference: string): void {
  if (heard.size >= REMEMBERED_MAX) heard.clear();
  heard.set(`${repository} ${reference}`, Date.now());
}

/** Reports a pull, unless the repository has heard of one within the hour. If it fails, the next hour reports again. */
export function reportPull(env: Env, repository: string, reference: string): void {
  const last = heard.get(`${repository} ${reference}`);
  const now = Date.now();
  if (last !== undefined && last <= now && now < last + REPORTED_APART_MS) return;
  pullKnown(repository, reference);
  waitUntil(
    report(env, repository, reference).catch((error: unknown) => {
      console.error('a repository could not be told of a pull', error);
    }),
  );
}

async function report(env: Env, repository: string, reference: string): Promise<void> {
  if (await hasRepository(env, repository)) await repositoryOf(env, repository).pulled([reference]);
}

// What rows do with a list of referrers: get all of its pages, and compare it as a set.

import assert from 'node:assert/strict';
import { type Descriptor, imageManifest } from '../support/fixtures.ts';
import { type Answer, declineOn, expectEqual, expectStatus } from './answer.ts';
import type { Registry } from './registry.ts';
import type { Repository } from './repository.ts';

/** All pages of a list of referrers; declined where the registry has no such API. */
export async function listed(
  repository: Repository,
  of: string,
  artifactType?: string,
): Promise<Descriptor[]> {
  const first = await repository.referrers(of, artifactType);
  declineOn(first, [404], 'the referrers API');
  const found = descriptorsOf(first);
  let next = first.nextPage();
  for (let page = 0; next !== undefined; page += 1) {
    assert.ok(page < 200, 'the Links never end');
    const answer = await repository.registry.get(next);
    found.push(...descriptorsOf(answer));
    next = answer.nextPage();
  }
  return found;
}

export async function only(repository: Repository, of: string): Promise<Descriptor> {
  const [found, ...more] = await listed(repository, of);
  assert.ok(found && more.length === 0, `${found ? more.length + 1 : 0} referrers are listed, wanted one`);
  return found;
}

/** A manifest in a repository of a registry that answers to referrers; otherwise the row is declined. */
export async function withSubject(registry: Registry, supported?: 'whether or not it is supported') {
  const repository = registry.repository();
  const subject = imageManifest();
  await repository.pushManifest(subject, 'latest');
  if (!supported) declineOn(await repository.referrers(subject.digest), [404], 'the referrers API');
  return { repository, subject };
}

export function descriptorsOf(answer: Answer): Descriptor[] {
  expectStatus(answer, 200);
  const body = answer.json();
  const list = typeof body === 'object' && body !== null && 'manifests' in body ? body.manifests : undefined;
  assert.ok(Array.isArray(list), `${answer} has no list of manifests`);
  return list as Descriptor[];
}

export function isSet(found: Descriptor[], wanted: { digest: string }[]): void {
  const digests = (list: { digest: string }[]) => list.map(({ digest }) => digest).sort();
  expectEqual(digests(found), digests(wanted), 'the list of digests');
}

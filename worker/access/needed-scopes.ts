/** Which scopes a request needs, for its challenge: an endpoint's own, and that of the source of a mount. */

import type { Need } from '../auth/guard.ts';
import { isRepositoryName } from '../oci/reference.ts';
import type { Scope } from './scope.ts';

const NEEDED = {
  pull: ['pull'],
  push: ['pull', 'push'],
  delete: ['delete'],
} as const;

export function scopesFor(need: Need, name: string | null, url: URL): Scope[] {
  if (need === 'none') return [];
  if (need === 'catalog') return [{ type: 'registry', name: 'catalog', actions: ['*'] }];
  if (name === null) return [];
  const from = url.searchParams.get('from');
  // What is no name at all stands in no challenge: the endpoint refuses it.
  if (
    need === 'push' &&
    from !== null &&
    from !== name &&
    url.searchParams.has('mount') &&
    isRepositoryName(from)
  ) {
    return scopesOfMount(name, from);
  }
  return [{ type: 'repository', name, actions: [...NEEDED[need]] }];
}

export function scopesOfMount(name: string, from: string): Scope[] {
  return [
    { type: 'repository', name, actions: [...NEEDED.push] },
    { type: 'repository', name: from, actions: [...NEEDED.pull] },
  ];
}

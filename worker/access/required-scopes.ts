/** The scopes that a request requires, for its challenge: that of the endpoint, and that of the source of a mount. */

import { isRepositoryName } from '../oci/reference.ts';
import type { RequiredAccess } from './model.ts';
import type { Scope } from './scope.ts';

const REQUIRED_ACTIONS = {
  pull: ['pull'],
  push: ['pull', 'push'],
  delete: ['delete'],
} as const;

export function requiredScopes(required: RequiredAccess, name: string | null, url: URL): Scope[] {
  if (required === 'none') return [];
  if (required === 'catalog') return [{ type: 'registry', name: 'catalog', actions: ['*'] }];
  if (name === null) return [];
  const from = url.searchParams.get('from');
  // The endpoint refuses an invalid name, so no challenge asks for it.
  if (
    required === 'push' &&
    from !== null &&
    from !== name &&
    url.searchParams.has('mount') &&
    isRepositoryName(from)
  ) {
    return scopesOfMount(name, from);
  }
  return [{ type: 'repository', name, actions: [...REQUIRED_ACTIONS[required]] }];
}

export function scopesOfMount(name: string, from: string): Scope[] {
  return [
    { type: 'repository', name, actions: [...REQUIRED_ACTIONS.push] },
    { type: 'repository', name: from, actions: [...REQUIRED_ACTIONS.pull] },
  ];
}

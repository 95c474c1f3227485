/**
 * Scopes of the Docker token specification ("Token Scope Documentation"): `type:name:action,action`. The type ends at
 * the first colon and the actions begin after the last, because names may contain ports.
 */
import { NAME_MAX_LENGTH } from '../oci/limits.ts';

/**
 * Scopes that one token may be asked for, the length of one with its actions, and that of all names together: each name is
 * matched against every rule of the caller.
 */
const SCOPES_MAX = 50;
const SCOPE_MAX_LENGTH = 400;
export const SCOPE_NAMES_MAX_LENGTH = 4096;

export interface Scope {
  type: string;
  name: string;
  actions: string[];
}

const ONE_SCOPE = /^([a-z]+)(?:\([a-z]+\))?:(.+):([a-z*]*(?:,[a-z*]+)*)$/;

/**
 * Parses `scope` parameters, each of which may contain several scopes, separated by spaces. Invalid scopes and those
 * beyond a limit are ignored.
 */
export function parseScopes(texts: string[]): Scope[] {
  const scopes = new Map<string, Scope>();
  let namesLength = 0;
  for (const text of texts.join(' ').split(' ').slice(0, SCOPES_MAX)) {
    if (text.length > SCOPE_MAX_LENGTH) continue;
    const [, type, name, actions] = ONE_SCOPE.exec(text) ?? [];
    if (type === undefined || name === undefined || actions === undefined) continue;
    if (name.length > NAME_MAX_LENGTH) continue;
    const key = `${type}:${name}`;
    const before = scopes.get(key);
    if (before === undefined) namesLength += name.length;
    if (namesLength > SCOPE_NAMES_MAX_LENGTH) break;
    const all = [...(before?.actions ?? []), ...actions.split(',')];
    scopes.set(key, { type, name, actions: [...new Set(all)] });
  }
  return [...scopes.values()].map((scope) => ({ ...scope, actions: scope.actions.filter((a) => a !== '') }));
}

export function formatScope({ type, name, actions }: Scope): string {
  return `${type}:${name}:${actions.join(',')}`;
}

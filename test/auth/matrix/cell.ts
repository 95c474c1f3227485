/** A cell of the matrix: who asks what of which repository in which way, what it must come to, and what it comes to. */
import type { Answer, Visitor } from '../../support/visitor.ts';
import { type Endpoint, SOURCES, type Source, type Target } from './endpoints.ts';
import { type Caller, isMissing, may, type Way } from './model.ts';

export interface Cell {
  caller: Caller;
  way: Way;
  endpoint: Endpoint;
}

/** `200`, or of a refusal `401 insufficient_scope [repository:own/app:pull]`. */
export function wanted({ caller, way, endpoint }: Cell, target: Target): string {
  const { need, mount, want, tags = [] } = endpoint;
  const status = String(want[isMissing(target.kind) ? 1 : 0]);
  const all = scopesOf(endpoint, target.name);
  if (way === 'none') return refusal('no error', all);
  if (need === 'none') return status;
  if (way === 'blank token') return refusal('insufficient_scope', all);
  if (need === 'catalog') return caller.as === 'admin' ? status : refusal('insufficient_scope', all);
  // What was denied is not asked for again with the source of a mount beside it.
  if (!may(caller, target.kind, need)) return refusal('insufficient_scope', all.slice(0, 1));
  if (caller.tags !== null && target.kind !== 'common' && isOther(tags)) return '403';
  if (mount === undefined) return status;
  if (mount.from === 'named, but not asked for' && way === 'token') return refusal('insufficient_scope', all);
  return mount.source !== 'missing' && may(caller, mount.source, 'pull') ? '201' : '202';
}

export async function ask({ way, endpoint }: Cell, target: Target, visitor: Visitor): Promise<Answer> {
  const [method, path, sent] = await endpoint.request(target);
  const isOfAll = endpoint.need === 'none' || endpoint.need === 'catalog';
  const scopes = scopesOf(endpoint, target.name);
  const asked = endpoint.mount?.from === 'named, but not asked for' ? scopes.slice(0, 1) : scopes;
  const authorization =
    way === 'none'
      ? null
      : way === 'basic'
        ? visitor.basic
        : await visitor.bearer(...(way === 'token' ? asked : []));
  return visitor.send(method, isOfAll ? path : `/v2/${target.name}${path}`, { ...sent, authorization });
}

export function found({ status, challenge }: Answer): string {
  if (status !== 401) return String(status);
  return refusal(
    challenge.error ?? 'no error',
    challenge.scope === undefined ? [] : challenge.scope.split(' '),
  );
}

function refusal(error: string, scopes: string[]): string {
  return `401 ${error} [${scopes.join(' ')}]`;
}

/** That of the endpoint, and that of the source of a mount. */
function scopesOf({ need, mount }: Endpoint, name: string): string[] {
  if (need === 'none') return [];
  if (need === 'catalog') return ['registry:catalog:*'];
  const own = `repository:${name}:${need === 'push' ? 'pull,push' : need}`;
  const from: Source | null = mount === undefined || mount.from === 'left out' ? null : mount.source;
  return from === null || SOURCES[from] === name ? [own] : [own, `repository:${SOURCES[from]}:pull`];
}

function isOther(tags: string[] | 'all'): boolean {
  return tags === 'all' || tags.some((tag) => !tag.startsWith('pr-'));
}

/**
 * The challenge of the Docker token specification ("Requesting a Token"), which tells a client what to request. A
 * response has only one `WWW-Authenticate` header, because some clients read only one.
 */

import { formatScope, type Scope } from '../../access/scope.ts';
import { OciError } from '../../oci/errors.ts';
import { originOf } from '../../oci/origin.ts';

export type ChallengeError = 'invalid_token' | 'insufficient_scope';

/** A 401 with a challenge for the required scopes. `error` is null if the request had no token. */
export function challenge(
  request: Request,
  scopes: Scope[],
  message: string,
  error: ChallengeError | null = null,
): OciError {
  const origin = originOf(request);
  const parameters = [
    `realm="${origin}/token"`,
    `service="${new URL(origin).host}"`,
    ...(scopes.length === 0 ? [] : [`scope="${scopes.map(formatScope).join(' ')}"`]),
    ...(error === null ? [] : [`error="${error}"`]),
  ];
  const detail = scopes.map(({ type, name, actions }) => ({
    Type: type,
    Name: name,
    Action: actions.join(','),
  }));
  return new OciError('UNAUTHORIZED', {
    message,
    ...(detail.length === 0 ? {} : { detail }),
    headers: { 'WWW-Authenticate': `Bearer ${parameters.join(',')}` },
  });
}

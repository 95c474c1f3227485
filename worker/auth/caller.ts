/** The client of one request, and the claims that decide what it may do. */
import type { Client } from '../access/client.ts';
import type { Claims } from './tokens/access-tokens.ts';

export interface Caller {
  claims: Claims;
  client: Client;
  /** True where the claims come from the current rules and not from a token. A new token would then not help. */
  isLive: boolean;
  request: Request;
}

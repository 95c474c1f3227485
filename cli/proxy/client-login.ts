/**
 * Log-ins of clients. The proxy passes on the Authorization that a client sends. A token can expire while a large layer is on its way,
 * and the client does not notice, because it sends one long request. So the proxy remembers how each token was obtained, in memory
 * only, and obtains the next one in the same way.
 */
import { createHash } from 'node:crypto';
import type { Login } from '../transfer/registry.ts';

/** How a token was obtained. */
export interface Grant {
  /** Sends the same request to the token service again. Null if it is refused. */
  again(): Promise<string | null>;
}

const GRANTS_MAX = 1_000;
const GRANT_LIFETIME_MS = 24 * 3600 * 1000;

/** The grants of the last tokens. The tokens themselves are not kept. */
export class Grants {
  readonly #grants = new Map<string, { grant: Grant; until: number }>();

  remember(token: string, grant: Grant): void {
    const [oldest] = this.#grants.keys();
    if (oldest !== undefined && this.#grants.size >= GRANTS_MAX) this.#grants.delete(oldest);
    this.#grants.set(markOf(token), { grant, until: Date.now() + GRANT_LIFETIME_MS });
  }

  /** Null if the token did not come through this proxy. */
  of(token: string): Grant | null {
    const found = this.#grants.get(markOf(token));
    return found === undefined || found.until < Date.now() ? null : found.grant;
  }
}

/** The Authorization of one client. */
export class ClientLogin implements Login {
  #value: string | undefined;
  readonly #grants: Grants | null;
  /** Values that the registry has accepted, also those that have expired meanwhile. */
  readonly #accepted: Set<string | undefined>;

  /** Without `grants` a value that is refused is not renewed. */
  constructor(value: string | undefined, grants: Grants | null) {
    this.#value = value;
    this.#grants = grants;
    this.#accepted = new Set([value]);
  }

  authorization(): string | undefined {
    return this.#value;
  }

  /** Whether the registry has accepted this value for the same client. */
  knows(value: string | undefined): boolean {
    return this.#accepted.has(value);
  }

  /** The registry has accepted another value of the client. */
  use(value: string | undefined): void {
    this.#value = value;
    this.#accepted.add(value);
  }

  async renew(_challenge: string, _scope: string, refused: string | undefined): Promise<boolean> {
    if (this.#value !== refused) return true;
    const token = /^Bearer (.+)$/i.exec(refused ?? '')?.[1];
    const grant = token === undefined ? null : (this.#grants?.of(token) ?? null);
    const next = (await grant?.again()) ?? null;
    if (grant === null || next === null || next === token) return false;
    this.#grants?.remember(next, grant);
    this.use(`Bearer ${next}`);
    return true;
  }
}

function markOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}

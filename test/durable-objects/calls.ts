/** Calls of the two objects of access control by name, with what they answer typed, and what tests give them. */

import type { AuditEvent, Lookup, LookupQuery, SigningKey } from '../../worker/access/model.ts';
import type { AuditPage, AuditQuery } from '../../worker/objects/audit-log.ts';
import type { Home } from '../support/homes.ts';

/** A time so far ahead that the platform itself rings no alarm which is due by the registry's stopped clock. */
export const AHEAD = Date.now() + 20 * 365 * 24 * 3600 * 1000;

export class Accounts {
  readonly #home: Home;

  constructor(home: Home) {
    this.#home = home;
  }

  call<T>(method: string, ...args: unknown[]): Promise<T> {
    return this.#home.call<T>('ACCOUNTS', 'accounts', method, ...args);
  }

  /** What is not asked for is null. */
  lookup(query: Partial<LookupQuery>): Promise<Lookup> {
    const anonymous = { account: '', address: '', user: null, token: null, issuer: null };
    return this.call('lookup', { ...anonymous, ...query });
  }

  async waitMs(account: string, address: string): Promise<number> {
    return (await this.lookup({ account, address, user: account })).waitMs;
  }

  async fail(account: string, address: string, times = 1): Promise<void> {
    for (let time = 0; time < times; time++) await this.call('recordLogin', account, address, false);
  }

  signingKeys(): Promise<SigningKey[]> {
    return this.call('signingKeys');
  }

  rows(query: string): Promise<Record<string, unknown>[]> {
    return this.#home.rows('ACCOUNTS', 'accounts', query);
  }

  evict(): Promise<void> {
    return this.#home.evict('ACCOUNTS', 'accounts');
  }

  /** Rings its alarm for as long as it is due, and gives how often that was. */
  async ringAll(): Promise<number> {
    let rings = 0;
    while (await this.#home.ringDue('ACCOUNTS', 'accounts')) rings++;
    return rings;
  }
}

export class Log {
  readonly #home: Home;

  constructor(home: Home) {
    this.#home = home;
  }

  async record(events: AuditEvent[]): Promise<void> {
    await this.#home.call('AUDIT', 'audit', 'record', events);
  }

  list(query: Partial<AuditQuery>): Promise<AuditPage> {
    return this.#home.call('AUDIT', 'audit', 'list', { before: null, count: 100, ...query });
  }

  rows(query: string): Promise<Record<string, unknown>[]> {
    return this.#home.rows('AUDIT', 'audit', query);
  }

  /** Rings its alarm for as long as it is due, and gives how often that was. */
  async ringAll(): Promise<number> {
    let rings = 0;
    while (await this.#home.ringDue('AUDIT', 'audit')) rings++;
    return rings;
  }
}

export function token(id: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id,
    name: id,
    owner: null,
    hash: `hash of ${id}`,
    grants: [],
    expiresAt: null,
    lastUsedAt: null,
    createdAt: 1,
    ...more,
  };
}

export function trust(name: string, issuer: string): Record<string, unknown> {
  const grants = [{ role: 'writer', repositories: 'acme/{repository_name}', tags: null }];
  return { name, issuer, audience: 'registry', conditions: { repository: 'acme/*' }, grants, jwks: null };
}

export function rule(subject: string, repositories = '**'): Record<string, unknown> {
  return { subject, role: 'reader', repositories, tags: null };
}

export function event(more: Partial<AuditEvent> = {}): AuditEvent {
  return {
    at: AHEAD,
    actor: 'user:bob',
    action: 'pull',
    repository: 'acme/api',
    reference: 'latest',
    address: '192.0.2.1',
    userAgent: 'docker',
    decision: 'allowed',
    rule: 'rule 1',
    requestId: '1',
    count: 1,
    examples: [],
    ...more,
  };
}

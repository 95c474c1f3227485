/**
 * Records events for the audit log: who did what to which repository, from where, with the decision and its rule.
 * Events are written after the response, those of several requests together. Pulls and refusals of the same kind are
 * counted in one event. Secrets never get this far.
 */

import { waitUntil } from 'cloudflare:workers';
import type { Client } from '../access/client.ts';
import type { AuditEvent } from '../access/model.ts';
import { AUDIT_TEXT_MAX_LENGTH } from '../access/model.ts';
import type { Env } from '../env.ts';
import { requestIdOf } from '../oci/request-id.ts';
import { platformOf } from '../platform.ts';
import { auditLogOf } from '../stubs.ts';
import type { Caller } from './caller.ts';
import { accountOf } from './credentials/authenticator.ts';
import { TrustRefusal } from './openid/trusts.ts';

/**
 * Changes are written this long after their answers: at once on Cloudflare, where each may be the last of its isolate, and
 * on one machine, where every write is synced to the disk, so that those of one push are written together.
 */
const AUDIT_CHANGES_MS = { cloudflare: 0, machine: 250 };
/** A refusal that is the first of its sort waits this long for others. */
const AUDIT_REFUSALS_MS = 2 * 1000;
/** Pulls, tokens, and refusals of a sort that was written already wait this long. Cloudflare gives 30 s after an answer. */
const AUDIT_COUNTED_MS = 20 * 1000;
/** A flush that is late by this was cut off with its request; the next event begins another. */
const AUDIT_STUCK_MS = 10 * 1000;
/**
 * The maximum number of waiting events in an isolate. At this number they are written immediately; further events are
 * counted as lost.
 */
const AUDIT_PENDING_MAX = 1000;
/** Sorts of refusals without an account that an isolate tells apart; all others are counted together. */
const AUDIT_STRANGERS_MAX = 50;
/** What a refused event says of others that are counted with it. */
const AUDIT_EXAMPLES_MAX = 5;

/** Actions that change something are recorded one by one. */
const CHANGES = /^(?:push|delete|mount|[a-z]+\..+)$/;
/** A timer may end this much before its time. */
const TIMER_SLACK_MS = 50;
const STRANGER = 'unknown';

type EventDetails = Pick<
  AuditEvent,
  'actor' | 'action' | 'repository' | 'reference' | 'decision' | 'rule'
> & {
  /** A typed name without an account. It may be a password in the wrong field, so only a hash of it is kept. */
  typed?: string;
};
type Pending = AuditEvent & { typed?: string };

/** Recorders that have events to write, for tests that flush them. */
export const recordersToFlush = new Set<AuditRecorder>();

export class AuditRecorder {
  readonly #env: Env;
  /** The key that hashes typed names. */
  readonly #nameKey: () => Promise<CryptoKey>;
  #changes: Pending[] = [];
  /** Events that are counted, by their kind. */
  #counted = new Map<string, Pending>();
  /** When the last refusals were written, by kind. Further ones of the kind can wait. */
  #refused = new Map<string, number>();
  /** The number of events that were dropped because too many waited. */
  #lost = 0;
  /** When the next flush is due (Unix time, ms). */
  #dueAt = Number.POSITIVE_INFINITY;
  /** After a failed flush, the earliest time of the next one (Unix time, ms). */
  #notBefore = 0;

  constructor(env: Env, nameKey: () => Promise<CryptoKey>) {
    this.#env = env;
    this.#nameKey = nameKey;
  }

  allowed(caller: Caller, action: string, repository: string, reference: string, rule: string): void {
    const { claims, client, request } = caller;
    const actor = claims.subject;
    this.#record(request, client, { actor, action, repository, reference, decision: 'allowed', rule });
  }

  denied(
    { claims, client, request }: Omit<Caller, 'isLive'>,
    action: string,
    repository: string | null,
    rule: string,
  ): void {
    const actor = claims.subject;
    this.#record(request, client, { actor, action, repository, reference: null, decision: 'denied', rule });
  }

  /** A failed login. `typed` is the name that came with it; null where none is asked for. */
  loginFailed(request: Request, client: Client, error: Error, typed: string | null, action = 'login'): void {
    const account = accountOf(error);
    const known = account ?? (typed === null ? 'anonymous' : null);
    this.#record(request, client, {
      actor: known ?? STRANGER,
      ...(known === null && typed !== null && { typed }),
      action,
      repository: null,
      reference: null,
      decision: 'failed',
      rule: error instanceof TrustRefusal ? error.reason : error.message,
    });
  }

  tokenIssued(request: Request, client: Client, actor: string, scopes: string): void {
    const what = { action: 'token', repository: null, decision: 'allowed', rule: '' } as const;
    this.#record(request, client, { ...what, actor, reference: scopes });
  }

  /** A change by an operation of the management API. `where`: in a repository, by this rule. */
  changed(
    request: Request,
    client: Client,
    actor: string,
    action: string,
    reference: string,
    where: { repository: string; rule: string } | null = null,
  ): void {
    const { repository, rule } = where ?? { repository: null, rule: 'admin' };
    this.#record(request, client, { repository, rule, decision: 'allowed', actor, action, reference });
  }

  /** Writes all waiting events. Those that cannot be written wait for the next flush. */
  async flush(): Promise<void> {
    const changes = this.#changes;
    const counted = this.#counted;
    const lost = this.#lost;
    this.#changes = [];
    this.#counted = new Map();
    this.#lost = 0;
    this.#dueAt = Number.POSITIVE_INFINITY;
    recordersToFlush.delete(this);
    const events = [...changes, ...counted.values()];
    if (events.length === 0) return;
    try {
      const named = await Promise.all(events.map((event) => this.#named(event)));
      named.sort((one, other) => one.at - other.at);
      await auditLogOf(this.#env).record(lost === 0 ? named : [...named, lostEvent(lost)]);
    } catch (error) {
      console.error(`${events.length} events are not in the audit log yet`, error);
      this.#lost += lost;
      this.#notBefore = Date.now() + AUDIT_REFUSALS_MS;
      for (const event of changes) this.#addChange(event);
      for (const [kind, event] of counted) this.#count(kind, event);
    }
  }

  #record(request: Request, client: Client, what: EventDetails): void {
    const event: Pending = {
      ...what,
      at: Date.now(),
      address: client.address,
      userAgent: shortened(request.headers.get('User-Agent') ?? ''),
      requestId: requestIdOf(request, platformOf(this.#env)),
      count: 1,
      examples: [],
    };
    const { isSingleIsolate } = platformOf(this.#env);
    if (what.decision !== 'allowed') {
      const kind = this.#refusalKind(event);
      const isFirst = Math.abs(event.at - (this.#refused.get(kind) ?? 0)) > AUDIT_COUNTED_MS;
      if (isFirst) this.#refused.set(kind, event.at);
      this.#count(kind, event);
      this.#flushBy(event.at + (isFirst ? AUDIT_REFUSALS_MS : AUDIT_COUNTED_MS));
    } else if (CHANGES.test(what.action)) {
      this.#addChange(event);
      this.#flushBy(event.at + AUDIT_CHANGES_MS[isSingleIsolate ? 'machine' : 'cloudflare']);
    } else {
      const { actor, address, action, repository, reference, rule } = event;
      this.#count(JSON.stringify([actor, address, action, repository, reference, rule]), event);
      this.#flushBy(event.at + AUDIT_COUNTED_MS);
    }
  }

  /**
   * The kind of a refusal: its decision, actor and address. Unknown names count as one actor. If there are too many
   * addresses, all further refusals are of one kind.
   */
  #refusalKind({ actor, address, decision }: AuditEvent): string {
    const now = Date.now();
    for (const [kind, at] of this.#refused) {
      if (Math.abs(now - at) <= AUDIT_COUNTED_MS) break; // The entries are in the order of their times.
      this.#refused.delete(kind);
    }
    const isStranger = actor === STRANGER || actor === 'anonymous';
    const kind = JSON.stringify([decision, isStranger ? STRANGER : actor, address]);
    const isMany = this.#refused.size >= (isStranger ? AUDIT_STRANGERS_MAX : AUDIT_PENDING_MAX);
    return isMany && !this.#refused.has(kind) ? decision : kind;
  }

  #addChange(event: Pending): void {
    if (this.#changes.length >= AUDIT_PENDING_MAX) this.#lost += event.count;
    else this.#changes.push(event);
  }

  #count(kind: string, event: Pending): void {
    const first = this.#counted.get(kind);
    if (first === undefined) {
      if (this.#counted.size >= AUDIT_PENDING_MAX) this.#lost += event.count;
      else this.#counted.set(kind, event);
      return;
    }
    first.count += event.count;
    if (event.decision === 'allowed' || first.examples.length >= AUDIT_EXAMPLES_MAX) return;
    const example = [event.action, event.repository, event.rule].filter(Boolean).join(' ');
    const isNew = example !== [first.action, first.repository, first.rule].filter(Boolean).join(' ');
    if (isNew && !first.examples.includes(example)) first.examples.push(example);
  }

  /**
   * Flushes at a time, or earlier if that is already planned. A plan does not count if its request was ended before the
   * time.
   */
  #flushBy(at: number): void {
    recordersToFlush.add(this);
    const isFull = Math.max(this.#changes.length, this.#counted.size) >= AUDIT_PENDING_MAX;
    const due = Math.max(isFull ? Date.now() : at, this.#notBefore);
    if (this.#dueAt <= due && Date.now() < this.#dueAt + AUDIT_STUCK_MS) return;
    this.#dueAt = due;
    waitUntil(this.#flushAt(due));
  }

  async #flushAt(due: number): Promise<void> {
    const waitMs = due - Date.now();
    if (waitMs > 0) await scheduler.wait(waitMs);
    // Otherwise the events were written earlier, or another timer writes them later.
    if (Date.now() + TIMER_SLACK_MS >= this.#dueAt) await this.flush();
  }

  /** Replaces a typed name by a hash, which shows only that it is the same name again. */
  async #named({ typed, ...event }: Pending): Promise<AuditEvent> {
    if (typed === undefined) return event;
    const mac = await crypto.subtle.sign('HMAC', await this.#nameKey(), new TextEncoder().encode(typed));
    const hash = Buffer.from(mac).toString('hex').slice(0, 8);
    return { ...event, actor: `${STRANGER}:${hash}` };
  }
}

/** A copy, because a slice would keep the whole text in memory. */
function shortened(text: string): string {
  if (text.length <= AUDIT_TEXT_MAX_LENGTH) return text;
  return Buffer.from(text.slice(0, AUDIT_TEXT_MAX_LENGTH)).toString();
}

function lostEvent(count: number): AuditEvent {
  return {
    at: Date.now(),
    actor: 'registry',
    action: 'audit.drop',
    repository: null,
    reference: `${count} events were not written`,
    address: '',
    userAgent: '',
    decision: 'allowed',
    rule: 'too many events waited for the log',
    requestId: '',
    count,
    examples: [],
  };
}

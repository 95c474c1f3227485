// A registry with access control and a few who may use it, behind a proxy that shows how clients come by their tokens. Its
// clock is the real one, and the token that has expired was never valid.
import assert from 'node:assert/strict';
import { newToken } from '../../../worker/auth/credentials/token-text.ts';
import { Home } from '../../support/homes.ts';
import { Visitor } from '../../support/visitor.ts';
import type { Login } from './login.ts';
import { type Passed, RecordingProxy } from './proxy.ts';
import type { Registry } from './registry.ts';

const ADMIN = { name: 'admin', password: 'the password of the admin' };

/** By what they may do: `public/**` is everybody's to pull, `team/**` is not. */
export interface Logins {
  admin: Login;
  /** A user who may push to `team/**`. */
  user: Login;
  /** The same, by a token without an owner. */
  robot: Login;
  /** A user who may pull from `team/**`. */
  reader: Login;
  wrong: Login;
  expired: Login;
}

export class GuardedRegistry implements Registry {
  readonly logins: Logins = {
    admin: ADMIN,
    // With all that a client may encode wrongly on its way.
    user: { name: 'bob', password: 'correct horse: b\u00e4ttery, +50% & "staple"' },
    reader: { name: 'rita', password: 'the password of rita' },
    wrong: { name: 'bob', password: 'a guess' },
    robot: { name: 'robot', password: '' },
    expired: { name: 'robot', password: '' },
  };
  readonly #home = new Home('disk', { vars: { AUTH: 'on', ADMIN_PASSWORD: ADMIN.password } });
  #proxy: RecordingProxy | null = null;

  async start(): Promise<this> {
    await this.#home.start();
    this.#proxy = await RecordingProxy.start();
    this.#proxy.target = this.#home.url;
    const { user, reader, robot, expired } = this.logins;
    for (const { name, password } of [user, reader]) await this.#make('users', { name, password });
    for (const [subject, role, repositories] of [
      ['user:bob', 'writer', 'team/**'],
      ['user:rita', 'reader', 'team/**'],
      ['anonymous', 'reader', 'public/**'],
    ]) {
      await this.#make('rules', { subject, role, repositories });
    }
    const grants = [{ role: 'writer', repositories: 'team/**', tags: null }];
    robot.password = String((await this.#make('tokens', { name: 'ci', grants })).token);
    const { id, hash, text } = newToken();
    const old = { id, hash, name: 'old', owner: null, grants, expiresAt: 1, lastUsedAt: null, createdAt: 0 };
    assert.equal(await this.#home.call('ACCOUNTS', 'accounts', 'createToken', old), 'created');
    expired.password = text;
    return this;
  }

  async stop(): Promise<void> {
    await this.#proxy?.stop();
    await this.#home.stop();
  }

  get url(): string {
    return this.#running.url;
  }

  /** The requests that came so far. */
  get passed(): readonly Passed[] {
    return this.#running.passed;
  }

  /** All the clients here have one address, which would soon have to wait for the faults of the others. */
  async forgetFailures(): Promise<void> {
    await this.#home.rows('ACCOUNTS', 'accounts', 'DELETE FROM failed_logins');
  }

  get #running(): RecordingProxy {
    if (this.#proxy === null) throw new Error('the registry is not running');
    return this.#proxy;
  }

  async #make(what: string, body: unknown): Promise<Record<string, unknown>> {
    const admin = new Visitor(this.#home, `${ADMIN.name}:${ADMIN.password}`);
    return (await admin.must(201, 'POST', `/api/v1/${what}`, { json: body })).json;
  }
}

/** What attacks are run against: a private repository and its victim, a user who may push elsewhere, and a check for harm. */
import assert from 'node:assert/strict';
import { ADMIN, Api, type Json } from '../../management/api.ts';
import { digest, imageManifest } from '../../support/fixtures.ts';
import type { Home } from '../../support/homes.ts';
import { type Answer, Visitor } from '../../support/visitor.ts';
import { pushImage } from '../matrix/endpoints.ts';

/** In every byte of the victim's that may not get out. */
export const SECRET = 'what only the victim may read';
export const PASSWORD = 'the password of a user';
export const secretBlob = Buffer.from(`${SECRET}: a layer`);
export const image = imageManifest({ layers: [secretBlob], annotations: { 'org.example.secret': SECRET } });
export const SECRET_MANIFEST = '/v2/private/app/manifests/v1';

export class Stage {
  readonly home: Home;
  readonly api: Api;
  readonly admin: Visitor;
  readonly anonymous: Visitor;
  /** Pushes to private/*. */
  readonly victim: Visitor;
  /** Pushes to own/*. */
  readonly mallory: Visitor;
  /** A token of a robot that may do everything but manage. */
  robot: Json = {};

  constructor(home: Home) {
    this.home = home;
    this.api = new Api(home);
    this.admin = new Visitor(home, ADMIN);
    this.anonymous = new Visitor(home, null);
    this.victim = new Visitor(home, `victim:${PASSWORD}`);
    this.mallory = new Visitor(home, `mallory:${PASSWORD}`);
  }

  async prepare(): Promise<void> {
    const { api } = this;
    for (const [name, subject, role, repositories] of [
      ['victim', 'user:victim', 'writer', 'private/*'],
      ['mallory', 'user:mallory', 'writer', 'own/*'],
      [null, 'anonymous', 'reader', 'public/*'],
    ]) {
      if (name !== null) await api.made('POST', '/users', { name, password: PASSWORD });
      await api.made('POST', '/rules', { subject, role, repositories });
    }
    await api.made('POST', '/users', { name: 'disabled', password: PASSWORD });
    await api.made('PATCH', '/users/disabled', { disabled: true });
    await api.made('POST', '/users', { name: 'elsewhere' });
    this.robot = await api.made('POST', '/tokens', {
      name: 'robot',
      grants: [{ role: 'maintainer', repositories: '**' }],
    });
    await pushImage(this.admin, 'private/app', image);
    for (const name of ['own/app', 'public/app']) await pushImage(this.admin, name, imageManifest());
  }

  /** Runs an attack, and holds that nothing of the victim's was read or changed by it. */
  async harmless(attack: () => Promise<Answer | Answer[]>): Promise<Answer[]> {
    const before = await this.#state();
    const answers = [await attack()].flat();
    for (const { status, text, headers } of answers) {
      assert.ok(!text.includes(SECRET), 'the secret got out');
      assert.ok(![...headers.values()].includes(image.digest), 'the digest got out');
      assert.ok(status < 500, `${status} ${text}`);
    }
    await this.#forgive();
    assert.deepEqual(await this.#state(), before, 'the attack left something behind');
    return answers;
  }

  /** Every answer is a refusal. */
  async refused(attack: () => Promise<Answer | Answer[]>): Promise<Answer[]> {
    const answers = await this.harmless(attack);
    for (const { status, text } of answers) assert.ok(status === 0 || status >= 400, `${status} ${text}`);
    return answers;
  }

  /** Failed logins that make the next attack wait are forgotten. */
  async #forgive(): Promise<void> {
    await this.home.rows('ACCOUNTS', 'accounts', "DELETE FROM failed_logins WHERE kind <> 'known'");
  }

  async #state(): Promise<unknown> {
    const { admin, api, home } = this;
    const asked = [
      '/v2/private/app/tags/list',
      SECRET_MANIFEST,
      `/v2/private/app/blobs/${digest(secretBlob)}`,
      '/v2/_catalog',
    ].map(async (path) => (await admin.must(200, 'GET', path)).text);
    const kept = ['/users', '/rules', '/tokens'].map(async (path) => {
      // When a token was last used is no harm.
      return (await api.call('GET', path)).text.replaceAll(/"lastUsedAt":[^,}]*/g, '');
    });
    return Promise.all([...asked, ...kept, home.storedKeys()]);
  }
}

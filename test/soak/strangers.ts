/** Requests for what is not there, and by those who may not. */

import { basic } from '../support/visitor.ts';
import type { Random } from './random.ts';
import { addressHeader, type Session } from './session.ts';
import { ANCHOR, type World } from './world.ts';

export class Strangers {
  readonly #world: World;
  readonly #session: Session;
  readonly #random: Random;

  constructor(world: World, session: Session, random: Random) {
    this.#world = world;
    this.#session = session;
    this.#random = random;
  }

  /** Names, digests and uploads that are made up. */
  async askForNothing(): Promise<void> {
    const random = this.#random;
    const name = random.chance(0.6)
      ? `ghost/${random.hex(10)}`
      : this.#random.pick(this.#world.around.model.repositories).name;
    const digest = `sha256:${random.hex(64)}`;
    const id = `${random.hex(8)}-${random.hex(4)}-4${random.hex(3)}-a${random.hex(3)}-${random.hex(12)}`;
    const headers = this.#session.basic;
    const [method, path, status] = random.pick<[string, string, number]>([
      ['GET', `manifests/${random.hex(9)}`, 404],
      ['HEAD', `manifests/${digest}`, 404],
      ['GET', `blobs/${digest}`, 404],
      ['HEAD', `blobs/${digest}`, 404],
      ['GET', `referrers/${digest}`, 200],
      ['DELETE', `manifests/${digest}`, 404],
      ['DELETE', `blobs/${digest}`, 404],
      ['GET', `blobs/uploads/${id}`, 404],
      ['DELETE', `blobs/uploads/${id}?token=sha256-zzzzzz-${random.hex(64)}`, 404],
      ['POST', 'blobs/uploads/', 202],
      ['POST', `blobs/uploads/?mount=${digest}&from=ghost/${random.hex(6)}`, 202],
      ['GET', 'manifests/sha256:no', 400],
    ]);
    await this.#session.ask(
      'made-up',
      method,
      `/v2/${name}/${path}`,
      { headers },
      status === 400 ? [400, 404] : [status],
    );
    if (name.startsWith('ghost/') && random.chance(0.3))
      await this.#session.ask(
        'made-up',
        'GET',
        `/v2/${name}/tags/list?last=${random.hex(8)}`,
        { headers },
        [404],
      );
  }

  /** Logs in, with what is right and, from other addresses, with what is not. */
  async logIn(): Promise<void> {
    const random = this.#random;
    const { access, around } = this.#world;
    if (access === null) return;
    if (random.chance(0.5)) {
      await this.#session.ask('login', 'GET', '/token', { headers: this.#session.basic }, [200]);
      return;
    }
    const [name = ''] = random.pick(access.logins).split(':');
    const shown = random.pick([
      `${name}:${random.hex(12)}`,
      `${random.hex(6)}:${random.hex(12)}`,
      `x:lsr_${random.hex(16)}_${random.hex(40)}`,
    ]);
    const headers = {
      ...addressHeader(around.home, `10.66.0.${random.below(250) + 1}`),
      Authorization: basic(shown),
    };
    const path = random.pick(['/token', '/v2/']);
    await this.#session.ask('login, wrong', 'GET', path, { headers }, [401, 429]);
  }

  /** What a reader may not do, and one without credentials. */
  async askForTooMuch(): Promise<void> {
    const { access } = this.#world;
    if (access === null) return;
    const { name } = this.#random.pick(this.#world.around.model.repositories);
    const known = { Authorization: basic(access.reader) };
    const headers = this.#random.chance(0.6) ? known : { Authorization: '' };
    const [method, path] = this.#random.pick([
      ['POST', `/v2/${name}/blobs/uploads/`],
      ['DELETE', `/v2/${name}/manifests/${ANCHOR}`],
      ['PUT', `/v2/${name}/manifests/${ANCHOR}`],
    ]);
    await this.#session.ask('not allowed', method ?? '', path ?? '', { headers }, [401, 403]);
  }
}

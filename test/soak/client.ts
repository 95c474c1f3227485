/** One of the clients: it does one random thing after the other, and every answer is held against the model. */
import { Images } from './images.ts';
import type { RepositoryModel } from './model.ts';
import { Pulls } from './pulls.ts';
import { Pushes } from './pushes.ts';
import type { Random } from './random.ts';
import type { Session } from './session.ts';
import { Strangers } from './strangers.ts';
import { ARTIFACT_TYPES, type World } from './world.ts';

/** The catalog hears of a repository a moment later, and again after a while if that message is lost. */
const CATALOG_LAG_MS = 60_000;
const BURST = 6;
/** Of all clients together, more than the registry has buffers for. */
const SLOW_PUSHES = 2;
const SLOW_BYTES = 3 * 1024 * 1024;
const SLOW_PAUSE_MS = 750;

type Action = () => Promise<unknown>;

export class SoakClient {
  readonly session: Session;
  readonly pulls: Pulls;
  readonly #world: World;
  readonly #random: Random;
  readonly #pushes: Pushes;
  readonly #images: Images;
  readonly #actions: [weight: number, action: Action][];

  constructor(world: World, session: Session, random: Random) {
    this.#world = world;
    this.session = session;
    this.#random = random;
    this.pulls = new Pulls(session, random);
    this.#pushes = new Pushes(session, random, world.uploads);
    this.#images = new Images(world, session, random, this.pulls, this.#pushes);
    const images = this.#images;
    const strangers = new Strangers(world, session, random);
    this.#actions = [
      [20, () => images.pushImage()],
      [4, () => images.pushIndex()],
      [5, () => images.pushReferrer()],
      [6, () => this.#pushBlob()],
      [4, () => this.#mount()],
      [0.5, () => this.#burst()],
      [16, () => this.#pullTag()],
      [8, () => this.#pullManifest()],
      [8, () => this.#pullBlob()],
      [8, () => images.deleteManifest()],
      [3, () => images.deleteTag()],
      [4, () => images.deleteSomeBlob()],
      [3, () => this.#cancelOfAnother()],
      [4, () => this.pulls.tags(this.#repository())],
      [1, () => this.pulls.catalog(world.around.model.repositories, world.anchored, CATALOG_LAG_MS)],
      [3, () => this.#listReferrers()],
      [5, () => strangers.askForNothing()],
      [1, () => strangers.logIn()],
      [1, () => strangers.askForTooMuch()],
    ];
  }

  /** Does one thing. Throws a Violation. */
  async act(): Promise<void> {
    await this.#random.weighted(this.#actions)();
  }

  /** Pushes the image that stays in a repository. */
  anchor(repository: RepositoryModel): Promise<void> {
    return this.#images.anchor(repository);
  }

  /** Pushes some MiB over several slow links at once. */
  async pushSlowly(): Promise<void> {
    const pushes = Array.from({ length: SLOW_PUSHES }, async () => {
      const [repository, blob] = [this.#repository(), this.#world.contents.blob(this.#random, SLOW_BYTES)];
      if (!(await this.#pushes.slowly(repository, blob, SLOW_PAUSE_MS))) return;
      await this.pulls.blob(repository, blob.digest);
      await this.#images.deleteBlob(repository, blob.digest); // So much need not be read again in the end.
    });
    await Promise.all(pushes);
  }

  /** Reads all that a repository may have. */
  async audit(repository: RepositoryModel): Promise<void> {
    await this.pulls.tags(repository);
    for (const tag of repository.tags.keys()) await this.pulls.tag(repository, tag);
    for (const digest of repository.manifests.keys()) {
      if ((await this.pulls.manifest(repository, digest)) === true)
        await this.pulls.image(repository, digest);
    }
    const referenced = new Set(repository.live.flatMap(({ blobs }) => blobs));
    for (const [digest, { there }] of repository.blobs) {
      const now = performance.now();
      if (!referenced.has(digest) && there.can(true, now, now)) await this.pulls.blob(repository, digest);
    }
    const subjects = new Set([...repository.manifests.values()].map(({ manifest }) => manifest.subject));
    for (const subject of subjects) if (subject !== null) await this.pulls.referrers(repository, subject);
  }

  #repository(): RepositoryModel {
    return this.#random.pick(this.#world.around.model.repositories);
  }

  async #pushBlob(): Promise<void> {
    const repository = this.#repository();
    const blob = this.#images.blob();
    if (!(await this.#pushes.push(repository, blob))) return;
    if (this.#random.chance(0.6)) await this.pulls.blob(repository, blob.digest);
  }

  async #mount(): Promise<void> {
    const [repository, source] = [this.#repository(), this.#repository()];
    const { shared } = this.#world;
    const held = [...source.blobs.values()].slice(-50).map(({ blob }) => blob);
    const blob =
      held.length > 0 && this.#random.chance(0.7) ? this.#random.pick(held) : this.#random.pick(shared);
    const mounted = await this.#pushes.mount(repository, blob, this.#random.chance(0.7) ? source : null);
    if (mounted) await this.pulls.blob(repository, blob.digest);
  }

  /** The same new blob into several repositories at once, in several ways. */
  async #burst(): Promise<void> {
    const blob = this.#world.contents.blob(this.#random);
    const repositories = Array.from({ length: BURST }, () => this.#repository());
    const pushed = await Promise.all(repositories.map((repository) => this.#pushes.push(repository, blob)));
    for (const [at, repository] of repositories.entries()) {
      if (pushed[at]) await this.pulls.blob(repository, blob.digest);
    }
  }

  async #pullTag(): Promise<void> {
    const repository = this.#repository();
    const random = this.#random;
    const tag = random.pick([...repository.tags.keys()]);
    const digest = await this.pulls.tag(repository, tag, random.chance(0.3) ? 'HEAD' : 'GET');
    if (digest !== null && random.chance(0.5)) await this.pulls.image(repository, digest);
  }

  async #pullManifest(): Promise<void> {
    const repository = this.#repository();
    const known = [...repository.manifests.keys()].slice(-40);
    if (known.length === 0) return;
    const digest = this.#random.pick(known);
    const there = await this.pulls.manifest(repository, digest, this.#random.chance(0.3) ? 'HEAD' : 'GET');
    if (there === true && this.#random.chance(0.3)) await this.pulls.image(repository, digest);
  }

  async #pullBlob(): Promise<void> {
    const repository = this.#repository();
    const known = [...repository.blobs.keys()].slice(-60);
    if (known.length === 0) return;
    const digest = this.#random.pick(known);
    const { pulls } = this;
    await this.#random.weighted<Action>([
      [4, () => pulls.blob(repository, digest)],
      [4, () => pulls.range(repository, digest)],
      [2, () => pulls.hasBlob(repository, digest)],
      [1, () => pulls.notModified(repository, digest)],
    ])();
  }

  async #cancelOfAnother(): Promise<void> {
    const { open } = this.#world.uploads;
    if (open.length > 0) await this.#pushes.cancel(this.#random.pick(open));
  }

  async #listReferrers(): Promise<void> {
    const repository = this.#repository();
    const manifest = this.#images.live(repository);
    if (manifest === null) return;
    const type = this.#random.chance(0.4) ? this.#random.pick(ARTIFACT_TYPES) : null;
    await this.pulls.referrers(repository, manifest.digest, type);
  }
}

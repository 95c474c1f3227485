/** What a client does with manifests: pushes images, indexes and referrers, moves tags, and deletes. */
import { type Blob, imageOf, indexOf, type Manifest } from './content.ts';
import type { Pending, RepositoryModel } from './model.ts';
import type { Pulls } from './pulls.ts';
import type { Pushes } from './pushes.ts';
import type { Random } from './random.ts';
import { Violation } from './register.ts';
import type { Session } from './session.ts';
import type { Reply } from './wire.ts';
import { ANCHOR, ARTIFACT_TYPES, type World } from './world.ts';

export class Images {
  readonly #world: World;
  readonly #session: Session;
  readonly #random: Random;
  readonly #pulls: Pulls;
  readonly #pushes: Pushes;

  constructor(world: World, session: Session, random: Random, pulls: Pulls, pushes: Pushes) {
    this.#world = world;
    this.#session = session;
    this.#random = random;
    this.#pulls = pulls;
    this.#pushes = pushes;
  }

  /** Pushes the image that stays in a repository. */
  async anchor(repository: RepositoryModel): Promise<void> {
    const manifest = await this.#image(repository, 2);
    if (manifest !== null && (await this.#putManifest(repository, manifest, [ANCHOR])))
      this.#world.anchored.add(repository.name);
  }

  /** Pushes what an image needs, as clients do: not what is there already. */
  async #image(
    repository: RepositoryModel,
    layers = this.#random.between(0, 3),
    about: { subject?: Manifest; artifactType?: string } = {},
  ): Promise<Manifest | null> {
    const { contents } = this.#world;
    const random = this.#random;
    const config = contents.blob(random, random.between(40, 3000));
    const blobs = Array.from({ length: layers }, () => this.blob());
    for (const blob of [config, ...blobs]) {
      if (random.chance(0.5) && (await this.#pulls.hasBlob(repository, blob.digest)) === true) continue;
      if (!(await this.#pushes.push(repository, blob)) && !(await this.#pushes.push(repository, blob)))
        return null;
    }
    return imageOf(config, blobs, about);
  }

  async pushImage(): Promise<void> {
    const repository = this.#random.pick(this.#world.around.model.repositories);
    const random = this.#random;
    const manifest = await this.#image(repository);
    if (manifest === null) return;
    const tags = this.#tags(
      repository,
      random.weighted([
        [6, 1],
        [2, 0],
        [2, 3],
      ]),
    );
    if (!(await this.#putManifest(repository, manifest, tags))) return;
    if (random.chance(0.1)) await this.#putManifest(repository, manifest, this.#tags(repository, 1));
    if (random.chance(0.2)) await this.#pulls.image(repository, manifest.digest);
    await this.#thin(repository);
  }

  async pushIndex(): Promise<void> {
    const repository = this.#random.pick(this.#world.around.model.repositories);
    const children = Array.from({ length: this.#random.between(0, 3) }, () => this.live(repository));
    const manifests = children.filter((child) => child !== null);
    const index = indexOf(manifests, this.#random.hex(12));
    await this.#putManifest(repository, index, this.#tags(repository, this.#random.below(2)));
    await this.#thin(repository);
  }

  async pushReferrer(): Promise<void> {
    const repository = this.#random.pick(this.#world.around.model.repositories);
    const subject = this.live(repository);
    if (subject === null) return;
    const about = { subject, artifactType: this.#random.pick(ARTIFACT_TYPES) };
    const manifest = await this.#image(repository, 1, about);
    if (manifest === null) return;
    await this.#putManifest(repository, manifest, []);
    await this.#pulls.referrers(repository, subject.digest);
    await this.#thin(repository);
  }

  /** Pushes a manifest by a tag, by its digest, or by its digest with tags. */
  async #putManifest(repository: RepositoryModel, manifest: Manifest, tags: string[]): Promise<boolean> {
    const random = this.#random;
    const [first] = tags;
    const byTag = tags.length === 1 && first !== undefined && (first === ANCHOR || random.chance(0.8));
    const query = tags.map((tag) => `tag=${tag}`).join('&');
    const target = byTag
      ? `/v2/${repository.name}/manifests/${first}`
      : `/v2/${repository.name}/manifests/${manifest.digest}${query === '' ? '' : `?${query}`}`;
    const sent = {
      body: manifest.bytes,
      headers: { 'Content-Type': manifest.mediaType },
      chunked: random.chance(0.1),
    };
    const pending = repository.manifestPut(manifest, tags);
    if (random.chance(0.04)) {
      const at = random.chance(0.6) ? manifest.bytes.length : random.below(manifest.bytes.length);
      await this.#session.cut('PUT manifest', 'PUT', target, sent, at);
      pending.unknown();
      return false;
    }
    const reply = await this.#settled(pending, () =>
      this.#session.ask('PUT manifest', 'PUT', target, sent, [201, 400]),
    );
    if (reply?.status === 400) {
      const { code } = JSON.parse(reply.body.toString()).errors[0];
      const lacks = [...manifest.blobs, ...manifest.manifests].filter((digest) =>
        repository.mayLack(digest, reply),
      );
      if (code !== 'MANIFEST_BLOB_UNKNOWN' || lacks.length === 0)
        throw new Violation(
          `the manifest ${manifest.digest} is refused, and nothing is missing: ${reply.body}`,
        );
    }
    return reply?.status === 201;
  }

  /** Keeps a repository at about the same size. */
  async #thin(repository: RepositoryModel): Promise<void> {
    while (repository.live.length > this.#world.manifestsMax && this.#random.chance(0.9)) {
      await this.deleteManifest(repository);
    }
  }

  async deleteManifest(repository = this.#random.pick(this.#world.around.model.repositories)): Promise<void> {
    const now = performance.now();
    const kept = [...repository.tag(ANCHOR).possible(now, now)];
    const manifest = this.live(repository);
    if (manifest === null || kept.includes(manifest.digest)) return;
    const target = `/v2/${repository.name}/manifests/${manifest.digest}`;
    const pending = repository.manifestDelete(manifest.digest);
    const reply = await this.#settled(pending, () =>
      this.#session.ask('DELETE manifest', 'DELETE', target, {}, [202, 404]),
    );
    if (reply === null) return;
    if (reply.status === 404) repository.readManifest(manifest.digest, false, reply);
    else if (this.#random.chance(0.5)) await this.#pulls.manifest(repository, manifest.digest);
  }

  async deleteTag(): Promise<void> {
    const repository = this.#random.pick(this.#world.around.model.repositories);
    const [tag = ''] = this.#tags(repository, 1);
    const target = `/v2/${repository.name}/manifests/${tag}`;
    const pending = repository.tagDelete(tag);
    const reply = await this.#settled(pending, () =>
      this.#session.ask('DELETE tag', 'DELETE', target, {}, [202, 404]),
    );
    if (reply?.status === 404) repository.readTag(tag, null, reply);
  }

  async deleteSomeBlob(): Promise<void> {
    const repository = this.#random.pick(this.#world.around.model.repositories);
    const known = [...repository.blobs.keys()].slice(-60);
    if (known.length > 0) await this.deleteBlob(repository, this.#random.pick(known));
  }

  async deleteBlob(repository: RepositoryModel, digest: string): Promise<void> {
    const target = `/v2/${repository.name}/blobs/${digest}`;
    const pending = repository.blobDelete(digest);
    const reply = await this.#settled(pending, () =>
      this.#session.ask('DELETE blob', 'DELETE', target, {}, [202, 404, 405]),
    );
    if (reply?.status === 404) repository.readBlob(digest, false, reply);
    if (reply?.status !== 405) return;
    repository.readBlob(digest, true, reply);
    if (!repository.mayReference(digest, reply))
      throw new Violation(`the blob ${digest} cannot be deleted, and no manifest references it`);
  }

  blob(): Blob {
    const { shared, contents } = this.#world;
    const random = this.#random;
    if (random.chance(0.03)) shared[random.below(shared.length)] = contents.blob(random);
    return random.chance(0.4) ? random.pick(shared) : contents.blob(random);
  }

  /** A manifest that may be there; null if there is no such manifest. */
  live(repository: RepositoryModel): Manifest | null {
    const { live } = repository;
    return live.length === 0 ? null : this.#random.pick(live);
  }

  #tags(repository: RepositoryModel, count: number): string[] {
    const names = [...repository.tags.keys()].filter((name) => name !== ANCHOR);
    return [...new Set(Array.from({ length: count }, () => this.#random.pick(names)))];
  }

  async #settled(pending: Pending, send: () => Promise<Reply | null>): Promise<Reply | null> {
    let reply: Reply | null;
    try {
      reply = await send();
    } catch (fault) {
      pending.unknown();
      throw fault;
    }
    if (reply === null) pending.unknown();
    else if (reply.status < 300) pending.done(reply);
    else pending.refused();
    return reply;
  }
}

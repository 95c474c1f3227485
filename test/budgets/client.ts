/** What the budgets are counted with: the requests of pushes and pulls as clients send them, each held to its status. */
import { REDIRECT_MIN_BYTES } from '../../worker/oci/limits.ts';
import { blob, digest, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { type Answer, Visitor } from '../support/visitor.ts';

/** A new repository, and the requests of a client to it. */
export class Registry {
  readonly name: string;
  readonly #home: Home;
  readonly #visitor: Visitor;
  readonly #authorization: string | null;

  constructor(home: Home, authorization: string | null = null, name = repositoryName()) {
    this.#home = home;
    this.#visitor = new Visitor(home, null);
    this.#authorization = authorization;
    this.name = name;
  }

  another(): Registry {
    return new Registry(this.#home, this.#authorization);
  }

  /** The same repository, by requests that show a token or credentials. */
  as(authorization: string): Registry {
    return new Registry(this.#home, authorization, this.name);
  }

  /** A token for the repository, as clients get it before they push or pull. */
  async token(user: string, actions: string): Promise<string> {
    const query = new URLSearchParams({ service: 'longshore', scope: `repository:${this.name}:${actions}` });
    const { json } = await new Visitor(this.#home, user).must(200, 'GET', `/token?${query}`);
    return `Bearer ${json.token}`;
  }

  send(
    method: string,
    path: string,
    status: number,
    body?: Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const sent = { headers, authorization: this.#authorization, ...(body && { body }) };
    return this.#visitor.must(status, method, this.#at(path), sent);
  }

  /** The target of a path below the repository, or of a Location. */
  #at(path: string): string {
    return new URL(path, `${this.#home.url}/v2/${this.name}/`).href;
  }

  async pushWhole(bytes: Buffer): Promise<Buffer> {
    const started = await this.send('POST', 'blobs/uploads/', 202);
    await this.send('PUT', `${locationOf(started)}&digest=${digest(bytes)}`, 201, bytes);
    return bytes;
  }

  /** The bytes go to the double of S3, which has no budget; where the registry gives no grant, they go to the registry. */
  async pushDirect(bytes: Buffer): Promise<void> {
    const announced = { 'Longshore-Direct': `${digest(bytes)}; size=${bytes.length}` };
    const started = await this.send('POST', 'blobs/uploads/', 202, undefined, announced);
    const commit = `${locationOf(started)}&digest=${digest(bytes)}`;
    if (started.text === '') return void (await this.send('PUT', commit, 201, bytes));
    const grant = JSON.parse(started.text) as { url: string; headers: Record<string, string> };
    await this.#visitor.must(200, 'PUT', grant.url, { headers: grant.headers, body: bytes });
    await this.send('PUT', commit, 201);
  }

  pushAtOnce(bytes: Buffer): Promise<Answer> {
    return this.send('POST', `blobs/uploads/?digest=${digest(bytes)}`, 201, bytes);
  }

  async pushChunks(chunks: Buffer[]): Promise<void> {
    let location = locationOf(await this.send('POST', 'blobs/uploads/', 202));
    let offset = 0;
    for (const chunk of chunks) {
      const range = { 'Content-Range': `${offset}-${offset + chunk.length - 1}` };
      // One chunk alone comes as Docker sends it, without a range.
      const patched = await this.send('PATCH', location, 202, chunk, chunks.length > 1 ? range : {});
      location = locationOf(patched);
      offset += chunk.length;
    }
    await this.send('PUT', `${location}&digest=${digest(Buffer.concat(chunks))}`, 201);
  }

  /** One layer, a config, a manifest and a tag. */
  async pushSmallImage(tag: string): Promise<Manifest> {
    const image = imageManifest({ layers: [blob()] });
    for (const bytes of image.blobs) await this.pushWhole(bytes);
    return this.pushManifest(image, tag);
  }

  async pushBlobs(manifest: Manifest): Promise<Manifest> {
    for (const bytes of manifest.blobs) await this.pushAtOnce(bytes);
    return manifest;
  }

  async pushManifest(manifest: Manifest, tag: string): Promise<Manifest> {
    await this.send('PUT', `manifests/${tag}`, 201, manifest.bytes, { 'Content-Type': manifest.mediaType });
    return manifest;
  }

  async pushImage(tag: string, layers: Buffer[] = [blob()]): Promise<Manifest> {
    return this.pushManifest(await this.pushBlobs(imageManifest({ layers })), tag);
  }

  /** Small blobs come at once; on Cloudflare, larger ones are redirected, and this client does not follow. */
  getBlob(bytes: Buffer): Promise<Answer> {
    const redirected = this.#home.name === 'r2' && bytes.length >= REDIRECT_MIN_BYTES;
    return this.send('GET', `blobs/${digest(bytes)}`, redirected ? 307 : 200);
  }

  /** Docker asks what the tag is, and then for the manifest by its digest; podman takes it by the tag. */
  async pull(tag: string, image: Manifest, client: 'docker' | 'podman'): Promise<void> {
    if (client === 'docker') await this.send('HEAD', `manifests/${tag}`, 200);
    await this.send('GET', `manifests/${client === 'docker' ? image.digest : tag}`, 200);
    for (const bytes of image.blobs) await this.getBlob(bytes);
  }
}

function locationOf(response: Answer): string {
  return response.headers.get('Location') ?? '';
}

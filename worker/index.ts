/** The entry of the Worker: wires the parts of the registry together, and exports the handlers and the Durable Objects. */

import { isProxied } from './access/client.ts';
import { createApp } from './app.ts';
import { AuditRecorder } from './auth/audit-recorder.ts';
import { Authenticator } from './auth/credentials/authenticator.ts';
import { Guard } from './auth/guard.ts';
import { Issuers } from './auth/openid/issuer.ts';
import { SignIn } from './auth/openid/sign-in.ts';
import { Trusts } from './auth/openid/trusts.ts';
import { requestLimit } from './auth/request-limit.ts';
import { AccessTokens } from './auth/tokens/access-tokens.ts';
import { KeyRing } from './auth/tokens/key-ring.ts';
import { type TokenParts, tokenEndpoint } from './auth/tokens/token-endpoint.ts';
import { AS_DATA } from './delivery/as-data.ts';
import { blobHost } from './delivery/blob-host.ts';
import { clientPackage } from './delivery/client-package.ts';
import { BlobDelivery } from './delivery/delivery.ts';
import { Prefetch } from './delivery/prefetch.ts';
import { UrlSigner } from './delivery/signature.ts';
import type { Env } from './env.ts';
import { managementRoutes } from './management/management.ts';
import type { Digest } from './oci/digest.ts';
import { decideOrigin, isSecure, type Naming } from './oci/origin.ts';
import type { Promotion } from './oci/promotion.ts';
import type { Registry } from './oci/registry.ts';
import { requestIdOf } from './oci/request-id.ts';
import type { Author } from './oci/upkeep.ts';
import { platformOf } from './platform.ts';
import { HmacKeys, hmacKey } from './registry/hmac-keys.ts';
import { verifyRecent } from './registry/recent.ts';
import { DurableRegistry } from './registry/registry.ts';
import { DirectGrants } from './s3/direct-grants.ts';
import { MultipartUploads } from './s3/multipart-uploads.ts';
import { parseSettings, type Settings } from './settings.ts';

export { Accounts } from '../durable-objects/accounts/accounts.ts';
export { AuditLog } from '../durable-objects/audit-log.ts';
export { BlobShard } from '../durable-objects/blob-shard/blob-shard.ts';
export { Catalog } from '../durable-objects/catalog.ts';
export { Repository } from '../durable-objects/repository/repository.ts';
export { UploadSession } from '../durable-objects/upload-session/upload-session.ts';
export { CachedBlobs } from './delivery/cached-blobs.ts';

/** A year, without includeSubDomains: other hosts below this name belong to others. RFC 6797, section 6.1. */
const HSTS_S = 365 * 24 * 3600;

type App = ReturnType<typeof createApp>;
const apps = new WeakMap<Env, App>();

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    let app = apps.get(env);
    if (app === undefined) {
      app = compose(env);
      apps.set(env, app);
      // `npm start` sends the first request. It waits until the contents to verify are listed, and not until they are verified.
      await verifyRecent(env);
    }
    const response = Promise.resolve(app.fetch(request, env, ctx));
    // What a client has sent is stored even if the client closes the connection.
    if (request.method !== 'GET' && request.method !== 'HEAD') ctx.waitUntil(response);
    return withCommonHeaders(await response, request);
  },
};

const AS_DATA_HEADERS = Object.entries(AS_DATA);

/**
 * Sets the headers that every answer has. The pages of the sign-in keep their own Content-Security-Policy. An answer that does not
 * say what caches may keep is not for them: without no-store, a cache may keep a 404 for some time, and some keep a 401, in which
 * the realm says where clients send their password. RFC 9111, section 4.2.2.
 */
function withCommonHeaders(answer: Response, request: Request): Response {
  const { headers } = answer;
  headers.set('Docker-Distribution-API-Version', 'registry/2.0');
  if (!headers.has('Cache-Control')) headers.set('Cache-Control', 'no-store');
  const isPage = headers.has('Content-Security-Policy');
  for (const [name, value] of AS_DATA_HEADERS) {
    if (!isPage || !headers.has(name)) headers.set(name, value);
  }
  if (isSecure(request)) headers.set('Strict-Transport-Security', `max-age=${HSTS_S}`);
  return answer;
}

/** Settings are parsed at the first request: where one is wrong, the answer and the log say so. */
function compose(env: Env): App {
  const keys = new HmacKeys(env);
  const parts = once(() => {
    const settings = parseSettings(env);
    const { delivery: deliverySettings } = settings;
    const registry = new DurableRegistry(env, keys, settings);
    const direct = settings.s3 === null ? null : new DirectGrants(settings.s3);
    const signer = new UrlSigner(() => urlSecrets(deliverySettings.urlSecrets, keys), deliverySettings.urls);
    const delivery = new BlobDelivery(deliverySettings, signer);
    const issuers = new Issuers(settings.auth.allowsPrivateIssuers);
    const auth = composeAuth(env, settings, registry, issuers, keys);
    return {
      registry,
      multiparts: settings.s3 === null ? null : new MultipartUploads(settings.s3),
      signer,
      auth,
      naming: namingOf(env, settings),
      signIn: new SignIn(env, settings.auth, settings.signIn, issuers, auth.audit, () => keys.get('sign-in')),
      services: {
        guard: auth.guard,
        delivery,
        prefetch: new Prefetch(deliverySettings, delivery),
        direct,
        directForAll: settings.directUpload ? direct : null,
      },
    };
  });
  return createApp({
    requestId: (request) => requestIdOf(request, platformOf(env)),
    services: () => parts().services,
    decideOrigin: (request) => decideOrigin(request, parts().naming),
    blobHost: (request) => blobHost(request, env, parts().signer),
    clientPackage,
    welcome: () => parts().auth.authenticator.welcome(),
    token: (request) => tokenEndpoint(request, parts().auth),
    signIn: {
      login: (request) => parts().signIn.login(request),
      callback: (request) => parts().signIn.callback(request),
    },
    publishedKeys: () => parts().auth.keys.published(),
    management: managementRoutes(
      once(() => ({
        env,
        ...parts().auth,
        direct: parts().services.direct,
        multiparts: parts().multiparts,
        checkKey: () => keys.get('check'),
        forgetManifests: (name: string, digests: Digest[]) => parts().registry.forgetManifests(name, digests),
        promote: (promotion: Promotion, by: Author) => parts().registry.promote(promotion, by),
      })),
    ),
  });
}

function namingOf(env: Env, { publicOrigins, auth }: Settings): Naming {
  return {
    publicOrigins,
    boundNames: platformOf(env).checksHost ? null : (env.BOUND_NAMES?.split(',') ?? []),
    isProxied: (request) => isProxied(request, auth.trustedProxies),
  };
}

function composeAuth(
  env: Env,
  { auth: settings, requestsPerMinute }: Settings,
  registry: Registry,
  issuers: Issuers,
  ownKeys: HmacKeys,
): TokenParts & { guard: Guard; keys: KeyRing } {
  const limit = requestLimit(env.REQUEST_LIMIT, requestsPerMinute);
  const keys = new KeyRing(env);
  const tokens = new AccessTokens(keys, settings.tokenLifetime);
  const trusts = new Trusts(issuers);
  const authenticator = new Authenticator(env, settings, tokens, trusts);
  const audit = new AuditRecorder(env, () => ownKeys.get('audit-names'));
  const guard = new Guard(registry, settings, keys, tokens, authenticator, audit, limit);
  return { registry, settings, tokens, authenticator, trusts, audit, limit, guard, keys };
}

/** The secrets of the setting, newest first, or else the key that the registry has made. */
async function urlSecrets(secrets: string[], keys: HmacKeys): Promise<CryptoKey[]> {
  if (secrets.length === 0) return [await keys.get('blob-url')];
  return Promise.all(secrets.map((secret) => hmacKey(new TextEncoder().encode(secret))));
}

/** Calls `make` once. Where it throws, the next call tries again. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/**
 * Every setting of the registry: its type, its default, where it has a meaning, and the sentence that documents it.
 * `npm run docs:settings` writes docs/settings.md and the table of the README from this list.
 *
 * An operator sets texts: variables and secrets of the Worker on Cloudflare, environment variables on one machine. An empty text
 * is a setting that is not set.
 */
import * as z from 'zod/mini';
import { isIssuer } from './access/issuer-url.ts';
import { ROLES, type Role } from './access/model.ts';
import { isNetwork } from './oci/address.ts';
import { OciError } from './oci/errors.ts';
import { type Platform, platformOf } from './platform.ts';

export interface Setting<T = unknown> {
  /** The heading of docs/settings.md that it is below. */
  topic: 'Access' | 'Sign-in' | 'Audit log' | 'Content' | 'Deleting' | 'Delivery' | 'Address and state';
  /** Where it has a meaning. */
  home: 'both' | 'Cloudflare' | 'one machine';
  /** On Cloudflare, a secret is set by `npx wrangler secret put`, and not in `wrangler.toml`. */
  isSecret?: boolean;
  /** What is read where nothing is set, in the form that an operator writes. Null where there is no default. */
  default: string | null;
  /** The default on one machine, where it is another one. */
  machineDefault?: string;
  /** From the text to the value. The message of a failure follows the name of the setting: "is true or false". */
  type: z.ZodMiniType<T, string>;
  /** One or two sentences of Markdown. */
  about: string;
}

/** A setting that is wrong, or several. Each problem begins with the name of a setting. Values may be secrets, and are left out. */
export class WrongSetting extends OciError {
  readonly problems: string[];

  constructor(problems: string[]) {
    const what = problems.length === 1 ? 'a setting of this registry is' : 'settings of this registry are';
    super('UNAVAILABLE', { message: `${what} wrong: ${problems.join('; ')}` });
    this.problems = problems;
  }
}

const DAY_S = 24 * 3600;
/** The most that the settings of the audit log allow. */
export const AUDIT_MAX = { days: 3650, rows: 10_000_000 };
/** The most that the settings of deletions allow. */
export const DELETING_MAX = { undoDays: 365, graceHours: 720 };
/** Blobs of one manifest that a prefetch may fetch. */
const PREFETCH_BLOBS_MAX = 20;
const WAYS = ['redirect', 'presigned', 'stream'] as const;
/** As `htpasswd -B` writes it, with the costs that it allows. A failed login takes as long as the most costly hash. */
export const BCRYPT_HASH = /^\$2[abxy]\$(?:0[4-9]|1[0-7])\$[./A-Za-z0-9]{53}$/;

const text = z.string();
const onOrOff = z.enum(['on', 'off'], 'is on or off');
const list = parsedBy((value: string) => value.split(',').map(trimmed).filter(Boolean));
const trueOrFalse = z.pipe(
  z.enum(['true', 'false'], 'is true or false'),
  z.transform((value) => value === 'true'),
);

/** The settings of the registry. */
export const SETTINGS = {
  PUBLIC_URL: {
    topic: 'Access',
    home: 'both',
    default: null,
    type: z.pipe(
      list,
      z.array(
        parsedBy(
          originOf,
          'is the URL of this registry, or several separated by commas, such as https://registry.example.com, without a path',
        ),
      ),
    ),
    about:
      'The URL that clients use, or several separated by commas. Set it behind a proxy, and where the registry has a name of its own ([its name](access.md#the-registrys-name)).',
  },
  AUTH: {
    topic: 'Access',
    home: 'both',
    default: 'on',
    type: onOrOff,
    about: '`off` allows everything to every program on this machine. It works on loopback only.',
  },
  ADMIN_PASSWORD: {
    topic: 'Access',
    home: 'both',
    isSecret: true,
    default: null,
    type: text,
    about:
      'The password of the user `admin`. On one machine, `npm start` makes one if none is set; on Cloudflare, `admin` cannot log in until it is set.',
  },
  HTPASSWD: {
    topic: 'Access',
    home: 'both',
    isSecret: true,
    default: null,
    type: parsedBy(parseHtpasswd),
    about:
      'Users with bcrypt hashes, as `htpasswd -B` writes them. On one machine it is the path of the file, as for `registry:2`; on Cloudflare it is the contents.',
  },
  HTPASSWD_ROLE: {
    topic: 'Access',
    home: 'both',
    default: 'maintainer',
    type: z.pipe(
      z.enum(['none', ...(Object.keys(ROLES) as Role[])], `is one of none, ${Object.keys(ROLES).join(', ')}`),
      z.transform((role) => (role === 'none' ? null : role)),
    ),
    about:
      'The role of the users in `HTPASSWD` on every repository. With `none`, only rules give them access.',
  },
  TOKEN_LIFETIME: {
    topic: 'Access',
    home: 'both',
    default: '300',
    // The token specification asks for a minute or more.
    type: wholeNumber('seconds', 60, DAY_S),
    about: 'Seconds that an access token lives, from 60 to 86400. A revoked right may work until then.',
  },
  TRUSTED_PROXIES: {
    topic: 'Access',
    home: 'one machine',
    default: null,
    type: z
      .pipe(
        z.string(),
        z.transform((value) => value.split(/[\s,]+/).filter(Boolean)),
      )
      .check(
        z.refine(
          (networks) => networks.every(isNetwork),
          'is a list of networks (CIDR), such as 10.0.0.0/8,fd00::/8',
        ),
      ),
    about: 'Networks of proxies whose `X-Forwarded-For` counts, separated by commas: `10.0.0.0/8,fd00::/8`.',
  },
  REQUEST_LIMIT: {
    topic: 'Access',
    home: 'one machine',
    default: '6000',
    type: wholeNumber('requests a minute (0 for no limit)', 0, 10_000_000),
    about:
      'Requests a minute of one user, robot or (without credentials) address; more get 429. `0` for no limit. On Cloudflare, `wrangler.toml` has the limit.',
  },
  OIDC_ISSUER: {
    topic: 'Sign-in',
    home: 'both',
    default: null,
    type: z.string().check(z.refine(isIssuer, 'is the https URL of an issuer')),
    about:
      'The https URL of the issuer that people sign in with. It needs `OIDC_CLIENT_ID` and `PUBLIC_URL`.',
  },
  OIDC_CLIENT_ID: {
    topic: 'Sign-in',
    home: 'both',
    default: null,
    type: text,
    about: 'The id that the issuer has given this registry.',
  },
  OIDC_CLIENT_SECRET: {
    topic: 'Sign-in',
    home: 'both',
    isSecret: true,
    default: null,
    type: text,
    about: 'The secret to that id. A public client has none: PKCE protects it.',
  },
  OIDC_GROUPS_CLAIM: {
    topic: 'Sign-in',
    home: 'both',
    default: 'groups',
    type: text,
    about: "The claim that lists a person's groups.",
  },
  OIDC_GROUPS_PREFIX: {
    topic: 'Sign-in',
    home: 'both',
    default: '',
    // Names of groups are separated by commas.
    type: z
      .string()
      .check(
        z.regex(/^[^\s\p{C},]{0,28}$/u, 'is up to 28 characters without spaces and commas, such as "acme:"'),
      ),
    about: "What the names of the issuer's groups begin with here, such as `acme:`.",
  },
  SIGN_IN_TOKEN_LIFETIME: {
    topic: 'Sign-in',
    home: 'both',
    default: String(7 * DAY_S), // A working week, and the weekend.
    type: wholeNumber('seconds', 3600, 30 * DAY_S),
    about: 'Seconds that the token of a sign-in lives, from 3600 to 2592000.',
  },
  ALLOW_PRIVATE_ISSUERS: {
    topic: 'Sign-in',
    home: 'both',
    default: 'false',
    type: trueOrFalse,
    about: '`true` also accepts issuers of OpenID Connect tokens on private addresses.',
  },
  AUDIT_DAYS: {
    topic: 'Audit log',
    home: 'both',
    default: '90',
    type: wholeNumber('days', 1, AUDIT_MAX.days),
    about: 'Days that the audit log keeps events, from 1 to 3650.',
  },
  AUDIT_ROWS_MAX: {
    topic: 'Audit log',
    home: 'both',
    default: '1000000',
    type: wholeNumber('rows', 1000, AUDIT_MAX.rows),
    about:
      'Rows that the audit log keeps, from 1000 to 10000000. A row holds the events that were written together.',
  },
  SPARSE_MANIFESTS: {
    topic: 'Content',
    home: 'both',
    default: 'false',
    type: trueOrFalse,
    about: '`true` accepts manifests whose references are not in the repository.',
  },
  UNDO_DAYS: {
    topic: 'Deleting',
    home: 'both',
    default: '14',
    type: wholeNumber('days', 0, DELETING_MAX.undoDays),
    about:
      'Days that a deletion can be undone, and that the history of tags is kept, from 0 to 365. With `0`, a deletion is final ([deleting](deleting.md)).',
  },
  GRACE_HOURS: {
    topic: 'Deleting',
    home: 'both',
    default: '24',
    type: wholeNumber('hours', 1, DELETING_MAX.graceHours),
    about:
      'Hours that a blob without a manifest is kept in its repository, and then once more in the store, from 1 to 720. A push must upload its manifest within this time.',
  },
  RETENTION_DELAY_HOURS: {
    topic: 'Deleting',
    home: 'both',
    default: '24',
    type: wholeNumber('hours', 0, DELETING_MAX.graceHours),
    about:
      'Hours between the plan of a retention run and its deletions, from 0 to 720. Until then the plan can be cancelled ([retention](retention.md)).',
  },
  BACKGROUND_ROWS_PER_DAY: {
    topic: 'Deleting',
    home: 'both',
    default: '0',
    type: wholeNumber('rows (0 for no limit)', 0, 1_000_000_000),
    about:
      'Rows that large deletions may write in a day (UTC). The rest waits for the next day. `0` for no limit; on the Free plan, which has 100,000 rows a day, set `20000`.',
  },
  BLOB_DELIVERY: {
    topic: 'Delivery',
    home: 'both',
    default: 'redirect',
    machineDefault: 'stream',
    type: z.enum(WAYS, `is one of ${WAYS.join(', ')}`),
    about:
      'How blobs reach a client: `redirect` to a signed URL, `presigned` for a redirect to R2, or `stream` ([delivery](delivery.md)).',
  },
  BLOB_HOST: {
    topic: 'Delivery',
    home: 'Cloudflare',
    default: null,
    type: parsedBy(
      (host) => originOf(host.includes('://') ? host : `https://${host}`),
      'is a host, such as blobs.example.com, without a path',
    ),
    about:
      'The R2 custom domain that signed URLs lead to, such as `blobs.example.com`. It needs `BLOB_URL_SECRETS`. Without it, they lead to the registry.',
  },
  BLOB_URL_SECRETS: {
    topic: 'Delivery',
    home: 'both',
    isSecret: true,
    default: null,
    // Without one, the registry would sign with its own key, and the firewall rule of BLOB_HOST would refuse all pulls.
    type: z.pipe(list, z.array(text).check(z.minLength(1, 'is a list of secrets, and has none'))),
    about:
      'Secrets of signed URLs, separated by commas: the first signs, all are accepted. Without it, the registry makes a key.',
  },
  BLOB_URL_LIFETIME: {
    topic: 'Delivery',
    home: 'both',
    default: String(20 * 60), // Some clients keep a redirect for ten minutes.
    type: wholeNumber('seconds', 60, 5 * DAY_S),
    about: 'Seconds that a signed URL lives at minimum, from 60 to 432000.',
  },
  STREAM_USER_AGENTS: {
    topic: 'Delivery',
    home: 'both',
    default: null,
    type: list,
    about:
      'Parts of `User-Agent` headers, separated by commas, in any case. These clients are never redirected.',
  },
  S3_BUCKET_URL: {
    topic: 'Delivery',
    home: 'Cloudflare',
    default: null,
    type: text,
    about:
      'The bucket for S3 clients: `https://<account>.r2.cloudflarestorage.com/<bucket>`. With it and the next two settings, large uploads of `longshore push` go [straight to R2](direct-uploads.md); `presigned` needs them too.',
  },
  S3_ACCESS_KEY_ID: {
    topic: 'Delivery',
    home: 'Cloudflare',
    isSecret: true,
    default: null,
    type: text,
    about:
      'The id of an R2 API token with "Object Read & Write" on this bucket; for `presigned` alone, "Object Read".',
  },
  S3_SECRET_ACCESS_KEY: {
    topic: 'Delivery',
    home: 'Cloudflare',
    isSecret: true,
    default: null,
    type: text,
    about: 'The secret of that token.',
  },
  DIRECT_UPLOAD: {
    topic: 'Delivery',
    home: 'Cloudflare',
    default: 'false',
    type: trueOrFalse,
    about:
      '`true` also lets Docker, BuildKit, nerdctl and ctr store layers [straight in R2](direct-uploads.md#stock-clients). It needs the three S3 settings, and `longshore doctor` must have shown that the bucket compares the checksum in the query.',
  },
  PREFETCH: {
    topic: 'Delivery',
    home: 'Cloudflare',
    default: 'false',
    type: parsedBy(
      prefetchedBlobs,
      `is true, false or a number of blobs of a manifest, from 0 to ${PREFETCH_BLOBS_MAX}`,
    ),
    about: `\`true\`, or the number of blobs of a manifest (up to ${PREFETCH_BLOBS_MAX}) that the cache fetches as soon as the manifest is pulled.`,
  },
  CACHE_LIFETIME: {
    topic: 'Delivery',
    home: 'Cloudflare',
    default: '60',
    // A delete counts everywhere within the lifetime, long before the bytes are deleted (GRACE_HOURS).
    type: wholeNumber('seconds', 0, 3600),
    about: 'Seconds that manifests and links are kept at the edge, up to 3600. `0` keeps nothing.',
  },
} satisfies Record<string, Setting>;

/** The settings that only `npm start` reads. */
export const START_SETTINGS = {
  PORT: {
    topic: 'Address and state',
    home: 'one machine',
    default: '8787',
    type: z.pipe(
      z.string().check(
        z.refine((value) => /^\d{1,5}$/.test(value) && Number(value) <= 65535, {
          error: ({ input }) =>
            `is ${JSON.stringify(input)}, and must be a number from 0 to 65535 (0 chooses a free one).`,
        }),
      ),
      z.transform(Number),
    ),
    about: 'The port that the registry listens on. `0` chooses a free one.',
  },
  HOST: {
    topic: 'Address and state',
    home: 'one machine',
    default: '127.0.0.1',
    type: text,
    about: 'The address that it listens on; `*` for all addresses.',
  },
  STATE_DIR: {
    topic: 'Address and state',
    home: 'one machine',
    default: '.longshore',
    type: text,
    about:
      'The folder of everything that it keeps. Several registries run side by side on folders of their own.',
  },
  TLS_CERT: {
    topic: 'Address and state',
    home: 'one machine',
    default: null,
    type: text,
    about:
      'The path of a certificate (PEM). With it and `TLS_KEY` the registry speaks HTTPS. It takes up a renewed pair without interrupting an upload.',
  },
  TLS_KEY: {
    topic: 'Address and state',
    home: 'one machine',
    default: null,
    type: text,
    about: 'The path of the key to `TLS_CERT` (PEM).',
  },
} satisfies Record<string, Setting>;

const ALL = { ...START_SETTINGS, ...SETTINGS };
export type SettingName = keyof typeof ALL;
type Parsed<S extends { type: z.ZodMiniType; default: string | null }> =
  | z.output<S['type']>
  | (S['default'] extends string ? never : null);
export type SettingValues<Name extends SettingName> = { [N in Name]: Parsed<(typeof ALL)[N]> };
/** What an operator has set. */
export type SettingTexts = { [Name in keyof typeof SETTINGS]?: string };

/** The value of one setting. Throws a WrongSetting. */
export function parseSetting<Name extends SettingName>(
  name: Name,
  value: unknown,
  platform: Platform = platformOf({}),
): SettingValues<Name>[Name] {
  const setting: Setting = ALL[name];
  const fallback = platform.hasBucket ? setting.default : (setting.machineDefault ?? setting.default);
  const given = textOf(value) || fallback;
  if (given === null) return null as SettingValues<Name>[Name];
  const { success, data, error } = setting.type.safeParse(given);
  if (success) return data as SettingValues<Name>[Name];
  throw new WrongSetting([`${name} ${error.issues[0]?.message}`]);
}

/**
 * For code that cannot refuse, such as an alarm: `instead` takes the place of a setting that is wrong, and the log says so. It must be
 * a value that loses nothing until the operator has corrected the setting.
 */
export function parseSettingOr<Name extends SettingName>(
  name: Name,
  value: unknown,
  instead: SettingValues<Name>[Name],
): SettingValues<Name>[Name] {
  try {
    return parseSetting(name, value);
  } catch (error) {
    if (!(error instanceof WrongSetting)) throw error;
    console.error(`${error.problems.join()}. Using ${instead} until it is corrected.`);
    return instead;
  }
}

/** `wrangler.toml` may have numbers and truth values without quotes. */
function textOf(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : String(value);
}

/** Every setting of a list, and what is wrong with those that are missing in the values. */
export function parseEach<Name extends SettingName>(
  names: readonly Name[],
  texts: { readonly [N in Name]?: unknown },
  platform: Platform,
): { values: Partial<SettingValues<Name>>; problems: string[] } {
  const values: Partial<SettingValues<Name>> = {};
  const problems: string[] = [];
  for (const name of names) {
    const setting: Setting = ALL[name];
    // On Cloudflare, the rate limiting binding has the name of a setting of one machine.
    const isBinding = platform.hasBucket && setting.home === 'one machine' && typeof texts[name] === 'object';
    try {
      values[name] = parseSetting(name, isBinding ? undefined : texts[name], platform);
    } catch (error) {
      if (!(error instanceof WrongSetting)) throw error;
      problems.push(...error.problems);
    }
  }
  return { values, problems };
}

/** The settings as the code uses them. */
export interface Settings {
  /** The origins of `PUBLIC_URL`; empty where it is not set. */
  publicOrigins: string[];
  auth: AuthSettings;
  /** Null where people cannot sign in. */
  signIn: SignInSettings | null;
  delivery: DeliverySettings;
  /** The bucket as S3 knows it, for uploads past the Worker; null where the credentials are not set. */
  s3: S3Bucket | null;
  /** True where also clients that know nothing of it may store bytes past the Worker. */
  directUpload: boolean;
  /** Requests a minute that the registry itself counts; 0 for no limit. */
  requestsPerMinute: number;
  /** Seconds that answers are kept at the edge; 0 for no cache. */
  cacheLifetime: number;
  /** True where a manifest may reference what is not in the repository. */
  allowsSparse: boolean;
}

export interface AuthSettings {
  /** True where everything is allowed to every program on this machine. */
  off: boolean;
  /** True where the platform says in a header who the client is, and no client can set that header. */
  setsCfHeaders: boolean;
  /** The password of the user `admin`; null where none is set. */
  adminPassword: string | null;
  /** Name -> bcrypt hash. */
  htpasswd: Map<string, string>;
  /** The role of these users on every repository; null where only rules give them access. */
  htpasswdRole: Role | null;
  /** Lifetime of access tokens, in seconds. */
  tokenLifetime: number;
  /** Networks of proxies whose `X-Forwarded-For` counts. */
  trustedProxies: string[];
  /** True where issuers of OpenID Connect tokens may be on private addresses. */
  allowsPrivateIssuers: boolean;
}

export interface SignInSettings {
  issuer: string;
  clientId: string;
  /** Null for a public client, which PKCE alone protects. */
  clientSecret: string | null;
  groupsClaim: string;
  /** What the names of the issuer's groups begin with here; may be empty. */
  groupsPrefix: string;
  /** Lifetime of the token of a sign-in, in ms. */
  tokenLifetimeMs: number;
}

export interface DeliverySettings {
  mode: (typeof WAYS)[number];
  /** Origin of an R2 custom domain; null where the registry is its own blob host. */
  blobHost: string | null;
  /** True where a cache is in front of the blob host. */
  cached: boolean;
  urls: SignedUrlTimes;
  /** The first signs, all are accepted; empty for a key that the registry makes. */
  urlSecrets: string[];
  /** Clients whose User-Agent contains one of these are never redirected; in lower case. */
  streamUserAgents: string[];
  /** The bucket as S3 knows it, for `presigned`. */
  s3: S3Bucket | null;
  /** The number of blobs of a manifest to prefetch; 0 for none. */
  prefetch: number;
}

export interface SignedUrlTimes {
  /** How long a URL lives at minimum, in seconds. */
  lifetime: number;
  /** URLs that are made in one window of this many seconds are the same, so that clients and caches share them. */
  window: number;
}

export interface S3Bucket {
  /** `https://<account>.r2.cloudflarestorage.com/<bucket>`, without a slash at the end. */
  url: string;
  accessKeyId: string;
  secretAccessKey: string;
}

const S3_SETTINGS = ['S3_BUCKET_URL', 'S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'] as const;

/** Null where one of the three is missing. */
function s3Bucket(all: SettingValues<(typeof S3_SETTINGS)[number]>): S3Bucket | null {
  const { S3_BUCKET_URL: url, S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey } = all;
  if (url === null || accessKeyId === null || secretAccessKey === null) return null;
  return { url: url.replace(/\/+$/, ''), accessKeyId, secretAccessKey };
}

/** URLs made in a quarter of their life are the same. */
const WINDOWS = 4;

export function signedUrlTimes(lifetime: number): SignedUrlTimes {
  return { lifetime, window: Math.floor(lifetime / WINDOWS) };
}

const NAMES = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[];

/** All settings of the registry. Throws a WrongSetting, which names every setting that is wrong. */
export function parseSettings(
  env: { readonly [Name in keyof typeof SETTINGS]?: unknown } & { PLATFORM?: string },
): Settings {
  const platform = platformOf(env);
  const { values, problems } = parseEach(NAMES, env, platform);
  problems.push(...conflicts(env as SettingTexts, platform));
  if (problems.length > 0) throw new WrongSetting(problems);
  const all = values as SettingValues<keyof typeof SETTINGS>;
  const s3 = platform.hasBucket ? s3Bucket(all) : null;
  return {
    publicOrigins: all.PUBLIC_URL ?? [],
    auth: {
      off: all.AUTH === 'off',
      setsCfHeaders: platform.setsCfHeaders,
      adminPassword: all.ADMIN_PASSWORD,
      htpasswd: all.HTPASSWD ?? new Map(),
      htpasswdRole: all.HTPASSWD_ROLE,
      tokenLifetime: all.TOKEN_LIFETIME,
      trustedProxies: all.TRUSTED_PROXIES ?? [],
      allowsPrivateIssuers: all.ALLOW_PRIVATE_ISSUERS,
    },
    signIn:
      all.OIDC_ISSUER === null
        ? null
        : {
            issuer: all.OIDC_ISSUER,
            clientId: all.OIDC_CLIENT_ID ?? '',
            clientSecret: all.OIDC_CLIENT_SECRET,
            groupsClaim: all.OIDC_GROUPS_CLAIM,
            groupsPrefix: all.OIDC_GROUPS_PREFIX,
            tokenLifetimeMs: all.SIGN_IN_TOKEN_LIFETIME * 1000,
          },
    delivery: {
      mode: all.BLOB_DELIVERY,
      blobHost: all.BLOB_HOST,
      cached: platform.hasCache,
      urls: signedUrlTimes(all.BLOB_URL_LIFETIME),
      urlSecrets: all.BLOB_URL_SECRETS ?? [],
      streamUserAgents: (all.STREAM_USER_AGENTS ?? []).map((agent) => agent.toLowerCase()),
      s3: all.BLOB_DELIVERY === 'presigned' ? s3 : null,
      prefetch: all.PREFETCH,
    },
    s3,
    directUpload: all.DIRECT_UPLOAD && s3 !== null,
    // On Cloudflare a binding counts.
    requestsPerMinute: platform.isSingleIsolate ? all.REQUEST_LIMIT : 0,
    cacheLifetime: platform.hasCache ? all.CACHE_LIFETIME : 0,
    allowsSparse: all.SPARSE_MANIFESTS,
  };
}

/** What is wrong with settings together. */
function conflicts(texts: SettingTexts, platform: Platform): string[] {
  return [...signInConflicts(texts), ...deliveryConflicts(texts, platform)];
}

function signInConflicts(texts: SettingTexts): string[] {
  if (texts.OIDC_ISSUER) {
    return [
      ...(texts.OIDC_CLIENT_ID ? [] : ['OIDC_ISSUER needs OIDC_CLIENT_ID']),
      ...(/[^\s,]/.test(texts.PUBLIC_URL ?? '')
        ? []
        : ['PUBLIC_URL is needed for OIDC_ISSUER: set it to https:// and the name of this registry']),
    ];
  }
  const alone = NAMES.find(
    (name) =>
      SETTINGS[name].topic === 'Sign-in' &&
      name !== 'OIDC_ISSUER' &&
      name !== 'ALLOW_PRIVATE_ISSUERS' && // Issuers that are trusted need no sign-in.
      texts[name],
  );
  return alone === undefined ? [] : [`${alone} needs OIDC_ISSUER, the https URL of an issuer`];
}

function deliveryConflicts(texts: SettingTexts, platform: Platform): string[] {
  const mode = texts.BLOB_DELIVERY || (platform.hasBucket ? 'redirect' : 'stream');
  if (!platform.hasBucket) {
    if (texts.BLOB_HOST) return ['BLOB_HOST is for Cloudflare: on one machine there is no bucket'];
    if (mode === 'presigned')
      return ['BLOB_DELIVERY=presigned is for Cloudflare: on one machine there is no bucket'];
  }
  if (texts.BLOB_HOST && mode === 'redirect' && !texts.BLOB_URL_SECRETS)
    return ['BLOB_HOST needs BLOB_URL_SECRETS: the secret that its firewall rule verifies'];
  return s3Conflicts(texts, mode);
}

function s3Conflicts(texts: SettingTexts, mode: string): string[] {
  const set = S3_SETTINGS.filter((name) => texts[name]);
  if (mode === 'presigned' && set.length < S3_SETTINGS.length)
    return ['BLOB_DELIVERY=presigned needs S3_BUCKET_URL, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY'];
  if (texts.DIRECT_UPLOAD === 'true' && set.length < S3_SETTINGS.length) {
    return [
      `DIRECT_UPLOAD needs ${S3_SETTINGS.join(', ')}: set them, run longshore doctor, and set DIRECT_UPLOAD if its check of the query is ok`,
    ];
  }
  if (set.length === 0) return [];
  if (set.length < S3_SETTINGS.length)
    return [`${set[0]} is one of ${S3_SETTINGS.join(', ')}: set all of them, or none`];
  return /^https?:$/.test(URL.parse(texts.S3_BUCKET_URL ?? '')?.protocol ?? '')
    ? []
    : ['S3_BUCKET_URL is the URL of a bucket'];
}

/** A type from a function that throws an Error where the text is wrong. `message` takes the place of the error's own. */
function parsedBy<T>(parse: (text: string) => T, message?: string): z.ZodMiniType<T, string> {
  return z.pipe(
    z.string(),
    z.transform((value, context) => {
      try {
        return parse(value);
      } catch (error) {
        const why = message ?? (error instanceof Error ? error.message : String(error));
        context.issues.push({ code: 'custom', message: why, input: value });
        return z.NEVER;
      }
    }),
  );
}

function wholeNumber(unit: string, min: number, max: number): z.ZodMiniType<number, string> {
  return parsedBy((value) => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new Error('out of range');
  }, `is a number of ${unit} from ${min} to ${max}`);
}

function trimmed(entry: string): string {
  return entry.trim();
}

/** The origin of a URL that has no path. */
function originOf(value: string): string {
  const url = URL.parse(value);
  if (url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`) return url.origin;
  throw new Error('not an origin');
}

function prefetchedBlobs(value: string): number {
  if (value === 'false') return 0;
  if (value === 'true') return PREFETCH_BLOBS_MAX;
  const blobs = /^\d{1,3}$/.test(value) ? Number(value) : Number.NaN;
  if (blobs <= PREFETCH_BLOBS_MAX) return blobs;
  throw new Error('too many');
}

/** The users of an htpasswd file. Throws an Error that names the first line that is wrong. */
function parseHtpasswd(contents: string): Map<string, string> {
  const users = new Map<string, string>();
  for (const [index, line] of contents.split('\n').entries()) {
    const entry = line.trim();
    if (entry === '' || entry.startsWith('#')) continue;
    const colon = entry.indexOf(':');
    const hash = entry.slice(colon + 1);
    if (colon < 1 || !BCRYPT_HASH.test(hash)) {
      throw new Error(
        `line ${index + 1} is not "name:hash" with a bcrypt hash of a cost from 4 to 17: make it with htpasswd -B`,
      );
    }
    users.set(entry.slice(0, colon), hash);
  }
  return users;
}

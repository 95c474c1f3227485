/**
 * The layers of docs/architecture.md, as rules for dependency-cruiser: `npm run check` runs them over every import, types
 * included. A new row or a wider one is a decision about the architecture.
 */
import { builtinModules } from 'node:module';

/**
 * From the bottom up. `path` matches the files of a layer. A layer may import from itself, from the layers in `layers` and from
 * the packages in `packages`; from the layers in `types` it may import types only.
 */
const LAYERS = [
  { name: 'oci', path: '^worker/oci/', layers: [], packages: ['node:crypto', 'ipaddr.js', 'quick-lru'] },
  { name: 'platform', path: '^worker/platform[.]ts$', layers: [], packages: [] },
  { name: 'memory', path: '^worker/memory/', layers: ['oci'], packages: [] },
  { name: 'access', path: '^worker/access/', layers: ['oci'], packages: [] },
  // How long tags are kept, and which tags may move.
  { name: 'lifecycle', path: '^worker/lifecycle/', layers: ['oci'], packages: [] },
  {
    name: 'blobs',
    path: '^worker/blobs/',
    layers: ['oci', 'memory'],
    packages: ['node:crypto', '@stablelib/sha256', '@stablelib/sha512'],
  },
  // What each Durable Object can do.
  {
    name: 'objects',
    path: '^worker/objects/',
    layers: [],
    types: ['oci', 'access', 'lifecycle', 'blobs'],
    packages: [],
  },
  {
    name: 'settings',
    path: '^worker/settings[.]ts$',
    layers: ['platform', 'oci', 'access'],
    packages: ['zod'],
  },
  // The S3 endpoint of the bucket: what clients may do there.
  { name: 's3', path: '^worker/s3/', layers: ['oci'], types: ['settings'], packages: ['aws4fetch', 'jose'] },
  { name: 'env', path: '^worker/env[.]ts$', layers: [], types: ['objects', 'settings'], packages: [] },
  // How the Worker reaches what is bound to it.
  {
    name: 'bindings',
    path: '^worker/(stubs|blob-store)[.]ts$',
    layers: ['objects', 'platform', 'oci', 'blobs'],
    types: ['env'],
    packages: ['quick-lru'],
  },
  // The consistency check: the store against the rows of the objects.
  {
    name: 'check',
    path: '^worker/check/',
    layers: ['oci', 'blobs', 's3', 'bindings'],
    types: ['objects', 'env'],
    packages: [],
  },
  {
    name: 'durable-objects',
    path: '^durable-objects/',
    layers: ['settings', 'oci', 'memory', 'access', 'lifecycle', 'blobs', 'bindings'],
    types: ['objects', 'env'],
    packages: ['cloudflare:workers'],
  },
  {
    name: 'registry',
    path: '^worker/registry/',
    layers: ['settings', 'platform', 'oci', 'memory', 'blobs', 'bindings'],
    types: ['objects', 'env'],
    packages: ['cloudflare:workers'],
  },
  {
    name: 'delivery',
    path: '^worker/delivery/',
    layers: ['settings', 'platform', 'oci', 'registry'],
    types: ['env'],
    packages: ['cloudflare:workers', 'node:crypto', 'aws4fetch', 'quick-lru'],
  },
  {
    name: 'auth',
    path: '^worker/auth/',
    layers: ['settings', 'platform', 'oci', 'memory', 'access', 'bindings'],
    types: ['env'],
    packages: ['cloudflare:workers', 'node:crypto', 'jose', 'bcryptjs', 'hono', 'oauth4webapi', 'quick-lru'],
  },
  {
    name: 'management',
    path: '^worker/management/',
    layers: ['settings', 'oci', 'access', 'lifecycle', 'blobs', 's3', 'bindings', 'check', 'auth'],
    types: ['objects', 'env'],
    packages: ['hono', 'zod'],
  },
  {
    name: 'distribution',
    path: '^worker/distribution/',
    layers: ['oci', 's3', 'delivery', 'auth'],
    types: ['access'],
    packages: ['itty-router'],
  },
  { name: 'app', path: '^worker/app[.]ts$', layers: ['oci', 'distribution'], packages: ['hono'] },
  {
    name: 'index',
    path: '^worker/index[.]ts$',
    layers: [
      'settings',
      'platform',
      'oci',
      'access',
      's3',
      'app',
      'registry',
      'delivery',
      'auth',
      'management',
      'durable-objects',
    ],
    types: ['env'],
    packages: [],
  },
  // Around the Worker. These import only its pure parts.
  {
    name: 'standalone',
    path: '^standalone/',
    layers: ['objects', 'settings', 'platform', 'oci', 'auth', 'client-package'],
    packages: ['node:', 'esbuild', 'workerd'],
  },
  // Moves images between registries, daemons and files.
  { name: 'transfer', path: '^cli/(transfer/|failure[.]ts$)', layers: ['oci'], packages: ['node:'] },
  // Passes the pushes of other clients on.
  { name: 'proxy', path: '^cli/proxy/', layers: ['oci', 'transfer'], packages: ['node:'] },
  {
    name: 'cli',
    path: '^cli/(?!transfer/|proxy/|failure[.]ts$)',
    layers: ['oci', 'transfer', 'proxy'],
    packages: ['node:', '@stricli/core', 'cli-table3', 'openapi-fetch'],
  },
  {
    // Packs the command for the Worker, which serves it.
    name: 'client-package',
    path: '^deploy/client-package[.]ts$',
    layers: [],
    packages: ['node:', 'esbuild'],
  },
  {
    name: 'deploy',
    path: '^deploy/(?!client-package[.]ts$)',
    layers: ['settings', 'oci', 'auth', 'delivery'],
    packages: ['node:', 'popular-passwords'],
  },
];

/** Everything that is deployed or installed: all but the tests and the benchmarks. */
const PRODUCT = '^(worker|durable-objects|standalone|cli|deploy)/';

const PATHS = Object.fromEntries(LAYERS.map(({ name, path }) => [name, path]));

function rulesOf({ name, path, layers, types = [], packages }) {
  const values = [path, ...layers.map((layer) => PATHS[layer]), ...packages.map(packagePath)];
  return [
    {
      name: `${name}-imports`,
      comment: `${name} may import from ${[...layers, ...types.map((layer) => `${layer} (types)`), ...packages].join(', ') || 'itself only'}.`,
      severity: 'error',
      from: { path },
      to: { pathNot: [...values, ...types.map((layer) => PATHS[layer])] },
    },
    {
      name: `${name}-imports-types`,
      comment: `From these layers, ${name} may import types only: write "import type".`,
      severity: 'error',
      from: { path },
      to: { path: types.map((layer) => PATHS[layer]), dependencyTypesNot: ['type-only'] },
    },
  ].filter(({ to }) => to.path === undefined || to.path.length > 0);
}

/** dependency-cruiser names a module of Node without `node:`, and a package by its folder. */
function packagePath(name) {
  if (name === 'node:') return `^(${builtinModules.join('|')})$`;
  if (name.startsWith('node:')) return `^${name.slice('node:'.length)}$`;
  return name.includes(':') ? `^${name}$` : `^node_modules/${name.replace('.', '[.]')}/`;
}

export default {
  forbidden: [
    {
      name: 'no-circular',
      comment:
        'Files must not import each other in a circle, types included. Move what they share to a lower layer.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'every-file-has-a-layer',
      comment: 'Add the folder to LAYERS in .dependency-cruiser.mjs.',
      severity: 'error',
      from: { path: PRODUCT, pathNot: LAYERS.map(({ path }) => path) },
      to: {},
    },
    {
      name: 'no-dynamic-import',
      comment:
        'The bundle of the Worker is one file, loaded at once: write a static import. The command may load TLS later.',
      severity: 'error',
      from: { path: PRODUCT, pathNot: '^cli/' },
      to: { dynamic: true },
    },
    {
      name: 'not-to-unresolvable',
      comment: 'The file or package does not exist.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '^cloudflare:' },
    },
    ...LAYERS.flatMap(rulesOf),
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    // The package of the command is built, and may be there or not.
    exclude: { path: '(^|/)cli[.]tgz$' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'default'] },
  },
};

/**
 * The architecture, held by a test: who may import whom, and how large and how loosely typed a file may be. The table below
 * is the layout of docs/architecture.md; a row that has to be loosened is a decision, not a detail.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { buildSync } from 'esbuild';
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from '../standalone/config.ts';
import { code, cycle, type Import, importsOf, ROOT, read, sources } from './support/imports.ts';

interface Layer {
  name: string;
  /** The files of the layer; a file belongs to the first row that has it. */
  files: RegExp;
  /** Other layers whose values it may import. Its own it always may. */
  values: string[];
  /** Other layers of which it may know the types only. */
  types?: string[];
  packages?: string[];
}

/** From the bottom up. A folder is a layer. */
const LAYERS: Layer[] = [
  { name: 'oci', files: /^worker\/oci\//, values: [], packages: ['node:crypto'] },
  { name: 'platform', files: /^worker\/platform\.ts$/, values: [] },
  { name: 'memory', files: /^worker\/memory\//, values: ['oci'] },
  {
    name: 'access',
    files: /^worker\/access\//,
    values: ['oci'],
    packages: ['ipaddr.js'],
  },
  {
    name: 'blobs',
    files: /^worker\/blobs\//,
    values: ['oci', 'memory'],
    packages: ['node:crypto', '@stablelib/sha256', '@stablelib/sha512'],
  },
  // What each Durable Object can do.
  { name: 'objects', files: /^worker\/objects\//, values: [], types: ['oci', 'access', 'blobs'] },
  { name: 'env', files: /^worker\/env\.ts$/, values: [], types: ['objects'] },
  // How the Worker reaches what is bound to it.
  {
    name: 'bindings',
    files: /^worker\/(?:stubs|blob-store)\.ts$/,
    values: ['platform', 'oci', 'blobs'],
    types: ['objects', 'env'],
  },
  {
    name: 'classes',
    files: /^durable-objects\//,
    values: ['oci', 'memory', 'access', 'blobs', 'bindings'],
    types: ['objects', 'env'],
    packages: ['cloudflare:workers'],
  },
  {
    name: 'registry',
    files: /^worker\/registry\//,
    values: ['platform', 'oci', 'memory', 'blobs', 'bindings'],
    types: ['objects', 'env'],
    packages: ['cloudflare:workers'],
  },
  {
    name: 'delivery',
    files: /^worker\/delivery\//,
    values: ['platform', 'oci', 'registry'],
    types: ['env'],
    packages: ['cloudflare:workers', 'node:crypto', 'aws4fetch'],
  },
  {
    name: 'auth',
    files: /^worker\/auth\//,
    values: ['platform', 'oci', 'access', 'bindings'],
    types: ['env'],
    packages: ['cloudflare:workers', 'node:crypto', 'jose', 'bcryptjs', 'ipaddr.js'],
  },
  {
    name: 'management',
    files: /^worker\/management\//,
    values: ['oci', 'access', 'bindings', 'auth'],
    types: ['objects', 'env'],
    packages: ['hono', 'zod/mini', 'zod/v4/locales/en.js'],
  },
  {
    name: 'distribution',
    files: /^worker\/distribution\//,
    values: ['oci', 'delivery', 'auth'],
    types: ['access'],
    packages: ['itty-router'],
  },
  { name: 'app', files: /^worker\/app\.ts$/, values: ['oci', 'distribution'], packages: ['hono'] },
  {
    name: 'index',
    files: /^worker\/index\.ts$/,
    values: ['platform', 'oci', 'access', 'app', 'registry', 'delivery', 'auth', 'management', 'classes'],
    types: ['env'],
  },
  // Around the Worker: they import from it only what is pure.
  {
    name: 'standalone',
    files: /^standalone\//,
    values: ['platform', 'oci', 'auth'],
    packages: ['esbuild', 'node:*'],
  },
  { name: 'cli', files: /^cli\//, values: ['oci', 'auth'], packages: ['node:*'] },
  { name: 'deploy', files: /^deploy\//, values: ['oci', 'auth', 'delivery'], packages: ['node:*'] },
];

const PRODUCT = ['worker', 'durable-objects', 'standalone', 'deploy', 'cli'].flatMap(sources);
const EVERYTHING = [...PRODUCT, ...sources('test')];
const IMPORTS = PRODUCT.flatMap((path) => importsOf(path));

describe('the runtime', () => {
  it('behaves alike in both homes', () => {
    const settings = read('wrangler.toml');
    assert.match(settings, new RegExp(`^compatibility_date = "${COMPATIBILITY_DATE}"$`, 'm'));
    assert.ok(settings.includes(`compatibility_flags = ${JSON.stringify(COMPATIBILITY_FLAGS)}`));
  });
});

describe('the import graph', () => {
  it('has every file in a layer', () => {
    assert.deepEqual(
      PRODUCT.filter((path) => layerOf(path) === undefined),
      [],
    );
  });

  for (const layer of LAYERS) {
    it(`${layer.name} imports only ${[...layer.values, ...(layer.types ?? []).map((name) => `types of ${name}`)].join(', ') || 'itself'}`, () => {
      const imports = IMPORTS.filter((edge) => layerOf(edge.from) === layer);
      assert.notEqual(PRODUCT.filter((path) => layerOf(path) === layer).length, 0, 'the layer has no files');
      assert.deepEqual(imports.filter((edge) => !allowed(layer, edge)).map(arrow), []);
    });
  }

  it('has no cycle, types included', () => {
    assert.equal(cycle(IMPORTS.filter((edge) => edge.ours)), null);
  });

  it('goes to files that exist, and never to the tests', () => {
    const files = new Set(PRODUCT);
    assert.deepEqual(IMPORTS.filter((edge) => edge.ours && !files.has(edge.to)).map(arrow), []);
  });

  it('has nothing beside it: no import() and no require()', () => {
    const found = PRODUCT.filter((path) => /(?<!#)\bimport\s*\(|\brequire\s*\(/.test(code(read(path))));
    assert.deepEqual(found, []);
  });

  it('is the one that the bundler sees', () => {
    const { metafile } = buildSync({
      entryPoints: [join(ROOT, 'worker/index.ts')],
      absWorkingDir: ROOT,
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      external: ['cloudflare:*', 'node:*'],
      outdir: ROOT,
      logLevel: 'silent',
    });
    const bundled = Object.entries(metafile.inputs).filter(([path]) => !path.includes('node_modules'));
    const theirs = bundled.flatMap(([from, { imports }]) =>
      imports.map((edge) => `${from} -> ${edge.path.includes('node_modules') ? edge.original : edge.path}`),
    );
    const files = new Set(bundled.map(([path]) => path));
    const ours = IMPORTS.filter((edge) => files.has(edge.from) && !edge.typeOnly).map(arrow);
    assert.deepEqual(ours.sort(), theirs.sort());
    const unused = PRODUCT.filter((path) => !/^(?:standalone|deploy|cli)\//.test(path) && !files.has(path));
    assert.deepEqual(
      unused.filter((path) => !isOnlyTypes(path)),
      [],
      'files of the Worker that nothing reaches',
    );
  });
});

describe('the files', () => {
  it('have no default export but the Worker entry', () => {
    const found = PRODUCT.filter((path) => /\bexport default\b|\bas default\b/.test(code(read(path))));
    assert.deepEqual(found, ['worker/index.ts']);
  });

  it('have no `any` and no non-null `!`', () => {
    const found = EVERYTHING.filter((path) =>
      /[:<,|&(=]\s*any\b|\bas any\b|[\w)\]]!(?=[.;,)[\]])/.test(code(read(path))),
    );
    assert.deepEqual(found, []);
  });

  it('open with what they are for', () => {
    const silent = EVERYTHING.filter((path) => !/^(?:\/\*\*|\/\/)/.test(read(path)));
    assert.deepEqual(silent, []);
  });
});

/** The rules above are worth something only if they see what breaks them. */
describe('the rules catch', () => {
  const offenders = [
    {
      name: 'a layer below that looks up',
      from: 'worker/oci/page.ts',
      text: "import { x } from '../app.ts';",
    },
    { name: 'a package', from: 'worker/oci/page.ts', text: "import { Hono } from 'hono';" },
    {
      name: 'storage behind the seam',
      from: 'worker/distribution/lists.ts',
      text: "import '../blobs/r2.ts';",
    },
    {
      name: 'types behind the seam',
      from: 'worker/app.ts',
      text: "import type { A } from './blobs/r2.ts';",
    },
    { name: 'a re-export', from: 'worker/blobs/r2.ts', text: "export { a } from '../registry/upload.ts';" },
    {
      name: 'a value of several lines where a type is allowed',
      from: 'worker/registry/repository.ts',
      text: "import {\n  type A,\n  Repository,\n} from '../../durable-objects/repository/repository.ts';",
    },
  ];
  for (const { name, from, text } of offenders) {
    it(name, () => {
      const [edge, ...others] = importsOf(from, text);
      assert.ok(edge !== undefined && others.length === 0);
      const layer = layerOf(from);
      assert.ok(layer !== undefined);
      assert.equal(allowed(layer, edge), false);
    });
  }

  it('a cycle of three', () => {
    const edges = ['ab', 'bc', 'ca', 'ad'].map(([from = '', to = '']) => ({ from, to }));
    assert.deepEqual(cycle(edges), ['a', 'b', 'c', 'a']);
    assert.equal(cycle(edges.filter(({ from }) => from !== 'c')), null);
  });
});

function layerOf(path: string): Layer | undefined {
  return LAYERS.find((layer) => layer.files.test(path));
}

function allowed(layer: Layer, { to, ours, typeOnly }: Import): boolean {
  if (!ours) {
    return (layer.packages ?? []).some((name) => (name === 'node:*' ? to.startsWith('node:') : name === to));
  }
  const target = layerOf(to);
  if (target === undefined) return false;
  if (target === layer || layer.values.includes(target.name)) return true;
  return typeOnly && (layer.types ?? []).includes(target.name);
}

function arrow({ from, to }: Import): string {
  return `${from} -> ${to}`;
}

function isOnlyTypes(path: string): boolean {
  return !/^(?:export )?(?:async )?(?:const|let|function|class)\b/m.test(code(read(path)));
}

/** Which tags may move or be deleted, and what a client is told. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LifecyclePolicy } from '../../worker/lifecycle/policy.ts';
import { compareVersions, parseVersion } from '../../worker/lifecycle/semver.ts';
import { frozenBy, refusalText } from '../../worker/lifecycle/tags.ts';
import { retention, tagsPolicy } from './policies.ts';

const CASES: {
  name: string;
  policies: LifecyclePolicy[];
  frozen: string[];
  /** Only for those who do not maintain the repository. */
  protected?: string[];
  free: string[];
}[] = [
  { name: 'no policy', policies: [], frozen: [], free: ['1.4.2', 'latest'] },
  { name: 'a retention policy', policies: [retention({})], frozen: [], free: ['1.4.2', 'latest'] },
  {
    name: 'immutable patterns',
    policies: [tagsPolicy({ immutable: ['release-*', 'prod'] })],
    frozen: ['release-1', 'release-', 'prod'],
    free: ['prod-1', 'main', 'my-release-1'],
  },
  {
    name: 'the preset semver',
    policies: [tagsPolicy({ semver: true })],
    frozen: ['1.4.2', 'v1.4.2', '0.0.0', '1.4.2-rc.1', '1.4.2-alpine', '1.4.2_build.7', '1.4.2-5-gabc1234'],
    free: [
      '1.4',
      '1',
      'v1',
      'latest',
      '1.4-alpine',
      '2026.01.05',
      '1.4.2.1',
      '01.4.2',
      'V1.4.2',
      '1.4.2-rc.',
      '1.4.x',
    ],
  },
  {
    name: 'exceptions',
    policies: [tagsPolicy({ semver: true, immutable: ['release-*'], except: ['*-dev', '0.*'] })],
    frozen: ['1.4.2', 'release-1'],
    free: ['1.4.2-dev', 'release-dev', '0.1.0'],
  },
  {
    name: 'the exception of one policy does not change another',
    policies: [tagsPolicy({ semver: true, except: ['**'] }), tagsPolicy({ immutable: ['1.*'] })],
    frozen: ['1.4.2'],
    free: ['2.0.0'],
  },
  {
    name: 'protected patterns',
    policies: [tagsPolicy({ protected: ['prod', 'stable-*'], except: ['stable-test'] })],
    frozen: [],
    protected: ['prod', 'stable-1'],
    free: ['main', 'stable-test'],
  },
  {
    name: 'a tag that is immutable and protected is immutable for maintainers, too',
    policies: [tagsPolicy({ protected: ['**'] }), tagsPolicy({ immutable: ['prod'] })],
    frozen: ['prod'],
    protected: ['main'],
    free: [],
  },
];

describe('a tag that exists', () => {
  for (const { name, policies, frozen, protected: guarded = [], free } of CASES) {
    it(`with ${name}`, () => {
      for (const tag of frozen) {
        assert.equal(frozenBy(policies, tag, true)?.kind, 'immutable', tag);
        assert.equal(frozenBy(policies, tag, false)?.kind, 'immutable', tag);
      }
      for (const tag of guarded) {
        assert.equal(frozenBy(policies, tag, true), null, tag);
        assert.equal(frozenBy(policies, tag, false)?.kind, 'protected', tag);
      }
      for (const tag of free) assert.equal(frozenBy(policies, tag, false), null, tag);
    });
  }

  it('is refused with the rule and what to do', () => {
    const policies = [tagsPolicy({ id: '3', semver: true, protected: ['prod'] })];
    const text = (tag: string, change: 'moved' | 'deleted') => {
      const frozen = frozenBy(policies, tag, false);
      assert.ok(frozen);
      return refusalText(tag, frozen, change);
    };
    assert.equal(
      text('1.4.2', 'moved'),
      'the tag 1.4.2 was not moved: it is immutable (semver, lifecycle policy 3) and has another digest. Push another tag, or ask an admin to change the policy',
    );
    assert.equal(
      text('1.4.2', 'deleted'),
      'the tag 1.4.2 was not deleted: it is immutable (semver, lifecycle policy 3). Ask an admin to change the policy',
    );
    assert.equal(
      text('prod', 'moved'),
      'the tag prod was not moved: it is protected (prod, lifecycle policy 3). Only a maintainer may do that. Ask one, or push another tag',
    );
  });
});

/** In the order of Semantic Versioning 2.0.0, section 11, and of the numbers that texts would order otherwise. */
const ORDERED = [
  '1.0.0-alpha',
  '1.0.0-alpha.1',
  '1.0.0-alpha.beta',
  '1.0.0-beta',
  '1.0.0-beta.2',
  '1.0.0-beta.11',
  '1.0.0-rc.1',
  '1.0.0',
  '1.0.1-0',
  '1.0.1-9',
  '1.0.1-10',
  '1.0.1-99999999999999999999',
  '1.0.1-rc',
  '1.0.2',
  '1.0.10',
  '1.2.0',
  '1.10.0',
  '2.0.0',
  '10.0.0',
];

describe('versions', () => {
  it('are in the order of Semantic Versioning', () => {
    for (const [at, text] of ORDERED.entries()) {
      for (const [other, otherText] of ORDERED.entries()) {
        const [a, b] = [parseVersion(text), parseVersion(`v${otherText}_build.${at}`)];
        assert.ok(a && b, text);
        assert.equal(Math.sign(compareVersions(a, b)), Math.sign(at - other), `${text} and ${otherText}`);
      }
    }
  });

  for (const [tag, prerelease, variant] of [
    ['1.4.2', '', ''],
    ['1.4.2-alpine', '', 'alpine'],
    ['1.4.2-alpine3.20', '', 'alpine3.20'],
    ['1.4.2-slim-bookworm', '', 'slim-bookworm'],
    ['1.4.2-rc.1', 'rc.1', ''],
    ['1.4.2-rc1', 'rc1', ''],
    ['1.4.2-SNAPSHOT', 'SNAPSHOT', ''],
    ['1.4.2-rc.1-alpine', 'rc.1', 'alpine'],
    ['1.4.2-5-gabc1234', '5-gabc1234', ''],
    ['1.4.2-20261201', '20261201', ''],
    ['1.4.2-0123abc', '0123abc', ''],
    ['1.4.2-beta-2', 'beta-2', ''],
  ] as const) {
    it(`${tag} has the prerelease ${prerelease || 'none'} and the variant ${variant || 'none'}`, () => {
      const version = parseVersion(tag);
      assert.deepEqual([version?.prerelease, version?.variant], [prerelease, variant]);
    });
  }
});

/** Which rule keeps a tag, or when it expires and why: each rule with its edge cases. */
import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import fc from 'fast-check';
import type { LifecyclePolicy, RetentionPolicy } from '../../worker/lifecycle/policy.ts';
import { DAY_MS } from '../../worker/lifecycle/policy.ts';
import { isExpired, RetentionSurvey, subjectOf, type TagFacts } from '../../worker/lifecycle/retention.ts';
import type { Pattern } from '../../worker/oci/pattern.ts';
import { digestOf, NOW, pulled, retention, tag, tagsPolicy } from './policies.ts';

interface Case {
  name: string;
  policies: LifecyclePolicy[];
  tags: TagFacts[];
  /** Tag -> its sentence. */
  want: Record<string, string>;
}

function sentences(policies: LifecyclePolicy[], tags: TagFacts[]): Record<string, string> {
  const survey = new RetentionSurvey(policies, NOW);
  for (const one of tags) survey.see(one);
  return Object.fromEntries(tags.map((one) => [one.name, survey.verdict(one).why]));
}

const OLD = 'expired on 2026-11-21: no rule keeps it, and it was pushed 40 days ago';

const LAST_PUSHED: Case[] = [
  {
    name: 'keeps the last pushed images',
    policies: [retention({ tags: 'release-*', keep: [{ lastPushed: 2 }] })],
    tags: [tag('release-1', 40), tag('release-2', 50), tag('release-3', 60)],
    want: {
      'release-1': 'kept: one of the 2 last pushed of release-*',
      'release-2': 'kept: one of the 2 last pushed of release-*',
      'release-3': 'expired on 2026-11-01: no rule keeps it, and it was pushed 60 days ago',
    },
  },
  {
    name: 'of one image keeps the last',
    policies: [retention({ keep: [{ lastPushed: 1 }] })],
    tags: [tag('a', 40), tag('b', 41)],
    want: {
      a: 'kept: the last pushed',
      b: 'expired on 2026-11-20: no rule keeps it, and it was pushed 41 days ago',
    },
  },
  {
    name: 'keeps all images that are equal at the last place',
    policies: [retention({ keep: [{ lastPushed: 2 }] })],
    tags: [tag('a', 40), tag('b', 41), tag('c', 41), tag('d', 42)],
    want: {
      a: 'kept: one of the 2 last pushed',
      b: 'kept: one of the 2 last pushed',
      c: 'kept: one of the 2 last pushed',
      d: 'expired on 2026-11-19: no rule keeps it, and it was pushed 42 days ago',
    },
  },
  {
    name: 'counts tags of one image once, by the tag that was pushed last',
    policies: [retention({ keep: [{ lastPushed: 2 }] })],
    tags: [
      tag('latest', 40, { digest: digestOf('x') }),
      tag('old-name', 90, { digest: digestOf('x') }),
      tag('b', 41),
      tag('c', 42),
    ],
    want: {
      latest: 'kept: one of the 2 last pushed',
      'old-name': 'kept: one of the 2 last pushed',
      b: 'kept: one of the 2 last pushed',
      c: 'expired on 2026-11-19: no rule keeps it, and it was pushed 42 days ago',
    },
  },
  {
    name: 'keeps everything where there are fewer',
    policies: [retention({ keep: [{ lastPushed: 10 }] })],
    tags: [tag('a', 400)],
    want: { a: 'kept: one of the 10 last pushed' },
  },
];

const LAST_PULLED: Case[] = [
  {
    name: 'counts only images that were pulled',
    policies: [retention({ keep: [{ lastPulled: 2 }] })],
    tags: [pulled('a', 40, 39), pulled('b', 40, 1), tag('never', 40), pulled('c', 40, 38)],
    want: {
      a: OLD,
      b: 'kept: one of the 2 last pulled',
      never: OLD,
      c: 'kept: one of the 2 last pulled',
    },
  },
];

const AS_OF_LATEST = { digest: digestOf('1.4.2') };

const NEWEST: Case[] = [
  {
    name: 'keeps the newest of each minor version, by precedence and not by time',
    policies: [retention({ keep: [{ newestOfEachMinor: 1 }] })],
    tags: [tag('1.4.2', 90), tag('1.4.10', 80), tag('1.4.9', 40), tag('1.5.0', 200)],
    want: {
      '1.4.2': 'expired on 2026-10-02: no rule keeps it, and it was pushed 90 days ago',
      '1.4.10': 'kept: the newest of 1.4',
      '1.4.9': 'expired on 2026-11-21: no rule keeps it, and it was pushed 40 days ago',
      '1.5.0': 'kept: the newest of 1.5',
    },
  },
  {
    name: 'keeps moving tags of the same image with it',
    policies: [retention({ keep: [{ newestOfEachMinor: 2 }] })],
    tags: [tag('1.4.2', 40), tag('1.4', 40, AS_OF_LATEST), tag('latest', 40, AS_OF_LATEST), tag('other', 40)],
    want: {
      '1.4.2': 'kept: one of the 2 newest of 1.4',
      '1.4': 'kept: one of the 2 newest of 1.4, as 1.4.2',
      latest: 'kept: one of the 2 newest of 1.4, as 1.4.2',
      other: OLD,
    },
  },
  {
    name: 'gives 1.4.2, v1.4.2 and builds of it one place',
    policies: [retention({ keep: [{ newestOfEachMinor: 2 }] })],
    tags: [tag('1.4.2', 40), tag('v1.4.2', 40), tag('1.4.2_build.7', 40), tag('1.4.1', 40), tag('1.4.0', 40)],
    want: {
      '1.4.2': 'kept: one of the 2 newest of 1.4',
      'v1.4.2': 'kept: one of the 2 newest of 1.4',
      '1.4.2_build.7': 'kept: one of the 2 newest of 1.4',
      '1.4.1': 'kept: one of the 2 newest of 1.4',
      '1.4.0': OLD,
    },
  },
  {
    name: 'keeps prereleases only while they are newer than the newest release, and gives them no place of a release',
    policies: [retention({ keep: [{ newestOfEachMinor: 1 }] })],
    tags: [
      tag('1.4.1', 40),
      tag('1.4.1-rc.1', 40),
      tag('1.4.2-rc.2', 40),
      tag('1.4.2-rc.10', 40),
      tag('2.0.0-beta', 40),
      tag('3.0.0-rc.9', 40),
      tag('3.0.0', 40),
    ],
    want: {
      '1.4.1': 'kept: the newest of 1.4',
      '1.4.1-rc.1': OLD,
      '1.4.2-rc.2': OLD,
      '1.4.2-rc.10': 'kept: the newest of 1.4',
      '2.0.0-beta': 'kept: the newest of 2.0',
      '3.0.0-rc.9': OLD,
      '3.0.0': 'kept: the newest of 3.0',
    },
  },
  {
    name: 'counts each variant apart',
    policies: [retention({ keep: [{ newestOfEachMinor: 1 }] })],
    tags: [
      tag('1.4.2', 40),
      tag('1.4.2-alpine', 40),
      tag('1.4.1-alpine', 40),
      tag('1.4.1-slim-bookworm', 40),
    ],
    want: {
      '1.4.2': 'kept: the newest of 1.4',
      '1.4.2-alpine': 'kept: the newest of 1.4-alpine',
      '1.4.1-alpine': OLD,
      '1.4.1-slim-bookworm': 'kept: the newest of 1.4-slim-bookworm',
    },
  },
];

const ONE_TAG: Case[] = [
  {
    name: 'youngerThan ends at its day, and a tag of exactly that age is not kept',
    policies: [retention({ keep: [{ youngerThan: 40 }], after: 1 })],
    tags: [tag('young', 39.5), tag('exact', 40), tag('today', 0)],
    want: {
      young: 'kept until 2026-12-02: it was pushed 39 days ago, and is kept for 40 days',
      exact: 'expired on 2026-10-23: no rule keeps it, and it was pushed 40 days ago',
      today: 'kept until 2027-01-10: it was pushed today, and is kept for 40 days',
    },
  },
  {
    name: 'a time after now, because the clock was set back, counts as now and never as old',
    policies: [
      retention({ keep: [], after: 1 }),
      retention({ id: '2', tags: 'y-*', keep: [{ youngerThan: 2 }] }),
    ],
    tags: [tag('x', -3), tag('y-1', -3)],
    want: {
      x: 'expires on 2026-12-05: no rule will keep it, and it will be 1 day old',
      'y-1': 'expires on 2027-01-03: no rule will keep it, and it will be 30 days old',
    },
  },
  {
    name: 'pulledWithin counts from the last pull, and keeps nothing that was never pulled',
    policies: [retention({ keep: [{ pulledWithin: 7 }] })],
    tags: [pulled('a', 90, 6), pulled('b', 90, 7), tag('c', 90)],
    want: {
      a: 'kept until 2026-12-02: it was pulled 6 days ago, and is kept for 7 days after a pull',
      b: 'expired on 2026-10-02: no rule keeps it, and it was pushed 90 days ago',
      c: 'expired on 2026-10-02: no rule keeps it, and it was pushed 90 days ago',
    },
  },
  {
    name: 'a rule whose time ends before `after` does not shorten it',
    policies: [retention({ keep: [{ pulledWithin: 7 }], after: 90 })],
    tags: [pulled('a', 10, 1)],
    want: { a: 'expires on 2027-02-19: no rule will keep it, and it will be 90 days old' },
  },
  {
    name: 'matches keeps the tag, and not other tags of its image',
    policies: [retention({ keep: [{ matches: 'prod*' as Pattern }] })],
    tags: [tag('prod-eu', 40, { digest: digestOf('x') }), tag('abc', 40, { digest: digestOf('x') })],
    want: { 'prod-eu': 'kept: it matches prod*', abc: OLD },
  },
  {
    name: 'running and signed',
    policies: [retention({ keep: [{ running: true }, { signed: true }] })],
    tags: [tag('a', 40, { isRunning: true }), tag('b', 40, { isSigned: true }), tag('c', 40)],
    want: {
      a: 'kept: it is reported as running',
      b: 'kept: it is signed',
      c: OLD,
    },
  },
  {
    name: 'a rule that time does not end is told before one that ends',
    policies: [retention({ keep: [{ youngerThan: 400 }, { lastPushed: 1 }] })],
    tags: [tag('a', 40), tag('b', 50)],
    want: {
      a: 'kept: the last pushed',
      b: 'kept until 2027-11-16: it was pushed 50 days ago, and is kept for 400 days',
    },
  },
  {
    name: 'expires at exactly `after`',
    policies: [retention({ after: 40 })],
    tags: [tag('a', 40), tag('b', 39.99)],
    want: {
      a: OLD.replace('2026-11-21', '2026-12-01'),
      b: 'expires on 2026-12-01: no rule will keep it, and it will be 40 days old',
    },
  },
];

const INHERITANCE: Case[] = [
  {
    name: 'without a policy, everything is kept',
    policies: [tagsPolicy({})],
    tags: [tag('a', 4000)],
    want: { a: 'kept: no retention policy covers it' },
  },
  {
    name: 'a tag that no policy covers is kept',
    policies: [retention({ tags: 'pr-*' })],
    tags: [tag('pr-1', 31), tag('main', 31)],
    want: {
      'pr-1': 'expired on 2026-11-30: no rule keeps it, and it was pushed 31 days ago',
      main: 'kept: no retention policy covers it',
    },
  },
  {
    name: 'the policy of a repository decides before that of its namespace, in both directions',
    policies: [
      retention({ id: 'all', repositories: '**', keep: [{ lastPushed: 100 }] }),
      retention({ id: 'team', repositories: 'team/**', keep: [] }),
      retention({ id: 'api', repositories: 'team/api', tags: 'v*', keep: [{ lastPushed: 5 }] }),
    ],
    tags: [tag('v1', 31), tag('main', 31)],
    want: {
      v1: 'kept: one of the 5 last pushed of v*',
      main: 'expired on 2026-11-30: no rule keeps it, and it was pushed 31 days ago',
    },
  },
  {
    name: 'the longer text before the first star is more specific, and * is more specific than **',
    policies: [
      retention({ id: 'a', repositories: 'team/**', keep: [{ signed: true }] }),
      retention({ id: 'b', repositories: 'team/*', keep: [{ running: true }] }),
      retention({ id: 'c', repositories: 'team/*', tags: 'r*', keep: [{ lastPushed: 1 }] }),
      retention({ id: 'd', repositories: 'team/*', tags: 'release-*', keep: [{ lastPushed: 2 }] }),
    ],
    tags: [
      tag('release-1', 40),
      tag('rc', 40),
      tag('main', 40, { isRunning: true, isSigned: true }),
      tag('dev', 40, { isSigned: true }),
    ],
    want: {
      'release-1': 'kept: one of the 2 last pushed of release-*',
      rc: 'kept: the last pushed of r*',
      main: 'kept: it is reported as running',
      dev: OLD,
    },
  },
  {
    name: 'a counting rule counts only the tags that its policy decides',
    policies: [
      retention({ id: 'a', keep: [{ lastPushed: 1 }] }),
      retention({ id: 'b', tags: 'release-*', keep: [{ lastPushed: 1 }] }),
    ],
    tags: [tag('release-9', 40), tag('release-8', 41), tag('main', 50), tag('dev', 60)],
    want: {
      'release-9': 'kept: the last pushed of release-*',
      'release-8': 'expired on 2026-11-20: no rule keeps it, and it was pushed 41 days ago',
      main: 'kept: the last pushed',
      dev: 'expired on 2026-11-01: no rule keeps it, and it was pushed 60 days ago',
    },
  },
  {
    name: 'equally specific policies decide together: any rule keeps, and the longest `after` counts',
    policies: [
      retention({ id: 'a', keep: [{ signed: true }], after: 10 }),
      retention({ id: 'b', keep: [{ running: true }], after: 60 }),
    ],
    tags: [tag('a', 90, { isSigned: true }), tag('b', 90, { isRunning: true }), tag('c', 40), tag('d', 90)],
    want: {
      a: 'kept: it is signed',
      b: 'kept: it is reported as running',
      c: 'expires on 2026-12-21: no rule will keep it, and it will be 60 days old',
      d: 'expired on 2026-11-01: no rule keeps it, and it was pushed 90 days ago',
    },
  },
];

const OTHERS: Case[] = [
  {
    name: 'an immutable tag is kept unless the policy says otherwise',
    policies: [tagsPolicy({ id: '7', semver: true }), retention({ id: '8' })],
    tags: [tag('1.4.2', 40), tag('1.4', 40)],
    want: {
      '1.4.2': 'kept: it is immutable (lifecycle policy 7), and policy 8 does not delete immutable tags',
      '1.4': OLD,
    },
  },
  {
    name: 'an immutable tag expires where the policy says so',
    policies: [tagsPolicy({ semver: true }), retention({ deletesImmutable: true })],
    tags: [tag('1.4.2', 40)],
    want: { '1.4.2': OLD },
  },
  {
    name: 'of equally specific policies, all must say that immutable tags are deleted',
    policies: [
      tagsPolicy({ semver: true }),
      retention({ id: '2', deletesImmutable: true }),
      retention({ id: '3' }),
    ],
    tags: [tag('1.4.2', 40)],
    want: {
      '1.4.2': 'kept: it is immutable (lifecycle policy 1), and policy 3 does not delete immutable tags',
    },
  },
  {
    name: 'the tag of a signature stays while its image is there, takes no place, and expires without it',
    policies: [retention({ keep: [{ lastPushed: 1 }] })],
    tags: [
      tag(`sha256-${'a'.repeat(64)}.sig`, 1, { hasSubject: true }),
      tag(`sha256-${'b'.repeat(64)}`, 40, { hasSubject: true }),
      tag(`sha256-${'c'.repeat(64)}.att`, 90),
      tag('app', 60),
    ],
    want: {
      [`sha256-${'a'.repeat(64)}.sig`]: `kept: it belongs to sha256:${'a'.repeat(64)}, and is deleted with it`,
      [`sha256-${'b'.repeat(64)}`]: `kept: it belongs to sha256:${'b'.repeat(64)}, and is deleted with it`,
      [`sha256-${'c'.repeat(64)}.att`]:
        'expired on 2026-10-02: no rule keeps it, and it was pushed 90 days ago',
      app: 'kept: the last pushed',
    },
  },
];

const ALL: Record<string, Case[]> = {
  lastPushed: LAST_PUSHED,
  lastPulled: LAST_PULLED,
  newestOfEachMinor: NEWEST,
  'rules of one tag': ONE_TAG,
  'more than one policy': INHERITANCE,
  'immutable tags and signatures': OTHERS,
};

for (const [what, cases] of Object.entries(ALL)) {
  describe(`retention, ${what}:`, () => {
    for (const { name, policies, tags, want } of cases) {
      it(name, () => {
        assert.deepEqual(sentences(policies, tags), want);
        assert.deepEqual(sentences(policies, tags.toReversed()), want, 'in any order');
      });
    }
  });
}

test('a tag is deleted from the moment on when it expires', () => {
  const verdict = { state: 'expires', why: '', policy: '1', at: NOW } as const;
  assert.deepEqual(
    [NOW - 1, NOW, NOW + 1].map((now) => isExpired(verdict, now)),
    [false, true, true],
  );
  assert.equal(isExpired({ state: 'kept', why: '', policy: '1', until: 0 }, NOW), false);
});

describe('a tag that belongs to another image', () => {
  for (const [name, want] of [
    [`sha256-${'a'.repeat(64)}.sig`, `sha256:${'a'.repeat(64)}`],
    [`sha512-${'a'.repeat(128)}.sbom`, `sha512:${'a'.repeat(128)}`],
    [`sha256-${'a'.repeat(64)}`, `sha256:${'a'.repeat(64)}`],
    [`sha256-${'a'.repeat(63)}.sig`, null],
    [`sha256-${'A'.repeat(64)}.sig`, null],
    ['v1', null],
  ] as const) {
    it(`${name.slice(0, 12)}... belongs to ${want?.slice(0, 12) ?? 'nothing'}`, () =>
      assert.equal(subjectOf(name), want));
  }
});

describe('the counting rules', () => {
  it('keep the same images as sorting all of them, whatever they see first', () => {
    const image = fc.record({
      digest: fc.integer({ min: 0, max: 700 }),
      days: fc.integer({ min: 0, max: 40 }),
      pulled: fc.option(fc.integer({ min: 0, max: 40 })),
    });
    const rule = fc.oneof(
      fc.record({ lastPushed: fc.integer({ min: 1, max: 20 }) }),
      fc.record({ lastPulled: fc.integer({ min: 1, max: 20 }) }),
    );
    fc.assert(
      fc.property(fc.array(image, { maxLength: 1500, size: 'max' }), rule, (images, keep) => {
        const tags = images.map(({ digest, days, pulled: ago }, at) =>
          tag(`t${at}`, days, {
            digest: digestOf(digest),
            pulledAt: ago === null ? null : NOW - ago * DAY_MS,
          }),
        );
        const policy: RetentionPolicy = retention({ keep: [keep], after: 0 });
        const survey = new RetentionSurvey([policy], NOW);
        for (const one of tags) survey.see(one);
        const kept = tags.filter((one) => survey.verdict(one).state === 'kept').map(({ name }) => name);
        assert.deepEqual(kept, bySorting(tags, keep));
      }),
      { numRuns: 100, seed: 20_261_130 },
    );
  });
});

function bySorting(tags: TagFacts[], keep: { lastPushed: number } | { lastPulled: number }): string[] {
  const [count, timeOf] =
    'lastPushed' in keep
      ? [keep.lastPushed, (one: TagFacts) => one.pushedAt as number | null]
      : [keep.lastPulled, (one: TagFacts) => one.pulledAt];
  const images = [...Map.groupBy(tags, ({ digest }) => digest)].map(([digest, ofImage]) => ({
    digest,
    time: Math.max(...ofImage.map((one) => timeOf(one) ?? Number.NEGATIVE_INFINITY)),
  }));
  const counted = images.filter(({ time }) => Number.isFinite(time)).sort((a, b) => b.time - a.time);
  const bound = counted[count - 1]?.time ?? Number.NEGATIVE_INFINITY;
  const kept = new Set(counted.filter(({ time }) => time >= bound).map(({ digest }) => digest));
  return tags.filter(({ digest }) => kept.has(digest)).map(({ name }) => name);
}

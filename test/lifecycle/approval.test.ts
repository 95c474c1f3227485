/** When a plan of the retention policies waits for a person. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Approval } from '../../worker/lifecycle/plan.ts';
import { DAY_MS } from '../../worker/lifecycle/policy.ts';
import { NOW } from './policies.ts';

test('a plan needs a person for more than 30 %, a tag pulled within 7 days, or one that runs', () => {
  const tag = { name: 'a', pulledAt: null, isRunning: false };
  const needed = (
    tags: (typeof tag | { name: string; pulledAt: number; isRunning: boolean })[],
    of: number,
  ) => {
    const approval = new Approval(NOW);
    for (const one of tags) approval.see(one);
    return approval.needed(tags.length, of);
  };
  assert.equal(needed([tag, tag, tag], 10), null);
  assert.equal(needed([tag, tag, tag, tag], 13), 'it deletes 4 of 13 tags, which is more than 30 %');
  assert.equal(needed([{ ...tag, pulledAt: NOW - 7 * DAY_MS }], 10), null);
  assert.match(needed([{ ...tag, pulledAt: NOW - 7 * DAY_MS + 1 }], 10) ?? '', /a was pulled within/);
  assert.equal(needed([tag, { ...tag, name: 'b', isRunning: true }], 10), 'the tag b is reported as running');
});

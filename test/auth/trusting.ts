/** What the tests of trusts share: two issuers, a trust in the first, and what came of a token. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, mock } from 'node:test';
import type { Trust } from '../../worker/access/model.ts';
import { Issuers } from '../../worker/auth/openid/issuer.ts';
import { type TrustedLogin, Trusts } from '../../worker/auth/openid/trusts.ts';
import { OciError } from '../../worker/oci/errors.ts';
import { TestIssuer } from '../support/issuer.ts';

export const DISCOVERY = '/.well-known/openid-configuration';
export const issuer = new TestIssuer();
export const other = new TestIssuer();
let trusts = new Trusts(new Issuers(true));

before(() => Promise.all([issuer.start(), other.start()]));
after(() => Promise.all([issuer.stop(), other.stop()]));
beforeEach(() => {
  trusts = new Trusts(new Issuers(true));
  issuer.wrong.clear();
  issuer.metadata = {};
  issuer.asked.clear();
});
afterEach(() => mock.timers.reset());

export type Given = Partial<Trust>;

export function trust(given: Given = {}): Trust {
  return {
    id: 'id-1',
    name: 'ci',
    issuer: issuer.url,
    audience: 'longshore',
    conditions: { repository: 'acme/*' },
    grants: [{ role: 'writer', repositories: 'acme/{repository_name}', tags: null }],
    jwks: null,
    ...given,
  };
}

/** As an isolate that has just been started would, for each test. */
export function verify(token: string, of: Trust[]): Promise<TrustedLogin> {
  return trusts.verify(token, of);
}

/** The roles that a login gives, in words. */
export async function given(token: string, ...of: Trust[]): Promise<string[]> {
  const { rules } = await verify(token, of);
  return rules.map(({ role, repositories, tags }) =>
    [role, repositories, ...(tags === null ? [] : [tags])].join(' '),
  );
}

export function refused(promise: Promise<unknown>, message: RegExp, code = 'UNAUTHORIZED'): Promise<void> {
  return assert.rejects(promise, (fault) => {
    assert.ok(fault instanceof OciError, String(fault));
    assert.match(fault.message, message);
    assert.equal(fault.code, code);
    assert.doesNotMatch(fault.message, /eyJ/, 'the message holds a token');
    return true;
  });
}

/** The pages of the sign-in: plain HTML without scripts, which must not be cached or framed. */
import { html } from 'hono/html';

type Html = ReturnType<typeof html>;

const HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cache-Control': 'no-store',
  // The address of the page holds the code.
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

export interface SignedIn {
  name: string;
  /** What the issuer calls the person. */
  displayName: string;
  groups: string[];
  host: string;
  token: string;
  /** Unix time, ms. */
  expiresAt: number;
}

export function signedInPage(signedIn: SignedIn): Promise<Response> {
  const { name, displayName, groups, host, token, expiresAt } = signedIn;
  const command = `echo ${token} | docker login ${host} --username ${name} --password-stdin`;
  const until = new Date(expiresAt).toISOString().slice(0, 10);
  const membership = groups.length > 0 ? `, of ${groups.join(', ')}` : '';
  return page(
    200,
    'You are signed in',
    html`<p>You are <b>${displayName}</b>, here <b>${name}</b>${membership}.
<p>Paste this where you use the registry:
<pre>${command}</pre>
<p>It holds a token of yours, valid until ${until}. It is shown only now. To get another one, sign in again.`,
  );
}

export function confirmationPage(host: string, href: string): Promise<Response> {
  return page(
    200,
    `Sign in to ${host}`,
    html`<p>Your browser came here from another site.
<p><a href="${href}">Sign in to ${host}</a>`,
  );
}

export function refusalPage(status: number, why: string): Promise<Response> {
  return page(
    status,
    'You are not signed in',
    html`<p>${why}.
<p><a href="/auth/login">Sign in again</a>`,
  );
}

async function page(status: number, title: string, content: Html): Promise<Response> {
  const body = await html`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${title}</title><meta name="color-scheme" content="light dark">
<h1>${title}</h1>
${content}
`;
  return new Response(body.toString(), { status, headers: HEADERS });
}

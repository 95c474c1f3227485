/** What a person sees of the sign-in: plain pages without a script, which nobody keeps or frames. */

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

export function signedInPage({ name, displayName, groups, host, token, expiresAt }: SignedIn): Response {
  const command = `echo ${token} | docker login ${host} --username ${name} --password-stdin`;
  const until = new Date(expiresAt).toISOString().slice(0, 10);
  return page(200, 'You are signed in', [
    `<p>You are <b>${escaped(displayName)}</b>, here <b>${escaped(name)}</b>${groups.length > 0 ? `, of ${escaped(groups.join(', '))}` : ''}.`,
    `<p>Paste this where you use the registry:`,
    `<pre>${escaped(command)}</pre>`,
    `<p>It holds a token of yours, good until ${until}. It is shown only now; signing in again makes another one.`,
  ]);
}

export function confirmationPage(host: string, href: string): Response {
  return page(200, `Sign in to ${escaped(host)}`, [
    `<p>Your browser came here from another site.`,
    `<p><a href="${escaped(href)}">Sign in to ${escaped(host)}</a>`,
  ]);
}

export function refusalPage(status: number, why: string): Response {
  return page(status, 'You are not signed in', [
    `<p>${escaped(why)}.`,
    `<p><a href="/auth/login">Sign in again</a>`,
  ]);
}

function page(status: number, title: string, lines: string[]): Response {
  const head = `<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>${title}</title>`;
  const scheme = '<meta name="color-scheme" content="light dark">';
  const body = [head + scheme, `<h1>${title}</h1>`, ...lines, ''].join('\n');
  return new Response(body, { status, headers: HEADERS });
}

function escaped(text: string): string {
  const names: Record<string, string> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": '#39' };
  return text.replace(/[&<>"']/g, (character) => `&${names[character]};`);
}

// The claims of a token, from a file or from standard input.
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { CommandFailure, EXIT } from './failure.ts';

const JWT = /^[\w-]+\.([\w-]+)\.[\w-]*$/;

/**
 * The claims in a file, or in standard input for `-`: JSON, or a JWT, of which the payload is read and nothing is verified. Throws a
 * CommandFailure, which does not quote the content: a token is a secret.
 */
export async function claimsIn(file: string): Promise<Record<string, unknown>> {
  const content = (file === '-' ? await text(process.stdin) : contentOf(file)).trim();
  const [, payload] = JWT.exec(content) ?? [];
  const claims = parsed(payload === undefined ? content : Buffer.from(payload, 'base64url').toString());
  if (typeof claims === 'object' && claims !== null && !Array.isArray(claims))
    return claims as Record<string, unknown>;
  throw new CommandFailure(
    `${file === '-' ? 'Standard input' : file} holds no claims.\nGive the token (a JWT), or its claims as a JSON object.`,
    EXIT.usage,
  );
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CommandFailure(
      `Cannot read --claims ${file}: ${error instanceof Error ? error.message : error}`,
      EXIT.usage,
    );
  }
}

function parsed(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return undefined;
  }
}

// Syncs blob files for the Worker: workerd's disk service writes a file and never syncs it. This runs in the
// parent process because workerd has one thread, and here several files are synced at once.
import { type FileHandle, open } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { isNeedless } from './durable.ts';
import { systemErrorCode } from './failure.ts';
import { privateSocket } from './socket.ts';

export interface SyncService {
  /** For workerd's configuration. */
  readonly address: string;
  close(): void;
}

/** The keys of files below the folder: docs/storage.md. */
const KEY = /^blobs\/[0-9a-f-]{36}(\/(\d+|parts))?$/;
/** A push names the list of its pieces, and the last piece. */
const KEYS_MAX = 10;
const REQUEST_MAX_CHARACTERS = 1_000;

/**
 * Answers `POST /` with a list of keys (JSON), when their files and all folders that name them are on the platter, with 204.
 * Only this user reaches it: its socket is in the run folder, or in one of its own where the path is too long.
 */
export async function startSyncService(blobsFolder: string, runFolder: string): Promise<SyncService> {
  const socket = privateSocket(runFolder, 'sync.sock');
  const server = createServer(async (request, response) => {
    try {
      const keys = keysOf(await textOf(request));
      if (keys === null) {
        response.writeHead(400).end();
        return;
      }
      await syncAll(blobsFolder, keys);
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(500).end(`${systemErrorCode(error) ?? error}`);
    }
  });
  // Workerd closes connections that are idle. If this side did, a request could meet the end of its connection.
  server.keepAliveTimeout = 0;
  server.headersTimeout = 0;
  server.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(socket.path, resolve);
  });
  server.unref();
  return {
    address: `unix:${socket.path}`,
    close: () => {
      server.close();
      server.closeAllConnections();
      socket.remove();
    },
  };
}

/** The files first: a name must not be safe before what it names. */
async function syncAll(root: string, keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map((key) => syncFile(join(root, key))));
  // The deepest first: of the pieces of a blob, and then of all blobs.
  const folders = [...new Set(keys.map(dirname)), 'blobs'];
  folders.sort((one, other) => other.length - one.length);
  for (const folder of new Set(folders)) await syncPath(join(root, folder));
}

async function syncFile(path: string): Promise<void> {
  // Windows syncs only a file that is open for writing.
  const file = await open(path, process.platform === 'win32' ? 'r+' : 'r');
  await synced(file);
}

async function syncPath(path: string): Promise<void> {
  try {
    await synced(await open(path, 'r'));
  } catch (error) {
    if (!isNeedless(error)) throw error;
  }
}

async function synced(file: FileHandle): Promise<void> {
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Null for what is not a list of keys. */
function keysOf(text: string): string[] | null {
  let keys: unknown;
  try {
    keys = JSON.parse(text);
  } catch {
    return null;
  }
  if (!Array.isArray(keys) || keys.length === 0 || keys.length > KEYS_MAX) return null;
  return keys.every((key): key is string => typeof key === 'string' && KEY.test(key)) ? keys : null;
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of request.setEncoding('utf8')) {
    if (text.length <= REQUEST_MAX_CHARACTERS) text += piece;
  }
  return text.slice(0, REQUEST_MAX_CHARACTERS);
}

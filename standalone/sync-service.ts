// Syncs blob files for the Worker, because workerd's disk service never syncs. It runs in the parent process: workerd has one
// thread, and here several files are synced at the same time. It also lists them, in pages and with sizes and times.
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { isNeedless } from './durable.ts';
import { systemErrorCode } from './failure.ts';
import { privateSocket } from './socket.ts';

export interface SyncService {
  /** The address in workerd's configuration. */
  readonly address: string;
  close(): void;
}

/** Keys of files in the folder. docs/storage.md describes them. */
const KEY = /^blobs\/[0-9a-f-]{36}(\/(\d+|parts))?$/;
const ID = /^[0-9a-f-]{36}$/;
/** Folders that one answer lists. */
const LISTED_MAX = 1000;
/** A push syncs the list of its pieces and the last piece; this leaves some room. */
const KEYS_MAX = 10;
const REQUEST_MAX_CHARACTERS = 1_000;

/**
 * `POST /` takes a list of keys (JSON). It answers 204 when their files and the folders above them are synced. `GET /?after&count` lists
 * what is stored (JSON), by the uuids in the keys. Only this user can reach it, because of the folder that its socket is in.
 */
export async function startSyncService(blobsFolder: string, runFolder: string): Promise<SyncService> {
  const socket = privateSocket(runFolder, 'sync.sock');
  const server = createServer(async (request, response) => {
    try {
      if (request.method === 'GET') {
        const listed = await listFolders(
          blobsFolder,
          new URL(request.url ?? '/', 'http://sync').searchParams,
        );
        response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(listed));
        return;
      }
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
  // Workerd closes idle connections. If this side did, a request could be sent on a closing connection.
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

/** The folder is read whole for each page, because no order of its entries is promised. */
async function listFolders(root: string, query: URLSearchParams) {
  const after = query.get('after') ?? '';
  const count = Math.min(Number(query.get('count') ?? 0), LISTED_MAX);
  const names = (await readdir(join(root, 'blobs')).catch(orNothing)).filter((name) => ID.test(name));
  const later = names.filter((name) => name > after).sort();
  const folders = [];
  for (const id of later.slice(0, count)) folders.push(await listFolder(join(root, 'blobs', id), id));
  const listed = folders.filter((folder) => folder !== null);
  return { folders: listed, next: later.length > count ? (later[count - 1] ?? null) : null };
}

/** Null if it was deleted meanwhile. */
async function listFolder(path: string, id: string) {
  try {
    const found = await stat(path);
    if (!found.isDirectory()) {
      return { id, changedAt: found.mtimeMs, files: [{ name: '', size: found.size }] };
    }
    const names = await readdir(path);
    const stats = await Promise.all(names.map((name) => stat(join(path, name))));
    const files = stats.map(({ size }, at) => ({ name: names[at] ?? '', size }));
    return { id, changedAt: Math.max(found.mtimeMs, ...stats.map(({ mtimeMs }) => mtimeMs)), files };
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function orNothing(error: unknown): string[] {
  if (systemErrorCode(error) === 'ENOENT') return [];
  throw error;
}

/** Files first: a name must not survive a power cut without its contents. */
async function syncAll(root: string, keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map((key) => syncFile(join(root, key))));
  // The deepest folder first: that of the pieces of a blob, then that of all blobs.
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

/** Null if the text is not a list of keys. */
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

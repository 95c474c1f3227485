/**
 * Who imports whom among our sources: every static import and re-export of a folder's TypeScript files, types told from
 * values.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

export interface Import {
  /** A path from the root, such as `worker/app.ts`. */
  from: string;
  /** The same, or the name of a package or of a module of the runtime. */
  to: string;
  ours: boolean;
  /** Only types are imported, so nothing of it is there at run time. */
  typeOnly: boolean;
}

/** The TypeScript files below a folder of the root, as paths from the root. */
export function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => posix.join(folder, path.replaceAll('\\', '/')))
    .filter((path) => path.endsWith('.ts') && !path.includes('node_modules'))
    .sort();
}

export function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

const STATEMENT = /^(?:import|export)\s(type\s)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'/gm;

/** What a file imports. The formatter sees to it that statements begin their line and quote with `'`. */
export function importsOf(path: string, text: string = read(path)): Import[] {
  return [...text.matchAll(STATEMENT)].map(([, type, specifier = '']) => {
    const ours = specifier.startsWith('.');
    const to = ours ? posix.join(dirname(path), specifier) : specifier;
    return { from: path, to, ours, typeOnly: type !== undefined };
  });
}

/** A text without its comments and without what stands in quotes, for words to be looked for. */
export function code(text: string): string {
  return text.replace(
    /\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g,
    (found) => found.replace(/[^\n]/g, ' '),
  );
}

/** A cycle among edges, as the files along it, or null. */
export function cycle(edges: Pick<Import, 'from' | 'to'>[]): string[] | null {
  const next = Map.groupBy(edges, (edge) => edge.from);
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return null;
    path.push(file);
    for (const { to } of next.get(file) ?? []) {
      const found = visit(to);
      if (found !== null) return found;
    }
    path.pop();
    done.add(file);
    return null;
  };
  for (const file of next.keys()) {
    const found = visit(file);
    if (found !== null) return found;
  }
  return null;
}

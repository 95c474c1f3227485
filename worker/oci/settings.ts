/**
 * How settings that are wrong are told: by name, with what is allowed, and all of them together, so that one start (or one
 * request, on Cloudflare) is enough to mend them.
 */
import { OciError } from './errors.ts';

/** A setting that is wrong. Each problem names the setting and says what it has to be; values may be secrets and stay out. */
export class WrongSetting extends OciError {
  readonly problems: string[];

  constructor(problems: string[]) {
    const what = problems.length === 1 ? 'a setting of this registry is' : 'settings of this registry are';
    super('UNAVAILABLE', { message: `${what} wrong: ${problems.join('; ')}` });
    this.problems = problems;
  }
}

export function wrongSetting(name: string, what: string): WrongSetting {
  return new WrongSetting([`${name} ${what}`]);
}

type Values<T> = { [K in keyof T]: T[K] extends () => infer V ? V : never };

/** Reads every setting, also after one was wrong. Throws a WrongSetting with the problems of all. */
export function readSettings<T extends Record<string, () => unknown>>(readers: T): Values<T> {
  const problems: string[] = [];
  const values = Object.entries(readers).map(([name, read]) => {
    try {
      return [name, read()];
    } catch (fault) {
      if (!(fault instanceof WrongSetting)) throw fault;
      problems.push(...fault.problems);
      return [name, undefined];
    }
  });
  if (problems.length > 0) throw new WrongSetting([...new Set(problems)]);
  return Object.fromEntries(values) as Values<T>;
}

/** A whole number in a range, or the fallback where nothing is set. Throws a WrongSetting. */
export function numberSetting(
  name: string,
  text: string | undefined,
  { unit, min, max, fallback }: { unit: string; min: number; max: number; fallback: number },
): number {
  if (!text) return fallback;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw wrongSetting(name, `is a number of ${unit} from ${min} to ${max}`);
}

/** `true` or `false`; false where nothing is set. Throws a WrongSetting. */
export function switchSetting(name: string, text: string | undefined): boolean {
  if (!text || text === 'false') return false;
  if (text === 'true') return true;
  throw wrongSetting(name, 'is true or false');
}

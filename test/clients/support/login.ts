// The words of the tests of logging in: who is at a client, what a client does for them, and what it prints when it is refused.
import type { Scene } from './registry.ts';

export interface Login {
  name: string;
  password: string;
}

/** A person at a client: this home holds only their credentials. */
export interface Person {
  home: string;
  /** What the client was given; null for nothing. */
  login: Login | null;
}

/** What is printed when something is refused: when credentials are, and when they do not suffice. */
export interface Refusals {
  wrong: RegExp;
  expired: RegExp;
  /** A push by a user who may only pull. */
  reader: RegExp;
  /** An anonymous push to a repository from which everybody may pull. */
  anonymousPush: RegExp;
  anonymousPull: RegExp;
}

/** The registry's own words, which a client ought to hand on. */
export const OWN_WORDS: Refusals = {
  wrong: /wrong name or password/,
  expired: /the token \S+ has expired: make a new one/,
  reader: /user:rita may not push \S+: it has only reader of team\/\*\* for user:rita \(rule \d+\)/,
  anonymousPush: /anonymous may not push \S+: log in/,
  anonymousPull: /anonymous may not pull \S+: it is not public, so log in/,
};

/** Of podman and of skopeo, which hand it on where the credentials are shown with a push or a pull. */
export const SWALLOWED_AT_LOGIN = {
  wrong: /invalid username\/password/,
  expired: /invalid username\/password/,
};

export interface LoginClient {
  name: string;
  /** Whether it is there, for the tests' options. */
  options: { skip?: string };
  /** Starts what has to run, and makes what is pushed. */
  start(here: Scene): Promise<void>;
  says: Refusals;
  /** How it asks for tokens when it has credentials, first of all when it logs in. */
  asksWith: readonly ('GET' | 'POST')[];
  /** Whether `login` shows the credentials to the registry. */
  checksAtLogin: boolean;
  /** Null for a client that keeps no credentials, and is given them with every command. */
  login: ((person: Person, login: Login) => Promise<string>) | null;
  logout: ((person: Person) => Promise<string>) | null;
  /** `repository` begins with the host. */
  push(person: Person, repository: string): Promise<string>;
  /** What was pushed there before; it is not there any more without asking the registry. */
  pull(person: Person, repository: string): Promise<string>;
}

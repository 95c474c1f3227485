/** What the Accounts object can do. `durable-objects/accounts/accounts.ts` is the class. */
import type {
  AccessState,
  Lookup,
  LookupQuery,
  Person,
  Policy,
  Rule,
  SigningKey,
  Subject,
  Token,
  Trust,
  User,
} from '../access/model.ts';
import type { Listing, Page } from '../oci/page.ts';

/** A property that is not given keeps its value. A new user has no password, no groups, and is not disabled. */
export interface UserPut {
  name: string;
  /** What `hashPassword` returned. */
  password?: string | null;
  groups?: string[];
  disabled?: boolean;
  /** Do not change a user who exists. */
  onlyNew?: boolean;
}

/** A policy before it has an id. */
export type NewPolicy = Policy extends infer Kind ? (Kind extends Policy ? Omit<Kind, 'id'> : never) : never;

/** `name` is the user who signed in. `taken`: a user with the person's account name exists, and is not this person. */
export type SignInOutcome = { outcome: 'signed in' | 'disabled' | 'taken'; name: string };

/**
 * There is one for the registry. It keeps who may do what, the keys that the registry signs with, and failed logins. It is
 * asked when a client shows credentials and when an isolate needs keys, and never for a pull with a token.
 */
export interface AccountsObject extends Rpc.DurableObjectBranded {
  /** The secret for a purpose, of 32 bytes. It is made when it is first asked for. */
  secret(purpose: string): Uint8Array;
  /** The keys that sign tokens, oldest first. A new one is made when it is due. */
  signingKeys(): Promise<SigningKey[]>;
  /** What an isolate needs to check tokens without asking. */
  accessState(): Promise<AccessState>;
  /** Makes a new key that signs immediately. `dropsOld` deletes the old keys, which ends all tokens that they signed. */
  rotateSigningKeys(dropsOld: boolean): Promise<void>;

  /** Everything that decides a request with or without credentials, in one answer. */
  lookup(query: LookupQuery): Lookup;
  /** Whether one more password may be checked now. If so, it counts as failed until `recordLogin` says how it ended. */
  mayTryPassword(account: string, address: string): boolean;
  /** Records how a login ended. */
  recordLogin(account: string, address: string, succeeded: boolean): Promise<void>;
  /** True the first time that an id is given. The id is remembered until `expiresAt` (Unix time, ms). */
  consume(id: string, expiresAt: number): Promise<boolean>;

  /** By name. */
  listUsers(page: Page): Listing<User>;
  getUser(name: string): User | null;
  /** Creates or changes a user. A change revokes the access tokens that were issued to the user. */
  putUser(user: UserPut): Promise<'created' | 'updated' | 'taken'>;
  /** Deletes a user with their tokens and rules. False if there is no such user. */
  deleteUser(name: string): Promise<boolean>;

  /** Finds the user of a person who signed in, or creates one. Where the groups changed, issued access tokens are revoked. */
  signIn(person: Person): Promise<SignInOutcome>;
  /** Makes the people of an account sign in as the user `to` from now on, and deletes the account. */
  linkSignIn(account: string, to: string): Promise<'linked' | 'no sign-in' | 'no user'>;
  /** Name -> what the issuer calls the person, for those names whose users signed in. */
  displayNames(names: string[]): Record<string, string>;

  /** By `tokenKey`, which is also `last`. All tokens if `owner` is undefined, those of robots if it is null. */
  listTokens(of: { owner?: string | null | undefined }, page: Page): Listing<Token>;
  /** The tokens of which this is the name, `owner/name` or the id. Ordered as `listTokens`. */
  listTokensNamed(idOrName: string, page: Page): Listing<Token>;
  getToken(id: string): Token | null;
  /** The token with this id, or else with this name. The name of a robot comes before those of users' tokens. */
  findToken(idOrName: string): Token | null;
  /** `ofSetting`: the owner is a user of a setting, whom this object does not know. */
  createToken(token: Token, ofSetting?: boolean): 'created' | 'name taken' | 'no owner';
  /** Creates a token for a sign-in. Of the owner's other sign-in tokens, only the newest `others` stay. */
  createSignInToken(token: Token, others: number): void;
  /** Deletes a token, with its rules if it is a robot's. False if there is no such token. */
  deleteToken(id: string): Promise<boolean>;
  /** Revokes the access tokens that were issued to a user, and deletes the user's named tokens. Returns how many there were. */
  deleteTokensOf(owner: string): Promise<number>;

  /** By id, which is also `last`. */
  listRules(page: Page): Listing<Rule>;
  /** The rules for any of the subjects, by id. */
  rulesFor(subjects: Subject[]): Rule[];
  createRule(rule: Omit<Rule, 'id'>): Rule;
  deleteRule(id: string): boolean;

  listPolicies(): Policy[];
  createPolicy(policy: NewPolicy): Policy;
  deletePolicy(id: string): boolean;

  listTrusts(): Trust[];
  /** The trusts of which this is the name or the id. */
  listTrustsNamed(idOrName: string): Trust[];
  hasTrust(id: string): boolean;
  createTrust(trust: Omit<Trust, 'id'>): Trust | 'name taken';
  deleteTrust(id: string): Promise<boolean>;
}

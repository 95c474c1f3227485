/** Users and tokens, as `Accounts` keeps them. What belongs to a user or a token is deleted with it. */
import { SIGN_IN_TOKEN, type Token, tokenKey, type User } from '../../worker/access/model.ts';
import type { UserPut } from '../../worker/objects/accounts.ts';
import type { Listing, Page } from '../../worker/oci/page.ts';
import { allRows, firstRow, pageOf } from '../rows.ts';

/** The shortest time between two writes of a token's last use. */
export const TOKEN_USE_WRITTEN_MS = 60_000;

type UserRow = {
  name: string;
  password: string | null;
  groups: string;
  disabled: number;
  created_at: number;
};

type TokenRow = {
  id: string;
  name: string;
  owner: string | null;
  hash: string;
  grants: string;
  expires_at: number | null;
  last_used_at: number | null;
  created_at: number;
};

const USER_COLUMNS = 'name, password, groups, disabled, created_at';
const TOKEN_COLUMNS = 'id, name, owner, hash, grants, expires_at, last_used_at, created_at';

/** As in the index `tokens_own_name`: a user's token is stored as `owner/name`. */
const OWNED_BY_NAME = 'owner IS NOT NULL AND substr(name, length(owner) + 2) = ? ORDER BY name';

export class People {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  user(name: string): User | null {
    const row = firstRow<UserRow>(this.#sql, `SELECT ${USER_COLUMNS} FROM users WHERE name = ?`, name);
    return row === null ? null : asUser(row);
  }

  users({ count, last }: Page): Listing<User> {
    const query = `SELECT ${USER_COLUMNS} FROM users WHERE name > ? ORDER BY name LIMIT ?`;
    return pageOf(allRows<UserRow>(this.#sql, query, last ?? '', count + 1).map(asUser), count);
  }

  putUser(put: UserPut, now: number): 'created' | 'updated' | 'taken' {
    const { name, password, groups, disabled, onlyNew } = put;
    const before = this.user(name);
    if (before !== null && onlyNew) return 'taken';
    // Tokens of this name belong to an earlier user, who was in a setting.
    if (before === null) this.#sql.exec('DELETE FROM tokens WHERE owner = ?', name);
    const user = before ?? { password: null, groups: [], disabled: false, createdAt: now };
    this.#sql.exec(
      `INSERT OR REPLACE INTO users (${USER_COLUMNS}) VALUES (?, ?, ?, ?, ?)`,
      name,
      password === undefined ? user.password : password,
      JSON.stringify(groups ?? user.groups),
      (disabled ?? user.disabled) ? 1 : 0,
      user.createdAt,
    );
    return before === null ? 'created' : 'updated';
  }

  deleteUser(name: string): boolean {
    const users = allRows(this.#sql, 'DELETE FROM users WHERE name = ? RETURNING 1', name);
    // Of a user in a setting, this table has tokens only.
    const tokens = allRows(this.#sql, 'DELETE FROM tokens WHERE owner = ? RETURNING 1', name);
    this.#sql.exec('DELETE FROM sign_ins WHERE user = ?', name);
    if (users.length + tokens.length === 0) return false;
    this.#sql.exec('DELETE FROM rules WHERE subject = ?', `user:${name}`);
    return true;
  }

  token(id: string): Token | null {
    const row = firstRow<TokenRow>(this.#sql, `SELECT ${TOKEN_COLUMNS} FROM tokens WHERE id = ?`, id);
    return row === null ? null : asToken(row);
  }

  /** By id, or else by name: first among robots, whose name is the whole key, then among the tokens of users. */
  findToken(idOrName: string): Token | null {
    const conditions = ['id = ?', 'name = ? AND owner IS NULL', OWNED_BY_NAME];
    for (const condition of conditions) {
      const query = `SELECT ${TOKEN_COLUMNS} FROM tokens WHERE ${condition} LIMIT 1`;
      const row = firstRow<TokenRow>(this.#sql, query, idOrName);
      if (row !== null) return asToken(row);
    }
    return null;
  }

  /** By `tokenKey`, which is also `last`. All tokens if `owner` is undefined, those of robots if it is null. */
  tokens(owner: string | null | undefined, { count, last }: Page): Listing<Token> {
    const query = `SELECT ${TOKEN_COLUMNS} FROM tokens WHERE ${owner === undefined ? '' : 'owner IS ? AND '}name > ?
      ORDER BY name LIMIT ?`;
    const values = [...(owner === undefined ? [] : [owner]), last ?? '', count + 1];
    return pageOf(allRows<TokenRow>(this.#sql, query, ...values).map(asToken), count);
  }

  /**
   * The tokens of which this is the name, `owner/name` or the id, in the order of `tokens`. Of the same name, no more of them are read
   * than the page needs.
   */
  tokensNamed(idOrName: string, { count, last }: Page): Listing<Token> {
    const rows = allRows<TokenRow>(
      this.#sql,
      `SELECT ${TOKEN_COLUMNS} FROM tokens WHERE name > ?2 AND id IN (
         SELECT id FROM tokens WHERE id = ?1
         UNION SELECT id FROM tokens WHERE name = ?1
         UNION SELECT id FROM (
           SELECT id FROM tokens WHERE owner IS NOT NULL AND substr(name, length(owner) + 2) = ?1 AND name > ?2
           ORDER BY name LIMIT ?3))
       ORDER BY name LIMIT ?3`,
      idOrName,
      last ?? '',
      count + 1,
    );
    return pageOf(rows.map(asToken), count);
  }

  /** `ofSetting`: the owner is a user in a setting, and has no row here. */
  createToken(token: Token, ofSetting: boolean): 'created' | 'name taken' | 'no owner' {
    if (token.owner !== null && !ofSetting && this.user(token.owner) === null) return 'no owner';
    const made = allRows(
      this.#sql,
      `INSERT INTO tokens (${TOKEN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (name) DO NOTHING RETURNING 1`,
      token.id,
      tokenKey(token),
      token.owner,
      token.hash,
      JSON.stringify(token.grants),
      token.expiresAt,
      token.lastUsedAt,
      token.createdAt,
    );
    return made.length === 1 ? 'created' : 'name taken';
  }

  /** Creates a token for a sign-in. Of the owner's other sign-in tokens, only the newest `others` that have not expired stay. */
  createSignInToken(token: Token, others: number, now: number): void {
    this.createToken(token, false);
    this.#sql.exec(
      `DELETE FROM tokens WHERE id IN (
         SELECT id FROM tokens WHERE owner = ?1 AND name LIKE ?2 AND expires_at <= ?3
         UNION SELECT id FROM (
           SELECT id FROM tokens WHERE owner = ?1 AND name LIKE ?2 AND id <> ?5
           ORDER BY created_at DESC, id LIMIT -1 OFFSET ?4))`,
      token.owner,
      `%/${SIGN_IN_TOKEN}%`,
      now,
      others,
      token.id,
    );
  }

  /** Returns how many there were. */
  deleteTokensOf(owner: string): number {
    return allRows(this.#sql, 'DELETE FROM tokens WHERE owner = ? RETURNING 1', owner).length;
  }

  /** Deletes the rules of a robot too, because a new robot of the same name must not get them. */
  deleteToken(id: string): { name: string; owner: string | null } | null {
    const query = 'DELETE FROM tokens WHERE id = ? RETURNING name, owner';
    const deleted = firstRow<{ name: string; owner: string | null }>(this.#sql, query, id);
    // Only robots have rules. A user's token may have the same name as a robot.
    if (deleted?.owner === null)
      this.#sql.exec('DELETE FROM rules WHERE subject = ?', `token:${deleted.name}`);
    return deleted;
  }

  /** Records that a token was used, unless this was recorded shortly before. */
  used({ id, lastUsedAt }: Token, now: number): void {
    if (lastUsedAt !== null && now - lastUsedAt < TOKEN_USE_WRITTEN_MS) return;
    this.#sql.exec('UPDATE tokens SET last_used_at = ? WHERE id = ?', now, id);
  }
}

function asUser({ name, password, groups, disabled, created_at }: UserRow): User {
  return {
    name,
    password,
    groups: JSON.parse(groups) as string[],
    disabled: disabled === 1,
    createdAt: created_at,
  };
}

function asToken({ name, grants, expires_at, last_used_at, created_at, ...same }: TokenRow): Token {
  return {
    ...same,
    name: same.owner === null ? name : name.slice(same.owner.length + 1),
    grants: JSON.parse(grants) as Token['grants'],
    expiresAt: expires_at,
    lastUsedAt: last_used_at,
    createdAt: created_at,
  };
}

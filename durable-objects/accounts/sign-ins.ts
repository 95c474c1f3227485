/**
 * People who sign in with OpenID Connect. The subject at the issuer identifies a person, because an issuer may give a name to
 * another person later. A new person gets an account, and an admin can link it to another user.
 */
import type { Person } from '../../worker/access/model.ts';
import type { SignInOutcome } from '../../worker/objects/accounts.ts';
import { allRows, firstRow } from '../rows.ts';
import type { People } from './people.ts';

type SignInRow = {
  user: string;
  display_name: string;
  /** As JSON; null if the last sign-in was with a release that did not record them. */
  groups: string | null;
};

export class SignIns {
  readonly #sql: SqlStorage;
  readonly #people: People;

  constructor(sql: SqlStorage, people: People) {
    this.#sql = sql;
    this.#people = people;
  }

  /** Records a person with the groups that the issuer sent, and creates the user for a new person. */
  signIn(
    { mark, account, displayName, groups, groupsPrefix }: Person,
    now: number,
  ): { outcome: SignInOutcome; isChanged: boolean } {
    const query = 'SELECT user, display_name, groups FROM sign_ins WHERE mark = ?';
    const known = firstRow<SignInRow>(this.#sql, query, mark);
    const name = known?.user ?? account;
    const user = this.#people.user(name);
    if (known === null && user !== null) return refused('taken', name);
    if (user?.disabled === true) return refused('disabled', name);
    // Without a prefix, all groups of the user are the issuer's. With a prefix, those are that begin with it, and those from the last
    // sign-in, because the prefix may have changed. If the last sign-in did not record its groups, there was no prefix then.
    const before = new Set(known?.groups ? (JSON.parse(known.groups) as string[]) : user?.groups);
    const isOwn = (group: string) =>
      groupsPrefix !== '' && !group.startsWith(groupsPrefix) && !before.has(group);
    const all = [...(user?.groups ?? []).filter(isOwn), ...groups];
    const isChanged = JSON.stringify(user?.groups) !== JSON.stringify(all);
    if (isChanged) this.#people.putUser({ name, groups: all }, now);
    const told = JSON.stringify(groups);
    if (known?.display_name !== displayName || known.groups !== told)
      this.#write(mark, { user: name, display_name: displayName, groups: told });
    return { outcome: { outcome: 'signed in', name }, isChanged: isChanged && user !== null };
  }

  /** Makes people who sign in to an account sign in to the user `to` instead, and deletes the account. */
  link(account: string, to: string): 'linked' | 'no sign-in' | 'no user' {
    if (account === to || this.#people.user(to) === null) return 'no user';
    // The other user has no groups from the issuer yet.
    const moved = allRows(
      this.#sql,
      `UPDATE sign_ins SET user = ?, groups = COALESCE(groups, '[]') WHERE user = ? RETURNING 1`,
      to,
      account,
    );
    if (moved.length === 0) return 'no sign-in';
    this.#people.deleteUser(account);
    return 'linked';
  }

  /** Name -> what the issuer calls the person, for those users who signed in. */
  displayNames(names: string[]): Record<string, string> {
    const rows = allRows<{ user: string; display_name: string }>(
      this.#sql,
      `SELECT user, display_name FROM json_each(?) AS wanted CROSS JOIN sign_ins ON sign_ins.user = wanted.value`,
      JSON.stringify(names),
    );
    return Object.fromEntries(rows.map((row) => [row.user, row.display_name]));
  }

  #write(mark: string, { user, display_name, groups }: SignInRow): void {
    this.#sql.exec(
      `INSERT INTO sign_ins (mark, user, display_name, groups) VALUES (?1, ?2, ?3, ?4)
       ON CONFLICT (mark) DO UPDATE SET user = ?2, display_name = ?3, groups = ?4`,
      mark,
      user,
      display_name,
      groups,
    );
  }
}

function refused(
  outcome: SignInOutcome['outcome'],
  name: string,
): { outcome: SignInOutcome; isChanged: boolean } {
  return { outcome: { outcome, name }, isChanged: false };
}

/** Rules, policies and trusted issuers, as `Accounts` keeps them. Ids are numbers as text, and are never used again. */
import type { Policy, Rule, Subject, Trust } from '../../worker/access/model.ts';
import type { NewPolicy } from '../../worker/objects/accounts.ts';
import type { Listing, Page } from '../../worker/oci/page.ts';
import { allRows, firstRow, pageOf } from '../rows.ts';

type RuleRow = Omit<Rule, 'id'> & { id: number };
type TrustRow = {
  id: number;
  name: string;
  issuer: string;
  audience: string;
  conditions: string;
  grants: string;
  jwks: string | null;
};

const RULE_COLUMNS = 'rules.id, subject, role, repositories, tags';
const TRUST_COLUMNS = 'id, name, issuer, audience, conditions, grants, jwks';

export class Rules {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** By id, in the order of their creation. */
  list({ count, last }: Page): Listing<Rule> {
    const query = `SELECT ${RULE_COLUMNS} FROM rules WHERE id > ? ORDER BY id LIMIT ?`;
    return pageOf(allRows<RuleRow>(this.#sql, query, Number(last) || 0, count + 1).map(asRule), count);
  }

  /** The rules of some subjects. The subjects are one JSON parameter, and each is found in the index. */
  of(subjects: Subject[]): Rule[] {
    const query = `SELECT ${RULE_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN rules ON rules.subject = wanted.value`;
    const rules = allRows<RuleRow>(this.#sql, query, JSON.stringify([...new Set(subjects)]));
    return rules.sort((a, b) => a.id - b.id).map(asRule);
  }

  create({ subject, role, repositories, tags }: Omit<Rule, 'id'>): Rule {
    const query = 'INSERT INTO rules (subject, role, repositories, tags) VALUES (?, ?, ?, ?) RETURNING id';
    const { id } = this.#sql.exec<{ id: number }>(query, subject, role, repositories, tags).one();
    return { id: String(id), subject, role, repositories, tags };
  }

  delete(id: string): boolean {
    return allRows(this.#sql, 'DELETE FROM rules WHERE id = ? RETURNING 1', id).length === 1;
  }

  policies(): Policy[] {
    const rows = allRows<{ id: number; policy: string }>(
      this.#sql,
      'SELECT id, policy FROM policies ORDER BY id',
    );
    return rows.map(({ id, policy }) => ({ ...(JSON.parse(policy) as NewPolicy), id: String(id) }));
  }

  createPolicy(policy: NewPolicy): Policy {
    const query = 'INSERT INTO policies (policy) VALUES (?) RETURNING id';
    const { id } = this.#sql.exec<{ id: number }>(query, JSON.stringify(policy)).one();
    return { ...policy, id: String(id) };
  }

  deletePolicy(id: string): boolean {
    return allRows(this.#sql, 'DELETE FROM policies WHERE id = ? RETURNING 1', id).length === 1;
  }

  trusts(): Trust[] {
    return allRows<TrustRow>(this.#sql, `SELECT ${TRUST_COLUMNS} FROM trusts ORDER BY id`).map(asTrust);
  }

  /** At most two: one with this name, and one with this id. */
  trustsNamed(idOrName: string): Trust[] {
    const query = `SELECT ${TRUST_COLUMNS} FROM trusts WHERE id IN (
        SELECT id FROM trusts WHERE name = ?1 UNION SELECT id FROM trusts WHERE id = ?1) ORDER BY id`;
    return allRows<TrustRow>(this.#sql, query, idOrName).map(asTrust);
  }

  trustsOf(issuer: string): Trust[] {
    const query = `SELECT ${TRUST_COLUMNS} FROM trusts WHERE issuer = ? ORDER BY id`;
    return allRows<TrustRow>(this.#sql, query, issuer).map(asTrust);
  }

  hasTrust(id: string): boolean {
    return firstRow(this.#sql, 'SELECT 1 FROM trusts WHERE id = ?', id) !== null;
  }

  createTrust(trust: Omit<Trust, 'id'>): Trust | 'name taken' {
    const made = firstRow<TrustRow>(
      this.#sql,
      `INSERT INTO trusts (name, issuer, audience, conditions, grants, jwks) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (name) DO NOTHING RETURNING ${TRUST_COLUMNS}`,
      trust.name,
      trust.issuer,
      trust.audience,
      JSON.stringify(trust.conditions),
      JSON.stringify(trust.grants),
      trust.jwks,
    );
    return made === null ? 'name taken' : asTrust(made);
  }

  /** Returns the name of the deleted trust; null if it does not exist. */
  deleteTrust(id: string): string | null {
    const query = 'DELETE FROM trusts WHERE id = ? RETURNING name';
    return firstRow<{ name: string }>(this.#sql, query, id)?.name ?? null;
  }
}

function asRule({ id, ...rule }: RuleRow): Rule {
  return { id: String(id), ...rule };
}

function asTrust({ id, conditions, grants, ...same }: TrustRow): Trust {
  return {
    id: String(id),
    ...same,
    conditions: JSON.parse(conditions) as Trust['conditions'],
    grants: JSON.parse(grants) as Trust['grants'],
  };
}

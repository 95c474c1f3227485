/** The verdicts of the retention policies about the tags of a repository, which are read in steps so that requests come in between. */
import { isRetention, type LifecyclePolicy } from '../../worker/lifecycle/policy.ts';
import {
  isExpired,
  type JudgedTag,
  RetentionSurvey,
  subjectOf,
  type TagFacts,
} from '../../worker/lifecycle/retention.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { allRows, firstRow } from '../rows.ts';
import type { Pulls } from './pulls.ts';
import type { Trash } from './trash.ts';

/** Tags that are read at a time. */
const TAGS_AT_ONCE = 1000;
/** How long a survey answers further pages of a list. */
const SURVEY_KEPT_MS = 60_000;

/** Artifact types of signatures: of cosign, of Sigstore's bundles, and of Notation. */
const SIGNATURES = [
  'application/vnd.dev.cosign.artifact.sig.v1+json',
  'application/vnd.dev.sigstore.bundle.v0.3+json',
  'application/vnd.cncf.notary.signature',
];

interface Totals {
  tags: number;
  /** Tags that no rule keeps now, and that are old enough to be deleted. */
  expired: number;
}

interface TagRow {
  name: string;
  digest: Digest;
  pushed_at: number;
  tag_pulled_at: number | null;
  digest_pulled_at: number | null;
  is_signed: number;
}

interface Surveyed {
  key: string;
  at: number;
  survey: RetentionSurvey;
  running: Set<Digest>;
  signed: boolean;
}

export class Retention {
  readonly #sql: SqlStorage;
  readonly #pulls: Pulls;
  readonly #trash: Trash;
  #surveyed: Surveyed | null = null;

  constructor(sql: SqlStorage, pulls: Pulls, trash: Trash) {
    this.#sql = sql;
    this.#trash = trash;
    this.#pulls = pulls;
  }

  /** Up to `count` tags after `last` with their verdicts, in lexical order. `reported` are digests that run. */
  async page(
    policies: LifecyclePolicy[],
    reported: Digest[],
    now: number,
    count: number,
    last: string,
  ): Promise<{ tags: JudgedTag[]; last: string | null }> {
    const surveyed = await this.#survey(policies, reported, now, true);
    const rows = this.#rows(last, count, surveyed.signed);
    const tags = rows.map((row) => judged(surveyed, this.#facts(row, surveyed)));
    return { tags, last: rows.length < count ? null : (rows.at(-1)?.name ?? null) };
  }

  /**
   * Judges all tags, one step after another. Between steps requests run, so a tag may have changed since: `apply` looks again. `each` gets the
   * tags that are to be deleted now, of each step.
   */
  async run(
    policies: LifecyclePolicy[],
    reported: Digest[],
    now: number,
    each: (expired: JudgedTag[]) => void,
  ): Promise<Totals & { nextAt: number | null }> {
    const surveyed = await this.#survey(policies, reported, now, false);
    const totals = { tags: 0, expired: 0 };
    let nextAt: number | null = null;
    for await (const rows of this.#steps(surveyed.signed)) {
      const expired: JudgedTag[] = [];
      for (const row of rows) {
        const tag = judged(surveyed, this.#facts(row, surveyed));
        const at = tag.state === 'kept' ? tag.until : tag.at;
        if (isExpired(tag, now)) expired.push(tag);
        else if (at !== null) nextAt = Math.min(nextAt ?? at, at);
      }
      totals.tags += rows.length;
      totals.expired += expired.length;
      each(expired);
    }
    return { ...totals, nextAt };
  }

  /** The verdicts of some tags, now. A tag that is not there has none. */
  async of(
    policies: LifecyclePolicy[],
    reported: Digest[],
    now: number,
    names: string[],
  ): Promise<Map<string, JudgedTag>> {
    const surveyed = await this.#survey(policies, reported, now, true);
    const rows = this.#named(names, surveyed.signed);
    return new Map(rows.map((row) => [row.name, judged(surveyed, this.#facts(row, surveyed))]));
  }

  /** Those of some tags that still have the digest, and the time of its push, that a plan has seen. */
  unmoved(tags: { tag: string; digest: Digest; pushedAt: number }[]): string[] {
    const rows = allRows<{ name: string }>(
      this.#sql,
      `SELECT t.name FROM json_each(?) j
         JOIN tags t ON t.name = j.value ->> 'tag' AND t.digest = j.value ->> 'digest' AND t.updated_at = j.value ->> 'pushedAt'
         JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation AND ${this.#trash.live('m')}`,
      JSON.stringify(tags),
    );
    return rows.map(({ name }) => name);
  }

  forget(): void {
    this.#surveyed = null;
  }

  async #survey(
    policies: LifecyclePolicy[],
    reported: Digest[],
    now: number,
    mayBeKept: boolean,
  ): Promise<Surveyed> {
    const key = JSON.stringify([policies, reported]);
    const kept = this.#surveyed;
    if (mayBeKept && kept?.key === key && kept.at <= now && now < kept.at + SURVEY_KEPT_MS) return kept;
    const survey = new RetentionSurvey(policies, now);
    const signed = policies.filter(isRetention).some(({ keep }) => keep.some((rule) => 'signed' in rule));
    const surveyed = { key, at: now, survey, running: this.#parentsOf(reported), signed };
    for await (const rows of this.#steps(signed))
      for (const row of rows) survey.see(this.#facts(row, surveyed));
    this.#surveyed = surveyed;
    return surveyed;
  }

  async *#steps(signed: boolean): AsyncIterable<TagRow[]> {
    let last = '';
    for (;;) {
      const rows = this.#rows(last, TAGS_AT_ONCE, signed);
      yield rows;
      if (rows.length < TAGS_AT_ONCE) return;
      last = rows.at(-1)?.name ?? '';
      await scheduler.wait(0);
    }
  }

  #rows(last: string, count: number, signed: boolean): TagRow[] {
    this.#pulls.makeTable();
    return allRows<TagRow>(
      this.#sql,
      `${this.#selectTags(signed)} WHERE t.name > ? ORDER BY t.name LIMIT ?`,
      last,
      count,
    );
  }

  #named(names: string[], signed: boolean): TagRow[] {
    this.#pulls.makeTable();
    const query = `${this.#selectTags(signed)} WHERE t.name IN (SELECT value FROM json_each(?))`;
    return allRows<TagRow>(this.#sql, query, JSON.stringify(names));
  }

  #facts(row: TagRow, { running }: Pick<Surveyed, 'running'>): TagFacts {
    const { name, digest, pushed_at: pushedAt } = row;
    const pulledAt = Math.max(row.tag_pulled_at ?? 0, row.digest_pulled_at ?? 0);
    const subject = subjectOf(name);
    return {
      name,
      digest,
      pushedAt,
      pulledAt: pulledAt === 0 ? null : pulledAt,
      isRunning: running.has(digest),
      isSigned: row.is_signed === 1,
      hasSubject: subject !== null && this.#has(subject),
    };
  }

  #has(digest: Digest): boolean {
    const query = `SELECT 1 FROM manifests m WHERE m.digest = ? AND ${this.#trash.live('m')}`;
    return firstRow(this.#sql, query, digest) !== null;
  }

  /** The digests that run, and the indexes that name them: a runtime may report the manifest of its platform. */
  #parentsOf(reported: Digest[]): Set<Digest> {
    if (reported.length === 0) return new Set();
    const rows = allRows<{ digest: Digest }>(
      this.#sql,
      `WITH RECURSIVE running (digest) AS (
         SELECT value FROM json_each(?)
         UNION
         SELECT n.manifest FROM running r JOIN named_by n ON n.digest = r.digest)
       SELECT digest FROM running`,
      JSON.stringify(reported),
    );
    return new Set(rows.map(({ digest }) => digest));
  }

  /** Tags of deleted manifests have no manifest of their generation. */
  #selectTags(signed: boolean): string {
    const types = SIGNATURES.map((type) => `'${type}'`).join(', ');
    const isSigned = signed
      ? `EXISTS (SELECT 1 FROM manifests r WHERE r.subject = t.digest AND r.artifact_type IN (${types}))
         OR EXISTS (SELECT 1 FROM tags s WHERE s.name = replace(t.digest, ':', '-') || '.sig')`
      : '0';
    return `SELECT t.name, t.digest, t.updated_at AS pushed_at, p.at AS tag_pulled_at, d.at AS digest_pulled_at,
        ${isSigned} AS is_signed
      FROM tags t JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation AND ${this.#trash.live('m')}
        LEFT JOIN pulls p ON p.reference = t.name LEFT JOIN pulls d ON d.reference = t.digest`;
  }
}

function judged({ survey }: Surveyed, tag: TagFacts): JudgedTag {
  const { name, digest, pushedAt, pulledAt, isRunning } = tag;
  return { name, digest, pushedAt, pulledAt, isRunning, ...survey.verdict(tag) };
}

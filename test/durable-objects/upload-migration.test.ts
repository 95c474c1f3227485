/** Uploads that are under way keep their parts and their tail when the tables change. */
import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { UPLOAD_SESSION_MIGRATIONS } from '../../durable-objects/upload-session/schema.ts';

test('the parts and the tail of an upload move into its row and beside it', () => {
  const db = new DatabaseSync(':memory:');
  const [first, second, ...later] = UPLOAD_SESSION_MIGRATIONS.map(({ sql }) => sql);
  for (const sql of [first, second]) db.exec(sql ?? '');
  db.exec(`INSERT INTO uploads (id, draft, offset, tail_bytes, next_part, state, ends_at)
    VALUES ('a', 'one', 24, 4, 3, 'open', 1), ('b', 'two', 0, 0, 1, 'open', 1)`);
  db.exec(
    `INSERT INTO upload_parts (upload, number, size, etag) VALUES ('a', 2, 10, 'y'), ('a', 1, 10, 'x')`,
  );
  db.exec(`INSERT INTO upload_tails (upload, seq, bytes) VALUES ('a', 0, X'0102'), ('a', 1, X'0304')`);
  for (const sql of later) db.exec(sql);
  const rows = (query: string) =>
    db
      .prepare(query)
      .all()
      .map((row) => ({ ...row }));
  assert.deepEqual(rows('SELECT id, offset, parts, HEX(tail) AS tail FROM uploads'), [
    { id: 'a', offset: 24, parts: '[]', tail: '0102' },
    { id: 'b', offset: 0, parts: '[]', tail: '' },
  ]);
  assert.deepEqual(rows('SELECT upload, first, parts FROM upload_part_lists'), [
    { upload: 'a', first: 1, parts: '[[1,10,"x"],[2,10,"y"]]' },
  ]);
  assert.deepEqual(rows('SELECT upload, seq, HEX(bytes) AS bytes FROM upload_tails'), [
    { upload: 'a', seq: 1, bytes: '0304' },
  ]);
});

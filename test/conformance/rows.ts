// The whole table, in the order in which the specification tells its story. Errors and warnings come
// last in it, which suits the rows that judge every answer that came before them.

import { type Row, sections } from './row.ts';
import { algorithms } from './rows/algorithms.ts';
import { catalog } from './rows/catalog.ts';
import { chunks } from './rows/chunks.ts';
import { deletion } from './rows/delete.ts';
import { errors } from './rows/errors.ts';
import { existence } from './rows/existence.ts';
import { manifests } from './rows/manifests.ts';
import { mount } from './rows/mount.ts';
import { grammar } from './rows/names.ts';
import { pullBlobs } from './rows/pull-blobs.ts';
import { pullManifests } from './rows/pull-manifests.ts';
import { push } from './rows/push.ts';
import { ranges } from './rows/ranges.ts';
import { referrerFilters } from './rows/referrer-filters.ts';
import { referrers } from './rows/referrers.ts';
import { subject } from './rows/subject.ts';
import { support } from './rows/support.ts';
import { tagParameters } from './rows/tag-parameters.ts';
import { tags } from './rows/tags.ts';
import { uploads } from './rows/uploads.ts';

export const rows: Row[] = sections.flatMap((section) => all().filter((row) => row.section === section));

function all(): Row[] {
  return [
    ...support,
    ...pullManifests,
    ...grammar,
    ...pullBlobs,
    ...existence,
    ...ranges,
    ...push,
    ...chunks,
    ...uploads,
    ...mount,
    ...algorithms,
    ...manifests,
    ...tagParameters,
    ...subject,
    ...tags,
    ...referrers,
    ...referrerFilters,
    ...deletion,
    ...catalog,
    ...errors,
  ];
}

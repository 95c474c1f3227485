/** Lists: tags (end-8), referrers (end-12) and the catalog. Distribution spec, "Content Discovery". */
import { MEDIA_TYPES } from '../oci/descriptor.ts';
import { parseDigest } from '../oci/digest.ts';
import { type Listing, linkHeader, type Page, parsePage } from '../oci/page.ts';
import type { Exchange } from './exchange.ts';

export async function listTags(exchange: Exchange): Promise<Response> {
  const { repository, query } = exchange;
  const page = parsePage(query);
  const listing = await repository.tags(page);
  const body = { name: repository.name, tags: listing.entries };
  return Response.json(body, { headers: linkTo(`/v2/${repository.name}/tags/list`, page, listing) });
}

export async function listCatalog({ registry, query }: Exchange): Promise<Response> {
  const page = parsePage(query);
  const listing = await registry.catalog(page);
  return Response.json({ repositories: listing.entries }, { headers: linkTo('/v2/_catalog', page, listing) });
}

/** Never an error: an unknown digest has no referrers. */
export async function listReferrers(exchange: Exchange): Promise<Response> {
  const { repository, query } = exchange;
  const subject = parseDigest(exchange.param('digest'));
  const artifactType = query.get('artifactType') || null;
  const { entries, more } = await repository.referrers(subject, { artifactType, last: query.get('last') });
  const body = { schemaVersion: 2, mediaType: MEDIA_TYPES.imageIndex, manifests: entries };
  const last = entries.at(-1)?.digest;
  const next = {
    ...(artifactType === null ? {} : { artifactType }),
    ...(last === undefined ? {} : { last }),
  };
  return Response.json(body, {
    headers: {
      'Content-Type': MEDIA_TYPES.imageIndex,
      ...(artifactType === null ? {} : { 'OCI-Filters-Applied': 'artifactType' }),
      ...(more ? { Link: linkHeader(`/v2/${repository.name}/referrers/${subject}`, next) } : {}),
    },
  });
}

/** No Link without a last entry: the next page would be the same page. */
function linkTo(path: string, page: Page, listing: Listing<string>): Record<string, string> {
  const last = listing.last ?? listing.entries.at(-1);
  return listing.more && last !== undefined
    ? { Link: linkHeader(path, { n: String(page.count), last }) }
    : {};
}

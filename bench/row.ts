// The terms of the benchmark. A row is one measurement. A group is a set of rows that need the same content. A place is that content
// on one target.
import type { BenchBlob, BenchImage, BenchManifest } from './content.ts';
import type { Delivery, Target } from './homes.ts';

export type Unit = 'MiB/s' | 'images/s' | 'requests/s' | 'tokens/s';

export interface Scale {
  /** Size of the blobs that are pushed and pulled. */
  readonly blobMiB: readonly number[];
  readonly images: number;
  readonly tags: number;
  readonly repositories: number;
  /** Duration of one round, for rows that run for a fixed time. */
  readonly roundMs: number;
}

export interface Row {
  readonly name: string;
  readonly unit: Unit;
  readonly group: Group;
  /** Measures one round. Higher is better. */
  measure(place: Place): Promise<number>;
}

/** Rows that share content on a target. The content is made before the rows run. Every group gets new targets. */
export interface Group {
  /** Longshore's BLOB_DELIVERY. Default: that of the home. */
  readonly delivery?: Delivery;
  /** What Longshore is compared with. Default: the floor and all peers. If it is set, Longshore has access control. */
  readonly besideGuarded?: readonly ('open' | 'floor')[];
  prepare(target: Pick<Target, 'url' | 'delivery' | 'admin'>): Promise<Place>;
}

export interface Place {
  readonly url: string;
  /** A prefix for the names of new repositories. */
  readonly prefix: string;
  /** The status of a GET of a blob: 200, or 307 for a redirect. */
  readonly blobStatus: number;
  blobs: BenchBlob[];
  images: BenchImage[];
  manifest: BenchManifest;
  /** Authorization headers, one for each kind of credential. Empty without access control. */
  headers: Partial<Record<Proof, { Authorization: string }>>;
}

/** An access token of the registry, and Basic credentials of a robot and of a user. */
export type Proof = 'Bearer' | 'robot' | 'user';

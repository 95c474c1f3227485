// The homes as the tests of faults run them: every read asks the repository and the store themselves, for nothing is
// redirected, nothing is kept at the edge, and small blobs are in the store as large ones are.
import * as homes from '../support/homes.ts';

const OPTIONS = {
  vars: { BLOB_DELIVERY: 'stream', CACHE_LIFETIME: '0', INLINE_BLOB_BYTES: '0', UNDO_DAYS: '0' },
};

export function eachHome(define: (home: homes.Home) => void): void {
  homes.eachHome(define, OPTIONS);
}

export function onHome(name: 'disk' | 'r2', define: (home: homes.Home) => void): void {
  homes.onHome(name, define, OPTIONS);
}

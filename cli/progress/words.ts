// The sentences of both kinds of progress.
import type { Outcome, Summary } from '../transfer/events.ts';
import type { BlobState } from './blobs.ts';
import { bytesText, countText, secondsText, shortDigest } from './format.ts';

const OUTCOMES: Record<Outcome, string> = {
  sent: 'sent',
  received: 'received',
  present: 'already there',
  linked: 'linked from another repository',
};

export function endText({ digest, size, outcome }: BlobState): string {
  return `${shortDigest(digest)}  ${outcome === null ? '' : OUTCOMES[outcome]}  ${bytesText(size)}`;
}

/** `45%  40.1 MB of 88.1 MB  12.0 MB/s  4 s left`. */
export function progressText({ offset, size, rate }: BlobState, now: number): string {
  const at = offset ?? 0;
  const percent = size === 0 ? 100 : Math.floor((100 * at) / size);
  const speed = rate.at(now);
  // The registry still has to answer when the last byte has left.
  const left =
    at === size ? 'waiting for the registry' : speed > 0 ? `${secondsText((size - at) / speed)} left` : '';
  const parts = [`${bytesText(at)} of ${bytesText(size)}`, `${bytesText(speed)}/s`, left];
  return `${String(percent).padStart(3)}%  ${parts.filter(Boolean).join('  ')}`;
}

/** `Sent 2 blobs (1.5 GB) in 12 s, 125 MB/s. 3 were already there, 1 was linked from another repository.` */
export function summaryText({
  direction,
  sent,
  received,
  present,
  linked,
  movedBytes,
  seconds,
}: Summary): string {
  const moved = direction === 'push' ? sent : received;
  const verb = direction === 'push' ? 'Sent' : 'Received';
  const what = moved.blobs > 0 ? `${countText(moved.blobs, 'blob')} (${bytesText(moved.bytes)})` : 'no blob';
  const rate = movedBytes > 0 && seconds > 0 ? `, ${bytesText(movedBytes / seconds)}/s` : '';
  const others = [
    present.blobs > 0 ? `${present.blobs} ${wasOrWere(present.blobs)} already there` : '',
    linked.blobs > 0 ? `${linked.blobs} ${wasOrWere(linked.blobs)} linked from another repository` : '',
  ].filter(Boolean);
  const rest = others.length === 0 ? '' : ` ${others.join(', ')}.`;
  return `${verb} ${what} in ${durationText(seconds)}${rate}.${rest}`;
}

function wasOrWere(count: number): string {
  return count === 1 ? 'was' : 'were';
}

function durationText(seconds: number): string {
  return seconds < 10 ? `${seconds.toFixed(1)} s` : secondsText(seconds);
}

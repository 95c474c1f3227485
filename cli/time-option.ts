// A time as people type it.

/** An option with a time. */
export function timeOption(brief: string) {
  return { kind: 'parsed', parse: timeOf, optional: true, brief, placeholder: 'time' } as const;
}

/** `2026-11-01T09:00Z`, `2026-11-01 09:00` (local time), or an age such as `2h` or `3d`. As ISO 8601. */
export function timeOf(text: string): string {
  const [, count, unit = ''] = /^(\d{1,6})([dhm])$/.exec(text) ?? [];
  const ageMs = { d: 86_400_000, h: 3_600_000, m: 60_000 }[unit];
  const at =
    count === undefined || ageMs === undefined ? Date.parse(text) : Date.now() - Number(count) * ageMs;
  if (Number.isNaN(at)) throw new Error('use a time such as 2026-11-01T09:00Z, or an age such as 2h or 3d');
  return new Date(at).toISOString();
}

/** How much the audit log keeps, as the settings AUDIT_DAYS and AUDIT_ROWS_MAX say. */
import {
  AUDIT_DAYS,
  AUDIT_DAYS_MAX,
  AUDIT_ROWS_LIMIT,
  AUDIT_ROWS_MAX,
  AUDIT_ROWS_MIN,
} from '../worker/oci/limits.ts';
import { numberSetting, WrongSetting } from '../worker/oci/settings.ts';

const DAY_MS = 24 * 3600 * 1000;

/** In days. Throws a WrongSetting. */
export function auditDays(setting: string | undefined): number {
  return numberSetting('AUDIT_DAYS', setting, {
    unit: 'days',
    min: 1,
    max: AUDIT_DAYS_MAX,
    fallback: AUDIT_DAYS,
  });
}

/** Throws a WrongSetting. */
export function auditRows(setting: string | undefined): number {
  return numberSetting('AUDIT_ROWS_MAX', setting, {
    unit: 'rows',
    min: AUDIT_ROWS_MIN,
    max: AUDIT_ROWS_LIMIT,
    fallback: AUDIT_ROWS_MAX,
  });
}

/** In ms. The Worker refuses every request where the setting is wrong; alarms that ring all the same take the default. */
export function retentionMs(setting: string | undefined): number {
  return orDefault(() => auditDays(setting), AUDIT_DAYS) * DAY_MS;
}

/** As for `retentionMs`. */
export function rowsMax(setting: string | undefined): number {
  return orDefault(() => auditRows(setting), AUDIT_ROWS_MAX);
}

function orDefault(read: () => number, fallback: number): number {
  try {
    return read();
  } catch (fault) {
    if (!(fault instanceof WrongSetting)) throw fault;
    console.error(`${fault.problems.join()}: ${fallback} is taken instead`);
    return fallback;
  }
}

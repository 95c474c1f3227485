/** How long the audit log keeps events, as the setting AUDIT_DAYS says. */
import { AUDIT_DAYS, AUDIT_DAYS_MAX } from '../worker/oci/limits.ts';
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

/** In ms. The Worker refuses every request where the setting is wrong; alarms that ring all the same take the default. */
export function retentionMs(setting: string | undefined): number {
  try {
    return auditDays(setting) * DAY_MS;
  } catch (fault) {
    if (!(fault instanceof WrongSetting)) throw fault;
    console.error(`${fault.problems.join()}: ${AUDIT_DAYS} is taken instead`);
    return AUDIT_DAYS * DAY_MS;
  }
}

import type { Kysely } from 'kysely';
import type { Mac } from '../store/macs.ts';
import { activeEnrolmentsOf } from '../store/sessions.ts';
import type { Tables } from '../tables.ts';

/** Whether it is the Mac of its serial number by more than its own word: its certificate proves it, or an admin has confirmed an enrolment of it. */
export const isKnownMac = async (db: Kysely<Tables>, mac: Pick<Mac, 'id' | 'serial_proved'>): Promise<boolean> =>
  mac.serial_proved === 1 || (await activeEnrolmentsOf(db, mac.id)).some((enrolment) => enrolment.confirmed === 1);

import type { Tx } from './parts.ts';
import { recordsOfMac, setRecordState } from './store/keys.ts';

/** Why a record is kept unopened (rules 5.4): the words are also what finds it again. */
export const keptUnopened = 'kept unopened: too many unreadable deliveries of this Mac';

/** The opener did not answer: rules 2.1 are applied when it does (2.3). */
export const waitsToBeOpened = 'waits to be opened';

/** An admin has looked: what was kept unopened meanwhile waits to be opened like any other (rules 2.3). */
export async function releaseUnopened(tx: Tx, macId: string, at: number): Promise<void> {
  for (const record of await recordsOfMac(tx, macId)) {
    if (record.state === 'quarantined' && record.state_because === keptUnopened) await setRecordState(tx, record.id, 'candidate', waitsToBeOpened, at);
  }
}

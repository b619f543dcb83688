import type { ServerSecrets, Tx } from './parts.ts';
import { isRowWhole, rowMac } from './row-mac.ts';
import { envelopesOfRecord, recordsOfMac, setRecordState, updateEnvelope } from './store/keys.ts';

/** Why a record is kept unopened: the words are also what finds it again. */
export const keptUnopened = 'kept unopened: too many unreadable deliveries of this Mac';

/** The opener did not answer: K1 to K6 are applied when it does. */
export const waitsToBeOpened = 'waits to be opened';

/** An admin has looked: what was kept unopened meanwhile waits to be opened like any other. A row that was changed since stays where it is. */
export async function releaseUnopened(secrets: ServerSecrets, tx: Tx, macId: string, at: number): Promise<void> {
  for (const record of await recordsOfMac(tx, macId)) {
    if (record.state !== 'quarantined' || record.state_because !== keptUnopened) continue;
    const envelopes = await envelopesOfRecord(tx, record.id);
    if (!envelopes.every((envelope) => isRowWhole(secrets, record, envelope))) continue;
    await setRecordState(tx, record.id, 'candidate', waitsToBeOpened, at);
    for (const { id } of envelopes) {
      const names = { macId, volume: record.volume, recordId: record.id, envelopeId: id, quarantined: false };
      await updateEnvelope(tx, macId, id, { row_mac: rowMac(secrets, names) });
    }
  }
}

import { raise, settle } from '../alarms.ts';
import { sourceNames } from '../brought/sources.ts';
import { when } from '../command.ts';
import { type CustodyParts, hour } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { openFleetAlarms } from '../store/alarms.ts';
import { connectorByName } from '../store/connectors.ts';
import type { ConnectorName } from './source.ts';
import { readCursor } from './state.ts';

/** Of its own schedule. One run may fail, and the next as well; what fails three times does not mend itself. */
const stillAfter = 3;

const startOf = (name: ConnectorName): string => `${sourceNames[name]}: `;

/** A connector that has not come to a good end for so long that whoever relies on it has to know: it failed, or nothing ran it. */
export async function alarmIfStill(parts: CustodyParts, name: ConnectorName, everyHours: number): Promise<void> {
  const now = parts.clock.now();
  const row = await connectorByName(parts.store.db, name);
  if (row?.good_since == null || now - row.good_since <= stillAfter * everyHours * hour) return;
  // One that has just begun, after a backend that was away, is given its time.
  const reader = readCursor(row.cursor).reader;
  if (reader !== null && reader.until > now && now - (row.started_at ?? 0) < everyHours * hour) return;
  // Its words stay the same for as long as it stands still: once judged, they are not said again.
  const words = `${startOf(name)}no run has come to a good end since ${when(row.good_since)}`;
  await parts.act((tx, at) => raise(parts, tx, at, null, 'MDM_CONNECTOR_STILL', words));
}

/** A run has come to a good end. */
export async function settleStill(tx: Tx, at: number, name: ConnectorName): Promise<void> {
  for (const { code, detail } of await openFleetAlarms(tx))
    if (code === 'MDM_CONNECTOR_STILL' && detail.startsWith(startOf(name))) await settle(tx, at, null, code, detail, 'a run has come to its end');
}

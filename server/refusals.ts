import { randomUUID } from 'node:crypto';
import { raise } from './alarms.ts';
import { audit } from './audit.ts';
import type { CustodyParts } from './custody-parts.ts';
import { isLiving } from './custody-state.ts';
import type { Tx } from './parts.ts';
import { orderProof } from './proofs.ts';
import { countRefusals, insertRefusal } from './store/episodes.ts';
import { recordById } from './store/keys.ts';

export interface Refusal {
  macId: string;
  /** Null where it is told by the desk, or by somebody in a release: those keep it with their own views. */
  episode: { id: string; personId: string } | null;
  recordId: string;
  actor: string;
}

/** One may be a slip of the finger. */
const tellingRefusals = 2;

/**
 * A person says that the Mac refused a key. Evidence for the timeline, never a proof: no record changes its state
 * by it. But the Mac is asked: a proof is due, given like any other once the hold is over.
 */
export async function noteRefusal(parts: CustodyParts, tx: Tx, at: number, refusal: Refusal): Promise<void> {
  const { macId, episode, recordId, actor } = refusal;
  if (episode) await insertRefusal(tx, { id: randomUUID(), episode_id: episode.id, mac_id: macId, record_id: recordId, person_id: episode.personId, at });
  const record = await recordById(tx, recordId);
  const times = await countRefusals(tx, recordId);
  await audit(tx, { at, actor, act: 'key.refused', macId, details: { episodeId: episode?.id ?? null, recordId, state: record?.state ?? null, times } });
  if (!record || record.mac_id !== macId || !isLiving(record)) return;
  await orderProof(parts, tx, at, record, 'a person said that it was refused');
  if (record.state === 'held' && times >= tellingRefusals) await raise(parts, tx, at, macId, 'KEY_REFUSED', `record ${recordId}`);
}

import type { CheckInRequest, Facts } from '../../protocol/messages.ts';
import { waitsCodes } from '../../protocol/waits.ts';
import { raise } from '../alarms.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { markDirty } from '../store/fleet-dirty.ts';
import type { Mac } from '../store/macs.ts';
import { partIn } from './merge.ts';

/** Not heard of for this long while the MDM was: then a person has to look. */
export const unseenAfter = 7 * day;

/** What lists say of a Mac by its own word; the rest of the facts changes with each check-in and is in no list. */
const told = ({ name, model, chip, macosVersion, fileVault, escrow, escrowOwner, rotator, volume, adoption, holdDeadlineHours }: Facts): string =>
  JSON.stringify([name, model, chip, macosVersion, fileVault.state, escrow, escrowOwner, rotator, volume, adoption, holdDeadlineHours]);

const isNews = ({ proofs, debts, endings, exhausted, problems }: CheckInRequest): boolean =>
  proofs.length + debts.length + endings.length > 0 || exhausted || problems.some(({ code }) => Object.values<string>(waitsCodes).includes(code));

interface Noting {
  /** The Mac as it was. */
  before: Mac;
  facts: Facts;
  request: CheckInRequest;
  /** It has its row in lists, in which it stands when it was seen. */
  isListed: boolean;
}

/** In the transaction of a check-in, when all of it is written. One that has nothing new to say costs nothing. */
export async function noteCheckIn(parts: CustodyParts, tx: Tx, at: number, { before, facts, request, isListed }: Noting): Promise<void> {
  if (before.merged_into !== null) await comeBack(parts, tx, at, before);
  // As it was written: it was checked then.
  const last = before.facts === null ? null : (JSON.parse(before.facts) as Facts);
  const agent = request.rotation ? JSON.stringify(request.rotation) : null;
  const wasGone = before.last_seen_at === null || at - before.last_seen_at >= unseenAfter;
  if (!isListed || wasGone || isNews(request) || last === null || told(last) !== told(facts) || agent !== before.agent_rotation) await markDirty(tx, before.id);
}

/** A record that was joined to another belongs to a machine that is gone. If that machine speaks, they were two. */
async function comeBack(parts: CustodyParts, tx: Tx, at: number, mac: Mac): Promise<void> {
  const into = mac.merged_into;
  await partIn(tx, at, mac, { actor: 'server', personId: null }, 'its machine checked in after it was joined to another');
  await raise(parts, tx, at, mac.id, 'MERGED_SPEAKS', `record ${mac.id} was joined to ${into ?? 'another'}, and its machine is still in use`);
}

import type { CheckInReply, CheckInRequest, Facts } from '../protocol/messages.ts';
import { settle } from './alarms.ts';
import { audit } from './audit.ts';
import { settleBrought } from './brought/settle.ts';
import { type CustodyParts, minute, sameCase } from './custody-parts.ts';
import { counts, isLiving } from './custody-state.ts';
import { closeIfPaid, closeOne, oweRotation } from './debts.ts';
import type { Caller, Tx } from './parts.ts';
import { type GivenProof, orderProof, takeProof } from './proofs.ts';
import { debtById, openDebtsOf } from './store/debts.ts';
import { grantsOf } from './store/grants.ts';
import { envelopeOfMac, recordById, recordsOfVolume, setRecordState } from './store/keys.ts';
import { type Mac, updateMac } from './store/macs.ts';
import { endProofOrders } from './store/proofs.ts';
import { endRotation, rotationById, usedInBoot } from './store/rotations.ts';
import { type Session, sessionOf } from './store/sessions.ts';

/** A run that was given a key for a proof answers within this, or it was another run. */
const sameRun = 10 * minute;

/** A truthful Mac owes a handful. */
const mostOpenDebts = 64;

interface Reported {
  mac: Mac;
  caller: Caller;
  facts: Facts;
  session: Session;
  request: CheckInRequest;
}

/** Whether there is anything that may change a key or what is owed. */
export const hasReports = ({ proofs, debts, endings, exhausted }: CheckInRequest): boolean => proofs.length + debts.length + endings.length > 0 || exhausted;

/** What the agent reports until it is confirmed: answers of macOS first, because an ending and a debt are judged by them. */
export async function takeReports(parts: CustodyParts, tx: Tx, at: number, reported: Reported): Promise<CheckInReply['confirmed']> {
  const { request } = reported;
  for (const proof of request.proofs) await takeAnswer(parts, tx, at, reported, proof);
  const debts = await takeDebts(tx, at, reported);
  for (const ending of request.endings) await takeEnding(parts, tx, at, reported, ending);
  if (request.exhausted) await takeExhausted(tx, at, reported);
  const ids = (reports: readonly { id: string }[]) => reports.map((report) => report.id);
  return { debts, proofs: ids(request.proofs), endings: request.endings.map((ending) => ending.rotationId) };
}

/** When macOS answered, in the server's time: by the uptime of a boot session that is known here; otherwise now. */
async function answeredAt(tx: Tx, at: number, { caller, facts }: Reported, proof: CheckInRequest['proofs'][number]): Promise<number> {
  const boot = sameCase(proof.boot);
  if (boot === facts.boot) return Math.min(at, Math.floor(at - (facts.uptimeSeconds - proof.uptimeSeconds) * 1000));
  const session = await sessionOf(tx, caller.enrolmentId, boot);
  return session ? Math.min(at, Math.floor(session.booted_at + proof.uptimeSeconds * 1000)) : at;
}

async function takeAnswer(parts: CustodyParts, tx: Tx, at: number, reported: Reported, proof: CheckInRequest['proofs'][number]): Promise<void> {
  const { caller, mac, facts } = reported;
  const recordOf = async () => {
    const envelope = await envelopeOfMac(tx, mac.id, proof.envelopeId);
    return envelope && recordById(tx, envelope.record_id);
  };
  const found = await recordOf();
  // Said before the Mac started from another volume, and what others brought went with it: it comes back first.
  const isMoved = found !== undefined && found.volume !== facts.volume;
  if (isMoved) await settleBrought(parts, tx, at, mac.id);
  const record = isMoved ? await recordOf() : found;
  if (!record) return;
  const when = await answeredAt(tx, at, reported, proof);
  const boot = sameCase(proof.boot);
  const run = `${boot}@${Math.floor(proof.uptimeSeconds)}`;
  // The journal of a Mac lies on its volume: what macOS said there says nothing of a key of another one.
  const isHere = record.volume === facts.volume;
  const given: GivenProof = {
    id: proof.id,
    record,
    enrolmentId: caller.enrolmentId,
    answer: proof.answer,
    settled: proof.settled,
    boot,
    answeredAt: when,
    run,
  };
  if (isHere) await takeProof(parts, tx, at, given);
  // The key that was given for this proof was used for it and is gone from the Mac again.
  for (const grant of await grantsOf(tx, mac.id, when - sameRun)) {
    if (grant.purpose !== 'prove' || grant.for_id !== proof.orderId || grant.boot !== boot) continue;
    const was = grant.record_id === record.id ? record : await recordById(tx, grant.record_id);
    if (was?.volume !== facts.volume || was.fingerprint !== record.fingerprint) continue;
    const debt = await debtById(tx, mac.id, grant.id);
    if (debt && debt.closed_at === null) await closeOne(tx, at, debt, `proof ${proof.id}`);
  }
}

/** Ids of those that are stored. A Mac that makes up debts without end gets no more than these: each check-in answers with all of them. */
async function takeDebts(tx: Tx, at: number, reported: Reported): Promise<string[]> {
  const { mac, facts, request } = reported;
  if (request.debts.length === 0) return [];
  let open = (await openDebtsOf(tx, mac.id, facts.volume)).length;
  const taken: string[] = [];
  for (const debt of request.debts) {
    const known = (await debtById(tx, mac.id, debt.id)) !== undefined;
    if (!known && open >= mostOpenDebts) continue;
    await takeDebt(tx, at, reported, debt);
    if (!known) open += 1;
    taken.push(debt.id);
  }
  return taken;
}

/** A debt for a key that the server does not know names none; one that was seen for `used` is owed for the held key. */
async function takeDebt(tx: Tx, at: number, { mac, facts }: Reported, debt: CheckInRequest['debts'][number]): Promise<void> {
  const envelope = debt.envelopeId === null ? undefined : await envelopeOfMac(tx, mac.id, debt.envelopeId);
  const held = (await recordsOfVolume(tx, mac.id, facts.volume)).find((record) => record.state === 'held');
  const recordId = envelope?.record_id ?? (debt.because === 'never-escrowed' ? null : (held?.id ?? null));
  await oweRotation(tx, at, {
    id: debt.id,
    macId: mac.id,
    volume: facts.volume,
    because: debt.because,
    recordId,
    actor: 'mac',
    ...(debt.reason === undefined ? {} : { reason: debt.reason }),
  });
  await closeIfPaid(tx, at, mac.id, debt.id, held);
  // macOS says `used` until the next boot, and a Mac that lost its journal sees it again: once per boot session is enough.
  const stored = await debtById(tx, mac.id, debt.id);
  if (debt.because === 'used' && stored?.closed_at === null && (await usedInBoot(tx, mac.id, sameCase(debt.boot))))
    await closeOne(tx, at, stored, 'the key was replaced for it in this boot session');
}

async function takeEnding(parts: CustodyParts, tx: Tx, at: number, { mac, facts }: Reported, ending: CheckInRequest['endings'][number]): Promise<void> {
  if (ending.as === 'not-known') {
    // Also of a rotation that is forgotten here (a restore): only a proof tells which key is valid.
    const held = (await recordsOfVolume(tx, mac.id, facts.volume)).find((record) => record.state === 'held');
    if (held && held.refuted_at === null) await orderProof(parts, tx, at, held, 'a rotation ended, and it is not known whether it changed the key');
  }
  const rotation = await rotationById(tx, mac.id, ending.rotationId);
  if (rotation?.state !== 'begun') return;
  await endRotation(tx, mac.id, rotation.id, ending.as, ending.detail, at);
  await settle(tx, at, mac.id, 'ROTATION_SILENT', `rotation ${rotation.id}`, `the Mac ended it: ${ending.as}`);
  await audit(tx, { at, actor: 'mac', act: 'rotation.ended', macId: mac.id, details: { rotationId: rotation.id, as: ending.as, because: ending.detail } });
  // The change of macOS's file was our own then, whoever it is sealed for: the key is lost, and not somebody else's.
  if (ending.as === 'exhausted') await updateMac(tx, mac.id, { exhausted_at: at, exhausted_volume: rotation.volume, escrow_changed_at: null });
  if (ending.as !== 'not-changed') return;
  // The doubt that the rotation itself made ends with it, if the held key answered `true` after it was begun.
  const records = await recordsOfVolume(tx, mac.id, rotation.volume);
  const held = records.find((record) => record.state === 'held');
  if (!held || held.proved_at === null || held.proved_at < rotation.begun_at) return;
  for (const candidate of records.filter((record) => record.state === 'candidate' && record.rotation_id === rotation.id)) {
    await setRecordState(tx, candidate.id, 'superseded', `rotation ${rotation.id} ended not-changed, and macOS said true to ${held.id}`, at);
    await endProofOrders(tx, candidate.id, at);
  }
}

/** The flag is older than what it answers: a key that came since it was first said is not covered by repeating it, unless that key is refuted too. */
async function takeExhausted(tx: Tx, at: number, { mac, facts }: Reported): Promise<void> {
  const first = mac.exhausted_volume !== facts.volume ? null : mac.exhausted_at;
  const living = (await recordsOfVolume(tx, mac.id, facts.volume)).filter((record) => isLiving(record) && counts(record));
  if (first !== null && !living.every((record) => record.refuted_at !== null)) return;
  await updateMac(tx, mac.id, { exhausted_at: at, exhausted_volume: facts.volume });
  if (first === null) await audit(tx, { at, actor: 'mac', act: 'key.exhausted', macId: mac.id, details: { volume: facts.volume } });
}

import { createHash } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { type Journal, type Kept, mostOutbox } from './journal.ts';
import { paths } from './paths.ts';
import type { Disk } from './world.ts';

/*
 * macOS's own escrow file. Where our escrow payload is installed, macOS seals every new key into it, whoever made the key:
 * a second witness that needs nobody's plaintext. It is copied into the journal when it is whole and quiet;
 * one that is sealed for somebody else is known by digest and recipient, and never leaves the Mac.
 */

const mostBytes = 16 * 1024;
const quietMilliseconds = 2000;
/** The runtime takes certificates that the envelope's form cannot name. */
export const unreadableCertificate = 'escrowCertificate has a form that nothing can be sealed to';

export type Noticed =
  | { found: 'none' | 'unchanged' | 'not-quiet' | 'unreadable' }
  | { found: 'refused'; code: string }
  | { found: 'ours' | 'foreign'; seen: NonNullable<Journal['escrowSeen']>; kept: Kept | null };

const same = (seen: Journal['escrowSeen'], facts: { size: number; modifiedMs: number } | null): boolean =>
  seen !== null && facts !== null && seen.size === facts.size && seen.modifiedMs === facts.modifiedMs;

export async function noticeEscrowFile(
  parts: { disk: Disk; wait(ms: number): Promise<void>; now(): number },
  journal: Readonly<Journal>,
  escrowCertificate: Uint8Array,
): Promise<Noticed> {
  const { disk } = parts;
  const facts = disk.facts(paths.escrowFile);
  if (facts === null || !facts.regular) return { found: 'none' };
  if (same(journal.escrowSeen, facts)) return { found: 'unchanged' };
  if (facts.size === 0 || facts.size > mostBytes) return { found: 'unreadable' };
  const first = readIfItCan(disk);
  // Root is refused nothing but by macOS's privacy protection (EPERM): waiting does not help, and nobody would know.
  if (first === 'EPERM' || first === 'EACCES') return { found: 'refused', code: first };
  await parts.wait(quietMilliseconds);
  const second = readIfItCan(disk);
  const after = disk.facts(paths.escrowFile);
  if (
    !Buffer.isBuffer(first) ||
    !Buffer.isBuffer(second) ||
    !after ||
    after.size !== facts.size ||
    after.modifiedMs !== facts.modifiedMs ||
    !first.equals(second)
  )
    return { found: 'not-quiet' };

  const { readEnvelope, recipientNames } = await import('../protocol/envelope.ts');
  let recipients: { name: string }[];
  try {
    recipients = readEnvelope(second).recipients;
  } catch {
    return { found: 'unreadable' };
  }
  const digest = createHash('sha256').update(second).digest('hex');
  let names: string[];
  try {
    names = recipientNames(escrowCertificate);
  } catch {
    throw new Problem('SETTINGS_INVALID', unreadableCertificate);
  }
  const ours = recipients.length === 1 && recipients.every((one) => names.includes(one.name));
  const seen = { size: facts.size, modifiedMs: facts.modifiedMs, digest, recipient: recipients[0]?.name ?? null, ours };
  if (!ours) return { found: 'foreign', seen, kept: null };
  const known = [journal.current, ...journal.previous, ...journal.outbox].some((one) => one?.envelopeId === digest);
  const kept: Kept | null = known
    ? null
    : {
        envelopeId: digest,
        envelope: second.toString('base64'),
        source: 'escrow-file',
        volume: journal.volumeGroup,
        madeAt: new Date(Math.min(facts.modifiedMs, parts.now())).toISOString(),
        validated: 'unknown',
        rotationId: null,
        recordId: null,
        held: false,
      };
  return { found: 'ours', seen, kept };
}

/** Null also for what became too large, or a link, since it was looked at: then it is not quiet. */
/** The file, null where there is none, or the code of what went wrong. */
function readIfItCan(disk: Disk): Buffer | string | null {
  try {
    return disk.read(paths.escrowFile, mostBytes);
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

/** What the journal becomes; also whether somebody else changed the key, which a foreign file shows by its digest alone (C7). */
export function withEscrowFile(journal: Readonly<Journal>, noticed: Noticed, now: number): Partial<Journal> {
  if (noticed.found === 'none') return journal.escrowSeen === null ? {} : { escrowSeen: null };
  if (noticed.found !== 'ours' && noticed.found !== 'foreign') return {};
  const { seen, kept } = noticed;
  const changed = journal.escrowSeen !== null && journal.escrowSeen.digest !== seen.digest;
  // Its key was refused before this file came: one change, which was counted then.
  const isTold = changed && journal.refusalFile === 'awaited' && isCounted(journal);
  const byOther = changed && !journal.ownEscrowChangeDue && noticed.found === 'foreign' && !isTold;
  const outbox = kept ? [...journal.outbox, { ...kept, rotationId: rotationOf(journal, seen) }] : journal.outbox;
  return {
    escrowSeen: seen,
    // Full means that nothing could be delivered for long; the oldest of macOS's own files is the least of them.
    outbox: outbox.length > mostOutbox ? outbox.filter((_, at) => at !== outbox.findIndex((other) => other.source === 'escrow-file')) : outbox,
    ownEscrowChangeDue: journal.escrowSeen?.digest === seen.digest && journal.ownEscrowChangeDue,
    ...(isTold ? { refusalFile: seen.digest } : {}),
    ...(byOther ? countForeignChange(journal, now) : {}),
  };
}

/** Whether a change by somebody else was counted since macOS last said `true`. */
export const isCounted = ({ foreignChanges, lastProof }: Readonly<Journal>): boolean => foreignChanges.some((at) => at > (lastProof?.at ?? 0));

/** Noticed after the last `true`, whatever a Mac that has not heard the server since its start reckons. */
export const countForeignChange = ({ foreignChanges, lastProof }: Readonly<Journal>, now: number): Pick<Journal, 'foreignChanges'> => ({
  foreignChanges: [...foreignChanges, Math.max(now, (lastProof?.at ?? 0) + 1)].slice(-20),
});

/** mdmclient writes after fdesetup has ended, seconds as a rule. */
const soonMilliseconds = 10 * 60 * 1000;

/** The rotation that made macOS write this file: the open one, or the last one where the file came late. */
function rotationOf(journal: Readonly<Journal>, seen: NonNullable<Journal['escrowSeen']>): string | null {
  if (!journal.ownEscrowChangeDue) return null;
  if (journal.rotation) return journal.rotation.id;
  const { current } = journal;
  // Both times are of the Mac's own clock.
  const soon = current?.source === 'rotation' && Math.abs(seen.modifiedMs - Date.parse(current.madeAt)) < soonMilliseconds;
  return soon ? current.rotationId : null;
}

import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import { noteHeard } from '../brought/again.ts';
import { bringAll } from '../brought/bring.ts';
import { type BroughtTrust, isUnverified } from '../brought/sources.ts';
import { onlyByMdm } from '../brought/tasks.ts';
import type { CustodyParts } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import { deadlineHours } from '../holds.ts';
import { holdOf } from '../rotation-due.ts';
import { type BroughtRow, broughtFor, broughtWithKey, countStrangersWaiting } from '../store/brought.ts';
import { episodeOf } from '../store/disclosures.ts';
import { recordsOfVolume, recordWithKey } from '../store/keys.ts';
import { type Mac, macsWithSerial } from '../store/macs.ts';
import { openTaskFor } from '../store/tasks.ts';

export type CryptTrust = Extract<BroughtTrust, 'device' | 'header' | 'none'>;

interface CryptTaken {
  /** `full`: as many keys of unknown Macs wait here as may. */
  fate: 'waiting' | 'aside' | 'offered' | 'known' | 'refused' | 'full';
  because: string;
  /** The client shall make another key: this one was shown, and nobody else replaces it. */
  rotationRequired: boolean;
}

export interface CryptCustody {
  /** A key that a Crypt client says is its Mac's. The same one again, as it comes every hour, writes nothing. */
  take(sent: { serial: string; key: RecoveryKey; trust: CryptTrust }): Promise<CryptTaken>;
  /** Null where nobody has heard of this serial number. */
  verify(serial: string): Promise<{ escrowedAt: number | null } | null>;
}

/** Keys for serial numbers that no Mac here has, by whoever may say anything: at about 3 KB each they fill no disk. */
const mostStrangers = 50_000;
/** Milliseconds for which a count of them is good enough. */
const countEvery = 60_000;

export function createCrypt(parts: CustodyParts, now: () => number = () => performance.now()): CryptCustody {
  const { store, clock, secrets } = parts;
  let strangers = { count: 0, at: Number.NEGATIVE_INFINITY };

  /** Those without a Mac here are counted: of a Mac that is here, three at most may wait. */
  async function isFull(trust: CryptTrust, mac: Mac | undefined): Promise<boolean> {
    if (mac || !isUnverified(trust)) return false;
    if (now() - strangers.at > countEvery) strangers = { count: await countStrangersWaiting(store.db), at: now() };
    if (strangers.count >= mostStrangers) return true;
    strangers.count += 1;
    return false;
  }

  return {
    async take({ serial, key, trust }) {
      const fingerprint = key.fingerprint(secrets.fingerprint);
      const mac = await macOf(parts, serial);
      const rotationRequired = await isReplacementDue(parts, serial, mac, fingerprint, clock.now());
      const before = await broughtWithKey(store.db, serial, fingerprint);
      // Whoever brings it with a weightier word than before is heard; otherwise nothing is new.
      if (before && (before.trust !== 'none' || trust === 'none') && (before.trust !== 'header' || trust !== 'device')) {
        await noteHeard(parts, before);
        return { fate: 'known', because: before.state_because, rotationRequired };
      }
      // Looked at first: a refusal in the act would be written into the audit, every two minutes for each client.
      const waits = before ? null : await whyNoMore(parts, serial, trust);
      if (waits !== null) return { fate: 'refused', because: waits, rotationRequired };
      if (!before && (await isFull(trust, mac))) return { fate: 'full', because: 'too many keys of unknown Macs wait here', rotationRequired };
      // The Mac's own word is of now; a stranger dates nothing.
      const madeAt = trust === 'device' ? clock.now() : null;
      const [brought] = await bringAll(parts, [{ serial, key, source: 'crypt', trust, runId: null, madeAt, actor: 'crypt' }]);
      if (!brought) throw new Error('nothing became of a key that was brought');
      return { fate: brought.fate, because: brought.because, rotationRequired };
    },

    async verify(serial) {
      const mac = await macOf(parts, serial);
      const rows = await broughtFor(store.db, serial);
      if (!mac && rows.length === 0) return null;
      const records = mac?.present_volume ? await recordsOfVolume(store.db, mac.id, mac.present_volume) : [];
      const kept = [
        ...rows.filter(({ state, bytes }) => bytes !== null && state !== 'refuted').map((row) => row.brought_at),
        ...records.filter(({ state }) => state === 'held' || state === 'candidate').map((record) => record.received_at),
      ];
      return { escrowedAt: kept.length > 0 ? Math.max(...kept) : null };
    },
  };
}

async function macOf({ store }: CustodyParts, serial: string): Promise<Mac | undefined> {
  const macs = await macsWithSerial(store.db, serial);
  return macs.find((mac) => mac.serial_proved === 1) ?? macs[0];
}

/** A stranger may have three keys wait for one serial number, whoever that stranger is. */
const mostOfStrangers = 3;

async function whyNoMore({ store }: CustodyParts, serial: string, trust: CryptTrust): Promise<string | null> {
  if (!isUnverified(trust)) return null;
  const waiting = (await broughtFor(store.db, serial)).filter((row) => row.trust === trust && (row.state === 'waiting' || row.state === 'aside'));
  return waiting.length >= mostOfStrangers ? `${waiting.length} keys wait for this serial number already, and none of them is proved` : null;
}

/**
 * Crypt throws its key away when it is told so, and makes another at the next login. So not while somebody may be typing
 * this one, and not where our own agent replaces it: there is one rotator.
 */
async function isReplacementDue(parts: CustodyParts, serial: string, mac: Mac | undefined, fingerprint: string, at: number): Promise<boolean> {
  const { db } = parts.store;
  const row = await broughtWithKey(db, serial, fingerprint);
  const volume = mac?.present_volume ?? null;
  const record = mac && volume !== null ? await recordWithKey(db, mac.id, volume, fingerprint) : undefined;
  if (mac && record && volume !== null) {
    if (record.disclosed_at === null || (record.state !== 'held' && record.state !== 'candidate')) return false;
    return onlyByMdm(lastFacts(mac)) !== null && holdOf(await episodeOf(db, mac.id, volume), deadlineHours(parts, mac), at) === null;
  }
  if (!row?.disclosed_at || row.state === 'refuted') return false;
  return holdOf(await viewsOf(parts, row, row.disclosed_at), deadlineHours(parts, mac), at) === null;
}

/** The task was opened by the first view of it; looking again puts nothing off. */
async function viewsOf({ store }: CustodyParts, row: BroughtRow, last: number): Promise<{ at: number }[]> {
  const task = await openTaskFor(store.db, row.serial);
  return [{ at: Math.min(task?.opened_at ?? last, last) }, { at: last }];
}

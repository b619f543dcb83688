import { createHash } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import { openUnpacked, unpackAny } from './backup.ts';
import { openClock, type ServerClock } from './clock.ts';
import { readGiven } from './init.ts';
import { type NamedFile, notInBackup } from './named-files.ts';
import type { Store, Tx } from './parts.ts';
import { makePrivateFolder, refuseExisting, syncFolder } from './private-files.ts';
import { endWhatPeopleHad } from './restore-ending.ts';
import type { UnsealKey } from './sealed-file.ts';
import { endRole } from './store/admins.ts';
import { noteMaybeShown } from './store/brought.ts';
import { debtById, insertDebt } from './store/debts.ts';
import { changeEnrolment, enrolmentById, revokeCertificate } from './store/enrolments.ts';
import { personById, updatePerson } from './store/people.ts';
import { endTicket, ticketById } from './store/tickets.ts';
import { forgetMemory, readMemory, usableKeysBefore, writeMemory } from './store/upkeep.ts';
import { removeUnfinished, unfinishedName } from './unfinished.ts';

const day = 24 * 60 * 60 * 1000;
/** Whoever was shown a key just before the loss may be typing it: a hold that nobody remembers. */
const mayBeTyped = day;
const markName = 'restored';
const ended = { at: z.number().nullable(), because: z.string().nullable().optional() };
/** As `sparekey-server revocations` prints it. */
const revocations = z.strictObject({
  since: z.string(),
  enrolments: z.array(z.strictObject({ id: z.string(), ...ended })),
  certificates: z.array(z.strictObject({ digest: z.string().regex(/^[0-9a-f]{64}$/), ...ended })),
  tickets: z.array(z.strictObject({ id: z.string(), ...ended })),
  /** People whose account was disabled; a list of before the sites for people has none. */
  people: z.array(z.strictObject({ id: z.string(), ...ended })).default([]),
  /** Roles that were taken; a list of before the console has none. */
  roles: z.array(z.strictObject({ id: z.string(), ...ended })).default([]),
});

export interface RestoreResult {
  dir: string;
  backupMadeAt: string;
  restoredAt: string;
  gapHours: number;
  revoked: Revoked;
  /** Everybody signs in again. */
  sessionsEnded: number;
  keysToReplace: number;
  replacedWithinDays: number;
  /** Files that the settings name and that are in no backup. */
  notInBackup: NamedFile[];
}

interface Revoked {
  enrolments: number;
  certificates: number;
  tickets: number;
  people: number;
  roles: number;
}
const nobody: Revoked = { enrolments: 0, certificates: 0, tickets: 0, people: 0, roles: 0 };

/** What the server remembers of its restore until the last debt of it is made. */
const mark = z.strictObject({ at: z.number(), days: z.int() });

/**
 * Makes a data folder from a backup. What happened after the backup is gone: who was shown a key, whom an
 * admin turned away. So the gap is recorded, the revocations are asked for, and every key that may have been shown is owed
 * a replacement. Certificates issued in the gap are not known here and are refused: those Macs enrol again by themselves.
 */
export async function restore(options: {
  file: string;
  dir: string;
  revocationsFile: string | null;
  spreadDays: number;
  actor: string;
  /** What opens an encrypted backup; asked for only where it is one. */
  keys?: () => Promise<readonly UnsealKey[]>;
  /** The machine's clock; default the real one. */
  wallNow?: () => number;
}): Promise<RestoreResult> {
  const dir = resolve(options.dir);
  refuseExisting(dir);
  if (!existsSync(dirname(dir))) throw new Problem('USAGE', `${dirname(dir)} does not exist`);
  const list = options.revocationsFile === null ? null : readRevocations(options.revocationsFile);
  // Of one that a power cut ended: it has the secrets of the data folder, and an encrypted backup in clear beside it.
  removeUnfinished(dirname(dir));
  const making = join(dirname(dir), `.${basename(dir)}${unfinishedName()}`);
  makePrivateFolder(making);
  try {
    const { described } = await unpackAny(options.file, making, options.keys ?? (async () => []));
    const { store, settings } = await openUnpacked(making, described);
    let result: RestoreResult;
    try {
      const clock = await openClock(store, options.wallNow);
      result = await store.write(async (tx) => {
        const at = await clock.persist(tx);
        const revoked = list ? await applyRevocations(tx, list, at) : nobody;
        const sessionsEnded = await endWhatPeopleHad(tx, at, options.actor);
        const keys = await usableKeysBefore(tx, at);
        const brought = await noteMaybeShown(tx, at);
        await writeMemory(tx, markName, JSON.stringify({ at, days: options.spreadDays }));
        const gapHours = Math.round(((at - Date.parse(described.madeAt)) / 3_600_000) * 10) / 10;
        const details = {
          backupMadeAt: described.madeAt,
          gapHours,
          withRevocations: list !== null,
          ...revoked,
          sessionsEnded,
          keysToReplace: keys.length,
          brought,
          spreadDays: options.spreadDays,
        };
        await audit(tx, { at, actor: options.actor, act: 'server.restored', details });
        return {
          dir,
          backupMadeAt: described.madeAt,
          restoredAt: new Date(at).toISOString(),
          gapHours,
          revoked,
          sessionsEnded,
          keysToReplace: keys.length,
          // They begin a day later.
          replacedWithinDays: options.spreadDays + 1,
          notInBackup: notInBackup(settings, making, dir),
        };
      });
    } finally {
      await store.close();
    }
    renameSync(making, dir);
    syncFolder(dirname(dir));
    return result;
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    throw error;
  }
}

function readRevocations(file: string): z.infer<typeof revocations> {
  const content = readGiven(file).toString('utf8');
  try {
    return revocations.parse(JSON.parse(content));
  } catch {
    throw new Problem('USAGE', `${file} is no list of revocations as \`sparekey-server revocations\` prints it`);
  }
}

async function applyRevocations(tx: Tx, list: z.infer<typeof revocations>, at: number): Promise<Revoked> {
  const done = { ...nobody };
  for (const { id, because } of list.enrolments) {
    // One that was made in the gap is not known here, and refused for that.
    const of = await enrolmentById(tx, id);
    if (!of || of.enrolment.status === 'revoked') continue;
    await changeEnrolment(tx, id, { status: 'revoked', status_because: because ?? 'revoked before the restore', status_at: at });
    done.enrolments += 1;
  }
  for (const { digest, because } of list.certificates) {
    await revokeCertificate(tx, digest, at, because ?? 'revoked before the restore');
    done.certificates += 1;
  }
  for (const { id } of list.tickets) {
    if (!(await ticketById(tx, id))) continue;
    await endTicket(tx, id, at);
    done.tickets += 1;
  }
  for (const { id, because } of list.people) {
    const person = await personById(tx, id);
    if (!person || person.disabled_at !== null) continue;
    await updatePerson(tx, id, { disabled_at: at, disabled_because: because ?? 'disabled before the restore' });
    done.people += 1;
  }
  for (const { id, because } of list.roles) {
    const taken = { ended_at: at, ended_by: 'restored', ended_because: because ?? 'taken before the restore' };
    if (await endRole(tx, id, taken)) done.roles += 1;
  }
  return done;
}

/** Which part of the days a key waits: the same at every start, and even over the fleet. */
const shareOf = (recordId: string): number => createHash('sha256').update(recordId).digest().readUInt32BE(0) / 0x1_0000_0000;

/**
 * After a restore every key of before may have been shown in the gap: each is owed a replacement, `disclosed`, spread
 * over days so that a whole fleet does not rotate at once. Run by the timer; safe to run at any time and as often as one likes.
 */
export async function spreadRestoreDebts(store: Store, clock: ServerClock): Promise<number> {
  const text = await readMemory(store.db, markName);
  if (text === null) return 0;
  const restored = mark.parse(JSON.parse(text));
  const spread = restored.days * day;
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    let made = 0;
    for (const key of await usableKeysBefore(tx, restored.at)) {
      const id = `restore-${restored.at}-${key.id}`.slice(0, 64);
      if (restored.at + mayBeTyped + shareOf(key.id) * spread > at || (await debtById(tx, key.mac_id, id))) continue;
      await insertDebt(tx, {
        id,
        mac_id: key.mac_id,
        volume: key.volume,
        because: 'disclosed',
        record_id: key.id,
        order_id: null,
        opened_at: at,
        closed_at: null,
        closed_by: null,
      });
      await audit(tx, {
        at,
        actor: 'server',
        act: 'debt.opened',
        macId: key.mac_id,
        details: { debtId: id, recordId: key.id, because: 'disclosed', why: 'it may have been shown before the restore' },
      });
      made += 1;
    }
    if (at > restored.at + mayBeTyped + spread) await forgetMemory(tx, markName);
    return made;
  });
}

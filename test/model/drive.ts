// Takes the real agent and the real backend through a course of the model, and says in the model's words where they came to.
import { existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import type { Journal } from '../../agent/journal.ts';
import { openSecrets } from '../../agent/secrets.ts';
import type { Secrets } from '../../agent/world.ts';
import type { Tables } from '../../server/tables.ts';
import { foreignEscrowPair, pemToDer } from '../fake-mac/certificates.ts';
import { makeEscrowFile } from '../fake-mac/escrow-file.ts';
import { systemKeychain } from '../fake-mac/state.ts';
import { closeMacs, given } from '../together.ts';
import type { Abstract, Which } from './abstraction.ts';
import type { Custody } from './backend.ts';
import type { Course, Passed, Taken } from './course.ts';
import { eventfulRuns } from './course.ts';
import { type EventKind, endsRun } from './events.ts';
import { day, hour } from './state.ts';
import { Dead, watched } from './watch.ts';

const stateFolder = '/var/db/io.sparekey.agent';
const escrowPath = '/var/db/FileVaultPRK.dat';
type Given = Awaited<ReturnType<typeof given>>;

/** What the backend knows of one Mac, in the order in which it can be put back. */
const tablesOfMac = [
  'enrolment',
  'key_record',
  'envelope',
  'key_block',
  'foreign_file',
  'rotation_order',
  'debt',
  'rotation',
  'disclosure',
  'grant_given',
  'proof_order',
  'proof',
  'alarm',
] as const;

export interface Driven {
  product: Abstract;
  /** Events of the course whose tick the product never came to. */
  missed: string[];
  /** The ticks of the eventful runs, as the product made them. */
  ticks: Passed[];
}

export async function drive(course: Course, taken: Taken): Promise<Driven> {
  const it = await begin(course);
  const { configuration } = course;
  const firstKey = it.first;
  const backup = await snapshot(it);
  if (configuration.file === 'late') it.mac.setQuirk('escrowSeconds', 120);
  if (configuration.file === 'never') it.mac.setChangeQuirk('no-escrow-file');
  const usual = configuration.file === 'never' ? 'no-escrow-file' : 'works';
  if (configuration.because === 'disclosed') await it.disclose();
  else await it.order();

  const due = course.events.map((event) => ({ ...event, ...(taken.ticks[event.tick] ?? { run: -1, at: '', nth: 0 }), done: false }));
  const ticks: Passed[] = [];
  const synced = new Set<string>();
  let offline = false;
  let loses = false;
  let lies = false;
  for (let run = 0; run <= taken.gaps.length; run++) {
    if (run > 0) {
      if (run === eventfulRuns) {
        offline = false;
        it.mac.setCommandQuirk('fdesetup validaterecovery', null);
      }
      it.pass(taken.gaps[run - 1] ?? 0);
    }
    await it.custody.sweepTimers();
    let dead = false;
    let afterDeath: (() => void) | null = null;
    const counts = new Map<string, number>();
    const restores: Promise<void>[] = [];
    const die = (kind: EventKind): never => {
      dead = true;
      afterDeath = () => endOfRun(it, kind, synced);
      throw new Dead();
    };
    const reach = (tick: string): void => {
      if (dead) throw new Dead();
      const nth = (counts.get(tick) ?? 0) + 1;
      counts.set(tick, nth);
      if (run < eventfulRuns) ticks.push({ run, at: tick, nth });
      for (const event of due.filter((one) => !one.done && one.run === run && one.at === tick && one.nth === nth)) {
        event.done = true;
        if (endsRun(event.does)) die(event.does);
        if (event.does === 'network away') offline = true;
        else if (event.does === 'answer lost') loses = true;
        else if (event.does === 'macOS says false once') {
          lies = true;
          it.mac.setCommandQuirk('fdesetup validaterecovery', 'answer:false');
        } else if (event.does === 'backend restored') restores.push(putBack(it, backup));
        else happen(it, event.does, firstKey);
      }
      // In the middle of fdesetup: the agent, the Mac or fdesetup itself stops there.
      const within = tick === 'change' ? due.find((one) => !one.done && one.run === run && one.at.startsWith('mac ')) : undefined;
      if (!within) return;
      within.done = true;
      if (within.does === 'kill, and fdesetup takes its time') {
        it.mac.setQuirk(within.at === 'mac key' ? 'changeSecondsBefore' : 'changeSecondsAfter', 300);
        dead = true;
        afterDeath = () => {
          it.mac.setQuirk('changeSecondsBefore', 0);
          it.mac.setQuirk('changeSecondsAfter', 0);
        };
        return;
      }
      it.mac.setChangeQuirk(
        within.at === 'mac key' ? 'crashes-before' : within.at === 'mac file' || usual !== 'works' ? 'crashes-after' : 'crashes-after-escrow',
      );
      if (within.does === 'fdesetup dies') return;
      dead = true;
      afterDeath = () => {
        it.mac.setChangeQuirk(usual);
        endOfRun(it, within.does, synced);
      };
    };
    const world = watched(
      it.mac.root,
      {
        runner: it.mac.runner,
        secrets: inOrderOfWriting(
          it,
          openSecrets(async () => it.mac.keytar('job'), 2),
        ),
      },
      {
        before: reach,
        async beforeAsking(tick) {
          reach(tick);
          if (tick.startsWith('ask ')) it.pass(1);
          await Promise.all(restores.splice(0));
        },
        network() {
          if (offline) return 'away';
          const lost = loses;
          loses = false;
          return lost ? 'loses the answer' : 'works';
        },
        started: () => {
          if (!dead) it.mac.setChangeQuirk(usual);
        },
        validated: () => {
          if (lies) it.mac.setCommandQuirk('fdesetup validaterecovery', null);
          lies = false;
        },
        dead: () => dead,
        synced: (file) => synced.add(file.split('/').at(-1) ?? ''),
      },
    );
    try {
      await it.checkIn(world);
    } catch (cause) {
      if (!dead) throw cause;
    }
    if (dead) rmSync(it.mac.path(`${stateFolder}/lock`), { force: true });
    (afterDeath as (() => void) | null)?.();
  }
  const product = await abstractOfProduct(it);
  closeMacs();
  return { product, missed: due.filter((one) => !one.done).map((one) => `${one.does} before ${one.at} ${one.nth} of run ${one.run}`), ticks };
}

/** A Mac of this kind, as `begin` of course.ts makes it. */
async function begin({ configuration }: Course): Promise<Given & { first: string }> {
  const { custody, payload } = configuration;
  let made: Given | null = null;
  const it = await given({
    settings: { custody },
    world: { monotonic: () => made?.mac.uptimeSeconds ?? 0 },
  });
  made = it;
  it.mac.setQuirk('newKeyAtProfileInstall', 'never');
  it.mac.setQuirk('wrongKeysFree', 1000);
  const first = it.mac.recoveryKey ?? '';
  await it.settle();
  if (custody === 'keychain') {
    await it.order();
    await it.checkIn();
    it.pass(day + 60);
    await it.checkIn();
  }
  if (payload === 'foreign') {
    it.mac.installEscrowProfile('foreign');
    it.mac.installSettings({ ...it.values, custody, escrowOwner: 'mdm' });
    putEscrowFile(it, it.mac.recoveryKey ?? '', 'foreign');
    it.pass(60);
    await it.checkIn();
    it.pass(2 * hour);
  }
  return Object.assign(it, { first });
}

let filesWritten = 0;
function putEscrowFile(it: Given, key: string, by: 'ours' | 'foreign'): void {
  const certificate = by === 'ours' ? String(it.values.escrowCertificate) : foreignEscrowPair().certificate;
  const path = it.mac.path(escrowPath);
  writeFileSync(path, makeEscrowFile(key, pemToDer(certificate)));
  // By the Mac's own clock; no two files have one time.
  const seconds = (it.mac.now + ++filesWritten) / 1000;
  utimesSync(path, seconds, seconds);
}

function changeByOther(it: Given, file: 'ours' | 'foreign' | null): void {
  const profiles = it.mac.state.profiles;
  // mdmclient has nothing to do with it here: the file comes from the event.
  it.mac.change((state) => {
    state.profiles = profiles.filter((profile) => !profile.escrow);
    state.escrowDue = null;
  });
  it.mac.mdmRotates();
  it.mac.change((state) => {
    state.profiles = profiles;
  });
  if (file) putEscrowFile(it, it.mac.recoveryKey ?? '', file);
}

function happen(it: Given, kind: EventKind, first: string): void {
  if (kind === 'key changed by somebody else, file for us') changeByOther(it, 'ours');
  else if (kind === 'key changed by somebody else, file for them') changeByOther(it, 'foreign');
  else if (kind === 'key changed by somebody else, no file') changeByOther(it, null);
  else if (kind === 'escrow file of an older key') putEscrowFile(it, first, 'ours');
  else if (kind === 'macOS does not say') it.mac.setCommandQuirk('fdesetup validaterecovery', 'garbage');
}

const itemsOf = (it: Given) => (it.mac.state.keychains[systemKeychain]?.items ?? []).filter((one) => one.account.startsWith('recovery-key:'));
/** Names of items are chance; which of two dead ones is tried first would be, too. */
const inOrderOfWriting = (it: Given, secrets: Secrets): Secrets => ({
  ...secrets,
  async list() {
    const names = await secrets.list();
    if (names === 'cannot-tell') return names;
    const written = itemsOf(it).map((one) => one.account);
    return names.toSorted((one, other) => written.indexOf(one) - written.indexOf(other));
  },
});

/** What happens to the Mac with the death of its agent. */
function endOfRun(it: Given, kind: EventKind, synced: Set<string>): void {
  const journal = it.mac.path(`${stateFolder}/journal.json`);
  if (kind === 'kill, and the journal is gone') rmSync(journal, { force: true });
  if (kind === 'kill, and the journal is damaged') writeFileSync(journal, '{"version":1,', { mode: 0o600 });
  if (kind === 'kill, and the budget of wrong keys is spent' && existsSync(journal)) {
    const value = JSON.parse(readFileSync(journal, 'utf8')) as Journal;
    const refusals = ['a', 'b'].map((id) => ({ id, at: it.mac.now, settled: true }));
    writeFileSync(journal, JSON.stringify({ ...value, refusals }), { mode: 0o600 });
  }
  if (!kind.startsWith('power cut')) return;
  if (kind.endsWith('gone'))
    for (const name of outputsOf(it).filter((one) => one.endsWith('.out') && !synced.has(one)))
      writeFileSync(it.mac.path(`${stateFolder}/out/${name}`), '', { mode: 0o600 });
  // What survived is on the disk now.
  else for (const name of outputsOf(it)) synced.add(name);
  it.mac.change((state) => {
    state.escrowDue = null;
  });
  it.mac.boot();
}

const outputsOf = (it: Given): string[] => {
  const folder = it.mac.path(`${stateFolder}/out`);
  return existsSync(folder) ? readdirSync(folder) : [];
};

type Rows = Record<string, Record<string, unknown>[]>;
async function snapshot(it: Given): Promise<Rows> {
  const macId = await it.macId();
  const rows: Rows = { mac: await it.store.db.selectFrom('mac').selectAll().where('id', '=', macId).execute() };
  for (const table of tablesOfMac)
    rows[table] = await it.store.db
      .selectFrom(table as 'debt')
      .selectAll()
      .where('mac_id', '=', macId)
      .execute();
  return rows;
}

/** A stand-by that was behind is the backend now: of this Mac it knows what it knew then. */
async function putBack(it: Given, rows: Rows): Promise<void> {
  const macId = await it.macId();
  await it.store.write(async (tx) => {
    const enrolments = (rows['enrolment'] ?? []).map((row) => String(row['id']));
    for (const table of tablesOfMac.toReversed()) {
      if (table === 'enrolment') continue;
      await tx
        .deleteFrom(table as 'debt')
        .where('mac_id', '=', macId)
        .execute();
    }
    await tx
      .deleteFrom('session')
      .where('enrolment_id', 'not in', enrolments)
      .where('enrolment_id', 'in', tx.selectFrom('enrolment').select('id').where('mac_id', '=', macId))
      .execute();
    for (const table of tablesOfMac) {
      if (table === 'enrolment') continue;
      for (const row of rows[table] ?? [])
        await tx
          .insertInto(table as 'debt')
          .values(row as Tables['debt'])
          .execute();
    }
    const [mac] = rows['mac'] ?? [];
    if (mac)
      await tx
        .updateTable('mac')
        .set(mac as Partial<Tables['mac']>)
        .where('id', '=', macId)
        .execute();
  });
}

async function abstractOfProduct(it: Given): Promise<Abstract> {
  const { db } = it.store;
  const macId = await it.macId();
  const now = it.mac.recoveryKey;
  const which = (key: string | null): Which => (key === now ? 'current' : 'former');
  const keyOf = async (bytes: Uint8Array | null): Promise<string | null> => {
    const opened = bytes ? await it.backend.escrowKeys.open(bytes) : null;
    return opened && typeof opened === 'object' ? opened.reveal() : null;
  };
  const records: string[] = [];
  let heldIs: Abstract['heldIs'] = 'none';
  for (const record of await db.selectFrom('key_record').selectAll().where('mac_id', '=', macId).execute()) {
    const envelope = await db.selectFrom('envelope').select('bytes').where('record_id', '=', record.id).executeTakeFirst();
    const its = which(await keyOf(envelope?.bytes ?? null));
    records.push(`${record.state} ${its}`);
    if (record.state === 'held') heldIs = its;
  }
  const rotations = await db.selectFrom('rotation').select('state').where('mac_id', '=', macId).orderBy('begun_at').execute();
  const debts = await db.selectFrom('debt').select('id').where('mac_id', '=', macId).where('closed_at', 'is', null).execute();
  const file = it.mac.path(`${stateFolder}/journal.json`);
  const journal = existsSync(file) ? it.journal() : null;
  const current = journal?.current ? await keyOf(Buffer.from(journal.current.envelope, 'base64')) : null;
  return {
    custody: (await it.custody.custodyOf(macId)).state as Custody,
    records: records.toSorted(),
    rotations: rotations.map((one) => one.state),
    openDebts: debts.length,
    rotationInJournal: (journal?.rotation ?? null) !== null,
    outbox: journal?.outbox.length ?? 0,
    currentIs: current === null ? 'none' : which(current),
    exhausted: journal?.exhausted ?? false,
    outputs: outputsOf(it).filter((name) => name.endsWith('.out')).length,
    items: itemsOf(it)
      .map((one) => which(one.password))
      .toSorted(),
    wrongKeys: it.mac.state.wrongKeys.ever,
    heldIs,
    foreignChanges: journal?.foreignChanges.length ?? 0,
  };
}

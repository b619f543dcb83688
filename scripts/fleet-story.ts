import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { paths } from '../agent/paths.ts';
import type { FakeMac } from '../test/fake-mac/fake-mac.ts';
import { repository, type Stage } from './stage.ts';

/*
 * A fleet whose MDM escrows already, done once with real processes: counted, its keys taken over and proved without one
 * change, a ring of it moved to our payload, and a Mac over which two rotators fight left in peace. Each figure is measured.
 */

export interface FleetMeasured {
  /** Macs that the census found under a foreign payload. */
  counted: number;
  /** Lines of the MDM's export that were taken. */
  imported: number;
  /** Lines that were not, each with its reason in the report. */
  refused: number;
  /** Imported keys that their Macs said `true` to. */
  proved: number;
  /** Keys that changed while the payload was somebody else's: none may. */
  rotationsUnderForeignPayload: number;
  /** Macs of the ring whose new key is held and proved under our payload. */
  moved: number;
  /** Macs with two rotators on which an order replaced nothing, and that are named. */
  fightsHeld: number;
}

export interface FleetTelling {
  say(sentence: string, byHand: string[]): void;
  note(line: string): void;
}

interface MacStatus {
  custody: { state: string; provedAt: string | null };
  alarms: string[];
}

/** Seconds, and an hour more: a Mac is given its key for one reason in 24 hours. */
const days = (count: number): number => count * 25 * 3600;

export async function tellFleetStory(stage: Stage, tell: FleetTelling): Promise<FleetMeasured> {
  const server = (rest: string) => `npm run -s server -- ${rest} --dir ${stage.data}`;
  const run = async <T>(...args: string[]): Promise<T> => {
    const ended = await (args[0] === 'census' ? stage.command : stage.server)(...args, '--json');
    tell.note(`${args.join(' ')} → ${ended.code} ${ended.stdout.trim()} ${ended.stderr.trim()}`);
    // 77: done, and some of it was refused, which the answer says line by line.
    if (ended.code !== 0 && ended.code !== 77) throw new Error(`sparekey-server ${args[0]} ended with ${ended.code}: ${ended.stderr.trim()}`);
    return JSON.parse(ended.stdout) as T;
  };
  const statusOf = (mac: FakeMac) => run<MacStatus>('status', mac.state.serial);
  const job = async (mac: FakeMac, why: string) => {
    // As if its interval were over: a run with nothing to do would not ask the backend before.
    rmSync(mac.path(paths.quiet), { force: true });
    const ended = await stage.runJob(mac);
    tell.note(`${mac.state.serial}: job (${why}) → ${ended.code} ${ended.stderr.trim()}`);
  };
  const jobs = async (macs: readonly FakeMac[], why: string) => {
    for (const mac of macs) await job(mac, why);
  };
  const settled = () => wait(stage.settleSeconds * 1000 + 500);

  const names = ['ada', 'bob', 'cem', 'dora', 'eva', 'finn'];
  const fleet = names.map((user, at) =>
    stage.newMac(user, {
      user,
      serial: `C02${user.toUpperCase().padEnd(4, 'X')}0000${at + 1}`,
      escrow: 'foreign',
      // Bob's is an older one: there a new payload makes no new key.
      macosVersion: user === 'bob' ? '15.7.1' : '26.6.2',
      // Finn's MDM keeps its payload, and we were told to replace keys: so was somebody else.
      ...(user === 'finn' ? { settings: { escrowOwner: 'mdm', rotator: 'sparekey' } } : {}),
    }),
  );
  const [ada, bob, , dora, , finn] = fleet as [FakeMac, FakeMac, FakeMac, FakeMac, FakeMac, FakeMac];
  const theirs = new Map(fleet.map((mac) => [mac, mac.recoveryKey]));

  // 1 — the census, before anything is installed
  const lines = join(stage.folder, 'census');
  mkdirSync(lines, { recursive: true, mode: 0o700 });
  for (const mac of fleet) {
    const line = execFileSync('sh', [join(repository, 'scripts', 'assess.sh'), '--root', mac.root], { encoding: 'utf8' });
    writeFileSync(join(lines, `${mac.state.serial}.json`), line);
  }
  const census = await run<{ macs: { owner: string }[] }>('census', lines, '--ours', join(stage.folder, 'escrow.pem'));
  const counted = census.macs.filter(({ owner }) => owner === 'foreign').length;
  tell.say(`Six Macs, all under the payload of another MDM: a script that installs nothing counted them, and the report says what would happen to each.`, [
    `sh scripts/assess.sh --root ${ada.root}`,
    `npm run -s server -- census ${lines}`,
  ]);

  // 2 — the MDM's export, with a line that is no key
  const exported = join(stage.folder, 'export.csv');
  const rows = fleet.map((mac) => `${mac.state.serial},${mac.recoveryKey}`);
  writeFileSync(exported, `serialNumber,fileVaultKey\n${rows.join('\n')}\nC02NOBODY001,not a key\n`, { mode: 0o600 });
  const byReason = ['--reason', 'two copies before anything changes'];
  const { runs } = await run<{ runs: { lines: number; taken: number }[] }>('import', exported, '--source', 'intune', ...byReason);
  rmSync(exported);
  const [{ lines: read, taken: imported } = { lines: 0, taken: 0 }] = runs;
  const refused = read - imported;
  tell.say(`The MDM's export was taken over, ${imported} keys of ${read} lines; each waits, sealed, for its Mac. The file is gone.`, [
    server('import EXPORT.csv --source intune --dry-run'),
    server('brought'),
  ]);

  // 3 — the agent comes, and each Mac says whether the key is its own
  await jobs(fleet, 'enrolment');
  await settled();
  await jobs(fleet, 'proof');
  let proved = 0;
  for (const mac of fleet) {
    const { custody } = await statusOf(mac);
    if (custody.state === 'held' && custody.provedAt !== null) proved += 1;
  }
  await run('rotate', dora.state.serial, '--reason', 'a mistake: the MDM owns it');
  await settled();
  await job(dora, 'ordered by mistake');
  const replacedBefore = fleet.filter((mac) => mac.recoveryKey !== theirs.get(mac)).length;
  tell.say(
    `The agent came to each Mac, and macOS said that ${proved} of the keys open theirs. Nothing was replaced: the payload is the MDM's, and an order by mistake changed nothing.`,
    [`${dora.root}/Library/Sparekey/bin/sparekey status`, server(`status ${dora.state.serial}`)],
  );

  // 4 — a ring of two moves to our payload, on the next day
  await stage.restartAhead(days(1));
  const ring = [ada, bob];
  await jobs(ring, 'the next day');
  await run('ring', 'plan', 'pilot', ...ring.flatMap((mac) => ['--serial', mac.state.serial]));
  await run('ring', 'start', 'pilot', '--reason', 'the first two', '--yes');
  // The MDM's admin: their escrow profile away, ours there.
  for (const mac of ring) mac.installEscrowProfile('ours', stage.escrowCertificate);
  let moved = 0;
  for (let round = 0; round < 6 && moved < ring.length; round += 1) {
    // Its proof was the one reason of a day, its order is that of the next.
    if (round === 2) await stage.restartAhead(days(2));
    await jobs(ring, 'our payload');
    await settled();
    const { macs } = await run<{ macs: { state: string }[] }>('ring', 'status', 'pilot');
    moved = macs.filter(({ state }) => state === 'moved').length;
  }
  tell.say(`A ring of two was moved to Sparekey's payload: macOS 26 made a new key at once, the older one after one order; ${moved} of 2 are proved.`, [
    server('ring status pilot'),
  ]);

  // 5 — two rotators
  for (const why of ['the MDM replaced it', 'and again']) {
    finn.mdmRotates();
    await settled();
    await job(finn, why);
  }
  const fought = finn.recoveryKey;
  // What they made is taken over too, and proved: then it is the two rotators alone that keep an order back.
  const again = join(stage.folder, 'again.csv');
  writeFileSync(again, `serialNumber,fileVaultKey\n${finn.state.serial},${fought}\n`, { mode: 0o600 });
  await run('import', again, '--source', 'intune', ...byReason);
  rmSync(again);
  await stage.restartAhead(days(3));
  await job(finn, 'the next day');
  await settled();
  await job(finn, 'proof of what was brought');
  const { custody } = await statusOf(finn);
  await run('rotate', finn.state.serial, '--reason', 'ordered in the middle of it');
  await stage.restartAhead(days(4));
  await settled();
  await job(finn, 'ordered');
  const named = (await statusOf(finn)).alarms.includes('TWO_ROTATORS');
  const isProved = custody.state === 'held' && custody.provedAt !== null;
  const fightsHeld = named && isProved && finn.recoveryKey === fought ? 1 : 0;
  tell.say('Somebody else replaced the key of Finn’s Mac twice: Sparekey stopped there, replaced nothing although it has the key, and named the Mac.', [
    server(`status ${finn.state.serial}`),
  ]);
  // Whoever did not move is still under the MDM's payload: nothing of ours may have changed those keys to the end.
  const rotationsUnderForeignPayload =
    replacedBefore + fleet.filter((mac) => !ring.includes(mac) && mac !== finn && mac.recoveryKey !== theirs.get(mac)).length;
  return { counted, imported, refused, proved, rotationsUnderForeignPayload, moved, fightsHeld };
}

/** What may not be otherwise, of six Macs, one bad line, a ring of two and one fight. */
export const untrueOf = (measured: FleetMeasured): string[] => {
  const expected: FleetMeasured = { counted: 6, imported: 6, refused: 1, proved: 6, rotationsUnderForeignPayload: 0, moved: 2, fightsHeld: 1 };
  return Object.entries(expected)
    .filter(([name, value]) => measured[name as keyof FleetMeasured] !== value)
    .map(([name]) => name);
};

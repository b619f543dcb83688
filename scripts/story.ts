import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { FakeMac } from '../test/fake-mac/fake-mac.ts';
import { filesUnder, formsOf } from '../test/plain-text.ts';
import { type PortalMeasured, tellPortal } from './portal-story.ts';
import type { Ended, Stage } from './stage.ts';

/*
 * What Sparekey is for, done once with real processes: a backend, five Macs, the agent that ships, the portal. Each value below is
 * measured by doing it; none is assumed.
 */

export interface Measured extends PortalMeasured {
  escrowedOnEnrolment: boolean;
  heldWhileTyping: boolean;
  replacedAfterDisclosure: boolean;
  replacedAfterUse: boolean;
  replacedOnOrder: boolean;
  foreignPayloadLeftAlone: boolean;
  survivedKill: boolean;
  backendKeyOpensDisk: boolean;
  /** Null where this machine has no openssl (3.0 or newer) to try it with. */
  opensslOpensEnvelope: boolean | null;
  /** Places in which a key was found that should not know one. */
  plaintextFound: number;
}

export interface Telling {
  /** One sentence, and how to repeat it by hand. */
  say(sentence: string, byHand: string[]): void;
  /** Everything else. */
  note(line: string): void;
  /** Whether the backend may be started anew, with its clock ahead, to see that a shown key is gone. */
  mayMoveClock: boolean;
  /** Resolves true when somebody wants the agent killed now, false when `until` ends without. */
  killWanted(until: Promise<unknown>): Promise<boolean>;
}

const keyIn = (ended: Ended): string => (JSON.parse(ended.stdout) as { recoveryKey: string }).recoveryKey;

export async function tellStory(stage: Stage, tell: Telling): Promise<Measured> {
  const keys = new Set<string>();
  const know = (mac: FakeMac): string => {
    if (mac.recoveryKey) keys.add(mac.recoveryKey);
    return mac.recoveryKey ?? '';
  };
  const job = async (mac: FakeMac, why: string): Promise<Ended> => {
    const ended = await stage.runJob(mac);
    know(mac);
    tell.note(`${mac.state.serial}: job (${why}) → ${ended.code}${ended.stderr ? ` ${ended.stderr.trim()}` : ''}; ${statusLine(mac)}`);
    return ended;
  };
  const show = async (mac: FakeMac, reason: string): Promise<string> => {
    const ended = await stage.server('show', mac.state.serial, '--reason', reason, '--json', '--passphrase-file', stage.passphraseFile);
    if (ended.code !== 0) throw new Error(`the backend did not show the key of ${mac.state.serial}: ${ended.stderr}`);
    return keyIn(ended);
  };
  const settled = () => wait(stage.settleSeconds * 1000 + 500);
  const by = (mac: FakeMac, rest: string) => `npm run -s fake-mac -- ${mac.root} ${rest}`;
  const server = (rest: string) => `npm run -s server -- ${rest} --dir ${stage.data}`;

  // 1 — escrow on enrolment
  const ada = stage.newMac('ada', { user: 'ada', serial: 'C02ADA000001', escrow: 'ours' });
  const first = know(ada);
  await job(ada, 'enrolment');
  const custody = await custodyOf(stage, ada);
  const escrowedOnEnrolment = custody === 'held' && storedDigests(stage).includes(digestOfFile(ada));
  tell.say('Ada’s Mac enrolled, and macOS’s own sealed copy of its recovery key went to the backend over mutual TLS; nobody has seen the key.', [
    `${ada.root}/Library/Sparekey/bin/sparekey status`,
    server(`status ${ada.state.serial}`),
  ]);

  // 2 — shown, and held while it is typed
  const read = await show(ada, 'locked out, call 4711');
  ada.lockScreen();
  await stage.server('rotate', ada.state.serial, '--reason', 'ordered while it is typed', '--json');
  await settled();
  await job(ada, 'while the key is typed');
  await settled();
  await job(ada, 'still typing');
  const heldWhileTyping = ada.recoveryKey === first && read === first;
  tell.say(
    'Ada forgot her password, so the service desk had the key shown and reads it to her: although a replacement is owed and even ordered, the key stays while she types it.',
    [server(`show ${ada.state.serial} --reason "locked out" --passphrase-file ${stage.passphraseFile}`), by(ada, 'job')],
  );

  // 3 — used in recoveryOS, then replaced; the agent is killed in the middle
  if (!ada.resetPasswordWith(read, 'ada', 'a new password')) throw new Error('the key that the backend showed did not open the Mac');
  const unlockedAt = ada.recoveryKey;
  ada.logIn('ada');
  await job(ada, 'first after the restart');
  await settled();
  const survivedKill = await replaceWithKill(stage, ada, tell, know);
  const replacedAfterDisclosure = ada.recoveryKey !== unlockedAt && (await show(ada, 'is the new one right?')) === ada.recoveryKey;
  tell.say(
    `She set a new password with it and logged in: the shown key was replaced and the new one escrowed${survivedKill === null ? '' : ', although the agent was killed in the middle of it'}.`,
    [by(ada, 'reset-password-with KEY ada     (KEY: as it was shown)'), by(ada, 'login ada'), by(ada, 'job'), by(ada, 'unlocks-with KEY')],
  );

  // 4 — used without being shown by us
  const bob = stage.newMac('bob', { user: 'bob', serial: 'C02BOB000002', escrow: 'ours' });
  await job(bob, 'enrolment');
  const paper = know(bob);
  bob.rebootWithRecoveryKey(paper);
  await job(bob, 'at the login window');
  const waited = bob.recoveryKey === paper;
  bob.logIn('bob');
  await job(bob, 'logged in');
  await settled();
  await job(bob, 'settled');
  const replacedAfterUse = waited && bob.recoveryKey !== paper && (await show(bob, 'is the new one right?')) === bob.recoveryKey;
  tell.say('Bob’s Mac was opened with a key from a piece of paper; nothing happened until he was back in, then that key was replaced too.', [
    by(bob, 'boot --unlock recovery-key'),
    by(bob, 'login bob'),
    by(bob, 'job'),
  ]);

  // 5 — ordered
  const cem = stage.newMac('cem', { user: 'cem', serial: 'C02CEM000003', escrow: 'ours' });
  await job(cem, 'enrolment');
  const before = know(cem);
  await stage.server('rotate', cem.state.serial, '--reason', 'left the company', '--json');
  await settled();
  await job(cem, 'ordered');
  const replacedOnOrder = cem.recoveryKey !== before && (await custodyOf(stage, cem)) === 'held';
  const finalKey = await show(cem, 'is the new one right?');
  const backendKeyOpensDisk =
    cem.unlocksWith(finalKey) && bob.unlocksWith(await show(bob, 'opens the disk?')) && ada.unlocksWith(await show(ada, 'opens the disk?'));
  tell.say(
    'An admin ordered a new key for Cem’s Mac, and the Mac made one; the key that the backend hands out opens each of the three disks, and none of the old ones does.',
    [server(`rotate ${cem.state.serial} --reason "left the company"`), by(cem, 'job')],
  );

  // 6 — the portal: nobody but the person, who has a browser
  const eva = stage.newMac('eva', { user: 'eva', serial: 'C02EVA000005', escrow: 'ours' });
  know(eva);
  await job(eva, 'enrolment');
  const portal = await tellPortal(stage, eva, 'Eva', tell.mayMoveClock);
  tell.say(
    `Eva was locked out and alone: she signed in to the portal, and the key that it showed her opens her disk${portal.portalGoneAfterFive === null ? '' : '; five minutes later, by the backend’s clock, it was gone from there'}.`,
    [`open ${stage.people?.url} (an account and a Mac for it are named below)`],
  );

  // 7 — somebody else's payload, and the search for plain text
  const dora = stage.newMac('dora', { user: 'dora', serial: 'C02DORA00004', escrow: 'foreign' });
  const theirs = know(dora);
  await job(dora, 'under another MDM');
  await stage.server('rotate', dora.state.serial, '--reason', 'a mistake', '--json');
  await settled();
  await job(dora, 'ordered by mistake');
  const foreignPayloadLeftAlone =
    dora.recoveryKey === theirs && (await custodyOf(stage, dora)) === 'foreign' && !storedDigests(stage).includes(digestOfFile(dora));
  const opensslOpensEnvelope = opensslOpens(stage, cem);
  const found = findPlainText(stage, [ada, bob, cem, dora, eva], keys, tell);
  tell.say(
    `Dora’s Mac escrows to another MDM and was left alone; ${opensslOpensEnvelope === null ? 'there is no openssl here to open an envelope with' : 'openssl alone opens a stored envelope'}; and none of the ${keys.size} keys lies anywhere in plain text.`,
    [server('audit verify'), 'README.md, “If Sparekey disappeared tomorrow”, has the two lines with openssl'],
  );
  return {
    escrowedOnEnrolment,
    heldWhileTyping,
    replacedAfterDisclosure,
    replacedAfterUse,
    replacedOnOrder,
    foreignPayloadLeftAlone,
    survivedKill: survivedKill ?? true,
    backendKeyOpensDisk,
    opensslOpensEnvelope,
    plaintextFound: found,
    ...portal,
  };
}

/** Replaces Ada's key with a slow fdesetup; null when nobody wanted a kill. True: after it, backend and Mac agree on a key that opens the disk. */
async function replaceWithKill(stage: Stage, mac: FakeMac, tell: Telling, know: (mac: FakeMac) => string): Promise<boolean | null> {
  mac.setQuirk('changeSecondsAfter', stage.killSeconds);
  const child = stage.startJob(mac);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const changing = untilChanging(mac, ended);
  const wanted = (await changing) && (await tell.killWanted(ended));
  if (wanted && child.exitCode === null) {
    // The whole process group, as launchd would: fdesetup stands outside it.
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    tell.note(`${mac.state.serial}: the agent was killed while fdesetup was changing the key`);
  }
  await ended;
  const killed = child.signalCode === 'SIGKILL';
  for (let tries = 0; tries < 40; tries++) {
    know(mac);
    const run = await stage.runJob(mac);
    tell.note(`${mac.state.serial}: job (after it) → ${run.code}; ${statusLine(mac)}`);
    if (journalOf(mac).rotation === null) break;
    await wait(500);
  }
  mac.setQuirk('changeSecondsAfter', 0);
  know(mac);
  if (!killed) return null;
  const custody = await custodyOf(stage, mac);
  return custody === 'held' && journalOf(mac).rotation === null;
}

async function untilChanging(mac: FakeMac, ended: Promise<unknown>): Promise<boolean> {
  let over = false;
  void ended.then(() => {
    over = true;
  });
  while (!over) {
    if (journalOf(mac).rotation?.state === 'changing' && mac.state.running.length > 0) return true;
    await wait(20);
  }
  return false;
}

const journalOf = (mac: FakeMac): { rotation: { state: string } | null } => {
  try {
    return JSON.parse(readFileSync(mac.path('/var/db/io.sparekey.agent/journal.json'), 'utf8')) as { rotation: { state: string } | null };
  } catch {
    return { rotation: null };
  }
};

function statusLine(mac: FakeMac): string {
  try {
    const status = JSON.parse(readFileSync(mac.path('/var/db/io.sparekey.agent.public/status.json'), 'utf8')) as {
      lastRun: { did: string };
      problems: { code: string; detail?: string }[];
    };
    return `${status.lastRun.did} ${JSON.stringify(status.problems)}`;
  } catch {
    return 'no status';
  }
}

async function custodyOf(stage: Stage, mac: FakeMac): Promise<string> {
  const ended = await stage.server('status', mac.state.serial, '--json');
  if (ended.code !== 0) return `error: ${ended.stderr}`;
  const status = JSON.parse(ended.stdout) as { custody?: { state: string }; state?: string };
  return status.custody?.state ?? status.state ?? 'not said';
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const digestOfFile = (mac: FakeMac): string => sha256(mac.escrowFile() ?? Buffer.alloc(0));

function storedDigests(stage: Stage): string[] {
  return envelopes(stage).map((one) => sha256(one.bytes));
}

function envelopes(stage: Stage): { bytes: Buffer; serial: string; state: string }[] {
  const db = stage.openDatabase();
  try {
    const rows = db
      .prepare(
        'select e.bytes as bytes, m.serial as serial, k.state as state from envelope e join key_record k on k.id = e.record_id join mac m on m.id = e.mac_id where e.bytes is not null',
      )
      .all() as { bytes: Uint8Array; serial: string; state: string }[];
    return rows.map((row) => ({ ...row, bytes: Buffer.from(row.bytes) }));
  } finally {
    db.close();
  }
}

/** `openssl cms -decrypt` on the held envelope of this Mac, with the private key as it lies in the data folder. */
function opensslOpens(stage: Stage, mac: FakeMac): boolean | null {
  try {
    const version = execFileSync('openssl', ['version'], { encoding: 'utf8' });
    if (!/^OpenSSL ([3-9]|\d\d)\./.test(version)) return null;
  } catch {
    return null;
  }
  const held = envelopes(stage).filter((one) => one.serial === mac.state.serial && one.state === 'held');
  const folder = join(stage.folder, 'openssl');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    return (
      held.length > 0 &&
      held.every((one, at) => {
        const file = join(folder, `${at}.der`);
        writeFileSync(file, one.bytes);
        // -inkey alone: openssl finds the recipient by the certificate, which lies beside the key.
        const plain = execFileSync(
          'openssl',
          [
            'cms',
            '-decrypt',
            '-inform',
            'DER',
            '-in',
            file,
            '-inkey',
            stage.escrowKeyFile,
            '-recip',
            stage.escrowCertificateFile,
            '-passin',
            `file:${stage.passphraseFile}`,
          ],
          { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
        );
        return plain.trim() === mac.recoveryKey;
      })
    );
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function findPlainText(stage: Stage, macs: readonly FakeMac[], keys: ReadonlySet<string>, tell: Telling): number {
  const forms = [...keys].flatMap(formsOf);
  const places = [
    stage.data,
    join(stage.folder, 'tmp'),
    join(stage.folder, 'logs'),
    ...macs.flatMap((mac) => ['/var', '/Library/Logs', '/Library/Sparekey/lib', '/tmp', '/private'].map((part) => mac.path(part))),
  ];
  let found = 0;
  for (const file of places.flatMap(filesUnder)) {
    const bytes = readFileSync(file);
    const hits = forms.filter((form) => bytes.includes(form)).length;
    if (hits > 0) tell.note(`a key lies in plain text in ${file}`);
    found += hits;
  }
  const leaks = macs.flatMap((mac) => mac.state.leaks);
  for (const leak of leaks) tell.note(`a key was seen in a command line: ${leak}`);
  return found + leaks.length;
}

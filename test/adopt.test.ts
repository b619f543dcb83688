import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { reportStatus, statusInWords } from '../agent/report.ts';
import { answering, askToAdopt, keyless, rightPassword, wrongPassword } from './adopt-parts.ts';
import { filesUnder, findKeys } from './plain-text.ts';

const stateFolder = '/var/db/io.sparekey.agent';
const day = 24 * 3600;
type Keyless = Awaited<ReturnType<typeof keyless>>;
const outputs = (it: Keyless): string[] => readdirSync(it.mac.path(`${stateFolder}/out`));
const noteOf = (it: Keyless) => JSON.parse(readFileSync(it.mac.path(`${stateFolder}/adoption.json`), 'utf8')) as { wrong: number[]; promptedAt: number | null };
const openDebts = async (it: Keyless) =>
  it.store.db
    .selectFrom('debt')
    .select(['because', 'closed_at'])
    .where('mac_id', '=', await it.macId())
    .execute();
const rotations = async (it: Keyless) =>
  it.store.db
    .selectFrom('rotation')
    .select(['id', 'state', 'because'])
    .where('mac_id', '=', await it.macId())
    .orderBy('begun_at')
    .execute();

/** The key that the disk has is held, and nothing of the way there is left. */
async function isAdopted(it: Keyless): Promise<void> {
  expect(it.mac.recoveryKey).not.toBe(it.before);
  expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
  expect(it.journal()).toMatchObject({ rotation: null, outbox: [], exhausted: false });
  expect(outputs(it)).toEqual([]);
  expect(noteOf(it)).toMatchObject({ wrong: [], state: null });
  // A key that was given to find out which one is valid is owed a replacement, as always.
  expect((await openDebts(it)).filter((debt) => debt.closed_at === null && debt.because !== 'granted')).toEqual([]);
}

/** fdesetup does something else once; in the runs after it the new key is found, delivered and proved. */
async function adoptsAllTheSame(quirk: Parameters<Keyless['mac']['setChangeQuirk']>[0]): Promise<void> {
  const it = await keyless();
  it.mac.setChangeQuirk(quirk);
  await it.adopt([rightPassword]);
  it.mac.setChangeQuirk('works');
  for (let run = 0; run < 4 && it.journal().rotation; run += 1) {
    it.pass(120);
    await it.checkIn();
  }
  await isAdopted(it);
  expect(it.status().adoption).toBeNull();
}

async function nothingChanged(it: Keyless): Promise<void> {
  expect(it.mac.recoveryKey).toBe(it.before);
  expect(it.journal().rotation).toBeNull();
  expect(outputs(it)).toEqual([]);
}

describe('gate 6: a Mac whose key nobody has', () => {
  test('gets a new key by the password of its user: proved, delivered, held, and nothing is owed any more', async () => {
    const it = await keyless();
    expect(await it.custodyOf()).toMatchObject({ state: 'none' });
    expect(it.status().adoption).toMatchObject({ code: 'ADOPTION_NEEDED', detail: 'ada' });
    const { exit, answer, asked } = await it.adopt([rightPassword]);
    expect([exit, answer]).toEqual([0, expect.objectContaining({ exit: 0, says: 'macOS made a new recovery key, and it is in safe keeping' })]);
    expect(asked).toEqual([{ user: 'ada', left: 3, before: 'first' }]);
    await isAdopted(it);
    // In the same run: whoever has just typed a password is not told to type one.
    expect(it.status().adoption).toBeNull();
    const said = statusInWords(reportStatus({ state: 'on' }, it.status(), it.mac.now), { now: it.mac.now, colour: false, quiet: false });
    expect(said).not.toContain('adopt');
    expect(await openDebts(it)).toMatchObject([{ because: 'never-escrowed' }]);
    expect(await rotations(it)).toMatchObject([{ state: 'done', because: 'never-escrowed' }]);
    await it.checkIn();
    expect(it.status().adoption).toBeNull();
    // Asked again, there is nothing to ask for.
    expect((await it.adopt([rightPassword])).answer).toMatchObject({ exit: 0, says: expect.stringContaining('no password is needed') });
  });

  test('the password is given to fdesetup on stdin, and is nowhere else: in no argument, log, journal, status or file, of either side', async () => {
    const it = await keyless();
    await it.adopt([wrongPassword, rightPassword]);
    await isAdopted(it);
    const said = [...it.lines.map((line) => JSON.stringify(line)), ...it.mac.runner.lines, JSON.stringify(it.status())].join('\n');
    const file = it.mac.path('/var/db/said');
    writeFileSync(file, said);
    const places = ['/Library', '/var', '/tmp', '/private', '/Users'].flatMap((place) => filesUnder(it.mac.path(place)));
    expect(findKeys([rightPassword, wrongPassword], [...places, ...filesUnder(it.dir)])).toEqual([]);
    expect(it.mac.state.leaks).toEqual([]);
    expect(said).not.toContain('dscl . -authonly');
  });

  test('with custody `keychain` the new key is kept on the Mac too', async () => {
    const it = await keyless({ settings: { custody: 'keychain' } });
    expect((await it.adopt([rightPassword])).exit).toBe(0);
    await isAdopted(it);
    expect(it.journal().keptItem).toMatchObject({ envelopeId: it.journal().current?.envelopeId });
  });

  test('a key that is lost (R9) is replaced by a password, and custody is held again; the debts of the lost key close', async () => {
    const it = await keyless();
    await it.adopt([rightPassword]);
    it.pass(day + 60);
    it.mac.setChangeQuirk('crashes-after');
    await it.order();
    await it.checkIn();
    it.mac.setChangeQuirk('works');
    for (let run = 0; run < 14 && !it.journal().exhausted; run += 1) {
      it.pass(13 * 3600);
      await it.checkIn();
    }
    expect(await it.custodyOf()).toMatchObject({ state: 'lost' });
    expect(it.status().adoption).toMatchObject({ code: 'ADOPTION_NEEDED' });
    it.pass(8 * day);
    const { answer } = await it.adopt([rightPassword]);
    expect(answer).toMatchObject({ exit: 0, code: null });
    await isAdopted(it);
  });
});

describe('macOS did not take the password (exit 11)', () => {
  test('three tries in one rotation with one begin, then none for a day; nothing is changed', async () => {
    const it = await keyless();
    const { answer, asked } = await it.adopt([wrongPassword, 'another', 'a third', rightPassword]);
    expect(asked.map(({ left, before }) => [left, before])).toEqual([
      [3, 'first'],
      [2, 'wrong'],
      [1, 'wrong'],
    ]);
    expect(answer).toMatchObject({ exit: 77, code: 'PASSWORD_TRIES_SPENT', says: expect.stringMatching(/the next one not before 20\d\d-/) });
    await nothingChanged(it);
    expect(await rotations(it)).toMatchObject([{ state: 'not-changed' }]);
    expect(it.mac.state.wrongKeys.ever).toBe(3);
    // A lost journal gives none of them back.
    rmSync(it.mac.path(`${stateFolder}/journal.json`));
    it.pass(3600);
    const later = await it.adopt([rightPassword]);
    expect([later.asked, later.answer?.code]).toEqual([[], 'PASSWORD_TRIES_SPENT']);
    it.pass(day);
    expect((await it.adopt([rightPassword])).answer?.exit).toBe(0);
    await isAdopted(it);
  });

  test('a wrong one and then nobody: how many are left is said, for a network account with its own next step', async () => {
    const it = await keyless();
    expect((await it.adopt([wrongPassword])).answer).toMatchObject({ code: 'PASSWORD_WRONG', says: expect.stringContaining('2 of 3 tries are left today') });
    it.mac.change((state) => {
      for (const user of state.users) user.mobile = true;
    });
    expect((await it.adopt([wrongPassword])).answer).toMatchObject({ code: 'PASSWORD_NOT_SYNCED', says: expect.stringContaining('1 of 3') });
    await nothingChanged(it);
  });

  test('nobody gives one, or not in time: nothing is changed, and it costs no try', async () => {
    const it = await keyless();
    expect((await it.adopt([null])).answer).toMatchObject({ exit: 75, code: 'PASSWORD_NOT_GIVEN' });
    await nothingChanged(it);
    expect((await it.adopt([rightPassword])).asked[0]?.left).toBe(3);
  });

  test.each([
    ['is damaged', (file: string) => writeFileSync(file, '{"version":1,', { mode: 0o600 })],
    ['others may read', (file: string) => chmodSync(file, 0o644)],
  ])('a note of wrong passwords that %s asks nobody for a day, and holds nothing else up', async (_name, spoil) => {
    const it = await keyless();
    spoil(it.mac.path(`${stateFolder}/adoption.json`));
    expect(await it.checkIn()).toBe(0);
    expect((await it.adopt([rightPassword])).answer?.code).toBe('PASSWORD_TRIES_SPENT');
    await nothingChanged(it);
  });
});

describe('fdesetup fails otherwise', () => {
  test('R12: it changed the key and died, and macOS wrote its escrow file: delivered, proved, held', async () => {
    await adoptsAllTheSame('crashes-after-escrow');
  });

  test('R12: it changed the key and died without a witness: the rotation ends not-known, custody is what it was, and a password is asked for again', async () => {
    const it = await keyless();
    it.mac.setChangeQuirk('crashes-after');
    expect((await it.adopt([rightPassword])).answer?.exit).toBe(75);
    it.mac.setChangeQuirk('works');
    it.pass(120);
    await it.checkIn();
    expect(await rotations(it)).toMatchObject([{ state: 'not-known' }]);
    expect(await it.custodyOf()).toMatchObject({ state: 'none' });
    expect(it.status().adoption).toMatchObject({ code: 'ADOPTION_NEEDED' });
    expect((await it.adopt([rightPassword])).answer?.exit).toBe(0);
    await isAdopted(it);
  });

  test.each(['prints-garbage', 'truncated', 'no-escrow-file'] as const)('%s: the key is found all the same, or its loss is said', async (quirk) => {
    await adoptsAllTheSame(quirk);
  });

  test('28, busy: macOS never looked at the password, and the try is given back', async () => {
    const it = await keyless();
    it.mac.setCommandQuirk('fdesetup changerecovery', 'fail:28');
    expect((await it.adopt([rightPassword])).answer).toMatchObject({ exit: 75, code: 'FILEVAULT_BUSY' });
    expect(noteOf(it).wrong).toEqual([]);
    await nothingChanged(it);
  });

  test('a wrong password where FileVault never had a recovery key: none is missing, and the next one is asked for', async () => {
    const it = await keyless();
    it.mac.change((state) => {
      state.disk.recoveryKey = null;
    });
    const { asked, answer } = await it.adopt([wrongPassword, rightPassword]);
    expect([asked.length, answer?.exit]).toEqual([2, 0]);
    await isAdopted(it);
  });

  test('99 with the words of a refusal is one; a change that hangs is left alone and never killed', async () => {
    const it = await keyless();
    it.mac.setChangeQuirk('fails-99');
    expect((await it.adopt([rightPassword])).answer).toMatchObject({ code: 'PASSWORD_WRONG' });
    await nothingChanged(it);
    it.mac.setChangeQuirk('hangs');
    expect((await it.adopt([rightPassword])).exit).toBe(75);
    expect(it.journal().rotation).toMatchObject({ state: 'changing', authorizedBy: 'password' });
    expect(it.mac.state.running).toHaveLength(1);
  });
});

describe('one named thing stands in the way, with one next step, and nobody is asked for a password', () => {
  type Way = [code: string, says: RegExp, make: (it: Keyless) => unknown, more?: { user?: string }];
  const ways: Record<string, Way> = {
    'FileVault is off': ['FILEVAULT_OFF', /FileVault is off/, (it) => it.mac.disableFileVault()],
    'FileVault waits for a logout': [
      'FILEVAULT_WAITS_FOR_LOGOUT',
      /waiting for ada to log out/,
      (it) =>
        it.mac.change((state) => {
          Object.assign(state.disk, { fileVault: 'off', deferredFor: 'ada' });
        }),
    ],
    'FileVault waits for power': [
      'POWER_NEEDED',
      /connected to power/,
      (it) => it.mac.setCommandQuirk('fdesetup status', 'answer:FileVault is On.\nEncryption in progress: Pending\n'),
    ],
    'FileVault is busy': ['FILEVAULT_BUSY', /encrypting, 40 percent/, (it) => it.mac.setProgress('encrypting', 40)],
    'an empty battery': ['POWER_NEEDED', /battery is at 7 percent/, (it) => it.mac.setPower('battery', 7)],
    'no such user': ['USER_UNKNOWN', /bob/, () => {}, { user: 'bob' }],
    'a user without a secure token': ['USER_WITHOUT_TOKEN', /bob/, (it) => it.mac.addUser('bob', { secureToken: false }), { user: 'bob' }],
    'nobody has a secure token': [
      'NOBODY_HAS_TOKEN',
      /no user of this Mac/,
      (it) =>
        it.mac.change((state) => {
          for (const user of state.users) user.secureToken = false;
        }),
    ],
    "only the MDM's admin has one": [
      'ONLY_ADMIN_HAS_TOKEN',
      /ladmin/,
      (it) => {
        it.mac.addUser('ladmin', { hidden: true });
        it.mac.change((state) => {
          for (const user of state.users) user.secureToken = user.name === 'ladmin';
        });
      },
    ],
    'a smart card and no password': [
      'SMART_CARD_ONLY',
      /ada/,
      (it) =>
        it.mac.change((state) => {
          for (const user of state.users) user.smartCard = 'only';
        }),
    ],
    'nobody at the screen, and nobody named': [
      'NOBODY_LOGGED_IN',
      /--user/,
      (it) => {
        it.mac.addUser('bob');
        it.mac.logOut();
      },
    ],
    "somebody else's payload": ['ADOPTION_NOT_OURS', /somebody else/, (it) => it.mac.installEscrowProfile('foreign')],
    'the MDM replaces the keys': ['ADOPTION_NOT_OURS', /MDM replaces/, (it) => it.mac.installSettings({ ...it.values, rotator: 'mdm' })],
    'no profile with settings': ['ADOPTION_NOT_OURS', /not managed/, (it) => it.mac.removeSettings()],
    'an update of macOS': ['ADOPTION_NOT_NOW', /update/, (it) => it.mac.setCommandQuirk('ps', 'answer:1 /sbin/launchd\n88 /usr/libexec/UpdateBrainService\n')],
  };
  let shared: { it: Keyless; state: string } | null = null;
  const touchesProfiles = ["somebody else's payload", 'the MDM replaces the keys', 'no profile with settings'];
  test.each(Object.entries(ways))('%s', async (name, [code, says, make, more]) => {
    let it: Keyless;
    if (touchesProfiles.includes(name)) it = await keyless();
    else {
      // One Mac for all of these: each begins from the same state.
      if (shared === null) {
        const one = await keyless();
        shared = { it: one, state: JSON.stringify(one.mac.state) };
      }
      const { state } = shared;
      it = shared.it;
      it.mac.change((now) => Object.assign(now, JSON.parse(state)));
    }
    make(it);
    const { asked, answer } = await it.adopt([rightPassword], more);
    expect([asked, answer?.code]).toEqual([[], code]);
    expect(answer?.says).toMatch(says);
    expect(answer?.fix).toMatch(/\S{3}/);
    expect(await rotations(it)).toEqual([]);
    await nothingChanged(it);
  });

  test('an admin with the password adopts for an account that is named; the user at the screen has none that counts', async () => {
    const it = await keyless();
    it.mac.addUser('ladmin', { hidden: true });
    it.mac.change((state) => {
      for (const user of state.users) user.secureToken = user.name === 'ladmin';
    });
    it.pass(60);
    await it.checkIn();
    expect(it.status().adoption).toMatchObject({ code: 'ONLY_ADMIN_HAS_TOKEN', detail: 'ladmin' });
    const since = it.status().adoption?.since;
    it.pass(3 * day);
    await it.checkIn();
    expect(it.status().adoption?.since).toBe(since);
  });

  test('the backend cannot be reached: nobody is asked', async () => {
    const it = await keyless();
    it.network.cut();
    try {
      const { asked, answer } = await it.adopt([rightPassword]);
      expect([asked, answer?.exit]).toEqual([[], 69]);
    } finally {
      it.network.mend();
    }
    await nothingChanged(it);
  });

  test('three begins of the day are spent: the backend says so before anybody is asked', async () => {
    const it = await keyless();
    for (const _ of [1, 2, 3]) await it.adopt([null]);
    const { asked, answer } = await it.adopt([rightPassword]);
    expect([asked, answer?.code]).toEqual([[], 'ROTATION_LIMIT']);
  });

  test('a hold: the key was shown, and its person may be typing it', async () => {
    const it = await keyless();
    await it.adopt([rightPassword]);
    await it.disclose();
    const { asked, answer } = await it.adopt([rightPassword]);
    expect([asked, answer?.code]).toEqual([[], 'ADOPTION_NOT_NOW']);
  });
});

describe('wherever the agent dies while a password is asked for (each moment: `npm run sweep`)', () => {
  test('R1: dead at the second password, and nobody is at the terminal any more: the change ends, no begin of the day is spent for nobody, no try is lost', async () => {
    const it = await keyless();
    askToAdopt(it, 'adopt-1');
    const killed = await it.checkInAndDie({ name: /start fdesetup/, when: 'before', nth: 2 }, answering(wrongPassword, rightPassword).world);
    expect(killed.dead()).toBe(true);
    it.pass(120);
    for (const _ of [1, 2]) {
      await it.checkIn(answering().world);
      it.pass(120);
    }
    await nothingChanged(it);
    expect(await rotations(it)).toHaveLength(1);
    expect((await it.adopt([])).answer).toMatchObject({ exit: 75, code: 'PASSWORD_NOT_GIVEN', says: expect.stringContaining('nobody waits for it') });
    // One wrong password, and one that the dead run may have given to macOS.
    expect((await it.adopt([rightPassword])).asked).toEqual([{ user: 'ada', left: 1, before: 'first' }]);
    await isAdopted(it);
  });

  test('R1: dead after a wrong password, before anything more is written: nothing is in doubt', async () => {
    const it = await keyless();
    askToAdopt(it, 'adopt-1');
    const killed = await it.checkInAndDie({ name: /^disk\.remove .*\.out/, when: 'after' }, answering(wrongPassword, rightPassword).world);
    expect(killed.dead()).toBe(true);
    it.pass(10);
    await it.checkIn(answering().world);
    expect(it.journal().rotation).toBeNull();
    expect(await rotations(it)).toMatchObject([{ state: 'not-changed' }]);
  });

  test('R11, R12: dead in the middle, fdesetup too, and the journal is lost: it ends as not-known, and a password is asked for again', async () => {
    const it = await keyless();
    it.mac.setChangeQuirk('crashes-after');
    askToAdopt(it, 'adopt-1');
    await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' }, answering(rightPassword).world);
    it.mac.setChangeQuirk('works');
    rmSync(it.mac.path(`${stateFolder}/journal.json`));
    for (const _ of [1, 2]) {
      it.pass(120);
      await it.checkIn(answering().world);
    }
    expect(it.journal().rotation).toBeNull();
    expect(await rotations(it)).toMatchObject([{ state: 'not-known' }]);
    expect((await it.adopt([rightPassword])).answer?.exit).toBe(0);
    await isAdopted(it);
  });
});

test('what is asked of the job never holds the password, and a request that does is not one', async () => {
  const it = await keyless();
  askToAdopt(it, 'adopt-9', 'ada');
  const queued = readFileSync(it.mac.path(`${stateFolder}/queue/adopt-9.json`), 'utf8');
  expect(JSON.parse(queued)).toEqual({ id: 'adopt-9', kind: 'adopt', reason: null, user: 'ada' });
  await it.checkIn(answering(null).world);
});

import { chmodSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { appleScriptText, askInDialog } from '../agent/mac/dialog.ts';
import { keyless, rightPassword, wrongPassword } from './adopt-parts.ts';
import { answering } from './answering-runner.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { filesUnder, findKeys } from './plain-text.ts';
import { scratch } from './scratch.ts';

const day = 24 * 3600;
const stateFolder = '/var/db/io.sparekey.agent';
const words = { organisation: 'Example IT', adoptWords: 'Your Mac was set up before we kept its key.', adoptContact: 'https://intranet.example.org/filevault' };
const prompting = { adoptByPrompt: true, ...words };
type Keyless = Awaited<ReturnType<typeof keyless>>;
const shown = (it: Keyless) => it.mac.state.dialogs.shown;

/** One run of the job, a minute later, with somebody who does this with each dialog. */
async function runWith(it: Keyless, ...acts: string[]): Promise<number> {
  const before = shown(it).length;
  it.mac.answerDialogs(...acts);
  it.pass(60);
  await it.checkIn();
  return shown(it).length - before;
}

/** Seen by its first run; from the next one on the session is settled. */
const asked = (settings: Record<string, string | boolean> = prompting) => keyless({ settings });

describe('a dialog asks the user at the screen for the password', () => {
  test('only where the settings say so; then in the words of the organisation, and the key is made, proved and held', async () => {
    const silent = await asked(words);
    expect(await runWith(silent, `type:${rightPassword}`)).toBe(0);
    const it = await asked();
    expect(await runWith(it, `type:${rightPassword}`)).toBe(1);
    expect(shown(it)[0]).toMatchObject({ by: 'osascript', uid: 501 });
    for (const text of Object.values(words)) expect(shown(it)[0]?.text).toContain(text);
    expect(shown(it)[0]?.text).toContain('with hidden answer');
    expect(it.mac.recoveryKey).not.toBe(it.before);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    expect(await runWith(it, 'cancel')).toBe(0);
    it.pass(8 * day);
    expect(await runWith(it, 'cancel')).toBe(0);
    const places = ['/Library', '/var', '/tmp', '/private', '/Users'].flatMap((place) => filesUnder(it.mac.path(place)));
    expect(findKeys([rightPassword], [...places, ...filesUnder(it.dir)])).toEqual([]);
    expect([...it.mac.runner.lines, ...it.lines.map((line) => JSON.stringify(line))].join('\n')).not.toContain(rightPassword);
    expect(it.mac.state.leaks).toEqual([]);
  });

  test.each(['adoptContact'])('without %s nobody is asked, and the settings are said to be wrong', async (name) => {
    const { [name as keyof typeof words]: _, ...rest } = words;
    const it = await asked({ adoptByPrompt: true, ...rest });
    expect(await runWith(it, `type:${rightPassword}`)).toBe(0);
    expect(it.status().settings.problems).toEqual([{ name: 'adoptByPrompt', says: `has no effect: ${name} must be set beside it, so nobody is asked` }]);
  });

  // What else macOS may answer is read by `askInDialog`, below: it is all the same to this.
  test.each(['cancel'])('%s: nothing is changed, and a week passes before the next one', async (act) => {
    const it = await asked();
    expect(await runWith(it, act)).toBe(1);
    expect([it.mac.recoveryKey, it.journal().rotation]).toEqual([it.before, null]);
    expect(it.status().problems.map((one) => one.code)).toContain('PASSWORD_NOT_GIVEN');
    it.pass(6 * day);
    expect(await runWith(it, `type:${rightPassword}`)).toBe(0);
    it.pass(day);
    expect(await runWith(it, `type:${rightPassword}`)).toBe(1);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });

  test('three wrong ones in a row, said each time; then none for a week, also where the journal was lost or the agent died', async () => {
    const it = await asked();
    expect(await runWith(it, `type:${wrongPassword}`, 'type:another', 'type:a third', `type:${rightPassword}`)).toBe(3);
    expect(shown(it)[1]?.text).toContain('2 more tries');
    expect(shown(it)[2]?.text).toContain('One more try');
    expect(it.status().problems.map((one) => one.code)).toContain('PASSWORD_TRIES_SPENT');
    rmSync(it.mac.path(`${stateFolder}/journal.json`));
    it.pass(6 * day);
    expect(await runWith(it, `type:${rightPassword}`)).toBe(0);

    const killed = await asked();
    killed.mac.answerDialogs(`type:${rightPassword}`);
    killed.pass(60);
    await killed.checkInAndDie({ name: /run launchctl asuser/, when: 'after' });
    expect(shown(killed)).toHaveLength(1);
    expect(await runWith(killed, `type:${rightPassword}`)).toBe(0);
    expect([killed.mac.recoveryKey, killed.journal().rotation]).toEqual([killed.before, null]);
  });

  test('not into a session that went to the background, nor where macOS has just written an escrow file: no dialog of the week is spent', async () => {
    const it = await asked();
    let looks = 0;
    const runner: typeof it.mac.runner.run = async (command) => {
      // Between the observation and the dialog somebody else comes to the screen.
      if (command.program === '/usr/bin/stat' && ++looks > 1) it.mac.change((state) => Object.assign(state.console, { user: 'bob' }));
      return it.mac.runner.run(command);
    };
    it.mac.answerDialogs(`type:${rightPassword}`);
    it.pass(60);
    await it.checkIn({ runner: { run: runner, start: (command) => it.mac.runner.start(command) } });
    expect([looks > 1, shown(it), it.journal().endings]).toEqual([true, [], []]);
    it.mac.change((state) => Object.assign(state.console, { user: 'ada' }));
    writeFileSync(it.mac.path('/var/db/FileVaultPRK.dat'), 'not whole yet');
    expect(await runWith(it, `type:${rightPassword}`)).toBe(0);
    rmSync(it.mac.path('/var/db/FileVaultPRK.dat'));
    it.pass(700);
    expect(await runWith(it, `type:${rightPassword}`)).toBe(1);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });

  let shared: { it: Keyless; state: string } | null = null;
  type Quiet = [name: string, make: (it: Keyless) => unknown, state: string | null];
  test.each<Quiet>([
    ['nobody is logged in', (it) => it.mac.logOut(), 'NOBODY_LOGGED_IN'],
    ['the screen is locked', (it) => it.mac.lockScreen(), 'ADOPTION_NEEDED'],
    ['Setup Assistant is on the screen', (it) => it.mac.change((state) => Object.assign(state.console, { user: '_mbsetupuser' })), 'NOBODY_LOGGED_IN'],
    ['the Mac is asleep', (it) => it.mac.setDarkWake(true), 'ADOPTION_NEEDED'],
    ['the battery is empty', (it) => it.mac.setPower('battery', 7), 'POWER_NEEDED'],
    [
      'the user has no secure token',
      (it) => {
        it.mac.addUser('bob');
        it.mac.change((state) => {
          for (const user of state.users) user.secureToken = user.name === 'bob';
        });
      },
      'USER_WITHOUT_TOKEN',
    ],
    [
      'the user has a smart card only',
      (it) =>
        it.mac.change((state) => {
          for (const user of state.users) user.smartCard = 'only';
        }),
      'SMART_CARD_ONLY',
    ],
    ['the settings are not managed any more', (it) => it.mac.removeSettings(), 'ADOPTION_NOT_OURS'],
    ['the MDM replaces the keys', (it) => it.mac.installSettings({ ...it.values, ...prompting, rotator: 'mdm' }), null],
    ['FileVault is off', (it) => it.mac.disableFileVault(), 'FILEVAULT_OFF'],
  ])('nobody is asked when %s, and the state has its name, here and at the backend', async (_name, make, state) => {
    let it: Keyless;
    if (/MDM|managed|FileVault|asleep/.test(_name)) {
      it = await asked({ ...prompting, adoptByPrompt: false });
      it.mac.installSettings({ ...it.values, ...prompting });
    } else {
      // One Mac for all of these: each begins from the same state.
      if (shared === null) {
        const one = await asked({ ...prompting, adoptByPrompt: false });
        one.mac.installSettings({ ...one.values, ...prompting });
        shared = { it: one, state: JSON.stringify(one.mac.state) };
      }
      const { state } = shared;
      it = shared.it;
      it.mac.change((now) => Object.assign(now, JSON.parse(state)));
    }
    make(it);
    expect(await runWith(it, `type:${rightPassword}`)).toBe(0);
    expect(it.status().adoption?.code ?? null).toBe(state);
    const { adoption } = await it.custody.macReport(await it.macId());
    expect(adoption?.code ?? null).toBe(state);
    if (state) expect(adoption).toMatchObject({ since: expect.stringMatching(/^20\d\d-/), fix: expect.stringMatching(/\S{3}/) });
  });

  test('where the backend has the key, nobody is asked, whatever is owed', async () => {
    const it = await keyless({ escrow: 'ours', settings: prompting });
    await it.order();
    it.mac.setChangeQuirk('refuses');
    expect(await runWith(it, `type:${rightPassword}`)).toBe(0);
    expect(await runWith(it, `type:${rightPassword}`)).toBe(0);
  });
});

describe('swiftDialog', () => {
  test('asks where it is installed and root’s alone; the password comes back on standard output', async () => {
    const it = await asked();
    it.mac.installSwiftDialog();
    expect(await runWith(it, `type:${rightPassword}`)).toBe(1);
    expect(shown(it)[0]).toMatchObject({ by: 'swiftDialog', uid: 501 });
    expect(shown(it)[0]?.text).toContain(words.adoptContact);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(it.mac.runner.lines.join('\n')).not.toContain(rightPassword);
  });

  test('what others could have changed is not started by root, and what answers nonsense is asked no further', async () => {
    const it = await asked();
    it.mac.installSwiftDialog();
    chmodSync(it.mac.path('/usr/local/bin'), 0o775);
    expect(await runWith(it, 'cancel')).toBe(1);
    expect(shown(it)[0]?.by).toBe('osascript');
    const linked = FakeMac.create({ seed: 'link' });
    linked.installSwiftDialog();
    renameSync(linked.path('/usr/local/bin/dialog'), linked.path('/usr/local/bin/elsewhere'));
    symlinkSync('elsewhere', linked.path('/usr/local/bin/dialog'));
    const run = answering({ '/bin/launchctl': { out: 'cancelled\n' } });
    await askInDialog(run, realDisk(linked.root), 501, { title: 't', text: 'x' }, 75);
    expect(run.asked.map(({ args }) => args[2])).toEqual(['/usr/bin/osascript']);
    linked.dispose();
    const spoilt = await asked();
    spoilt.mac.installSwiftDialog();
    expect(await runWith(spoilt, 'garbage', `type:${rightPassword}`)).toBe(2);
    expect(shown(spoilt).map(({ by }) => by)).toEqual(['swiftDialog', 'osascript']);
    expect(await spoilt.heldKey()).toBe(spoilt.mac.recoveryKey);
  });

  test.each(['time-out'])('%s is an answer: no second dialog comes', async (act) => {
    const it = await asked();
    it.mac.installSwiftDialog();
    expect(await runWith(it, act, `type:${rightPassword}`)).toBe(1);
    expect(it.mac.recoveryKey).toBe(it.before);
  });
});

describe('what is put into AppleScript', () => {
  test.each([
    ['plain', '"plain"'],
    ['a "quoted" \\ word', '"a \\"quoted\\" \\\\ word"'],
    ['two\nlines\r\nthree', '"two" & return & "lines" & return & "three"'],
    ['" & (do shell script "rm -rf /") & "', '"\\" & (do shell script \\"rm -rf /\\") & \\""'],
    ['tab\tnul\u0000 rtl\u202e end\u2028line', '"tab nul  rtl  end" & return & "line"'],
    ['', '""'],
  ])('%j stays one text', (text, written) => {
    expect(appleScriptText(text)).toBe(written);
  });

  test('the script is on standard input, in the session of that user, and has no secret in it', async () => {
    const root = scratch();
    const mac = answering({ '/bin/launchctl asuser 502 /usr/bin/osascript -': { out: 'answer:geheim\n' } });
    const answer = await askInDialog(mac, realDisk(root), 502, { title: 'T"', text: 'x' }, 75);
    expect(String(answer)).toBe('[password]');
    expect(JSON.stringify({ answer })).not.toContain('geheim');
    expect(typeof answer === 'object' && answer.reveal()).toBe('geheim');
    expect(mac.asked[0]).toMatchObject({
      program: '/bin/launchctl',
      args: ['asuser', '502', '/usr/bin/osascript', '-'],
      outputLimit: 16 * 1024,
      timeoutSeconds: 95,
    });
    expect(mac.asked[0]?.input).toContain('with title ("T\\"")');
  });

  test.each([
    [{ out: 'cancelled\n' }, 'cancelled'],
    [{ out: 'timed-out\n' }, 'timed-out'],
    [{ out: 'answer:\n' }, 'cancelled'],
    [{ out: 'geheim\n' }, 'none'],
    [{ out: '' }, 'none'],
    [{ out: 'answer:x\n', code: 1 }, 'none'],
    [{ failed: 'timeout' as const }, 'timed-out'],
    [{ failed: 'too-much-output' as const }, 'none'],
    [{ out: 'x', code: 1, err: '35:120: execution error: No user interaction allowed. (-1713)' }, 'none'],
  ])('%j is %s', async (said, means) => {
    const mac = answering({ '/bin/launchctl': said });
    expect(await askInDialog(mac, realDisk(scratch()), 501, { title: 't', text: 'x' }, 75)).toBe(means);
  });
});

test('a dialog comes only into the session of the user at the screen', async () => {
  const mac = FakeMac.create({ seed: 'dialog' });
  try {
    mac.answerDialogs('type:x');
    mac.logOut();
    expect(await askInDialog(mac.runner, realDisk(mac.root), 501, { title: 't', text: 'x' }, 75)).toBe('none');
    mac.logIn('ada');
    expect(String(await askInDialog(mac.runner, realDisk(mac.root), 501, { title: 't', text: 'x' }, 75))).toBe('[password]');
  } finally {
    mac.dispose();
  }
});

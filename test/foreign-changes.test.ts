import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { checks } from '../agent/doctor-checks.ts';
import { gatherValues } from '../agent/doctor-values.ts';
import { reportStatus, statusInWords } from '../agent/report.ts';
import { certificateDigest, readEnvelope, sealKey } from '../protocol/envelope.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { acceptKey } from '../server/accept-key.ts';
import type { CustodyParts } from '../server/custody-parts.ts';
import { oweRotation } from '../server/debts.ts';
import { status as serverStatus } from '../server/status-command.ts';
import { notAllowed } from './allowed-commands.ts';
import { foreignEscrowPair, pemToDer } from './fake-mac/certificates.ts';
import { makeEscrowFile } from './fake-mac/escrow-file.ts';
import { type GivenOptions, given, operator } from './given.ts';
import { givenServer } from './server-parts.ts';

/*
 * Somebody else changed the key: an MDM, Escrow Buddy, the user, another payload. Seen by the digest of macOS's escrow file,
 * by whom it is sealed for, or by macOS's answer to the key that is held. C1 to C9: it never starts a fight.
 */

const day = 24 * 3600;
const state = '/var/db/io.sparekey.agent';
const plugins = '/Library/Security/SecurityAgentPlugins';
const m2: GivenOptions = { escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'sparekey', custody: 'keychain' } };

type Given = Awaited<ReturnType<typeof given>>;

const ofMac = async (it: Given, table: 'rotation' | 'debt' | 'key_record' | 'grant_given') =>
  it.store.db
    .selectFrom(table)
    .selectAll()
    .where('mac_id', '=', await it.macId())
    .execute();
const alarms = async (it: Given) =>
  it.store.db
    .selectFrom('alarm')
    .select(['code', 'detail'])
    .where('mac_id', '=', await it.macId())
    .where('judged_at', 'is', null)
    .execute();
const acts = async (it: Given, act: string) =>
  (
    await it.store.db
      .selectFrom('audit')
      .selectAll()
      .where('mac_id', '=', await it.macId())
      .where('act', '=', act)
      .orderBy('seq')
      .execute()
  ).map((row) => JSON.parse(row.details) as Record<string, unknown>);
const put = (it: Given, path: string): void => {
  mkdirSync(dirname(it.mac.path(path)), { recursive: true });
  writeFileSync(it.mac.path(path), 'somebody else’s\n');
};
const asked = (it: Given): number => it.mac.runner.lines.filter((line) => line.includes('authorizationdb')).length;

/** Runs at these seconds from now, each after the other. */
async function runs(it: Given, ...seconds: number[]): Promise<void> {
  for (const one of seconds) {
    it.pass(one);
    await it.checkIn();
  }
}

/** What a schedule would owe. */
const owe = async (it: Given, because: 'aged' | 'doubtful'): Promise<void> => {
  const macId = await it.macId();
  const volume = it.mac.state.disk.volumeGroup.toUpperCase();
  const held = (await ofMac(it, 'key_record')).find((row) => 'state' in row && row.state === 'held');
  await it.store.write((tx) =>
    oweRotation(tx, it.backend.clock.now(), { id: randomUUID(), macId, volume, because, recordId: held?.id ?? null, actor: 'server' }),
  );
};

/** A key that the MDM gave out, as an import brings it: without an enrolment of the Mac. */
async function importKey(it: Given, text: string): Promise<Awaited<ReturnType<typeof acceptKey>>> {
  const key = RecoveryKey.parse(text);
  const [certificate] = it.backend.escrowKeys.certificates;
  if (!key || !certificate) throw new Error('nothing to import');
  const { store, clock, secrets, settings, escrowKeys, log } = it.backend;
  const parts = { store, clock, secrets, settings: settings.keys, log, canOpen: true, certificates: escrowKeys.certificates } as unknown as CustodyParts;
  const bytes = sealKey(key, certificate.der);
  const macId = await it.macId();
  return store.write((tx) =>
    acceptKey(parts, tx, clock.now(), {
      macId,
      hardwareUuid: it.mac.state.hardwareUuid,
      volume: it.mac.state.disk.volumeGroup.toUpperCase(),
      enrolmentId: null,
      envelopeId: createHash('sha256').update(bytes).digest('hex'),
      bytes,
      recipient: certificateDigest(certificate.der),
      blocks: readEnvelope(bytes).recipients.flatMap(({ encryptedKey }) => (encryptedKey ? [createHash('sha256').update(encryptedKey).digest('hex')] : [])),
      source: 'import',
      rotationId: null,
      validated: 'unknown',
      madeAt: clock.now(),
      found: key,
    }),
  );
}

/** A Mac under the MDM's payload whose key was imported, proved, and is kept in its keychain. */
async function underTheMdm(): Promise<Given> {
  const it = await given(m2);
  await it.settle();
  await importKey(it, it.mac.recoveryKey ?? '');
  await runs(it, 60, 60);
  expect(await it.custodyOf()).toMatchObject({ state: 'held' });
  return it;
}

/** Who changes a key on a Mac that is ours, and what is left of our copy. */
const changers: Record<string, { act(it: Given): unknown; file: 'ours' | 'foreign' | 'none' }> = {
  'an MDM’s command': { act: (it) => it.mac.mdmRotates(), file: 'ours' },
  'Escrow Buddy, at a login': {
    act(it) {
      put(it, `${plugins}/Escrow Buddy.bundle/Contents/Info.plist`);
      it.mac.change((one) => void one.loginMechanisms.splice(-1, 0, 'Escrow Buddy:Invoke,privileged'));
      it.mac.logOut();
      it.mac.logIn('ada');
      it.mac.mdmRotates();
    },
    file: 'ours',
  },
  'the user, by fdesetup changerecovery': {
    act: (it) =>
      it.mac.runner.run({
        program: '/usr/bin/fdesetup',
        args: ['changerecovery', '-personal', '-outputplist', '-inputplist'],
        input: `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>Username</key><string>ada</string><key>Password</key><string>ada's password</string></dict></plist>`,
      }),
    file: 'ours',
  },
  'another escrow payload in the place of ours, on macOS 26': { act: (it) => it.mac.installEscrowProfile('foreign'), file: 'foreign' },
  'the MDM, after our payload was removed': {
    act(it) {
      it.mac.installEscrowProfile('none');
      rmSync(it.mac.path('/var/db/FileVaultPRK.dat'), { force: true });
      it.mac.mdmRotates();
    },
    file: 'none',
  },
};

describe('C1: a foreign change is never a reason to rotate', () => {
  for (const [who, { act, file }] of Object.entries(changers)) {
    test(`C1: ${who}: nothing rotates because of it, our old key stays stored, and what can be had of the new one is asked for`, async () => {
      const it = await given();
      await it.settle();
      const before = it.mac.recoveryKey ?? '';
      await act(it);
      const theirs = it.mac.recoveryKey ?? '';
      expect(theirs).not.toBe(before);
      await runs(it, 60, 700, day, 700, day, 700, 5 * day);
      expect(it.mac.recoveryKey).toBe(theirs);
      expect(await ofMac(it, 'rotation')).toEqual([]);
      expect((await ofMac(it, 'debt')).map((row) => ('because' in row ? row.because : ''))).not.toContain('doubtful');
      expect(await it.storedKeys()).toContain(before);
      // Our file → held and proved; without one nobody is told that all is well once the Mac was asked.
      if (file === 'ours') {
        expect(await it.heldKey()).toBe(theirs);
        expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
      } else {
        expect(await it.storedKeys()).not.toContain(theirs);
        if (file === 'foreign') expect((await it.custodyOf()).state).toBe('foreign');
      }
      expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(2);
    });
  }

  test('C1, M2: under the MDM’s payload its rotation ends our custody without one of ours; another import and its proof bring it back', async () => {
    const it = await underTheMdm();
    const before = it.mac.recoveryKey ?? '';
    it.mac.mdmRotates();
    const theirs = it.mac.recoveryKey ?? '';
    await runs(it, 3600);
    expect(await it.custodyOf()).toMatchObject({ state: 'doubtful' });
    await runs(it, 700, day, 700, day);
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(await ofMac(it, 'rotation')).toEqual([]);
    expect(await it.storedKeys()).toEqual([before]);
    await importKey(it, theirs);
    await runs(it, day, 700);
    expect(await it.heldKey()).toBe(theirs);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    expect(it.mac.recoveryKey).toBe(theirs);
  });
});

describe('how it is noticed', () => {
  test('by digest: macOS’s escrow file is another one, for us', async () => {
    const it = await given();
    await it.settle();
    it.mac.mdmRotates();
    await runs(it, 60);
    expect(it.journal().foreignChanges).toHaveLength(1);
    expect(it.lines).toContainEqual(expect.objectContaining({ event: 'key-changed-by-other', envelopeId: expect.any(String) }));
  });

  test('by recipient: the file is sealed for somebody else while the payload is ours', async () => {
    const it = await given();
    await it.settle();
    await it.order();
    writeFileSync(it.mac.path('/var/db/FileVaultPRK.dat'), makeEscrowFile('AAAA-BBBB-CCCC-DDDD-EEEE-FFFF', pemToDer(foreignEscrowPair().certificate)));
    const key = it.mac.recoveryKey;
    await runs(it, 60);
    expect(it.journal().foreignChanges).toHaveLength(1);
    expect(it.status().problems.map(({ code }) => code)).toContain('ESCROW_FILE_FOREIGN');
    expect(it.status().escrow.says).toMatch(/sealed for somebody else/);
    expect(it.mac.recoveryKey).toBe(key);
  });

  test('R13: by validation: no file tells it, and macOS refuses the held key in a settled session', async () => {
    const it = await given();
    await it.settle();
    it.mac.change((one) => {
      one.disk.recoveryKey = 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2';
    });
    await it.order();
    await runs(it, 60);
    // One `false` is none yet (K8): macOS may be wrong once.
    expect(it.journal().foreignChanges).toEqual([]);
    await runs(it, 700, day, 700);
    expect(it.lines.map((line) => line.event)).toContain('key-changed-by-other');
    // One change, however often it is seen; and with its second look (K8) the key is held no more.
    expect(it.journal().foreignChanges).toHaveLength(1);
    expect(it.mac.recoveryKey).toBe('ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2');
    expect(await it.custodyOf()).not.toMatchObject({ state: 'held' });
  });

  test('our own rotations are nobody else’s, under either payload', async () => {
    for (const it of [await given(), await underTheMdm()]) {
      await it.settle();
      for (const _ of [1, 2]) {
        await it.order();
        await runs(it, day + 60, 700);
      }
      expect((await ofMac(it, 'rotation')).length).toBeGreaterThanOrEqual(2);
      expect(it.journal().foreignChanges).toEqual([]);
      expect(asked(it)).toBe(0);
    }
  });
});

describe('C2: it stops what nobody asked for', () => {
  test('C2: one change: what a schedule owes waits for a week, and is then done', async () => {
    const it = await given();
    await it.settle();
    it.mac.mdmRotates();
    await runs(it, 60, 700);
    const theirs = it.mac.recoveryKey;
    await owe(it, 'aged');
    await runs(it, day, 3 * day, 2 * day);
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(it.status().lastRun.did).toMatch(/somebody else changed the key within 7 days/);
    await runs(it, day + 3600);
    expect(it.mac.recoveryKey).not.toBe(theirs);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await alarms(it)).toEqual([]);
  });

  test('C2: two within 14 days stop everything, with an alarm that names who was found on the disk and whose payload it is', async () => {
    const it = await given();
    await it.settle();
    expect(asked(it)).toBe(0);
    changers['Escrow Buddy, at a login']?.act(it);
    put(it, '/usr/local/jamf/bin/jamf');
    await runs(it, 60, 700);
    expect(it.status().changedByOthers).toMatchObject({ suspects: ['Escrow Buddy', 'Jamf'] });
    expect(asked(it)).toBe(1);
    expect(await alarms(it)).toEqual([]);
    await runs(it, day, day);
    // Looked at once for each change, not in every run.
    expect(asked(it)).toBe(1);
    it.mac.mdmRotates();
    const theirs = it.mac.recoveryKey;
    await runs(it, day, 700);
    expect(asked(it)).toBe(2);
    const [alarm, ...more] = await alarms(it);
    expect(more).toEqual([]);
    expect(alarm).toMatchObject({ code: 'TWO_ROTATORS' });
    expect(alarm?.detail).toMatch(/^2 changes, the first on 20.*; found on its disk: Escrow Buddy, Jamf; escrow payload ours \(“Example IT\./);
    await it.order();
    await owe(it, 'aged');
    await runs(it, day + 60, 700);
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(it.status().lastRun.did).toMatch(/two rotators/);

    // In every place where somebody may look.
    const { text, json } = await serverStatus(it.backend, it.mac.state.serial);
    expect(text).toMatch(/TWO_ROTATORS: 2 changes.*Escrow Buddy, Jamf/);
    expect(text).toMatch(/somebody else changed its key on .* and on .*; found on its disk: Escrow Buddy, Jamf/);
    expect(json).toMatchObject({ changedByOthers: { suspects: ['Escrow Buddy', 'Jamf'], times: [expect.any(String), expect.any(String)] } });
    const said = statusInWords(reportStatus({ state: 'on' }, it.status(), it.mac.now), { now: it.mac.now, colour: false, quiet: false });
    expect(said).toMatch(/others +somebody else changed the key 2 times in 14 days, last .*; nothing is replaced; found on this disk: Escrow Buddy, Jamf\n/);
    const values = await gatherValues({
      root: it.mac.root,
      disk: realDisk(it.mac.root),
      runner: it.mac.runner,
      asRoot: true,
      now: it.mac.now,
      version: '0.1.0',
    });
    expect(checks.find(({ name }) => name === 'other-rotators')?.judge(values)).toMatchObject({
      verdict: 'failing',
      says: expect.stringMatching(/2 times in 14 days; found on this disk: Escrow Buddy, Jamf/),
    });
    expect(await acts(it, 'key.changed-by-other')).toHaveLength(2);

    // It does not stop for ever; the alarm waits for an admin.
    await it.order();
    await runs(it, 15 * day, 700, day + 60);
    expect(it.mac.recoveryKey).not.toBe(theirs);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(it.status().changedByOthers).toBeNull();
    expect((await alarms(it)).map(({ code }) => code)).toEqual(['TWO_ROTATORS']);
  });

  test('C2: nothing known on the disk is said as such, and the authorization database that does not answer stops nothing', async () => {
    const it = await given();
    it.mac.setCommandQuirk('security authorizationdb', 'fail:1');
    await it.settle();
    for (const _ of [1, 2]) {
      it.mac.mdmRotates();
      await runs(it, day, 700);
    }
    expect((await alarms(it))[0]?.detail).toMatch(/nothing known was found on its disk/);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });

  test('C2: where the MDM alone replaces the keys, or we only watch, its rotations are reported and are no alarm', async () => {
    const modes: GivenOptions[] = [{ escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'mdm' } }, { escrow: 'foreign' }];
    for (const mode of modes) {
      const it = await given(mode);
      await it.settle();
      for (const _ of [1, 2, 3]) {
        it.mac.mdmRotates();
        await runs(it, day);
      }
      expect(it.journal().foreignChanges).toHaveLength(3);
      expect((await it.custody.macReport(await it.macId())).changedByOthers?.times).toHaveLength(3);
      expect(await alarms(it)).toEqual([]);
    }
  });

  test('C2: a plug-in that only the authorization database knows is found too', async () => {
    const it = await given();
    it.mac.change((one) => void one.loginMechanisms.push('Crypt:Check,privileged'));
    await it.settle();
    it.mac.mdmRotates();
    await runs(it, 60, 60);
    expect(it.status().changedByOthers?.suspects).toEqual(['Crypt']);
  });
});

describe('C3: no payload, several, or another than the settings say: everything is held', () => {
  const payloads: [string, (it: Given) => void, RegExp][] = [
    ['none', (it) => it.mac.installEscrowProfile('none'), /no escrow payload is installed, so new keys would go nowhere/],
    ['two', (it) => it.mac.installEscrowProfile('foreign', undefined, true), /more than one escrow payload/],
    ['somebody else’s', (it) => it.mac.installEscrowProfile('foreign'), /the escrow payload is somebody else’s/],
    [
      'ours where the settings say the MDM’s',
      (it) => it.mac.installSettings({ ...it.values, escrowOwner: 'mdm' }),
      /the MDM owns escrow, and the payload is ours/,
    ],
  ];
  test.each(payloads)('C3: %s', async (_, act, says) => {
    const it = await given({ macos: '15.7.3' });
    await it.settle();
    const before = it.mac.recoveryKey;
    act(it);
    await it.order();
    await runs(it, 60, 2 * 3600, 2 * day);
    expect(it.mac.recoveryKey).toBe(before);
    expect(await ofMac(it, 'rotation')).toEqual([]);
    expect(it.status().escrow.says).toMatch(says);
    // Custody stays: the key that is held still opens the Mac.
    expect(await it.heldKey()).toBe(before);
  });
});

describe('C4: it never removes profiles, edits the authorization database, or stops another agent', () => {
  const everyFile = (root: string): Map<string, string> => {
    const ours = /^(?:Library\/Sparekey|Library\/Logs\/Sparekey|var\/db\/io\.sparekey|var\/run|\.fake)/;
    const found = new Map<string, string>();
    for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
      const path = join(root, name);
      if (!ours.test(name) && statSync(path).isFile()) found.set(name, createHash('sha256').update(readFileSync(path)).digest('hex'));
    }
    return found;
  };

  test('C4: with two other rotators at work nothing outside our own folders is changed, and every command line is one of those that are allowed', async () => {
    const it = await given();
    for (const path of [
      `${plugins}/Crypt.bundle/Contents/Info.plist`,
      '/usr/local/jamf/bin/jamf',
      '/opt/orbit/bin/orbit',
      '/Library/LaunchDaemons/com.fleetdm.orbit.plist',
    ])
      put(it, path);
    it.mac.change((one) => void one.loginMechanisms.push('Crypt:Check,privileged'));
    await it.settle();
    for (const _ of [1, 2, 3]) {
      it.mac.mdmRotates();
      await runs(it, day);
      const [files, mac] = [everyFile(it.mac.root), structuredClone(it.mac.state)];
      await it.checkIn();
      await it.order();
      await runs(it, 700, 700);
      expect(everyFile(it.mac.root)).toEqual(files);
      const { profiles, loginMechanisms, jobs } = it.mac.state;
      expect({ profiles, loginMechanisms, jobs }).toEqual({ profiles: mac.profiles, loginMechanisms: mac.loginMechanisms, jobs: mac.jobs });
    }
    expect(notAllowed(it.mac.runner.lines)).toEqual([]);
    expect(it.mac.runner.lines.length).toBeGreaterThan(100);
  });

  test('C4: the list of what is allowed lets through none of these', () => {
    const wrong = [
      '/usr/bin/profiles -R -p com.some-mdm.filevault',
      '/usr/bin/profiles remove -all',
      '/usr/bin/security authorizationdb write system.login.console',
      '/usr/bin/security authorizationdb remove system.login.console',
      '/usr/bin/security delete-identity -c x',
      '/bin/launchctl bootout system/com.fleetdm.orbit',
      '/bin/launchctl kickstart system/com.jamf.management.daemon',
      '/usr/bin/fdesetup removerecovery -personal',
      '/usr/bin/fdesetup disable',
      '/usr/bin/killall IntuneMdmAgent',
      '/bin/rm -rf /Library/Crypt',
    ];
    expect(notAllowed(wrong)).toEqual(wrong);
  });

  test('C4: no source of the agent has words for it', () => {
    const sources = execFileSync('find', ['agent', '-name', '*.ts'], { encoding: 'utf8' }).trim().split('\n');
    expect(sources.length).toBeGreaterThan(50);
    const words =
      /authorizationdb'?,? '?(?:write|remove)|'(?:bootout|unload|disable|remove-all|killall|pkill)'|\/usr\/bin\/(?:killall|pkill)|removerecovery|'-[RD]'|'delete-[a-z-]+'/;
    const programs = new Set<string>();
    for (const path of sources) {
      const text = readFileSync(path, 'utf8').replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, '');
      expect([path, words.exec(text)?.[0] ?? null]).toEqual([path, null]);
      for (const [, name] of text.matchAll(/'(\/(?:usr\/)?s?bin\/[a-z_]+)'/g)) programs.add(name ?? '');
    }
    for (const program of programs)
      expect([program, /\/(?:rm|kill|killall|pkill|defaults|chflags|installer|pkgutil|sh|bash|zsh)$/.test(program)]).toEqual([program, false]);
  });
});

describe('C5: doubt from a foreign change', () => {
  test('C5: leads to no rotation, not even when one is owed because of it, while the change is young', async () => {
    const it = await underTheMdm();
    it.mac.mdmRotates();
    const theirs = it.mac.recoveryKey;
    await runs(it, 3600, day, 700);
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign', because: expect.stringMatching(/no key that is here opens it/) });
    expect((await ofMac(it, 'debt')).filter((row) => 'closed_at' in row && row.closed_at === null)).toEqual([]);
    await owe(it, 'doubtful');
    for (let days = 0; days < 4; days++) await runs(it, day, 700);
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(await ofMac(it, 'rotation')).toEqual([]);
    // Later it is owed to a key that macOS refuses: the old one authorizes nothing, and the Mac asks for help instead.
    await runs(it, 5 * day, 700, day);
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(3);
  });
});

describe('C6, C9: under whose payload', () => {
  test('C6: after our rotation under the MDM’s payload its copy is called old since then, with an event; and people are not sent to it', async () => {
    const it = await underTheMdm();
    await it.order();
    await runs(it, day + 60, 60);
    const [rotation] = (await it.custody.macReport(await it.macId())).rotations;
    expect(rotation).toMatchObject({ state: 'done', escrowPayload: 'foreign' });
    const report = await it.custody.macReport(await it.macId());
    expect(report.mdmCopyOldSince).toBe(rotation?.begunAt);
    expect(await acts(it, 'mdm.copy-old')).toEqual([{ rotationId: rotation?.id, since: Date.parse(rotation?.begunAt ?? '') }]);
    expect((await serverStatus(it.backend, it.mac.state.serial)).text).toContain(
      `the MDM's copy of its key is old since ${rotation?.begunAt}: send nobody to the MDM for it`,
    );
    expect(await it.disclose()).toBe(it.mac.recoveryKey);
  });

  test('C6: under our own payload there is no such copy', async () => {
    const it = await given();
    await it.settle();
    await it.order();
    await runs(it, 60);
    expect(await it.custody.macReport(await it.macId())).toMatchObject({ mdmCopyOldSince: null, rotations: [{ state: 'done', escrowPayload: 'ours' }] });
    expect(await acts(it, 'mdm.copy-old')).toEqual([]);
  });

  test('C9: each rotation says under whose payload it happened, in its record, in the audit and in the report', async () => {
    for (const [it, escrowPayload] of [
      [await given(), 'ours'],
      [await underTheMdm(), 'foreign'],
    ] as const) {
      await it.settle();
      await it.order();
      await runs(it, day + 60);
      expect(await ofMac(it, 'rotation')).toMatchObject([{ escrow_payload: escrowPayload, state: 'done' }]);
      expect(await acts(it, 'rotation.begun')).toMatchObject([{ escrowPayload }]);
      expect((await it.custody.macReport(await it.macId())).rotations).toMatchObject([{ escrowPayload }]);
    }
  });
});

test('C7: a foreign envelope is digest, recipient and time: no key, in no count, and nothing to disclose', async () => {
  const it = await given({ escrow: 'foreign' });
  await it.settle();
  const file = it.mac.escrowFile() ?? Buffer.alloc(0);
  const macId = await it.macId();
  const report = await it.custody.macReport(macId);
  expect(report).toMatchObject({ state: 'foreign', keys: [], candidates: 0, heldRecordId: null });
  expect(report.foreign).toEqual([
    { digest: createHash('sha256').update(file).digest('hex'), recipient: expect.stringMatching(/^issuer-serial:/), lastSeenAt: expect.any(String) },
  ]);
  await expect(it.custody.disclose({ macId, actor: operator, reason: 'a test' })).rejects.toMatchObject({ code: expect.any(String) });
  const rows = await it.store.db.selectFrom('envelope').selectAll().where('mac_id', '=', macId).execute();
  expect(rows).toEqual([]);
});

describe('C8: an import', () => {
  test('C8: one that answers `true` is held and proved, without rotating', async () => {
    const it = await given({ escrow: 'foreign' });
    await it.settle();
    const key = it.mac.recoveryKey ?? '';
    expect(await importKey(it, key)).toMatchObject({ rule: 'K6' });
    expect(await it.custodyOf()).toMatchObject({ state: 'doubtful' });
    await runs(it, 60, 60);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
    expect(await it.heldKey()).toBe(key);
    expect(it.mac.recoveryKey).toBe(key);
    expect(await ofMac(it, 'rotation')).toEqual([]);
  });

  test('C8: a stale one never takes the place of a proved key, before its proof or after it', async () => {
    const it = await given();
    await it.settle();
    await it.order();
    await runs(it, 60);
    const held = it.mac.recoveryKey;
    await importKey(it, 'AAAA-BBBB-CCCC-DDDD-EEEE-FFFF');
    expect(await it.heldKey()).toBe(held);
    expect(await it.custodyOf()).toMatchObject({ state: 'doubtful', candidates: 1 });
    await runs(it, day + 60, 700, day, 700, day, 700);
    expect(await it.heldKey()).toBe(held);
    expect(it.mac.recoveryKey).toBe(held);
    expect(await ofMac(it, 'rotation')).toHaveLength(1);
    expect(it.journal().foreignChanges).toEqual([]);
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(2);
  });

  test('C8: the same key again is one more witness, and changes nothing', async () => {
    const it = await given();
    await it.settle();
    const before = await ofMac(it, 'key_record');
    expect(await importKey(it, it.mac.recoveryKey ?? '')).toMatchObject({ rule: 'K2' });
    expect((await ofMac(it, 'key_record')).map((row) => row.id)).toEqual(before.map((row) => row.id));
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
  });
});

test('C2: a full disk, on which nobody found can be noted, keeps no Mac from being heard', async () => {
  const it = await given();
  await it.settle();
  writeFileSync(it.mac.path(`${state}/journal.json`), JSON.stringify({ ...it.journal(), foreignChanges: [it.mac.now - 60_000] }), { mode: 0o600 });
  it.pass(3600);
  const disk = realDisk(it.mac.root);
  const full: typeof disk.replace = (path, ...rest) => {
    if (path.endsWith('journal.json')) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    disk.replace(path, ...rest);
  };
  await it.checkIn({ disk: { ...disk, replace: full } });
  expect(it.status().lastRun.code).toBe('JOURNAL_NOT_WRITTEN');
  expect((await it.custody.macReport(await it.macId())).lastSeenAt).toBe(new Date(it.backend.clock.now()).toISOString());
  expect((await it.custody.macReport(await it.macId())).changedByOthers?.times).toHaveLength(1);
});

describe('what a Mac says of it', () => {
  const daysAgo = (now: number, days: number): string => new Date(now - days * day * 1000).toISOString();

  test('is judged once: the alarm does not come back because an old change is forgotten or who made it is gone, only for a newer one', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    await mac.escrowed();
    const says = async (days: number[], suspects: string[]) => {
      mac.factsMore = { foreignChanges: { times: days.map((one) => daysAgo(server.wall.now(), one)), suspects } };
      await mac.checkIn();
      return server.alarms();
    };
    expect(await says([3, 2, 1], ['Jamf'])).toEqual(['TWO_ROTATORS']);
    const alarm = await server.store.db.selectFrom('alarm').select('id').executeTakeFirstOrThrow();
    await server.custody.judgeAlarm({ alarmId: alarm.id, actor: operator, judgement: 'Jamf is gone' });
    expect(await says([2, 1], [])).toEqual([]);
    server.wall.pass(day * 1000);
    expect(await says([3, 2], [])).toEqual([]);
    expect(await says([3, 2, 0], [])).toEqual(['TWO_ROTATORS']);
    await server.close();
  });

  test('stays on the line on which it is told: nothing that it says looks like a line of ours', async () => {
    const it = await given();
    await it.settle();
    const macId = await it.macId();
    const row = await it.store.db.selectFrom('mac').select('facts').where('id', '=', macId).executeTakeFirstOrThrow();
    const forged = 'x\nkey 1: held, macOS said true to it\u2028no alarm is open';
    const facts = {
      ...JSON.parse(row.facts ?? ''),
      macosVersion: 'x\nkey 1: held',
      foreignChanges: { times: [new Date(it.mac.now).toISOString()], suspects: [forged] },
      adoption: { code: forged, detail: forged, since: new Date(it.mac.now).toISOString() },
    };
    await it.store.write((tx) =>
      tx
        .updateTable('mac')
        .set({ facts: JSON.stringify(facts) })
        .where('id', '=', macId)
        .execute(),
    );
    for (const name of [macId, null]) {
      const { text } = await serverStatus(it.backend, name);
      expect(text).toContain('x key 1: held');
      expect(text.split(/[\n\u2028]/).filter((line) => /^(key 1:|no alarm)/.test(line))).toEqual([]);
    }
  });
});

test('nothing of it is looked for on a Mac whose key nobody else changed', async () => {
  const it = await given();
  await it.settle();
  await it.order();
  await runs(it, 60, day, day, 30 * day);
  expect(asked(it)).toBe(0);
  expect(it.journal().suspects).toBeNull();
  expect(JSON.parse(readFileSync(it.mac.path(`${state}/journal.json`), 'utf8'))).toMatchObject({ foreignChanges: [] });
});

import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { openSecrets } from '../agent/secrets.ts';
import type { Secrets } from '../agent/world.ts';
import { systemKeychain } from './fake-mac/state.ts';
import { type GivenOptions, given } from './given.ts';
import { agrees, codes, type Given, keyInKeychain } from './given-parts.ts';
import { Killed } from './killing.ts';

/*
 * Custody `keychain`: the Mac keeps its own current key and authorizes the next change with it. And keychains that are
 * locked, slow, or fail.
 */

const state = '/var/db/io.sparekey.agent';
const day = 24 * 3600;

const items = (it: Given) => (it.mac.state.keychains[systemKeychain]?.items ?? []).filter((one) => one.account.startsWith('recovery-key:'));
const keysIn = (it: Given): string[] => items(it).map((one) => one.password);
const authorities = (it: Given): unknown[] => it.lines.filter((line) => line.event === 'rotation-intended').map((line) => line['authorizedBy']);
const grants = async (it: Given): Promise<string[]> =>
  (
    await it.store.db
      .selectFrom('grant_given')
      .select('purpose')
      .where('mac_id', '=', await it.macId())
      .execute()
  ).map((row) => row.purpose);

async function keeping(options: GivenOptions = {}): Promise<Given> {
  const it = await given({ ...options, settings: { custody: 'keychain', ...options.settings } });
  await it.settle();
  return it;
}

/** The Mac has its key in the keychain, and owes another rotation. */
async function owing(): Promise<Given & { before: string | null }> {
  const it = await keeping();
  await it.order();
  await it.checkIn();
  it.pass(day + 60);
  await it.order();
  return Object.assign(it, { before: it.mac.recoveryKey });
}

async function untilResolved(it: Given, most = 6, seconds = 120): Promise<number> {
  for (let run = 1; run <= most; run++) {
    it.pass(seconds);
    await it.checkIn();
    if (it.journal().rotation === null) return run;
  }
  return Number.POSITIVE_INFINITY;
}

describe('the key in the keychain', () => {
  test('under our payload the first change needs one grant; the new key is kept, alone, and authorizes the next one without a grant', async () => {
    const it = await keeping();
    expect(keysIn(it)).toEqual([]);
    await it.order();
    await it.checkIn();
    expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    await agrees(it);
    for (const _ of [1, 2]) {
      it.pass(60);
      const before = it.mac.recoveryKey;
      await it.order();
      await it.checkIn();
      expect(it.mac.recoveryKey).not.toBe(before);
      expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    }
    expect(authorities(it)).toEqual(['grant', 'keychain', 'keychain']);
    expect(await grants(it)).toEqual(['rotate']);
    expect(readdirSync(it.mac.path(`${state}/out`))).toEqual([]);
    await agrees(it);
  });

  test('a proof by grant leaves the key that answered `true` in the keychain, and the rotation after it needs no grant', async () => {
    const it = await keeping();
    it.mac.updateMacOS('26.7', '25H1');
    it.mac.boot();
    await it.checkIn();
    it.pass(700);
    await it.checkIn();
    expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    await it.order();
    it.pass(60);
    await it.checkIn();
    expect(authorities(it)).toEqual(['keychain']);
    expect(await grants(it)).toEqual(['prove']);
    expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    await agrees(it);
  });

  test('the item is gone: a grant takes its place', async () => {
    const it = await owing();
    it.mac.change((one) => {
      const keychain = one.keychains[systemKeychain];
      if (keychain) keychain.items = keychain.items.filter((item) => !item.account.startsWith('recovery-key:'));
    });
    await it.checkIn();
    expect(authorities(it)).toEqual(['grant', 'grant']);
    expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    await agrees(it);
  });

  test('R13: somebody else changed the key: the old item is no rotation of ours, costs no try, and goes when the new key is proved', async () => {
    const it = await owing();
    const [old] = keysIn(it);
    it.mac.mdmRotates();
    const theirs = it.mac.recoveryKey;
    for (const _ of [1, 2, 3, 4]) {
      it.pass(700);
      await it.checkIn();
    }
    expect(it.lines.filter((line) => line.event === 'rotation-found')).toEqual([]);
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(1);
    expect(it.journal().rotation).toBeNull();
    expect(await it.storedKeys()).toContain(theirs);
    for (const _ of [1, 2]) {
      it.pass(day + 60);
      await it.checkIn();
    }
    expect(keysIn(it)).not.toContain(old);
    await agrees(it);
  });
});

describe('the agent is killed with a key in the keychain', () => {
  const ways: [string, RegExp, 'before' | 'after', number][] = [
    ['R1, R6: before fdesetup', /start fdesetup/, 'before', 1],
    ['R2: fdesetup has ended', /fdesetup ended/, 'after', 1],
    ['R2: before the new item', /keychain\.write/, 'before', 2],
    ['R2: after the new item', /keychain\.write/, 'after', 2],
    ['R10: before the delivery', /ask deliver/, 'before', 1],
    ['R10: after the delivery', /ask deliver/, 'after', 1],
    ['step 14 is done, and the old item is still there', /keychain\.remove/, 'before', 2],
  ];
  for (const [name, point, when, nth] of ways) {
    test(`${name}: one key, held, and that one alone in the keychain`, async () => {
      const it = await owing();
      const killed = await it.checkInAndDie({ name: point, when, nth });
      expect(killed.dead()).toBe(true);
      expect(await untilResolved(it)).toBeLessThan(6);
      it.pass(60);
      await it.checkIn();
      await agrees(it);
      // The order still stands where nothing was changed.
      expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
      expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(1);
      expect(await grants(it)).toEqual(['rotate']);
    });
  }

  test('step 14 is done, and the journal still points to the old item: the new one is kept at the next run, and no dead key is tried', async () => {
    const { effects } = await (await owing()).checkInAndDie(null);
    const pointing = effects.findLastIndex((name, at) => name.endsWith('/journal.json') && at < effects.lastIndexOf('keychain.remove'));
    const it = await owing();
    const killed = await it.checkInAndDie({ effect: pointing, when: 'before' });
    expect([killed.dead(), it.journal().rotation, items(it).length]).toEqual([true, null, 2]);
    expect(await untilResolved(it)).toBe(1);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
    expect(it.lines.filter((line) => line.event === 'rotation-found')).toEqual([]);
    expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    await agrees(it);
  });

  test.each(['before step 14', 'before step 15'])(
    'the keychain failed its trial, so the new key is in no item, and the agent died %s: the dead item goes, and nothing is left that would be tried',
    async (when) => {
      const it = await owing();
      const before = keysIn(it);
      const keychain = openSecrets(async () => it.mac.keytar('job'), 2);
      const secrets: Secrets = {
        ...keychain,
        write: async (account, text) => !account.startsWith('probe:') && keychain.write(account, text),
        async remove(account) {
          if (when === 'before step 15' && account.startsWith('recovery-key:')) throw new Killed('before step 15');
          return keychain.remove(account);
        },
      };
      // A day later the key of the Mac may be asked for again: without its keychain it needs a grant.
      await it.checkInAndDie(when === 'before step 14' ? { name: /ask deliver/, when: 'after' } : null, { secrets });
      expect([keysIn(it), it.mac.recoveryKey === it.before]).toEqual([before, false]);
      expect(await untilResolved(it)).toBeLessThan(6);
      it.pass(660);
      await it.checkIn();
      await agrees(it);
      expect(keysIn(it)).toEqual([]);
      expect(it.journal().keptItem).toBeNull();
    },
  );

  test('gate 3: a key that answered `false` is not tried again in the same run: the second try of the day is another key’s', async () => {
    const it = await owing();
    const [old] = items(it);
    it.mac.change((one) => {
      const account = `recovery-key:${one.hardwareUuid.toUpperCase()}:00000000-0000-4000-8000-000000000000`;
      one.keychains[systemKeychain]?.items.push({ service: 'io.sparekey.agent', account, password: 'AAAA-BBBB-CCCC-DDDD-EEEE-FFFF' });
    });
    it.mac.mdmRotates();
    await it.checkIn();
    expect(it.mac.state.wrongKeys.ever).toBe(2);
    expect(Object.keys(it.journal().rotation?.looks ?? {}).sort()).toEqual(
      items(it)
        .map((one) => one.account)
        .sort(),
    );
    expect(items(it)).toContainEqual(old);
  });

  test('R11: the journal is gone as well: the item that opens the Mac is found among two, and the other one goes', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: /keychain\.write/, when: 'after', nth: 2 });
    expect(items(it)).toHaveLength(2);
    rmSync(it.mac.path(`${state}/journal.json`));
    for (const name of readdirSync(it.mac.path(`${state}/out`))) rmSync(it.mac.path(`${state}/out/${name}`));
    it.mac.change((one) => {
      one.escrowDue = null;
    });
    // Whichever of the two is tried first: a wrong one costs a try, and there is one a day without a settled session.
    expect(await untilResolved(it, 12, 6 * 3600)).toBeLessThan(12);
    it.pass(700);
    await it.checkIn();
    it.pass(day + 60);
    await it.checkIn();
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(3);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
    expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
  });

  test('R11: of two items the one that the open rotation names is asked about first, wherever the keychain names it: no dead key is tried', async () => {
    for (const place of [-1, 1]) {
      const it = await owing();
      await it.checkInAndDie({ name: /keychain\.write/, when: 'after', nth: 2 });
      rmSync(it.mac.path(`${state}/journal.json`));
      for (const name of readdirSync(it.mac.path(`${state}/out`))) rmSync(it.mac.path(`${state}/out/${name}`));
      const id = String(it.lines.findLast((line) => line.event === 'rotation-intended')?.['rotationId']);
      const keychain = openSecrets(async () => it.mac.keytar('job'), 2);
      const secrets: Secrets = {
        ...keychain,
        async list() {
          const names = await keychain.list();
          return names === 'cannot-tell' ? names : names.toSorted((one, other) => place * (Number(one.endsWith(id)) - Number(other.endsWith(id))));
        },
      };
      for (const _ of [1, 2]) {
        it.pass(700);
        await it.checkIn({ secrets });
      }
      expect(it.journal().rotation).toBeNull();
      expect(it.mac.state.wrongKeys.ever).toBe(0);
      expect(it.mac.recoveryKey).not.toBe(it.before);
      await agrees(it);
      expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    }
  });

  test('R11: items of a lost journal that open nothing: within the budget of wrong keys, and the Mac rotates again', async () => {
    const it = await owing();
    it.mac.change((one) => {
      one.keychains[systemKeychain]?.items.push({
        service: 'io.sparekey.agent',
        account: `recovery-key:${one.hardwareUuid.toUpperCase()}:00000000-0000-4000-8000-000000000000`,
        password: 'AAAA-BBBB-CCCC-DDDD-EEEE-FFFF',
      });
    });
    for (let run = 0; run < 12; run++) {
      it.pass(6 * 3600);
      await it.checkIn();
    }
    expect(it.journal().rotation).toBeNull();
    expect(it.mac.recoveryKey).not.toBe(it.before);
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(3);
    expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    await agrees(it);
  });
});

/** The profile's own identity lies in the same keychain; a Mac with a ticket needs none. */
async function ticketFor(serial: string): Promise<{ id: string; ticket: string }> {
  const any = await given();
  return any.backend.tickets.make({ serials: [serial], days: 7, actor: 'an operator' });
}

describe('a keychain that fails', () => {
  test('from the first run: the identity key is a file of root’s, mode 600, and everything works by the server’s custody, said', async () => {
    for (const mode of ['locked', 'failing'] as const) {
      const { ticket } = await ticketFor(`C02KEYCH${mode.slice(0, 4).toUpperCase()}`);
      const it = await given({
        serial: `C02KEYCH${mode.slice(0, 4).toUpperCase()}`,
        identity: null,
        settings: { custody: 'keychain', enrolmentTicket: ticket },
        without: ['identityIssuer'],
      });
      it.mac.setKeychain(mode);
      await it.settle();
      const { keyFile, keyAccount } = it.journal().identity ?? {};
      expect([mode, keyAccount]).toEqual([mode, null]);
      expect(statSync(it.mac.path(keyFile ?? '')).mode & 0o777).toBe(0o600);
      const before = it.mac.recoveryKey;
      await it.order();
      expect([mode, await it.checkIn()]).toEqual([mode, 0]);
      expect([mode, it.mac.recoveryKey === before]).toEqual([mode, false]);
      expect([mode, codes(it)]).toEqual([mode, ['KEYCHAIN_LOCKED']]);
      expect(readdirSync(it.mac.path(`${state}/out`))).toEqual([]);
      await agrees(it);
      // It works again: the next key is kept there.
      it.mac.setKeychain('works');
      it.pass(day + 60);
      await it.order();
      await it.checkIn();
      expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
      expect(existsSync(it.mac.path(keyFile ?? ''))).toBe(true);
      await agrees(it);
    }
  });

  test('locked later, with the identity key in it: said with its fix, nothing is lost, and it goes on when it opens', async () => {
    const it = await owing();
    it.mac.setKeychain('locked');
    expect(await it.checkIn()).not.toBe(0);
    expect(it.status().lastRun.code).toBe('KEYCHAIN_LOCKED');
    expect(it.journal().identity?.keyAccount).not.toBeNull();
    expect(it.mac.recoveryKey).toBe(it.before);
    it.mac.setKeychain('works');
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });

  test('locked in the middle of a rotation: the new key is delivered all the same, and is in the keychain after the next one', async () => {
    const it = await owing();
    const runner = {
      run: it.mac.runner.run.bind(it.mac.runner),
      start: async (command: Parameters<typeof it.mac.runner.start>[0]) => {
        it.mac.setKeychain('locked');
        return it.mac.runner.start(command);
      },
    };
    expect(await it.checkIn({ runner })).toBe(0);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
    it.mac.setKeychain('works');
    it.pass(700);
    await it.checkIn();
    expect(it.journal().rotation).toBeNull();
    it.pass(day);
    await it.order();
    await it.checkIn();
    expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(1);
    await agrees(it);
  });

  test('slow: a call that does not come back counts as cannot tell, and holds no run', async () => {
    const it = await given({ settings: { custody: 'keychain' } });
    it.mac.setKeychain('slow');
    const { openSecrets } = await import('../agent/secrets.ts');
    // Without its time each call would be a minute.
    expect(await it.checkIn({ secrets: openSecrets(async () => it.mac.keytar('job'), 0.05) })).toBe(0);
    expect(it.journal().identity?.keyFile).toMatch(/identity-/);
    await agrees(it);
  });

  test('dark wake (-25320): the run ends before the keychain is asked', async () => {
    const it = await owing();
    it.mac.setDarkWake(true);
    const killed = await it.checkInAndDie(null);
    expect(killed.effects.filter((name) => name.startsWith('keychain.'))).toEqual([]);
    expect(it.status().lastRun).toEqual({ did: 'asleep', code: null });
    expect(it.mac.recoveryKey).toBe(it.before);
  });
});

describe('M2: the MDM’s payload, and we rotate', () => {
  const m2: GivenOptions = { escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'sparekey', custody: 'keychain' } };

  test('without a first key nothing can begin: an order asks for an import or an adoption, by name, and no key is tried', async () => {
    const it = await keeping(m2);
    const before = it.mac.recoveryKey;
    await it.order();
    expect(await it.checkIn()).toBe(0);
    expect(it.mac.recoveryKey).toBe(before);
    expect(codes(it)).toContain('KEY_NOT_ON_MAC');
    expect(it.mac.state.wrongKeys.ever).toBe(0);
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign' });
  });

  test('R11: a first key that lies in the keychain is proved, sealed to us and held; then it authorizes each change (C9: under the MDM’s payload)', async () => {
    const it = await keeping(m2);
    const first = keyInKeychain(it);
    it.pass(60);
    await it.checkIn();
    it.pass(60);
    await it.checkIn();
    expect(await it.heldKey()).toBe(first);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    for (const _ of [1, 2]) {
      const before = it.mac.recoveryKey;
      await it.order();
      it.pass(700);
      await it.checkIn();
      expect(it.mac.recoveryKey).not.toBe(before);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
      expect(keysIn(it)).toEqual([it.mac.recoveryKey]);
    }
    const rotations = await it.store.db
      .selectFrom('rotation')
      .select(['escrow_payload', 'state'])
      .where('mac_id', '=', await it.macId())
      .execute();
    expect(rotations).toEqual([
      { escrow_payload: 'foreign', state: 'done' },
      { escrow_payload: 'foreign', state: 'done' },
    ]);
    expect(await grants(it)).toEqual([]);
    expect(it.journal().foreignChanges).toEqual([]);
  });

  test('rotator mdm (M3): nothing is replaced here, whatever is ordered', async () => {
    const it = await keeping({ escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'mdm', custody: 'keychain' } });
    const before = it.mac.recoveryKey;
    await it.order();
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(before);
    expect(it.status().lastRun.did).toMatch(/the MDM replaces the keys/);
  });
});

describe('an unsigned runtime', () => {
  test('never keeps a key, whatever the settings say', async () => {
    const it = await keeping();
    rmSync(it.mac.path('/Library/Sparekey/lib/build.json'));
    await it.order();
    await it.checkIn();
    expect(keysIn(it)).toEqual([]);
    expect(it.status().custodyMode).toMatchObject({ mode: 'server', because: expect.stringMatching(/not signed/) });
    await agrees(it);
  });
});

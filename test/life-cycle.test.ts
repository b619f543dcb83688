import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import type { DeliveryRequest } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { given } from './given.ts';
import { agrees, codes, type Given, owing } from './given-parts.ts';

/*
 * What happens to Macs in years of use: migrated, erased, given a second macOS or another logic board, and messages that
 * come twice or too late. No key of any of them is ever overwritten, and each key stays with its machine and its volume.
 */

const state = '/var/db/io.sparekey.agent';
const day = 24 * 3600;

/** State and volume of every key that this Mac ever delivered. */
const records = async (it: Given, macId?: string) =>
  it.store.db
    .selectFrom('key_record')
    .select(['id', 'volume', 'state', 'hardware_uuid', 'source'])
    .where('mac_id', '=', macId ?? (await it.macId()))
    .orderBy('received_at')
    .execute();

const alarms = async (it: Given, macId?: string): Promise<string[]> =>
  (
    await it.store.db
      .selectFrom('alarm')
      .select('code')
      .where('mac_id', '=', macId ?? (await it.macId()))
      .where('judged_at', 'is', null)
      .execute()
  ).map((row) => row.code);

describe('Migration Assistant (B2)', () => {
  test('brings journal, identity and job to another Mac: none is used there, it enrols anew and says so, and no key is superseded', async () => {
    const old = await given();
    await old.settle();
    const fresh = await given();
    old.mac.migrateTo(fresh.mac);
    expect(await fresh.checkIn()).toBe(0);
    expect(codes(fresh)).toEqual(['MOVED_FROM_OTHER_MAC']);
    expect(fresh.lines.map((line) => line.event)).toContain('moved-from-other-mac');
    expect(fresh.journal().hardwareUuid.toUpperCase()).toBe(fresh.mac.state.hardwareUuid.toUpperCase());
    expect(fresh.journal().identity?.enrolmentId).not.toBe(old.journal().identity?.enrolmentId);
    await agrees(fresh);
    await agrees(old);
    old.pass(600);
    await old.checkIn();
    await fresh.checkIn();
    expect(codes(fresh)).toEqual([]);
    expect([await alarms(old), await alarms(fresh)]).toEqual([[], []]);
    expect((await records(old)).map((row) => row.state)).toEqual(['held']);
    expect((await records(fresh)).map((row) => row.state)).toEqual(['held']);
  });

  test('in the middle of a rotation: the output files of the other Mac are set aside, not used, and both rotations end where they began', async () => {
    const old = await owing();
    await old.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    expect(readdirSync(old.mac.path(`${state}/out`))).toHaveLength(2);
    const fresh = await given();
    const own = fresh.mac.recoveryKey;
    old.mac.migrateTo(fresh.mac);
    expect(await fresh.checkIn()).toBe(0);
    expect(readdirSync(fresh.mac.path(`${state}/out`))).toEqual([]);
    expect(readdirSync(fresh.mac.path(state)).filter((name) => name.includes('.other-mac-'))).toHaveLength(3);
    expect(fresh.journal().rotation).toBeNull();
    expect(fresh.mac.state.wrongKeys.ever).toBe(0);
    expect(fresh.mac.recoveryKey).toBe(own);
    await agrees(fresh);
    old.pass(120);
    await old.checkIn();
    expect(old.mac.recoveryKey).not.toBe(old.before);
    await agrees(old);
    expect(await fresh.storedKeys()).not.toContain(old.mac.recoveryKey);
  });

  test('killed while it sets things aside: the next run uses nothing of the other Mac either', async () => {
    const old = await owing();
    await old.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    const sample = await given();
    old.mac.migrateTo(sample.mac);
    const { effects } = await sample.checkInAndDie(null);
    const last = effects.findIndex((name) => name.startsWith('ask checkIn'));
    const moves = effects.slice(0, last).flatMap((name, at) => (name.startsWith('disk.rename') || name.startsWith('disk.replace') ? [at] : []));
    expect(moves.length).toBeGreaterThan(3);
    for (const effect of moves) {
      const fresh = await given();
      old.mac.migrateTo(fresh.mac);
      await fresh.checkInAndDie({ effect, when: 'after' });
      for (const _ of [1, 2]) {
        fresh.pass(120);
        await fresh.checkIn();
      }
      expect([effects[effect], fresh.mac.state.wrongKeys.ever]).toEqual([effects[effect], 0]);
      expect([effects[effect], await fresh.storedKeys()]).toEqual([effects[effect], [fresh.mac.recoveryKey]]);
      await agrees(fresh);
    }
  });

  test('a key in the keychain of the other Mac is not this Mac’s: it is neither tried nor removed', async () => {
    const old = await owing({ settings: { custody: 'keychain' } });
    await old.checkIn();
    const item = (it: Given) => it.mac.state.keychains['/Library/Keychains/System.keychain']?.items.find((one) => one.account.startsWith('recovery-key:'));
    expect(item(old)?.password).toBe(old.mac.recoveryKey);
    const fresh = await given({ settings: { custody: 'keychain' } });
    old.mac.migrateTo(fresh.mac);
    await fresh.settle();
    await fresh.checkIn();
    expect(item(fresh)?.password).toBe(old.mac.recoveryKey);
    expect(fresh.mac.state.wrongKeys.ever).toBe(0);
    await agrees(fresh);
  });

  test('a clone that uses the copied identity as it is: IDENTITY_MOVED, nothing is accepted, and it enrols anew', async () => {
    const it = await given();
    await it.checkIn();
    const held = await it.heldKey();
    const journal = JSON.parse(readFileSync(it.mac.path(`${state}/journal.json`), 'utf8'));
    const hardwareUuid = '11111111-2222-4333-8444-555555555555';
    // As it would be with an agent that did not look: the journal says the new hardware itself.
    const { realDisk } = await import('../agent/disk.ts');
    realDisk(it.mac.root).replace(
      `${state}/journal.json`,
      JSON.stringify({ ...journal, hardwareUuid, identity: { ...journal.identity, hardwareUuid } }),
      0o600,
    );
    it.mac.change((one) => {
      one.hardwareUuid = hardwareUuid;
    });
    it.mac.boot();
    it.pass(60);
    await it.checkIn();
    expect(it.lines).toContainEqual({ event: 'identity-set-aside', because: 'IDENTITY_MOVED' });
    expect(await it.storedKeys()).toContain(held);
    expect((await records(it)).filter((row) => row.state === 'superseded')).toEqual([]);
  });
});

describe('another volume', () => {
  test('a second macOS on the same Mac: keys are per volume, neither supersedes the other, and going back is no change', async () => {
    const it = await given();
    await it.settle();
    const [volume, key] = [it.mac.state.disk.volumeGroup, it.mac.recoveryKey];
    const journal = readFileSync(it.mac.path(`${state}/journal.json`));
    it.mac.change((one) => {
      one.disk.volumeGroup = '99999999-AAAA-4BBB-8CCC-DDDDDDDDDDDD';
    });
    it.mac.boot();
    it.mac.mdmRotates();
    it.pass(60);
    expect(await it.checkIn()).toBe(0);
    expect(readdirSync(it.mac.path(state)).filter((name) => name.includes('.other-volume-'))).toHaveLength(1);
    expect(it.journal().identity?.enrolmentId).toBe(JSON.parse(journal.toString()).identity.enrolmentId);
    await agreesFor(it, '99999999-AAAA-4BBB-8CCC-DDDDDDDDDDDD', it.mac.recoveryKey);
    await agreesFor(it, volume, key);
    expect((await records(it)).map((row) => row.state)).toEqual(['held', 'held']);
    expect(await alarms(it)).toEqual([]);
  });

  test('a rotation that was open on the volume before is not resolved with what lies here', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    const [volume, before] = [it.mac.state.disk.volumeGroup, it.before];
    it.mac.change((one) => {
      one.disk.volumeGroup = '99999999-AAAA-4BBB-8CCC-EEEEEEEEEEEE';
    });
    it.mac.boot();
    it.mac.mdmRotates();
    for (const _ of [1, 2, 3]) {
      it.pass(700);
      await it.checkIn();
    }
    expect(it.journal().rotation).toBeNull();
    expect(it.mac.state.wrongKeys.ever).toBe(0);
    await agreesFor(it, it.mac.state.disk.volumeGroup, it.mac.recoveryKey);
    await agreesFor(it, volume, before);
    // The key of the volume before is still where fdesetup put it, under another name.
    expect(readdirSync(it.mac.path(state)).filter((name) => name.includes('.out.other-volume-'))).toHaveLength(1);
  });
});

async function agreesFor(it: Given, volume: string, key: string | null): Promise<void> {
  expect(await it.heldKey(volume)).toBe(key);
}

describe('erased and set up again (B3)', () => {
  test('no alarm: the old key stays with the old volume, the new one is held, and the old enrolment ends after a day', async () => {
    const it = await given();
    await it.settle();
    const [oldVolume, oldKey, oldEnrolment] = [it.mac.state.disk.volumeGroup, it.mac.recoveryKey, it.journal().identity?.enrolmentId];
    it.mac.erase();
    it.pass(3600);
    it.mac.setUp('bert');
    it.installPackage();
    expect(await it.checkIn()).toBe(0);
    expect(await alarms(it)).toEqual([]);
    expect(it.mac.recoveryKey).not.toBe(oldKey);
    await agreesFor(it, it.mac.state.disk.volumeGroup, it.mac.recoveryKey);
    await agreesFor(it, oldVolume, oldKey);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    it.pass(2 * day);
    await it.checkIn();
    const rows = await it.store.db
      .selectFrom('enrolment')
      .select(['id', 'status', 'replaced_after'])
      .where('mac_id', '=', await it.macId())
      .execute();
    expect(rows).toHaveLength(2);
    const old = rows.find((row) => row.id === oldEnrolment);
    expect(old?.status === 'replaced' || (old?.replaced_after ?? Number.POSITIVE_INFINITY) < it.backend.clock.now()).toBe(true);
    expect(await alarms(it)).toEqual([]);
    await it.settle();
    await it.order();
    await it.checkIn();
    await agreesFor(it, it.mac.state.disk.volumeGroup, it.mac.recoveryKey);
    await agreesFor(it, oldVolume, oldKey);
  });

  test('with a debt for the old key: the new key is not replaced for it', async () => {
    const it = await owing();
    it.mac.erase();
    it.pass(3600);
    it.mac.setUp('ada');
    it.installPackage();
    await it.settle();
    const key = it.mac.recoveryKey;
    it.pass(day);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(key);
    await agrees2(it);
  });

  test('FileVault off and on keeps its key: nothing is superseded, and a proof is due', async () => {
    const it = await given();
    await it.settle();
    const key = it.mac.recoveryKey;
    it.mac.disableFileVault();
    it.pass(60);
    await it.checkIn();
    it.mac.enableFileVault('ada');
    it.pass(700);
    await it.checkIn();
    it.pass(700);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(key);
    expect((await records(it)).map((row) => row.state)).toEqual(['held']);
    const proof = await it.store.db
      .selectFrom('proof')
      .select('answer')
      .where('mac_id', '=', await it.macId())
      .execute();
    expect(proof.map((row) => row.answer)).toEqual(['true']);
    await agrees(it);
  });
});

async function agrees2(it: Given): Promise<void> {
  await agreesFor(it, it.mac.state.disk.volumeGroup, it.mac.recoveryKey);
}

describe('another logic board', () => {
  test('a known serial on other hardware is SERIAL_CONFLICT: custody in doubt, no key moves, nothing rotates until an admin has judged it', async () => {
    const it = await given();
    await it.settle();
    const [volume, key, macId] = [it.mac.state.disk.volumeGroup, it.mac.recoveryKey, await it.macId()];
    it.mac.erase();
    it.mac.change((one) => {
      one.hardwareUuid = '22222222-3333-4444-8555-666666666666';
    });
    it.pass(3600);
    it.mac.setUp('ada');
    it.installPackage();
    expect(await it.checkIn()).toBe(0);
    expect(await alarms(it, macId)).toContain('SERIAL_CONFLICT');
    await agreesFor(it, volume, key);
    await agreesFor(it, it.mac.state.disk.volumeGroup, it.mac.recoveryKey);
    expect(await it.custodyOf()).toMatchObject({ state: 'doubtful', because: expect.stringMatching(/SERIAL_CONFLICT/) });
    const own = it.mac.recoveryKey;
    await it.settle();
    await it.order();
    it.pass(60);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(own);
    expect(it.status().lastRun.did).toMatch(/SERIAL_CONFLICT/);
    for (const { id } of await it.store.db.selectFrom('alarm').select('id').where('mac_id', '=', macId).where('judged_at', 'is', null).execute())
      await it.custody.judgeAlarm({ alarmId: id, judgement: 'the logic board was replaced, repair 4711', actor: 'an admin' });
    it.pass(60);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(own);
    await agreesFor(it, it.mac.state.disk.volumeGroup, it.mac.recoveryKey);
    await agreesFor(it, volume, key);
    expect(await alarms(it, macId)).toEqual([]);
  });
});

describe('messages that come twice, or too late', () => {
  /** Every delivery that this Mac makes, to be sent again. */
  async function recording(it: Given) {
    const sent: { id: string; request: DeliveryRequest }[] = [];
    const { connect } = await import('../agent/backend.ts');
    const recordingConnect: typeof connect = async (world, parts) => {
      const backend = await connect(world, parts);
      return {
        ...backend,
        ask: {
          checkIn: (request) => backend.ask.checkIn(request),
          begin: (request) => backend.ask.begin(request),
          grant: (request) => backend.ask.grant(request),
          async deliver(id, request) {
            sent.push({ id, request });
            return backend.ask.deliver(id, request);
          },
        },
      };
    };
    /** The same bytes once more, over a connection of the Mac's own identity. */
    const again = async (one: { id: string; request: DeliveryRequest }, change: Partial<DeliveryRequest> = {}) => {
      let answer: unknown;
      await it.checkIn({
        async connect(world, parts) {
          const backend = await connect(world, parts);
          answer = await backend.ask.deliver(one.id, { ...one.request, ...change }).catch((cause: unknown) => (cause instanceof Problem ? cause.code : cause));
          return backend;
        },
      });
      return answer;
    };
    return { sent, connect: recordingConnect, again };
  }

  test('K2: every delivery of three rotations once more, in any order: the same keys, the same states, the newest held', async () => {
    const it = await owing();
    const { sent, connect, again } = await recording(it);
    for (const _ of [1, 2, 3]) {
      await it.checkIn({ connect });
      it.pass(day + 60);
      await it.order();
    }
    await it.checkIn({ connect });
    const before = (await records(it)).map(({ id, state: is }) => [id, is]);
    expect(before.filter(([, is]) => is === 'superseded')).toHaveLength(4);
    expect(sent.length).toBeGreaterThan(6);
    for (const one of [...sent].reverse()) {
      const receipt = (await again(one)) as { envelopeId: string; held: { envelopeIds: string[] } };
      expect(receipt.envelopeId).toBe(one.id);
      expect(receipt.held.envelopeIds).not.toContain(sent[0]?.id);
    }
    expect((await records(it)).map(({ id, state: is }) => [id, is])).toEqual(before);
    await agrees(it);
  });

  test('a superseded envelope that says of itself `validated: true` changes nothing: what is known is not read again', async () => {
    const it = await owing();
    const { sent, connect, again } = await recording(it);
    await it.checkIn({ connect });
    it.pass(day + 60);
    await it.order();
    await it.checkIn({ connect });
    const first = sent.find((one) => one.request.source === 'rotation');
    if (!first) throw new Error('nothing was delivered');
    expect(await again(first, { validated: 'true', rotationId: null })).toMatchObject({ state: 'superseded' });
    await agrees(it);
  });

  test('another envelope’s id for the bytes: KEY_ID_MISMATCH; another Mac’s envelope: quarantined, and no word about it', async () => {
    const it = await owing();
    const { sent, connect, again } = await recording(it);
    await it.checkIn({ connect });
    const [one, two] = sent;
    if (!one || !two) throw new Error('too few deliveries');
    expect(await again({ id: one.id, request: two.request })).toBe('KEY_ID_MISMATCH');

    const thief = await given();
    await thief.settle();
    const theirs = await recording(thief);
    const receipt = await theirs.again({ id: one.id, request: { ...one.request, hardwareUuid: thief.mac.state.hardwareUuid } });
    expect(receipt).toMatchObject({ readable: 'no', state: 'quarantined' });
    expect(await alarms(thief)).toContain('ENVELOPE_REUSED');
    expect(await thief.heldKey()).toBe(thief.mac.recoveryKey);
    await agrees(it);
  });

  test('for another hardware: IDENTITY_MOVED, an alarm, and nothing is superseded', async () => {
    const it = await owing();
    const { sent, connect, again } = await recording(it);
    await it.checkIn({ connect });
    const one = sent[0];
    if (!one) throw new Error('nothing was delivered');
    expect(await again(one, { hardwareUuid: '33333333-4444-4555-8666-777777777777' })).toBe('IDENTITY_MOVED');
    expect(await alarms(it)).toEqual(['IDENTITY_MOVED']);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });
});

test('nothing of another life is deleted: whatever was set aside still lies there', async () => {
  const it = await given();
  await it.checkIn();
  const path = it.mac.path(`${state}/journal.json`);
  expect(existsSync(path)).toBe(true);
  it.mac.change((one) => {
    one.disk.volumeGroup = '99999999-AAAA-4BBB-8CCC-FFFFFFFFFFFF';
  });
  it.mac.boot();
  it.pass(60);
  await it.checkIn();
  const aside = readdirSync(it.mac.path(state)).filter((name) => name.startsWith('journal.json.'));
  expect(aside).toHaveLength(1);
  expect(JSON.parse(readFileSync(it.mac.path(`${state}/${aside[0]}`), 'utf8'))).toMatchObject({ current: { held: true } });
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { inRed } from '../server/command.ts';
import { readSent } from '../server/crypt/form.ts';
import { show } from '../server/show.ts';
import { type GivenOptions, given, operator } from './given.ts';

/* Keys that Crypt brought for a Mac with our agent on it: what they count for, and who replaces them. */

const underTheirs: GivenOptions = { escrow: 'foreign' };
const falseKey = 'AAAA-BBBB-CCCC-DDDD-EEEE-FFFF';
type Given = Awaited<ReturnType<typeof given>>;

const take = (it: Given, text: string, trust: 'device' | 'header' | 'none' = 'none') => {
  const key = RecoveryKey.parse(text);
  if (!key) throw new TypeError('no key');
  return it.custody.crypt.take({ serial: it.mac.state.serial, key, trust });
};
async function runs(it: Given, ...seconds: number[]): Promise<void> {
  for (const one of seconds) {
    it.pass(one);
    await it.checkIn();
  }
}
const rotations = async (it: Given) =>
  it.store.db
    .selectFrom('rotation')
    .selectAll()
    .where('mac_id', '=', await it.macId())
    .execute();

describe('a key that came without a device identity', () => {
  test('counts for nothing and is shown to nobody; once the Mac itself has proved it, it is held, without a rotation', async () => {
    const it = await given(underTheirs);
    await it.settle();
    expect(await take(it, it.mac.recoveryKey ?? '')).toMatchObject({ fate: 'offered', rotationRequired: false });
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign', candidates: 0 });
    const shown = show(it.backend, { mac: it.mac.state.serial, reason: 'locked out', actor: operator, refused: [] });
    await expect(shown).rejects.toMatchObject({ code: 'KEY_UNKNOWN' });
    await runs(it, 60, 60);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await rotations(it)).toEqual([]);
    expect(await it.custody.crypt.verify(it.mac.state.serial)).toEqual({ escrowedAt: expect.any(Number) });
  });

  test('a false one makes no doubt about the key that is held, and costs the Mac no try', async () => {
    const it = await given();
    await it.settle();
    await runs(it, 60, 60);
    const before = await it.custodyOf();
    expect(before).toMatchObject({ state: 'held' });
    for (const text of [falseKey, falseKey.replace('AAAA', 'ABBA'), falseKey.replace('AAAA', 'ACCA')]) await take(it, text);
    expect(await take(it, falseKey.replace('AAAA', 'ADDA'))).toMatchObject({ fate: 'refused' });
    await runs(it, 60, 24 * 3600, 700);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String), candidates: 0 });
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
  });

  test('false ones for a Mac whose key nobody has cost it two tries in a week, and no more however many come', async () => {
    const it = await given(underTheirs);
    await it.settle();
    await take(it, falseKey);
    await take(it, falseKey.replace('AAAA', 'ABBA'));
    await take(it, falseKey.replace('AAAA', 'ACCA'));
    await runs(it, 60, 700, 24 * 3600, 700, 24 * 3600, 700, 24 * 3600, 700);
    expect(it.mac.state.wrongKeys.ever).toBe(2);
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign', candidates: 0 });
    expect(await rotations(it)).toEqual([]);
  });
});

describe('rotation_required of a key that was shown', () => {
  test('stays false where our own agent replaces it: there is one rotator', async () => {
    const it = await given();
    await it.settle();
    await runs(it, 60, 60);
    const key = it.mac.recoveryKey ?? '';
    await take(it, key, 'device');
    await it.disclose();
    it.pass(3 * 24 * 3600);
    expect(await take(it, key, 'device')).toMatchObject({ rotationRequired: false });
  });

  test('is true where the agent may not, after the hold; and false of the key before', async () => {
    const it = await given(underTheirs);
    await it.settle();
    const key = it.mac.recoveryKey ?? '';
    await take(it, key, 'device');
    await runs(it, 60, 60);
    await it.disclose();
    expect(await take(it, key, 'device')).toMatchObject({ rotationRequired: false });
    await it.custody.endHold({ macId: await it.macId(), actor: operator, because: 'back-in', reason: 'called, is in again' });
    expect(await take(it, key, 'device')).toMatchObject({ rotationRequired: true });
    it.mac.mdmRotates();
    const next = it.mac.recoveryKey ?? '';
    expect(await take(it, next, 'device')).toMatchObject({ rotationRequired: false });
    await runs(it, 3600, 700, 24 * 3600);
    expect(await it.heldKey()).toBe(next);
    expect(await take(it, key, 'device')).toMatchObject({ rotationRequired: false });
    expect(await rotations(it)).toEqual([]);
  });
});

test('what nobody may overlook is said in words everywhere, and in red where there are colours; a terminal obeys nothing in it', () => {
  expect(inRed(['a door is open'], false)).toBe('WARNING: a door is open\n');
  expect(inRed(['a door\u001b[2J is open'], true)).toBe('\u001b[1;31mWARNING: a door?[2J is open\u001b[0m\n');
});

test('whatever bytes come as a form, there is a key with a serial number, or a reason in words of ours', () => {
  const types = ['application/x-www-form-urlencoded', 'multipart/form-data; boundary=-', 'multipart/form-data; boundary="b"; charset=x', 'text/plain'];
  const pieces = [
    'serial=',
    'C02XK1ZJJGH5',
    '&',
    'recovery_password=',
    falseKey,
    '%00',
    '%FF',
    '=',
    '\r\n',
    '--b',
    '---',
    '--',
    'secret_type=',
    'recovery_key',
  ];
  const parts = [...pieces, 'Content-Disposition: form-data; name="serial"', 'Content-Disposition: form-data; name="recovery_password"', 'name="', '\r\n\r\n'];
  const piece = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...parts) }, fc.string({ maxLength: 8 }));
  const bytes = fc.oneof(
    fc.array(piece, { maxLength: 24 }).map((all) => Buffer.from(all.join(''))),
    fc.uint8Array({ maxLength: 200 }).map((all) => Buffer.from(all)),
  );
  fc.assert(
    fc.property(fc.constantFrom(...types), bytes, (type, body) => {
      const sent = readSent(type, body);
      if (typeof sent === 'string') expect(sent).toMatch(/^[a-zA-Z0-9 _,:-]+$/);
      else expect([sent.serial.length > 0, sent.key instanceof RecoveryKey, sent.serial === sent.serial.trim()]).toEqual([true, true, true]);
      expect(JSON.stringify(sent)).not.toContain(falseKey);
    }),
    { numRuns: 1500 },
  );
  expect(readSent(undefined, Buffer.alloc(0))).toMatch(/neither/);
});

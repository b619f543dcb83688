import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Bringing } from '../server/brought/bringing.ts';
import { isBroughtWhole } from '../server/brought/row.ts';
import { bringing, bringTo, envelopeFor, rowOf, withoutOpener } from './brought-parts.ts';
import { refuseWrites } from './refused-writes.ts';
import { type GivenServer, givenServer, newKey, secrets, type TestMac } from './server-parts.ts';

/* Rows of brought keys that were changed behind our back: none of our own acts makes such a row whole again, and none keeps the others waiting. */

let server: GivenServer;
let mac: TestMac;
beforeAll(async () => {
  server = await givenServer();
  mac = await server.newMac();
});
afterAll(() => server.close());

const bring = async (serial: string, more: Partial<Bringing> = {}) => {
  const [one] = await server.custody.bring([bringing(serial, newKey(), more)]);
  return { fate: one?.fate, because: one?.because, keyId: one?.keyId ?? '' };
};
const row = (id: string) => rowOf(server, id);
const isWhole = async (id: string) => isBroughtWhole(secrets, await row(id));
const tamper = (id: string, values: { trust?: 'admin' | 'mdm'; serial?: string; recipient?: string }) =>
  server.store.write((tx) => tx.updateTable('brought_key').set(values).where('id', '=', id).execute());
const alarmsOf = (id: string) =>
  server.store.db.selectFrom('alarm').select('code').where('detail', '=', `brought key ${id}`).where('judged_at', 'is', null).execute();
/** As it came, and nobody can look into it now. */
const sealed = async (serial: string, key = newKey()) => {
  const envelope = envelopeFor(server, mac.seal(key));
  return withoutOpener(server, () => bring(serial, { key: null, source: 'nanomdm', trust: 'mdm', envelope }));
};

describe('a row that is not as it was written stays so, with ROW_TAMPERED', () => {
  test('when its key is brought again: that one is refused in words, and is not said to be known', async () => {
    const key = newKey();
    await server.newMac({ serial: 'C02TAMPER001' });
    const { keyId } = await bring('C02TAMPER001', { key, source: 'crypt', trust: 'header' });
    await tamper(keyId, { trust: 'admin' });
    const again = await bring('C02TAMPER001', { key, trust: 'admin' });
    expect(again).toMatchObject({ fate: 'refused', because: expect.stringMatching(/not as it was written/) });
    expect(await isWhole(keyId)).toBe(false);
    expect(await alarmsOf(keyId)).toEqual([{ code: 'ROW_TAMPERED' }]);
  });

  test('when the run that brought it is taken back, and somebody brought it without a run as well', async () => {
    const key = newKey();
    await server.newMac({ serial: 'C02TAMPER002' });
    await bringTo(() => server).newRun('run-1');
    const { keyId } = await bring('C02TAMPER002', { key, runId: 'run-1' });
    await bring('C02TAMPER002', { key, source: 'nanomdm', trust: 'mdm' });
    await tamper(keyId, { recipient: 'f'.repeat(64) });
    expect(await server.custody.withdrawRun({ runId: 'run-1', actor: 'ada', reason: 'x' })).toEqual({ withdrawn: 0, kept: 1 });
    expect(await isWhole(keyId)).toBe(false);
    expect(await alarmsOf(keyId)).toEqual([{ code: 'ROW_TAMPERED' }]);
  });

  test('when a sealed one turns out to hold the same key: that one stays as it is', async () => {
    const key = newKey();
    await server.newMac({ serial: 'C02TAMPER003' });
    const plain = await bring('C02TAMPER003', { key });
    const later = await sealed('C02TAMPER003', key);
    expect(later.fate).toBe('waiting');
    await tamper(plain.keyId, { trust: 'mdm' });
    await server.custody.openLater();
    expect(await isWhole(plain.keyId)).toBe(false);
    expect(await alarmsOf(plain.keyId)).toEqual([{ code: 'ROW_TAMPERED' }]);
    expect(await row(later.keyId)).toMatchObject({ state: 'waiting', bytes: expect.anything() });
  });
});

test('a sealed key that cannot be stored once it is opened keeps those after it from nothing', async () => {
  const [first, second] = [await sealed('C02CANNOT001'), await sealed('C02CANNOT002')];
  const allow = await refuseWrites(server.store, 'no_such_key', 'update of fingerprint on brought_key', `new.id = '${first.keyId}'`);
  expect(await server.custody.openLater()).toMatchObject({ opened: 1 });
  expect((await row(first.keyId)).fingerprint).toBeNull();
  expect((await row(second.keyId)).fingerprint).not.toBeNull();
  await allow();
  await server.custody.openLater();
  expect((await row(first.keyId)).fingerprint).not.toBeNull();
});

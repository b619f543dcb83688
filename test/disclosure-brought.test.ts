import { expect, test } from '@jest/globals';
import { bringing } from './brought-parts.ts';
import { type GuardedMac, guardedMac } from './disclosure-parts.ts';
import type { AdminGiven } from './given-console.ts';
import { keyOn } from './key-pages.ts';
import { newKey } from './server-parts.ts';

/* Keys that only others had, shown to admins: by the rules of every other disclosure, and never as if anything of them were proved. */

const reason = 'the person is locked out';
const ask = (who: AdminGiven, named: string, more: object = {}) => who.post(`/v1/devices/${named}/brought-key`, { reason, ...more });
const bring = async (it: GuardedMac, serial: string, more: object = {}) => {
  const key = newKey();
  await it.custody.bring([bringing(serial, key, more)]);
  return key;
};
const serialOf = async (it: GuardedMac) => (await it.store.db.selectFrom('mac').select('serial').where('id', '=', it.id).executeTakeFirstOrThrow()).serial;
const audited = async (it: GuardedMac, act: string) =>
  (await it.store.db.selectFrom('audit').selectAll().where('act', '=', act).orderBy('seq').execute()).map((row) => ({
    actor: row.actor,
    macId: row.mac_id,
    ...(JSON.parse(row.details) as Record<string, unknown>),
  }));

test('a serial number that no Mac has yet: for whoever is shown the keys of all Macs, in the audit, and said to be of no proof', async () => {
  const it = await guardedMac();
  const serial = 'C02NOAGENT77';
  const [older, newer] = [await bring(it, serial, { madeAt: 1000 }), await bring(it, serial, { madeAt: Date.parse('2026-03-01T10:00:00Z') })];
  const [all, some, viewer, token] = [await it.as('help-desk'), await it.here('help-desk'), await it.as('viewer'), await it.as('help-desk', null, 'token')];
  // Neither that there is one, nor that there is none, is told to whoever has some Macs only.
  for (const named of [serial, 'C02NOTHING77']) expect((await ask(some, named)).body).toMatchObject({ code: 'MAC_UNKNOWN', status: 404 });
  expect((await ask(viewer, serial)).body).toMatchObject({ code: 'NOT_ALLOWED' });
  expect((await ask(all, 'C02NOTHING77')).body).toMatchObject({ code: 'MAC_UNKNOWN' });
  expect((await ask(all, serial, { reason: 'no' })).body).toMatchObject({ code: 'REASON_MISSING' });
  expect(await audited(it, 'brought.disclosed')).toEqual([]);
  const first = await ask(all, serial.toLowerCase(), { ticket: 'INC-1' });
  expect(first.body).toMatchObject({ serial, deviceId: null, provedAt: null, source: 'intune', madeAt: '2026-03-01T10:00:00.000Z', others: 1 });
  expect(first.body).toMatchObject({ recoveryKey: newer.reveal(), replaceUntil: expect.any(String) });
  expect(await audited(it, 'brought.disclosed')).toMatchObject([{ actor: all.userName, macId: null, reason: `${reason} (INC-1)`, personId: all.personId }]);
  // What nobody was shown is not passed over; what was, is.
  const [unseen] = await it.store.db.selectFrom('brought_key').select('id').where('serial', '=', serial).where('id', '<>', first.body.broughtKeyId).execute();
  expect((await ask(all, serial, { refused: [unseen?.id] })).body).toMatchObject({ recoveryKey: newer.reveal() });
  expect((await ask(token, serial, { refused: [first.body.broughtKeyId] })).body).toMatchObject({ recoveryKey: older.reveal(), others: 0 });
  expect((await ask(all, serial, { refused: [first.body.broughtKeyId, unseen?.id] })).body).toMatchObject({ code: 'KEY_UNKNOWN' });
});

/** Its own key is proved, so that what others bring lies aside. */
async function besideProved(rules: Parameters<typeof guardedMac>[0] = {}) {
  const it = await guardedMac(rules);
  await it.settle();
  await it.checkIn();
  const serial = await serialOf(it);
  const brought = await bring(it, serial);
  return { it, serial, brought, desk: await it.here('help-desk'), path: `/disclosures/brought?device=${it.id}` };
}

test('a Mac with a key of its own is asked for that first; then the page shows what others brought, says that it was never proved, and hides it', async () => {
  const { it, serial, brought, desk, path } = await besideProved();
  expect((await ask(desk, it.id)).body).toMatchObject({ code: 'KEY_UNKNOWN', detail: expect.stringContaining('asked for first') });
  const own = (await it.key(desk)).body;
  expect(own.recoveryKey).toBe(it.mac.recoveryKey);
  const keyPage = `/devices/${it.id}/key`;
  expect((await desk.browser.get(keyPage)).text).toContain(path);
  // On the page of the Mac's own keys there is no next one: from there on to what others brought, with what was written.
  const first = await desk.browser.submit(await desk.browser.get(keyPage), keyPage, { reason });
  const none = await desk.browser.submit(first, keyPage);
  expect([none.status, keyOn(none)]).toEqual([404, null]);
  const form = await desk.browser.submit(none, '/disclosures/brought/form');
  expect(form.content).toContain('was never proved');
  const shown = await desk.browser.submit(form, '/disclosures/brought');
  expect(keyOn(shown)).toBe(brought.reveal());
  expect(shown.content).toContain(`Nobody knows whether this key opens ${serial}.`);
  expect(shown.headers['cache-control']).toBe('no-store');
  // The form is good once.
  expect(keyOn(await desk.browser.submit(form, '/disclosures/brought'))).toBeNull();
  const hidden = await desk.browser.submit(shown, '/disclosures/brought/hide');
  expect([keyOn(hidden), hidden.content.includes('hidden again')]).toEqual([null, true]);
  expect(await it.acts('brought.disclosed')).toMatchObject([{ actor: desk.userName, reason, personId: desk.personId }]);
  // Whoever has other Macs sees neither.
  expect((await (await it.as('help-desk', ['elsewhere'])).post(`/v1/devices/${it.id}/brought-key`, { reason })).body).toMatchObject({ code: 'MAC_UNKNOWN' });
});

test('where a second person is asked for, somebody else agrees first; limits count these keys too', async () => {
  const { it, serial, desk } = await besideProved({ needs: 'second-person', views: 'once', breakGlass: true, viewsPerHour: 2 });
  const approver = await it.here('approver');
  expect((await ask(desk, it.id)).body).toMatchObject({ code: 'APPROVAL_NEEDED' });
  const { id: requestId } = (await it.ask(desk)).body;
  expect((await ask(desk, it.id, { requestId })).body).toMatchObject({ code: 'APPROVAL_NEEDED' });
  expect((await it.vote(desk, requestId)).body).toMatchObject({ code: 'NOT_ALLOWED' });
  await it.vote(approver, requestId);
  const own = (await it.key(desk, { requestId })).body;
  const refused = [own.recordId];
  expect((await ask(await it.here('help-desk'), it.id, { requestId, refused })).body).toMatchObject({ code: 'APPROVAL_NEEDED' });
  expect((await ask(desk, serial, { requestId, refused })).body).toMatchObject({ deviceId: it.id, source: 'intune' });
  expect(await it.acts('disclosure.used')).toHaveLength(2);
  // Once each key; and two keys in this hour, of whichever kind.
  expect((await ask(desk, it.id, { requestId, refused })).body).toMatchObject({ code: 'VIEWS_LIMIT' });
  expect(await it.alarms()).toContain('VIEWS_UNUSUAL');
  await it.setPolicy({ needs: 'second-person', views: 'once' });
  expect((await ask(desk, it.id, { requestId, refused })).body).toMatchObject({ code: 'REQUEST_ENDED' });
  expect(await it.acts('brought.disclosed')).toHaveLength(1);
  // A serial number of no Mac has nobody to ask: the rules for Macs without tags hold, and here they ask for two.
  await bring(it, 'C02NOMACYET7');
  const owner = await it.as('owner');
  const everywhere = { name: 'everywhere', rank: 9000, tags: null, rules: { disclosure: { needs: 'second-person' } }, version: null, reason: 'a test' };
  expect((await owner.put('/v1/policies/new', everywhere)).status).toBe(200);
  expect((await ask(owner, 'C02NOMACYET7')).body).toMatchObject({ code: 'APPROVAL_NEEDED', detail: expect.stringContaining('sparekey-server show') });
  // Nobody answers for it: it is shown to nobody.
  await bring(it, 'C02HEADER777', { source: 'crypt', trust: 'header' });
  expect((await ask(owner, 'C02HEADER777')).body.code).toMatch(/^(APPROVAL_NEEDED|KEY_UNKNOWN)$/);
});

test('a Mac that only claims a serial number opens no key of the one that has it', async () => {
  const it = await guardedMac();
  const key = await bring(it, 'C02CLAIMED77');
  await it.store.write((tx) => tx.updateTable('mac').set({ serial: 'C02CLAIMED77', serial_proved: 0 }).where('id', '=', it.id).execute());
  await it.store.write((tx) => tx.updateTable('enrolment').set({ confirmed: 0 }).where('mac_id', '=', it.id).execute());
  const said = await ask(await it.here('help-desk'), it.id);
  expect([said.body.code, said.text.includes(key.reveal())]).toEqual(['KEY_UNKNOWN', false]);
  expect(said.body.detail).toContain('only claims');
});

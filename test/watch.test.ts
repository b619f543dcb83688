import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { forgetWhatIsOld, watchEpisodes } from '../portal/watch.ts';
import { verifyAudit } from '../server/audit.ts';
import { askForKey, presentRequest } from '../server/key-requests.ts';
import { type GivenMails, givenMails } from './mail-parts.ts';
import { day, hour, minute, newKey, second, type TestMac } from './server-parts.ts';

const opened: GivenMails[] = [];
afterEach(async () => {
  for (const given of opened.splice(0)) {
    // Whatever the rounds did is in a chain that holds.
    expect((await verifyAudit(given.server.store)).ok).toBe(true);
    await given.server.close();
  }
});
async function given(people?: object) {
  const it = await givenMails(people);
  opened.push(it);
  const mac = await it.newMac({ serial: 'C02XK1ZJJGH5' });
  const ada = await it.person();
  return { ...it, mac, ada, watch: () => watchEpisodes(it.ground) };
}
const nothing = { closed: 0, unheard: 0, expired: 0 };
const mailsOf = async ({ server }: GivenMails) =>
  (await server.store.db.selectFrom('mail').selectAll().orderBy('created_at').orderBy('kind').execute()).map(({ kind, details }) => ({
    kind,
    ...JSON.parse(details),
  }));
const episodes = ({ server }: GivenMails) => server.store.db.selectFrom('episode').selectAll().execute();
/** The person is in again, the hold has ended, and the Mac replaces its key. */
async function replace(it: GivenMails, mac: TestMac) {
  mac.reboot();
  it.server.wall.pass(2 * minute);
  await mac.checkIn();
  return mac.rotate();
}

describe('an episode', () => {
  test('is closed when another key than those shown is held and checked, once, with a mail that has all times', async () => {
    const it = await given();
    const shownAt = it.server.wall.now();
    const id = await it.show(it.mac, it.ada);
    expect(await it.watch()).toEqual(nothing);
    it.server.wall.pass(hour);
    await replace(it, it.mac);
    const replacedAt = it.server.wall.now();
    it.server.wall.pass(30 * second);
    expect(await it.watch()).toEqual({ ...nothing, closed: 1 });
    expect(await it.watch()).toEqual(nothing);
    expect(await episodes(it)).toMatchObject([{ id, closed_at: it.server.wall.now(), unheard_at: null }]);
    expect(await mailsOf(it)).toMatchObject([
      { kind: 'key-shown', shownAt, serialEnd: 'JGH5' },
      { kind: 'key-replaced', shownAt, replacedAt, checkedAt: replacedAt, serialEnd: 'JGH5' },
    ]);
    expect(await it.server.acts('episode.closed')).toMatchObject([{ actor: 'server', details: { episodeId: id } }]);
    it.server.wall.pass(minute);
    expect(await it.send()).toEqual({ sent: 2, failed: 0, givenUp: 0 });
  });

  test('is not closed by a candidate, and is by the key that macOS says is valid', async () => {
    const it = await given();
    await it.show(it.mac, it.ada);
    it.server.wall.pass(day + minute);
    await it.mac.checkIn();
    const { rotationId } = await it.mac.begin();
    await it.mac.deliver(newKey(), { source: 'rotation', validated: 'unknown', rotationId });
    // A candidate is no replacement: nobody knows yet which of the two is valid.
    expect(await it.watch()).toEqual(nothing);
    const { envelopeId } = await it.mac.deliver(newKey(), { source: 'agent' }).then(({ receipt }) => receipt);
    await it.mac.prove(envelopeId, 'true');
    expect(await it.watch()).toEqual({ ...nothing, closed: 1 });
    expect((await mailsOf(it)).at(-1)).toMatchObject({ kind: 'key-replaced', checkedAt: it.server.wall.now() });
  });

  test('of several views is closed when all of them are paid', async () => {
    const it = await given();
    await it.show(it.mac, it.ada);
    it.server.wall.pass(4 * minute);
    await it.show(it.mac, it.ada);
    await replace(it, it.mac);
    // Somebody looks again at that moment: the new key is owed a replacement too, in an episode of its own.
    it.server.wall.pass(second);
    const next = await it.show(it.mac, it.ada);
    expect(await it.watch()).toEqual({ ...nothing, closed: 1 });
    expect((await episodes(it)).filter(({ closed_at }) => closed_at === null).map(({ id }) => id)).toEqual([next]);
    expect((await mailsOf(it)).map(({ kind }) => kind)).toEqual(['key-shown', 'key-replaced', 'key-shown']);
  });

  test('of a Mac that is not heard of for a day is said, once; and is closed when it comes back', async () => {
    const it = await given();
    it.server.wall.pass(second);
    const first = it.server.wall.now();
    await it.show(it.mac, it.ada);
    it.server.wall.pass(hour);
    // The day counts from the last view.
    await it.show(it.mac, it.ada);
    it.server.wall.pass(day - second);
    expect(await it.watch()).toEqual(nothing);
    it.server.wall.pass(second);
    expect(await it.watch()).toEqual({ ...nothing, unheard: 1 });
    expect(await it.watch()).toEqual(nothing);
    expect((await mailsOf(it)).at(-1)).toMatchObject({ kind: 'nothing-heard', shownAt: first + hour });
    expect(await episodes(it)).toMatchObject([{ unheard_at: it.server.wall.now(), closed_at: null }]);
    it.server.wall.pass(3 * day);
    await replace(it, it.mac);
    expect(await it.watch()).toEqual({ ...nothing, closed: 1 });
    expect((await mailsOf(it)).map(({ kind }) => kind)).toEqual(['key-shown', 'nothing-heard', 'key-replaced']);
  });

  test('is not said to be silent right after a start or a restore: until then no Mac could be heard of', async () => {
    const it = await given();
    await it.show(it.mac, it.ada);
    it.server.wall.pass(3 * day);
    const heardFrom = it.server.wall.now() + hour;
    expect(await watchEpisodes(it.ground, heardFrom)).toEqual(nothing);
    it.server.wall.pass(hour);
    expect(await watchEpisodes(it.ground, heardFrom)).toEqual({ ...nothing, unheard: 1 });
  });

  test('of a Mac that was heard of is not said to be silent', async () => {
    const it = await given();
    await it.show(it.mac, it.ada);
    it.server.wall.pass(hour);
    await it.mac.checkIn();
    it.server.wall.pass(2 * day);
    expect(await it.watch()).toEqual(nothing);
  });

  test('is judged once more in the transaction that settles it: what came between is not written over, nor written to anybody', async () => {
    const it = await given();
    const { store } = it.server;
    const { write } = store;
    /** Puts itself between the round's look and its act. */
    const betweenLookAndAct = async (meanwhile: () => Promise<unknown>) => {
      let happened = false;
      store.write = async (act) => {
        store.write = write;
        happened = true;
        await meanwhile();
        return write(act);
      };
      const done = await it.watch();
      store.write = write;
      expect(happened).toBe(true);
      return done;
    };
    await it.show(it.mac, it.ada);
    it.server.wall.pass(day + minute);
    // A day of silence: and in that moment the Mac is heard of.
    expect(await betweenLookAndAct(() => it.mac.checkIn())).toEqual(nothing);
    expect(await episodes(it)).toMatchObject([{ unheard_at: null, closed_at: null }]);
    // Replaced and checked: and in that moment another round closes it.
    await replace(it, it.mac);
    expect(await betweenLookAndAct(() => it.watch())).toEqual(nothing);
    expect(await it.server.acts('episode.closed')).toHaveLength(1);
    expect((await mailsOf(it)).map(({ kind }) => kind)).toEqual(['key-shown', 'key-replaced']);
  });

  test('in which no key opened is closed without a word', async () => {
    const it = await given();
    it.server.escrow.answers = false;
    await expect(it.show(it.mac, it.ada)).rejects.toMatchObject({ code: 'CANNOT_OPEN' });
    it.server.escrow.answers = true;
    it.server.wall.pass(2 * day);
    await replace(it, it.mac);
    expect(await it.watch()).toMatchObject({ closed: 1 });
    expect((await mailsOf(it)).map(({ kind }) => kind)).toEqual(['key-shown']);
    it.server.wall.pass(minute);
    expect(await it.send()).toEqual({ sent: 0, failed: 0, givenUp: 0 });
  });
});

test('a request whose time is over ends, once, with a line in the audit', async () => {
  const it = await given();
  const { store } = it.server;
  const ask = { macId: it.mac.id, personId: it.ada, actor: 'ada', reason: 'locked out', hours: 4 };
  await store.write((tx) => askForKey(tx, it.server.clock.now(), ask));
  it.server.wall.pass(4 * hour - second);
  expect(await it.watch()).toEqual(nothing);
  it.server.wall.pass(second);
  expect(await it.watch()).toEqual({ ...nothing, expired: 1 });
  expect(await it.watch()).toEqual(nothing);
  expect((await presentRequest(store.db, it.mac.id, it.ada, it.server.clock.now()))?.state).toBe('expired');
  expect(await it.server.acts('request.expired')).toHaveLength(1);
});

test('what has lost its meaning is forgotten: sign-ins, forms, codes after a week, sessions and mails after their time', async () => {
  const it = await given();
  const { store, clock, wall } = it.server;
  await it.show(it.mac, it.ada);
  wall.pass(minute);
  await it.send();
  const at = clock.now();
  const session = (ended_at: number | null) => ({
    id: randomUUID(),
    digest: randomUUID(),
    person_id: it.ada,
    site: 'portal' as const,
    way: 'password',
    created_at: at,
    last_seen_at: at,
    fresh_at: at,
    network: '192.0.2.1',
    browser: 'a test',
    ended_at,
    ended_because: ended_at === null ? null : 'sign-out',
  });
  await store.write(async (tx) => {
    await tx
      .insertInto('web_session')
      .values([session(at)])
      .execute();
    await tx
      .insertInto('spent_form')
      .values({ digest: 'a', expires_at: at + hour })
      .execute();
    await tx
      .insertInto('sign_in_flow')
      .values({ digest: 'b', kind: 'passkey', checks: '{}', then_path: '/', created_at: at, expires_at: at + hour } as never)
      .execute();
    await tx
      .insertInto('help_code')
      .values({ code: '7F3A-19', page: 'a', network: '192.0.2.1', language: 'en', created_at: at } as never)
      .execute();
  });
  const left = async () => {
    const count = async (table: 'web_session' | 'spent_form' | 'sign_in_flow' | 'help_code') => (await store.db.selectFrom(table).selectAll().execute()).length;
    const [mail] = await store.db.selectFrom('mail').select(['details', 'address', 'sent_at']).execute();
    return {
      sessions: await count('web_session'),
      forms: await count('spent_form'),
      flows: await count('sign_in_flow'),
      codes: await count('help_code'),
      mail: mail?.details === '{}' ? 'empty' : 'whole',
      files: readdirSync(join(it.dir, 'mail')).length,
      sent: mail?.sent_at !== null,
    };
  };
  const whole = { sessions: 1, forms: 1, flows: 1, codes: 1, mail: 'whole', files: 1, sent: true };
  const after: [milliseconds: number, left: object][] = [
    [0, whole],
    [2 * hour, { ...whole, forms: 0, flows: 0 }],
    [7 * day, { ...whole, forms: 0, flows: 0, codes: 0 }],
    [23 * day, { ...whole, forms: 0, flows: 0, codes: 0, mail: 'empty', files: 0 }],
    [60 * day, { ...whole, forms: 0, flows: 0, codes: 0, mail: 'empty', files: 0, sessions: 0 }],
  ];
  for (const [milliseconds, expected] of after) {
    wall.pass(milliseconds);
    for (const _ of ['once', 'twice']) {
      await forgetWhatIsOld(it.ground);
      expect(await left()).toEqual(expected);
    }
  }
});

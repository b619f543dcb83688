import { beforeAll, describe, expect, test } from '@jest/globals';
import { openApi } from '../ctl/asking.ts';
import { disclose } from '../ctl/commands/key.ts';
import type { Ctl } from '../ctl/result.ts';
import { makeToken } from '../server/admins/tokens.ts';
import { raise } from '../server/alarms.ts';
import { assignFromCsv } from '../server/assignments.ts';
import { csvRow } from '../server/auditing/csv.ts';
import { csvCell } from '../server/fleet/list.ts';
import { silentLog } from '../server/log.ts';
import type { Role } from '../server/permissions.ts';
import { endWhatPeopleHad } from '../server/restore-ending.ts';
import { type GuardedMac, guardedMac } from './disclosure-parts.ts';
import type { Answered } from './given-console.ts';

/* Ways in which one admin, or one token, could get at keys, at others, or stop the backend. Each went once. */

let it: GuardedMac;
beforeAll(async () => {
  it = await guardedMac();
});

/** A token that stands for a program, made by somebody with this role. */
async function program(role: Role) {
  const maker = await it.as(role);
  const { store, clock } = it.backend;
  const admin = { kind: 'person', name: maker.userName, personId: maker.personId, tokenId: null, service: false, fresh: true } as const;
  const grants = (await maker.get('/v1/me')).body.may.map((one: { permission: string; tags: string[] | null }) => ({
    permission: one.permission,
    scope: one.tags,
  }));
  const { token } = await makeToken(
    { store, clock },
    { ...admin, grants },
    { name: `of ${maker.userName}`, roles: [{ role, scope: null }], service: true, days: null },
  );
  const headers = { authorization: `Bearer ${token}` };
  return {
    maker,
    post: (path: string, body: unknown): Promise<Answered> => it.console.nobody.post(path, body, headers),
    put: (path: string, body: unknown): Promise<Answered> => it.console.nobody.put(path, body, headers),
  };
}

describe('a token that stands for a program', () => {
  test('says of no Mac whose it is, for its key is shown to them; where a policy shows it keys, it does', async () => {
    await it.setPolicy({});
    const script = await program('admin');
    const assign = () => script.post(`/v1/devices/${it.id}/assign`, { userName: 'mallory@example.org', reason: 'as the list of the office has it' });
    expect((await assign()).body).toMatchObject({ code: 'NOT_ALLOWED', detail: expect.stringContaining('by people') });
    expect(await it.acts('mac.assigned')).toEqual([]);
    await it.setPolicy({ service: 'allowed' });
    expect((await assign()).body).toEqual({ users: ['mallory@example.org'] });
  });

  test('says of a Mac that it is lost or retired, and not that it is in use again; where a policy shows it keys, it does', async () => {
    await it.setPolicy({});
    const script = await program('admin');
    const say = (change: object) => script.post(`/v1/devices/${it.id}/standing`, { ...change, reason: 'as the list of the office has it' });
    expect((await say({ state: 'lost', ownership: 'personal' })).status).toBe(200);
    for (const change of [{ state: 'in-use' }, { ownership: 'organisation' }])
      expect((await say(change)).body).toMatchObject({ code: 'NOT_ALLOWED', detail: expect.stringContaining('by people') });
    expect((await say({ state: 'retired' })).status).toBe(200);
    await it.setPolicy({ service: 'allowed' });
    expect((await say({ state: 'in-use', ownership: 'organisation' })).body).toMatchObject({ state: 'in-use', ownership: 'organisation' });
  });

  test('judges no alarm that stops a Mac or its self-service; any other it does', async () => {
    const script = await program('admin');
    const { store, clock } = it.backend;
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await raise({ log: silentLog }, tx, at, it.id, 'IDENTITY_CLONED', 'two machines');
      await raise({ log: silentLog }, tx, at, it.id, 'NOT_ME', 'somebody else');
      await raise({ log: silentLog }, tx, at, it.id, 'KEY_REFUSED', 'twice');
    });
    const open = await store.db.selectFrom('alarm').select(['id', 'code']).where('mac_id', '=', it.id).where('judged_at', 'is', null).execute();
    const answers: Record<string, number> = {};
    for (const { id, code } of open) answers[code] = (await script.post(`/v1/alarms/${id}/judge`, { judgement: 'a clone for a test' })).status;
    expect(answers).toMatchObject({ IDENTITY_CLONED: 403, NOT_ME: 403, KEY_REFUSED: 200 });
    const person = await it.as('admin');
    for (const { id } of open) await person.post(`/v1/alarms/${id}/judge`, { judgement: 'looked at' });
    expect(await it.alarms()).toEqual([]);
  });
});

test('nobody makes a Mac their own by saying that it is somebody else’s no more', async () => {
  const [admin, other] = [await it.as('admin'), await it.as('admin')];
  const { store, clock } = it.backend;
  const newer = await guardedMac();
  // A list of before names them; an admin has given it to somebody else since.
  await store.write(async (tx) => {
    const people = [{ userName: admin.userName, account: null }];
    await assignFromCsv(tx, await clock.persist(tx), { macId: newer.id, people, actor: 'an operator', reason: 'the list' });
  });
  await newer.assign({ userName: 'ceo@example.org' });
  const unassign = { userName: 'ceo@example.org', reason: 'a mix-up' };
  const path = `/v1/devices/${newer.id}/unassign`;
  expect((await admin.post(path, unassign)).body.code).toBe('OWN_REQUEST');
  expect((await (await program('admin')).post(path, unassign)).body.code).toBe('NOT_ALLOWED');
  expect((await other.post(path, unassign)).body).toEqual({ users: [admin.userName] });
  // What makes it nobody’s is for everybody.
  expect((await admin.post(path, { reason: 'a mix-up' })).body).toEqual({ users: [] });
});

describe('two records that are joined', () => {
  test('make nobody the user of another’s Mac by a Mac of their own; and no program joins any', async () => {
    const admin = await it.as('admin');
    const { store, clock } = it.backend;
    // An old Mac of their own, by the list of the office, and a newer one of somebody else.
    await store.write(async (tx) => {
      const people = [{ userName: admin.userName, account: null }];
      await assignFromCsv(tx, await clock.persist(tx), { macId: it.id, people, actor: 'an operator', reason: 'the list' });
    });
    it.pass(60);
    const newer = await guardedMac();
    await newer.assign({ userName: 'ceo@example.org' });
    const colleague = await it.as('admin');
    for (const id of [it.id, newer.id]) {
      const by = { userName: 'bob@example.org', reason: 'a mix-up' };
      expect((await admin.post(`/v1/devices/${id}/assign`, by)).status).toBe(200);
      expect((await colleague.post(`/v1/devices/${id}/unassign`, by)).status).toBe(200);
    }
    expect((await admin.post(`/v1/devices/${newer.id}/unassign`, { reason: 'a mix-up' })).status).toBe(200);
    const path = `/v1/devices/${newer.id}/merge`;
    const join = { other: it.id, reason: 'another logic board' };
    expect((await admin.get(`${path}?other=${it.id}`)).body).toMatchObject({ refused: null, userMoves: admin.userName });
    expect((await admin.post(path, join)).body.code).toBe('OWN_REQUEST');
    expect((await (await program('admin')).post(path, join)).body.code).toBe('NOT_ALLOWED');
    expect((await (await it.as('admin')).post(path, join)).status).toBe(200);
  });
});

test('self-service that is open for many is found and ended, however much of it is asked for and taken back after it', async () => {
  const [admin, approver, viewer] = [await it.as('admin'), await it.as('approver'), await it.as('viewer')];
  const ask = () => {
    const until = new Date(it.backend.clock.now() + 3_600_000).toISOString();
    return admin.post('/v1/emergencies', { tags: ['buried'], until, reason: 'the provider has lost all passwords' });
  };
  const { id } = (await ask()).body;
  expect((await approver.post(`/v1/emergencies/${id}/agree`, { words: 'seen it too' })).body.state).toBe('open');
  const { store } = it.backend;
  const row = await store.db.selectFrom('emergency').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  const later = { ...row, agreed_at: null, agreed_by: null, agreed_by_person: null, asked_at: row.asked_at + 1, ended_at: row.asked_at + 2 };
  await store.write(async (tx) => {
    for (let made = 0; made < 210; made += 1) {
      await tx
        .insertInto('emergency')
        .values({ ...later, id: `00000000-0000-4000-8000-${String(made).padStart(12, '0')}` })
        .execute();
    }
  });
  expect((await viewer.get('/v1/emergencies')).body.items[0]).toMatchObject({ id, state: 'open' });
  const asked = [];
  for (let made = 0; made < 21; made += 1) asked.push((await ask()).body.code);
  expect(asked.filter((code) => code !== undefined)).toEqual(['REQUESTS_LIMIT']);
  await store.write(async (tx) => void (await endWhatPeopleHad(tx, it.backend.clock.now(), 'an operator')));
  const open = await store.db.selectFrom('emergency').select('id').where('ended_at', 'is', null).execute();
  expect(open).toEqual([]);
});

test('that the audit was changed is muted for a day at most', async () => {
  const admin = await it.as('admin');
  const { store, clock } = it.backend;
  await store.write(async (tx) => raise({ log: silentLog }, tx, await clock.persist(tx), null, 'AUDIT_CHANGED', 'at record 7'));
  const { items } = (await admin.get('/v1/alarms?code=AUDIT_CHANGED')).body;
  const mute = (hours: number) =>
    admin.post(`/v1/alarms/${items[0].id}/mute`, { until: new Date(clock.now() + hours * 3_600_000).toISOString(), reason: 'looked at it' });
  expect((await mute(25)).body).toMatchObject({ code: 'MESSAGE_INVALID', detail: expect.stringContaining('within a day') });
  expect((await mute(23)).status).toBe(200);
});

test('a recovery key in what somebody writes is refused before anything is written', async () => {
  const desk = await it.as('help-desk');
  const key = String(it.mac.recoveryKey);
  const last = () => it.store.db.selectFrom('audit').select('seq').orderBy('seq', 'desc').limit(1).executeTakeFirst();
  const before = await last();
  for (const words of [
    { reason: `the note says ${key}, and it was refused` },
    { reason: `it is ${key.toLowerCase().replaceAll('-', '–')} (ten signs)` },
    { reason: 'the person is locked out', ticket: key },
  ]) {
    const said = await desk.post(it.keyPath, words);
    expect([said.status, said.body.code]).toEqual([400, 'KEY_IN_WORDS']);
    expect(said.text).not.toContain(key);
  }
  expect(await last()).toEqual(before);
});

test('a recovery key where a serial number belongs is in no answer', async () => {
  const viewer = await it.as('viewer');
  const said = await viewer.get(`/v1/devices/${it.mac.recoveryKey}`);
  expect([said.status, said.body.code]).toEqual([400, 'KEY_IN_WORDS']);
  expect((await viewer.get(`/v1/devices?q=${it.mac.recoveryKey}`)).body.code).toBe('KEY_IN_WORDS');
});

test('what only asks is kept for no repeat: nobody fills the database with questions', async () => {
  const viewer = await it.as('viewer');
  const ask = () => viewer.post('/v1/policies/dry-run', { rank: 9999, tags: null, rules: {} }, { 'idempotency-key': 'again and again' });
  const said = [await ask(), await ask()];
  expect(said.map(({ status, headers }) => [status, headers['idempotency-replayed']])).toEqual([
    [200, undefined],
    [200, undefined],
  ]);
  expect(await it.store.db.selectFrom('repeatable').select('key').where('owner', '=', viewer.personId).execute()).toEqual([]);
});

test('a campaign begins within a year: nobody ends a hold, by name, of a day that nobody knows', async () => {
  const rotator = await it.as('rotator');
  const plan = (from: string) => rotator.post('/v1/rotations/plan', { chosen: { kind: 'macs', macs: [it.id] }, from });
  const inDays = (days: number) => new Date(it.backend.clock.now() + days * 86_400_000).toISOString();
  expect((await plan(inDays(400))).body).toMatchObject({ code: 'MESSAGE_INVALID', detail: 'from: within a year' });
  expect((await plan('9999-12-31T23:59:59Z')).status).toBe(400);
  expect((await plan(inDays(300))).status).toBe(200);
});

test('no name is a formula for a spreadsheet whose lists have semicolons', () => {
  for (const name of ['Mac;=HYPERLINK("https://evil.example";"x")', 'Mac;"=1+1', 'Mac;  @SUM(1)', '＝1+1']) {
    for (const written of [csvCell(name), csvRow([name]).trimEnd()]) {
      // As Excel reads a line where the list separator is a semicolon: a quote counts at the beginning of a cell only.
      const cells = `S1,${written}`.split(';').map((cell) => cell.replace(/^["\s]+/, ''));
      expect(cells.filter((cell) => /^[=+\-@＝＋－＠]/u.test(cell))).toEqual([]);
      expect(written.replace(/^"/, '')).not.toMatch(/^[=＝]/u);
    }
  }
});

test('Ctrl-C at a terminal takes the key away and is no failure: which key it was is said all the same', async () => {
  const desk = await it.as('help-desk', null, 'token');
  const said: string[] = [];
  const terminal = {
    out: (text: string) => void said.push(text),
    err: () => undefined,
    isTerminal: true,
    isErrTerminal: true,
    colour: false,
    width: 80,
    ask: () => Promise.reject(new DOMException('Aborted with Ctrl+C', 'AbortError')),
  };
  const api = openApi({ url: it.console.url, token: desk.token, trusted: it.console.ca });
  const ctl: Ctl = { api, terminal, now: () => it.backend.clock.now(), quiet: false, json: false, progress: () => undefined, confirm: async () => undefined };
  await it.setPolicy({});
  const { text, notes } = await disclose(ctl, { mac: it.id, reason: 'the person is locked out', breakGlass: false, refused: [], yes: true });
  const shown = said.join('');
  expect(shown.slice(0, shown.indexOf('\u001b[?1049l'))).toContain(it.mac.recoveryKey?.slice(0, 4));
  expect(shown.endsWith('\u001b[?1049l')).toBe(true);
  expect([text, notes?.join(' ').includes(String(it.mac.recoveryKey)), notes?.[0]]).toEqual(['', false, expect.stringContaining('in the audit')]);
});

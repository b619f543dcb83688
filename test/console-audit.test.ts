import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { readExportLine } from '../server/auditing/export.ts';
import { type AdminGiven, givenConsole } from './given-console.ts';
import { postgres } from './new-database.ts';

/* The audit at the console and its API; and that nothing is done of which there can be no record. */

let it: Awaited<ReturnType<typeof givenConsole>>;
let auditor: AdminGiven;
let owner: AdminGiven;
let serial = '';
beforeAll(async () => {
  it = await givenConsole();
  await it.checkIn();
  [auditor, owner] = [await it.as('auditor'), await it.as('owner')];
  serial = (await it.backend.store.db.selectFrom('mac').select('serial').executeTakeFirstOrThrow()).serial;
});

describe('the API', () => {
  test('an act through it says by which request, from which network and with which token it came', async () => {
    const token = await it.as('owner', null, 'token');
    const answer = await token.post(`/v1/devices/${serial}/proofs`, { reason: 'before the audit' });
    expect(answer.status).toBe(200);
    const { body } = await auditor.get('/v1/audit?act=proof.ordered&limit=1');
    expect(body.items[0]).toMatchObject({
      serial,
      requestId: answer.headers['x-request-id'],
      network: expect.stringMatching(/^127\./),
      tokenId: expect.any(String),
    });
    const { tokenId } = body.items[0];
    const tokens = await it.backend.store.db.selectFrom('api_token').select('id').execute();
    expect(tokens.map(({ id }) => id)).toContain(tokenId);
  });

  test('a search, page by page; an export that is read line by line; a pack', async () => {
    const { body } = await auditor.get('/v1/audit?limit=2');
    expect(body.items).toHaveLength(2);
    const next = await auditor.get(`/v1/audit?limit=2&cursor=${body.next}`);
    expect(next.body.items[0].seq).toBe(body.items[1].seq - 1);
    expect((await auditor.get('/v1/audit?cursor=x')).status).toBe(400);
    const sent = await auditor.post('/v1/audit/export', {});
    expect([sent.status, sent.headers['content-type']]).toEqual([200, 'application/x-ndjson; charset=utf-8']);
    const kinds = sent.text
      .trimEnd()
      .split('\n')
      .map((line) => readExportLine(line).kind);
    expect([kinds[0], kinds.at(-1), kinds.includes('unread')]).toEqual(['head', 'end', false]);
    const pack = await auditor.post('/v1/reports/evidence', { from: '2020-01-01T00:00:00Z', to: '2099-01-01T00:00:00Z' });
    expect([pack.status, pack.text.slice(0, 2)]).toEqual([200, 'PK']);
    expect(pack.headers['content-disposition']).toMatch(/^attachment; filename="sparekey-evidence-2020-01-01-to-2099-01-01\.zip"$/);
  });

  test('how much goes on at other Macs is not told to whoever reads of some: no last record, no checkpoint, no number of records', async () => {
    const some = (await (await it.as('auditor', ['elsewhere'])).get('/v1/audit/state')).body;
    expect(some).toMatchObject({ ok: true, looked: { records: null }, last: null, checkpoint: null, sealedTo: null, findings: [] });
    const all = (await (await it.as('auditor')).get('/v1/audit/state')).body;
    expect([all.last.seq > 0, all.sealedTo]).toEqual([true, expect.any(Number)]);
  });

  test.each(['viewer', 'help-desk', 'rotator', 'approver'] as const)('a %s reads none of it', async (role) => {
    const one = await it.as(role);
    for (const path of ['/v1/audit', '/v1/audit/state', '/audit']) expect([path, (await one.get(path)).status]).toEqual([path, 403]);
    expect((await one.post('/v1/audit/export', {})).status).toBe(403);
    expect((await one.post('/v1/reports/evidence', { from: '2020-01-01T00:00:00Z', to: '2021-01-01T00:00:00Z' })).status).toBe(403);
  });
});

describe('the page', () => {
  test('says whether the record is whole, has what was searched for in its address, and leads to older ones', async () => {
    const page = await auditor.browser.get(`/audit?device=${serial}&act=key.`);
    expect(page.status).toBe(200);
    expect(page.words).toContain('Nothing was changed');
    expect(page.text).toContain(`value="${serial}"`);
    expect(page.text).toMatch(/href="\/audit\?device=[^"]*&amp;act=key\.stored"/);
    expect((await auditor.browser.get('/audit?act=nothing.like-it')).words).toContain('There is no such record');
    const wrong = await auditor.browser.get('/audit?device=C02NOBODYS00');
    expect([wrong.status, wrong.text.includes('role="alert"')]).toEqual([404, true]);
    expect((await auditor.browser.get('/audit?from=2099-01-01&to=2099-01-02')).words).toContain('There is no such record');
    expect((await auditor.browser.get('/audit?from=then')).status).toBe(400);
  });

  test('words of others stay words', async () => {
    await owner.post(`/v1/devices/${serial}/proofs`, { reason: '<script>alert(1)</script>' });
    const page = await auditor.browser.get('/audit');
    expect(page.text).toContain('&lt;script&gt;alert(1)');
    expect(page.text).not.toContain('<script>alert');
  });

  test('its buttons send the records that were searched for, and a pack', async () => {
    const page = await auditor.browser.get('/audit?act=proof.');
    const sent = await auditor.browser.submit(page, '/audit/export');
    expect(sent.headers['content-disposition']).toMatch(/^attachment; filename="sparekey-audit-/);
    expect(
      sent.text
        .trimEnd()
        .split('\n')
        .filter((line) => line.startsWith('{"seq"'))
        .map((line) => JSON.parse(line).act),
    ).toEqual(['proof.ordered', 'proof.ordered', 'proof.ordered']);
    const pack = await auditor.browser.submit(page, '/audit/evidence', { packFrom: '2020-01-01', packTo: '2099-01-01', seed: 'of the auditor' });
    expect([pack.status, pack.words]).toEqual([400, expect.stringContaining('seed')]);
    const made = await auditor.browser.submit(page, '/audit/evidence', { packFrom: '2020-01-01', packTo: '2099-01-01', seed: 'of-the-auditor' });
    expect([made.status, made.text.slice(0, 2)]).toEqual([200, 'PK']);
  });

  test('one that was changed stands there in red', async () => {
    const { db } = it.backend.store;
    const { actor, seq } = await db.selectFrom('audit').select(['actor', 'seq']).orderBy('seq', 'desc').limit(1).executeTakeFirstOrThrow();
    const set = (words: string) => db.updateTable('audit').set({ actor: words }).where('seq', '=', seq).execute();
    await set('nobody');
    expect((await auditor.browser.get('/audit')).words).toMatch(new RegExp(`The audit is not as it was written.*changed: record ${seq}`));
    await set(actor);
    expect((await auditor.browser.get('/audit')).words).toContain('Nothing was changed');
  });
});

describe('what cannot be written into the audit does not happen', () => {
  const tables = [
    'alarm',
    'alarm_care',
    'api_token',
    'audit',
    'campaign',
    'debt',
    'disclosure',
    'disclosure_request',
    'emergency',
    'key_record',
    'mac_tag',
    'policy',
    'policy_version',
    'proof_order',
    'release_code',
    'role_given',
    'rotation_order',
    'admin_view',
    'mail',
  ] as const;
  const contents = async () =>
    Object.fromEntries(await Promise.all(tables.map(async (table) => [table, await it.backend.store.db.selectFrom(table).selectAll().execute()])));
  const run = (statement: string) => sql.raw(statement).execute(it.backend.store.db);
  const allow = () => run(postgres === null ? 'drop trigger if exists no_audit' : 'drop function if exists no_audit cascade');
  const refuse = () =>
    run(
      postgres === null
        ? "create trigger no_audit before insert on audit begin select raise(abort, 'no audit'); end"
        : "create function no_audit() returns trigger language plpgsql as $$ begin raise exception 'no audit'; end $$; create trigger no_audit before insert on audit for each row execute function no_audit()",
    );
  afterEach(allow);

  test.each([
    ['a key is not shown', () => `/v1/devices/${serial}/key`, { reason: 'locked out' }],
    ['no replacement is ordered', () => `/v1/devices/${serial}/rotation`, { reason: 'left in a taxi' }],
    ['no proof is ordered', () => `/v1/devices/${serial}/proofs`, { reason: 'a test' }],
    ['no role is given', () => '/v1/roles', { group: 'help desk', role: 'help-desk', reason: 'a test' }],
    ['no token is made', () => '/v1/tokens', { name: 'a-script', roles: [{ role: 'viewer', tags: null }] }],
    ['no tag is added', () => '/v1/tags/add', { devices: [() => serial], tags: ['berlin'] }],
    ['no policy is made', () => '/v1/policies/new', { name: 'A policy', rank: 5, tags: null, rules: {}, reason: 'a test' }],
    ['nothing is taken out', () => '/v1/audit/export', {}],
    ['no pack is made', () => '/v1/reports/evidence', { from: '2020-01-01T00:00:00Z', to: '2099-01-01T00:00:00Z' }],
  ])('%s', async (_what, path, given) => {
    const body = JSON.parse(JSON.stringify(given, (_name, value) => (typeof value === 'function' ? value() : value)));
    const before = await contents();
    await refuse();
    const answer = await owner.ask(path(), { method: path().startsWith('/v1/policies') ? 'PUT' : 'POST', body });
    await allow();
    expect([answer.status, answer.text]).toEqual([expect.any(Number), expect.not.stringMatching(/[A-Z0-9]{4}(-[A-Z0-9]{4}){5}/)]);
    expect(answer.status).toBeGreaterThanOrEqual(500);
    expect(await contents()).toEqual(before);
  });
});

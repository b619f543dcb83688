import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Operation, perform } from '../console/operation.ts';
import { auditExport, auditSearch, auditState } from '../console/operations/audit.ts';
import { reportEvidence } from '../console/operations/reports.ts';
import { audit, broughtShown, verifyAudit } from '../server/audit.ts';
import { auditVerify } from '../server/auditing/commands.ts';
import { csvRow } from '../server/auditing/csv.ts';
import { lotOf } from '../server/auditing/evidence-rows.ts';
import { retain } from '../server/auditing/retention.ts';
import { zipOf } from '../server/auditing/zip.ts';
import { setStanding } from '../server/mac-standing.ts';
import type { Admin } from '../server/permissions.ts';
import { adminWith, givenAuditing, unzipped, wholeOf } from './audit-given.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { scratch } from './scratch.ts';
import { day, hour, type TestMac } from './server-parts.ts';

/* What is asked of the audit, and what an auditor is given of it. */

let given: Awaited<ReturnType<typeof givenAuditing>>;
let inBerlin: TestMac;
let elsewhere: TestMac;
let began = 0;
const auditor = adminWith(['audit.read', 'report.make']);
const scoped = adminWith(['audit.read', 'report.make'], ['berlin']);
const ask = <In, Out>(made: Operation<In, Out>, input: unknown, admin: Admin = auditor) =>
  perform(made, { admin, backend: given.backend, log: given.backend.log, at: given.clock.now(), requestId: 'req-1' }, input);
const search = (input: object, admin?: Admin) => ask(auditSearch, input, admin);
const acts = async (input: object, admin?: Admin) => (await search({ limit: 200, ...input }, admin)).items.map(({ act }) => act);

/** Shown, replaced, proved. */
async function course(mac: TestMac, reason: string): Promise<void> {
  await mac.escrowed();
  await given.custody.disclose({ macId: mac.id, actor: 'eve', reason, person: 'owner' });
  given.wall.pass(5 * hour);
  const { envelopeId } = await mac.escrowed();
  await mac.prove(envelopeId, 'true');
}

beforeAll(async () => {
  given = await givenAuditing();
  began = given.clock.now();
  inBerlin = await given.newMac({ serial: 'C02BERLIN001' });
  elsewhere = await given.newMac({ serial: 'C02ELSEWHERE' });
  await given.store.db.insertInto('mac_tag').values({ mac_id: inBerlin.id, tag: 'berlin', source: 'admin' }).execute();
  await course(inBerlin, 'Ticket 4711: locked out');
  const brought = { keyId: 'brought-1', serial: 'C02BROUGHT01', source: 'a list', reason: 'nobody else has it' };
  await given.store.write(async (tx) => audit(tx, { at: await given.clock.persist(tx), actor: 'eve', act: broughtShown, details: brought }));
  await course(elsewhere, '=HYPERLINK("http://evil.example")');
});
afterAll(() => given.close());

describe('a search', () => {
  test('by actor, Mac, act and its beginning, time and text: the newest first', async () => {
    expect(await acts({ actor: 'eve' })).toEqual(expect.arrayContaining(['key.disclosed']));
    expect(new Set((await search({ device: 'C02BERLIN001', limit: 200 })).items.map(({ serial }) => serial))).toEqual(new Set(['C02BERLIN001']));
    expect(new Set(await acts({ act: 'key.disclosed' }))).toEqual(new Set(['key.disclosed']));
    expect((await acts({ act: 'key.' })).every((act) => act.startsWith('key.'))).toBe(true);
    expect((await search({ text: 'TICKET 4711' })).items.map(({ act, details }) => [act, details['reason']])).toContainEqual([
      'key.disclosed',
      'Ticket 4711: locked out',
    ]);
    expect(await acts({ text: '100%_' })).toEqual([]);
    const all = (await search({ limit: 200 })).items;
    expect(all.map(({ seq }) => seq)).toEqual(all.map(({ seq }) => seq).toSorted((a, b) => b - a));
    const middle = new Date(began + 4 * hour).toISOString();
    const [before, after] = [await acts({ to: middle }), await acts({ from: middle })];
    expect([...after, ...before]).toEqual(all.map(({ act }) => act));
    expect(before.length).toBeGreaterThan(3);
    await expect(search({ device: 'C02NOBODYS00' })).rejects.toThrow(/C02NOBODYS00/);
  });

  test('page by page it is the same list, whatever is asked for', async () => {
    for (const filter of [{}, { act: 'key.' }, { text: 'mac' }, { actor: 'mac' }]) {
      const whole = (await search({ limit: 200, ...filter })).items.map(({ seq }) => seq);
      const paged: number[] = [];
      let cursor: string | null | undefined;
      do {
        const page = await search({ limit: 3, ...filter, ...(cursor ? { cursor } : {}) });
        paged.push(...page.items.map(({ seq }) => seq));
        cursor = page.next;
      } while (cursor);
      expect(paged).toEqual(whole);
    }
    await expect(search({ cursor: 'bm9uZQ' })).rejects.toThrow(/cursor/);
  });

  test('within a scope: records about its Macs and no others, neither by name nor by what is left over', async () => {
    const { items } = await search({ limit: 200 }, scoped);
    expect(items.length).toBeGreaterThan(3);
    expect(new Set(items.map(({ macId }) => macId))).toEqual(new Set([inBerlin.id]));
    expect(await acts({ text: 'HYPERLINK' }, scoped)).toEqual([]);
    await expect(search({ device: 'C02ELSEWHERE' }, scoped)).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    await expect(search({ device: elsewhere.id }, scoped)).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    await expect(search({}, adminWith(['fleet.read']))).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  });
});

describe('an export', () => {
  const verified = async (text: Buffer) => {
    const file = join(scratch('export'), 'audit.jsonl');
    writeFileSync(file, text);
    return (await auditVerify(null, { export: file }, () => undefined)).json as { ok: boolean; rows: number; findings: object[] };
  };
  test('of a period is a whole piece of the chain; that it went out is recorded', async () => {
    const { content, fileName } = await ask(auditExport, {});
    expect(fileName).toMatch(/^sparekey-audit-\d{4}-\d\d-\d\d\.jsonl$/);
    expect(await verified(await wholeOf(content))).toMatchObject({ ok: true, findings: [] });
    expect((await search({ act: 'audit.exported' })).items[0]).toMatchObject({ actor: 'ada', details: {} });
  });

  test('of a selection, or within a scope, has those records alone, each of which can be checked', async () => {
    const text = await wholeOf((await ask(auditExport, {}, scoped)).content);
    expect(text.toString()).not.toMatch(new RegExp(`${elsewhere.id}|HYPERLINK`));
    expect(await verified(text)).toMatchObject({ ok: true, findings: [] });
    const changed = text.toString().replace('Ticket 4711', 'Ticket 4712');
    expect((await verified(Buffer.from(changed))).findings).toMatchObject([{ kind: 'changed' }, { kind: 'file' }]);
  });
});

test('the state names the key, the last checkpoint, and what was found; of some Macs only whether all is well', async () => {
  const state = await ask(auditState, {});
  expect(state).toMatchObject({ ok: true, findings: [], publicKey: expect.stringMatching(/^-----BEGIN PUBLIC KEY/) });
  const setActor = (actor: string) => given.store.db.updateTable('audit').set({ actor }).where('seq', '=', 2).execute();
  const { actor } = await given.store.db.selectFrom('audit').select('actor').where('seq', '=', 2).executeTakeFirstOrThrow();
  await setActor('nobody');
  expect((await ask(auditState, {})).findings).toMatchObject([{ kind: 'changed', from: 2 }]);
  expect(await ask(auditState, {}, scoped)).toMatchObject({ ok: false, findings: [], looked: { records: null } });
  await setActor(actor);
  expect(await ask(auditState, {})).toMatchObject({ ok: true });
});

describe('an evidence pack', () => {
  let bytes: Buffer;
  let files: Map<string, Buffer>;
  const period = () => ({ from: new Date(began - day).toISOString(), to: new Date(given.clock.now() + hour).toISOString() });
  const text = (name: string) => files.get(name)?.toString('utf8') ?? '';
  const rows = (name: string) => text(name).trimEnd().split('\r\n');
  beforeAll(async () => {
    bytes = await wholeOf((await ask(reportEvidence, { ...period(), seed: 'a-seed', sample: 1 })).content);
    files = unzipped(bytes);
  });

  test('has what an auditor asks for, and says how each is checked', () => {
    expect([...files.keys()]).toEqual([
      'population.csv',
      'sample.csv',
      'accesses.csv',
      'rotation-lag.csv',
      'rotation-lag-summary.json',
      'access-review.csv',
      'settings-history.jsonl',
      'audit.jsonl',
      'audit-checkpoints.jsonl',
      'public-key.pem',
      'audit-keys.json',
      'README.txt',
      'SHA256SUMS',
      'manifest.json',
      'manifest.sig',
    ]);
    for (const name of files.keys()) if (!/^(SHA256SUMS|manifest)/.test(name)) expect(text('README.txt')).toContain(name);
    expect(rows('population.csv').map((row) => row.split(',')[0])).toEqual(expect.arrayContaining(['serial', 'C02BERLIN001', 'C02ELSEWHERE']));
    expect(rows('population.csv').find((row) => row.startsWith('C02BERLIN001'))).toMatch(/,held,/);
    const [head, ...accesses] = rows('accesses.csv');
    expect(head).toMatch(/^shownAt,disclosureId,serial,/);
    expect(accesses).toHaveLength(3);
    expect(accesses[2]).toMatch(/,,C02BROUGHT01,,brought-1,eve,,"command, a key that others brought",nobody else has it,,,yes,,,,,,,,$/);
    expect(new Set(rows('accesses.csv').map((row) => row.replaceAll(/"[^"]*"/g, '').split(',').length))).toEqual(new Set([20]));
    expect(accesses[0]).toMatch(/,C02BERLIN001,.*,eve,owner,command,Ticket 4711: locked out,.*,yes,/);
    expect(accesses[0]).toMatch(/,5,\d{4}-\d\d-\d\dT/);
    expect(JSON.parse(text('rotation-lag-summary.json'))).toMatchObject({ disclosed: { owed: 2 } });
  });

  test('its population has the silent ones; a key that was a candidate then, and no more, is not said to have been held', async () => {
    const guessed = await given.newMac({ serial: 'C02GUESSED01' });
    const { recordId: first } = await guessed.escrowed();
    // A second one without a word of how it came to be is a guess; the first was of another volume.
    await guessed.escrowed();
    await given.store.db.updateTable('key_record').set({ volume: 'another' }).where('id', '=', first).execute();
    const silent = await given.newMac({ serial: 'C02SILENT001' });
    const retired = await given.newMac({ serial: 'C02RETIRED01' });
    const proved = await given.newMac({ serial: 'C02PROVED001' });
    const { envelopeId } = await proved.escrowed();
    await proved.prove(envelopeId, 'true');
    await given.store.write(async (tx) =>
      setStanding(tx, await given.clock.persist(tx), { macId: retired.id, actor: 'ada', reason: 'sold', change: { state: 'retired' } }),
    );
    given.wall.pass(2 * day);
    const from = given.clock.now() - hour;
    const to = given.clock.now();
    given.wall.pass(hour);
    const later = given.clock.now();
    // Both gave way to others after the period; one of them had been proved before its end, and once more afterwards.
    for (const mac of [guessed, proved])
      await given.store.db
        .updateTable('key_record')
        .set({ state: 'superseded', state_at: later, proved_at: mac === proved ? later : null })
        .where('mac_id', '=', mac.id)
        .execute();
    const wish = { from: new Date(from).toISOString(), to: new Date(to).toISOString(), seed: 'a-seed', sample: 1 };
    const told =
      unzipped(await wholeOf((await ask(reportEvidence, wish)).content))
        .get('population.csv')
        ?.toString() ?? '';
    const custodyOf = (serial: string) =>
      told
        .split('\r\n')
        .find((row) => row.startsWith(serial))
        ?.split(',')[5];
    expect([guessed, proved, silent, retired].map(({ serial }) => custodyOf(serial))).toEqual(['candidate or held', 'held', 'none', undefined]);
  });

  test('the sample follows from the population and the seed', () => {
    const ids = rows('population.csv')
      .slice(1)
      .map((row) => row.split(',')[1] ?? '');
    const [drawn] = ids.toSorted((a, b) => (lotOf('a-seed', a) < lotOf('a-seed', b) ? -1 : 1));
    expect(rows('sample.csv')).toHaveLength(2);
    expect(rows('sample.csv')[1]).toContain(drawn);
    const lot = createHash('sha256').update(`a-seed\n${drawn}`).digest('hex');
    expect(rows('sample.csv')[1]?.startsWith(lot.slice(0, 16))).toBe(true);
  });

  testWithOpenssl('its manifest is signed, and names the digest of every file: as its README says, with openssl', () => {
    const manifest = JSON.parse(text('manifest.json'));
    for (const { name, sha256, bytes: size } of manifest.files) {
      const file = files.get(name) ?? Buffer.alloc(0);
      expect([createHash('sha256').update(file).digest('hex'), file.length]).toEqual([sha256, size]);
      expect(text('SHA256SUMS')).toContain(`${sha256}  ${name}\n`);
    }
    const [, command = ''] = /(openssl pkeyutl [^\n]+)/.exec(text('README.txt')) ?? [];
    const there = Object.fromEntries(files);
    expect(openssl(command.split(' ').slice(1), there).toString()).toMatch(/Verified Successfully/);
    expect(() => openssl(command.split(' ').slice(1), { ...there, 'manifest.json': text('manifest.json').replace('"Example"', '"Another"') })).toThrow(
      /pkeyutl/,
    );
    const der = openssl(['pkey', '-pubin', '-in', 'public-key.pem', '-outform', 'DER'], there);
    expect(createHash('sha256').update(der).digest('hex')).toBe(manifest.keyId);
  });

  test('its audit is verified by itself', async () => {
    const folder = scratch('pack');
    for (const name of ['audit.jsonl', 'audit-checkpoints.jsonl', 'public-key.pem']) writeFileSync(join(folder, name), files.get(name) ?? '');
    const flags = { export: join(folder, 'audit.jsonl'), checkpoints: join(folder, 'audit-checkpoints.jsonl'), publicKey: join(folder, 'public-key.pem') };
    expect((await auditVerify(null, flags, () => undefined)).json).toMatchObject({ ok: true, keyIsKnown: true });
  });

  test('no cell of it is a formula to a spreadsheet', () => {
    expect(text('accesses.csv')).toContain(`"'=HYPERLINK(""http://evil.example"")"`);
    for (const name of ['population.csv', 'sample.csv', 'accesses.csv', 'rotation-lag.csv', 'access-review.csv'])
      expect(text(name)).not.toMatch(/(^|,)"?\s*[=+@]/m);
    expect(csvRow(['-1+1', '\t=1', ' @x', '＝1', 'a"b', 'a\nb', 7, null, -3])).toBe(`"'-1+1","' =1","' @x","'＝1","a""b",a b,7,,-3\r\n`);
  });

  test('of a part of the fleet has nothing of the rest', async () => {
    const part = unzipped(await wholeOf((await ask(reportEvidence, { ...period() }, scoped)).content));
    for (const [name, content] of part) expect([name, content.includes(elsewhere.id), content.includes('HYPERLINK')]).toEqual([name, false, false]);
    expect(part.has('access-review.csv')).toBe(false);
    await expect(ask(reportEvidence, { from: period().to, to: period().from })).rejects.toThrow(/ends before it begins/);
  });

  const has = (command: string) => spawnSync(command, ['--help']).error === undefined;
  test.each([
    ['unzip', ['-tqq']],
    ['7z', ['t', '-y']],
    ['bsdtar', ['-tf']],
  ])('%s opens it, where that is there', (command, args) => {
    const folder = mkdtempSync(join(scratch('zip'), 'a-'));
    writeFileSync(join(folder, 'pack.zip'), bytes);
    if (has(command)) expect(spawnSync(command, [...args, join(folder, 'pack.zip')]).status).toBe(0);
    expect(bytes.readUInt32LE(0)).toBe(0x04034b50);
  });

  test('the same files at the same time are the same bytes; one that cannot be read ends it', async () => {
    const of = (name: string) => wholeOf(zipOf([{ name, content: ['a', 'b'] }], new Date('2026-11-23T05:00:00Z')));
    expect(await of('x')).toEqual(await of('x'));
    expect(
      unzipped(await of('ä.txt'))
        .get('ä.txt')
        ?.toString(),
    ).toBe('ab');
    async function* broken(): AsyncGenerator<string> {
      yield 'a';
      throw new Error('the disk');
    }
    await expect(wholeOf(zipOf([{ name: 'x', content: broken() }], new Date(0)))).rejects.toThrow('the disk');
  });
});

describe('retention', () => {
  test('takes old records into a signed file; the rest is verified from there on, and the search says where they are', async () => {
    const before = (await search({ limit: 1 })).items[0]?.seq ?? 0;
    await expect(retain(given.backend, { before: given.clock.now() - day, actor: 'ada', reason: 'a test' })).rejects.toThrow(/400 days/);
    given.wall.pass(401 * day);
    await inBerlin.escrowed();
    const part = await retain(given.backend, { before: given.clock.now() - 400.5 * day, actor: 'ada', reason: 'our rule' });
    expect(part).toMatchObject({ from: 1 });
    const left = await given.store.db.selectFrom('audit').select('seq').orderBy('seq').execute();
    expect(left[0]?.seq).toBe((part?.to ?? 0) + 1);
    expect(part?.to).toBeGreaterThanOrEqual(before);
    expect(await verifyAudit(given.store)).toMatchObject({ ok: true });
    expect((await auditVerify(given.backend, {}, () => undefined)).json).toMatchObject({ ok: true, first: (part?.to ?? 0) + 1 });
    const file = join(given.backend.paths.auditArchive, part?.file ?? '');
    expect((await auditVerify(null, { export: file }, () => undefined)).json).toMatchObject({ ok: true, rows: part?.to });
    expect((await search({ limit: 200 })).older).toMatchObject([{ from: 1, to: part?.to, file: part?.file }]);
    expect(await acts({ act: 'audit.retained' })).toEqual(['audit.retained']);
    const { content } = await ask(auditExport, {});
    expect((await wholeOf(content)).toString()).toMatch(/^\{"format":"sparekey audit export 1"/);
  });

  test('a second time it goes on where the first ended, and takes nothing that a webhook has still to be told of', async () => {
    given.wall.pass(401 * day);
    await elsewhere.escrowed();
    const hook = {
      name: 'siem',
      url: 'https://siem.example.org/',
      secretFile: '/x',
      events: ['audit'],
      begins: 'now',
      trustedCertificatesFile: null,
      proxy: null,
    } as const;
    const hooked = { ...given.backend, settings: { ...given.backend.settings, webhooks: [{ ...hook, events: ['audit'] }] } };
    const asked = { before: given.clock.now() - 400.5 * day, actor: 'ada', reason: 'our rule' };
    expect(await retain(hooked, asked)).toBeNull();
    const part = await retain(given.backend, asked);
    expect(part?.from).toBeGreaterThan(1);
    expect((await auditVerify(given.backend, {}, () => undefined)).json).toMatchObject({ ok: true });
    expect((await search({ limit: 200 })).older).toHaveLength(2);
  });

  test('two at once: one of them takes the records out, and the file that it names has them whole', async () => {
    given.wall.pass(401 * day);
    await elsewhere.escrowed();
    const asked = { before: given.clock.now() - 400.5 * day, actor: 'ada', reason: 'our rule' };
    const both = await Promise.all([retain(given.backend, asked), retain(given.backend, asked)]);
    const [part, ...others] = both.filter((one) => one !== null);
    expect(others).toEqual([]);
    const { auditArchive } = given.backend.paths;
    expect((await auditVerify(null, { export: join(auditArchive, part?.file ?? '') }, () => undefined)).json).toMatchObject({ ok: true });
    const listed = (await search({ limit: 200 })).older;
    expect(listed).toHaveLength(3);
    expect(readdirSync(auditArchive).toSorted()).toEqual(listed.map(({ file }) => file).toSorted());
    const digest = createHash('sha256').update(readFileSync(join(auditArchive, part?.file ?? '')));
    expect(digest.digest('hex')).toBe(part?.sha256);
  });

  test('a broken audit is not taken out', async () => {
    given.wall.pass(401 * day);
    await elsewhere.escrowed();
    const [first] = await given.store.db.selectFrom('audit').select(['seq', 'actor']).orderBy('seq').limit(1).execute();
    await given.store.db
      .updateTable('audit')
      .set({ actor: 'x' })
      .where('seq', '=', first?.seq ?? 0)
      .execute();
    await expect(retain(given.backend, { before: given.clock.now() - 400.5 * day, actor: 'ada', reason: 'our rule' })).rejects.toMatchObject({
      code: 'AUDIT_BROKEN',
    });
  });
});

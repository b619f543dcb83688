import { createPublicKey } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { audit, canonicalJson, verifyAudit } from '../server/audit.ts';
import { whileAsking } from '../server/auditing/asking.ts';
import { filesOfAuditKey, keyIdOf, readAuditKey, replaceAuditKey } from '../server/auditing/audit-key.ts';
import { textOfCheckpoint } from '../server/auditing/checkpoint.ts';
import { checkpointOfNews, checkpointWhenDue, makeCheckpoint, readCheckpointFile } from '../server/auditing/checkpoints.ts';
import { auditCheckpoint, auditExport, auditKeyReplaced, auditVerify } from '../server/auditing/commands.ts';
import { type Backend, openBackend } from '../server/backend.ts';
import { backUp } from '../server/backup.ts';
import { replacePrivate, writePrivate } from '../server/private-files.ts';
import { restore } from '../server/restore.ts';
import { makeDataFolder } from './made-backend.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { scratch } from './scratch.ts';

/* Checkpoints of the audit, what verifies it with and without a data folder, and the files in which it goes out. */

const folder = scratch('audit');
const dir = join(folder, 'data');
const day = 24 * 3_600_000;
let backend: Backend;
let now = Date.now();
const open = () => openBackend({ dir, passphrase: null, wallNow: () => now });
const { emitWarning } = process;
beforeAll(async () => {
  // Days pass here and not for the commands that look at the machine's clock: that is said, and tested elsewhere.
  process.emitWarning = () => undefined;
  await makeDataFolder(dir, 8443);
  backend = await open();
  await record(20);
});
afterAll(async () => {
  process.emitWarning = emitWarning;
  await backend.close();
});

const record = (entries: number) =>
  backend.store.write(async (tx) => {
    for (let n = 0; n < entries; n += 1)
      await audit(tx, { at: await backend.clock.persist(tx), actor: n % 2 === 0 ? 'ada' : 'server', act: 'test.done', details: { n, words: 'ä' } });
  });
const flags = {};
const verify = async (more: object = {}) => {
  const { json, exit } = await auditVerify(backend, { ...flags, ...more }, () => undefined);
  const said = json as {
    ok: boolean;
    rows: number;
    sealedTo: number;
    findings: { kind: string; from: number; to: number; says: string }[];
    keyIsKnown: boolean;
  };
  expect(exit ?? 0).toBe(said.ok ? 0 : 77);
  return said;
};
const named = async (more: object = {}) => (await verify(more)).findings.map(({ kind, from, to }) => `${kind} ${from}${to === from ? '' : `-${to}`}`);
const witness = () => readCheckpointFile(backend.paths.auditCheckpoints).checkpoints;
let files = 0;
function newFile(name: string): string {
  files += 1;
  return join(folder, `${files}-${name}`);
}
const publicKey = () => {
  const file = newFile('key.pem');
  const [first] = JSON.parse(readFileSync(join(dir, 'audit-keys', 'keys.json'), 'utf8'));
  writeFileSync(file, first.publicKey);
  return file;
};

/** Tries something on the database, and takes it back. */
async function tampered(statements: string, look: () => Promise<void>): Promise<void> {
  const tables = ['audit', 'audit_checkpoint'] as const;
  const all = (texts: readonly string[]) =>
    backend.store.write(async (tx) => {
      for (const text of texts) await sql.raw(text).execute(tx);
    });
  await all([...tables.map((table) => `create table kept_${table} as select * from ${table}`), ...statements.split(';')]);
  try {
    await look();
  } finally {
    await all(tables.flatMap((table) => [`delete from ${table}`, `insert into ${table} select * from kept_${table}`, `drop table kept_${table}`]));
  }
}

describe('checkpoints', () => {
  test('one is made at once by command, signed, in the table and in the file beside it; the next follows from it', async () => {
    expect((await auditCheckpoint(backend)).text).toMatch(/^checkpoint 1: record 22 has the hash [0-9a-f]{64}\n/);
    await record(3);
    await auditCheckpoint(backend);
    expect(witness().map(({ number, seq, rows, kind }) => [number, seq, rows, kind])).toEqual([
      [1, 22, 22, 'end'],
      [2, 25, 25, 'end'],
    ]);
    expect(await verify()).toMatchObject({ ok: true, rows: 25, sealedTo: 25, checkpoints: 2 });
  });

  test('a line that a crash has cut is no finding, and stands there whole after the next one', async () => {
    const whole = readFileSync(backend.paths.auditCheckpoints, 'utf8');
    writeFileSync(backend.paths.auditCheckpoints, whole.slice(0, -40));
    expect(witness()).toHaveLength(1);
    expect(await verify()).toMatchObject({ ok: true, findings: [] });
    await makeCheckpoint(backend);
    expect(readFileSync(backend.paths.auditCheckpoints, 'utf8').startsWith(whole)).toBe(true);
    expect(witness().map(({ number }) => number)).toEqual([1, 2, 3]);
  });

  test('they come after 1,000 records, after a day, and at the end of a run where something is new', async () => {
    await checkpointWhenDue(backend);
    await checkpointOfNews(backend);
    expect(witness()).toHaveLength(3);
    await record(999);
    await checkpointWhenDue(backend);
    expect(witness()).toHaveLength(3);
    await record(1);
    await checkpointWhenDue(backend);
    expect(witness()).toHaveLength(4);
    now += day + 60_000;
    await checkpointWhenDue(backend);
    expect(witness().at(-1)).toMatchObject({ number: 5, seq: 1025 });
    await record(1);
    await checkpointOfNews(backend);
    expect(witness().at(-1)).toMatchObject({ number: 6, seq: 1026, rows: 1026 });
  });

  testWithOpenssl('anybody checks one with openssl', () => {
    const [one] = witness();
    if (!one) throw new TypeError('no checkpoint');
    const { signature, ...said } = one;
    expect(textOfCheckpoint(said)).toBe(canonicalJson(said));
    const given = { 'text.json': canonicalJson(said), 'signature.bin': Buffer.from(signature, 'base64'), 'key.pem': readFileSync(publicKey()) };
    const [, command = ''] = /^openssl (pkeyutl .+)$/m.exec(readFileSync(join(import.meta.dirname, '..', 'docs', 'audit.md'), 'utf8')) ?? [];
    const args = command.split(' ');
    expect(openssl(args, given).toString()).toMatch(/Verified Successfully/);
    expect(() => openssl(args, { ...given, 'text.json': canonicalJson({ ...said, seq: 23 }) })).toThrow(/pkeyutl/);
  });

  test('what was changed since the last one is not signed: an alarm instead', async () => {
    await record(5);
    const { seq } = await backend.store.db.selectFrom('audit').select('seq').orderBy('seq', 'desc').offset(3).limit(1).executeTakeFirstOrThrow();
    await tampered(`update audit set actor = 'nobody' where seq = ${seq}`, async () => {
      expect(await makeCheckpoint(backend)).toBeNull();
      const alarms = await backend.store.db.selectFrom('alarm').select(['code', 'detail']).where('judged_at', 'is', null).execute();
      expect(alarms).toEqual([{ code: 'AUDIT_CHANGED', detail: `at record ${seq}` }]);
    });
    await makeCheckpoint(backend);
    expect(await backend.store.db.selectFrom('alarm').select('code').where('judged_at', 'is', null).execute()).toEqual([]);
  });
});

describe('what is done to the database is named', () => {
  beforeEach(async () => expect(await named()).toEqual([]));

  test.each([
    ['update audit set details = \'{"n":9}\' where seq = 7', ['changed 7']],
    ['delete from audit where seq = 9', ['removed 9']],
    ['update audit set seq = -3 where seq = 9', ['moved -3']],
    ['delete from audit where seq > 1020', ['cut-off 1021-1031']],
    ["update audit_checkpoint set signature = 'AAAA' where number = 2", ['checkpoint 25']],
    ['update audit_checkpoint set seq = 24, rows = 24, hash = (select hash from audit where seq = 24) where number = 2', ['checkpoint 24']],
    ['delete from audit_checkpoint where number = 4', ['checkpoint 1025']],
    [`update audit_checkpoint set key_id = '${'0'.repeat(64)}' where number = 1`, ['checkpoint 22']],
    [
      "update audit set actor = 'x' where seq = 7; delete from audit where seq = 30; update audit set act = 'x' where seq = 400",
      ['changed 7', 'removed 30', 'changed 400'],
    ],
    [
      "delete from audit where seq <= 10; insert into audit_checkpoint select 90, 'retained', 10, previous, at, 0, key_id, previous, signature from audit_checkpoint where number = 1",
      ['removed 1-10', 'checkpoint 10'],
    ],
  ])('%s', async (statements, findings) => {
    await tampered(statements, async () => expect(await named()).toEqual(findings));
  });

  test('a forged checkpoint, or another one than beside the database, is followed by none', async () => {
    const alarm = async () =>
      (await backend.store.db.selectFrom('alarm').select('detail').where('judged_at', 'is', null).execute()).map(({ detail }) => detail);
    if (!existsSync(backend.paths.auditCheckpoints)) await makeCheckpoint(backend);
    await tampered('update audit_checkpoint set at = at + 1 where number = (select max(number) from audit_checkpoint)', async () => {
      expect(await makeCheckpoint(backend)).toBeNull();
      expect(await alarm()).toEqual([expect.stringMatching(/^checkpoint \d+ \(record \d+\) is forged$/)]);
    });
    await tampered('delete from audit_checkpoint where number = (select max(number) from audit_checkpoint)', async () => {
      expect(await makeCheckpoint(backend)).toBeNull();
      expect(await alarm()).toEqual([expect.stringMatching(/is missing in the database$/)]);
    });
    await makeCheckpoint(backend);
    expect(await alarm()).toEqual([]);
  });

  test('the end and its checkpoints cut off together: by the file beside the database, and by those that were kept elsewhere', async () => {
    const kept = newFile('kept.jsonl');
    writeFileSync(kept, readFileSync(backend.paths.auditCheckpoints));
    await tampered('delete from audit where seq > 1000; delete from audit_checkpoint where number > 2', async () => {
      expect(await named()).toEqual(expect.arrayContaining(['cut-off 1001-1032', 'checkpoint 1025']));
      expect(await makeCheckpoint(backend)).toBeNull();
      const besides = readFileSync(backend.paths.auditCheckpoints);
      writeFileSync(backend.paths.auditCheckpoints, '');
      expect(await named({ checkpoints: kept })).toEqual(expect.arrayContaining(['cut-off 1002-1032']));
      writeFileSync(backend.paths.auditCheckpoints, besides);
    });
  });

  test('only from a checkpoint on where that is asked for', async () => {
    now += day;
    await record(2);
    const since = new Date(now - 60_000).toISOString();
    await tampered("update audit set actor = 'x' where seq = 7", async () => {
      expect(await verify({ since })).toMatchObject({ ok: true });
      expect(await named()).toEqual(['changed 7']);
    });
  });
});

describe('an export', () => {
  let file = '';
  beforeAll(async () => {
    file = newFile('audit.jsonl');
    await whileAsking({ requestId: 'req-1', network: '192.0.2.0/24', tokenId: 'token-9' }, () => record(1));
    expect(await auditExport(backend, file, {}, 'ada')).toMatchObject({ json: { ok: true, first: 1 } });
  });
  const lines = () => readFileSync(file, 'utf8').trimEnd().split('\n');
  const offline = async (text: string, more: object = {}) => {
    const changed = newFile('changed.jsonl');
    writeFileSync(changed, text);
    const { json } = await auditVerify(null, { export: changed, ...more }, () => undefined);
    return json as { ok: boolean; keyIsKnown: boolean; findings: { kind: string; from: number; to: number; says: string }[] };
  };
  const named = async (text: string, more: object = {}) =>
    (await offline(text, more)).findings.filter(({ kind }) => kind !== 'file').map(({ kind, from, to }) => `${kind} ${from}${to === from ? '' : `-${to}`}`);
  const at = (seq: number) => lines().findIndex((line) => line.startsWith(`{"seq":${seq},`));
  const edited = (edit: (all: string[]) => void) => {
    const all = lines();
    edit(all);
    return `${all.join('\n')}\n`;
  };

  test('is whole without a data folder, by the key that its reader knows; the request of an act is in it', async () => {
    expect(await offline(readFileSync(file, 'utf8'), { publicKey: publicKey() })).toMatchObject({ ok: true, keyIsKnown: true, findings: [] });
    const last = JSON.parse(lines().at(-2) ?? '');
    expect(last).toMatchObject({ act: 'test.done', requestId: 'req-1', network: '192.0.2.0/24', tokenId: 'token-9', details: { n: 0 } });
    await expect(auditExport(backend, file, {}, 'ada')).rejects.toThrow('exists already');
  });

  test('a line that was changed, removed, put in, moved or cut off is named, and the file is said to be another one', async () => {
    const changed = await offline(edited((all) => all.splice(at(8), 1, all[at(8)]?.replace('"ada"', '"eve"') ?? '')));
    // Every second record is of ada.
    expect(changed.findings.map(({ kind, from }) => `${kind} ${from}`)).toEqual(all8(changed.findings));
    expect(await named(edited((all) => all.splice(at(12), 1)))).toEqual(['removed 12']);
    expect(await named(edited((all) => all.splice(at(12), 0, all[at(5)] ?? '')))).toEqual(['inserted 5']);
    expect(await named(edited((all) => all.splice(at(12), 2, all[at(13)] ?? '', all[at(12)] ?? '')))).toEqual(['moved 12']);
    const cut = await offline(edited((all) => all.splice(-4)));
    expect(cut.findings.map(({ says }) => says)).toEqual(expect.arrayContaining(['its end is missing: it was cut off']));
    expect((await offline(edited((all) => all.splice(at(20), 0, 'no JSON')))).findings).toMatchObject([
      { kind: 'file', says: expect.stringMatching(/^line \d+ is none/) },
      { kind: 'file' },
    ]);
  });
  const all8 = (findings: readonly { kind: string; from: number }[]) => (findings.some(({ kind }) => kind === 'changed') ? ['changed 8', 'file 0'] : []);

  test('one that somebody else signed is refused by the key that its reader knows', async () => {
    const other = join(folder, 'other');
    await makeDataFolder(other, 8444);
    const strange = await openBackend({ dir: other, passphrase: null });
    const theirs = newFile('theirs.jsonl');
    await auditExport(strange, theirs, {}, 'eve');
    await strange.close();
    expect((await offline(readFileSync(theirs, 'utf8'))).ok).toBe(true);
    expect((await offline(readFileSync(theirs, 'utf8'), { publicKey: publicKey() })).findings.map(({ says }) => says)).toEqual(
      expect.arrayContaining([expect.stringMatching(/do not follow from the key that was given/)]),
    );
  });

  test('of a period begins where the chain is at that time, and is checked by itself', async () => {
    now += day;
    await record(4);
    const part = newFile('part.jsonl');
    await auditExport(backend, part, { from: new Date(now - 1000).toISOString() }, 'ada');
    expect(await offline(readFileSync(part, 'utf8'), { publicKey: publicKey() })).toMatchObject({ ok: true, rows: 4 });
  });
});

test('another key pair goes on where the one before ended; who knows the first one still knows what is right', async () => {
  const first = publicKey();
  await auditKeyReplaced(backend, 'ada', 'a test');
  expect(witness().at(-2)?.keyId).not.toBe(witness().at(-1)?.keyId);
  expect(await verify({ publicKey: first })).toMatchObject({ ok: true, keyIsKnown: true });
  const file = newFile('after.jsonl');
  await auditExport(backend, file, {}, 'ada');
  const { json } = await auditVerify(null, { export: file, publicKey: first }, () => undefined);
  expect(json).toMatchObject({ ok: true });
});

test('a change of keys that was cut off is finished where the list names the new one, and forgotten where it does not', () => {
  const files = filesOfAuditKey(backend.paths);
  const [present, list] = [readFileSync(files.present), readFileSync(files.list)];
  const made = replaceAuditKey(backend.paths, now);
  // Cut off before the new key was put in its place.
  renameSync(files.present, files.next);
  writePrivate(files.present, present);
  expect(readAuditKey(backend.paths).keyId).toBe(made.keyId);
  // Cut off before the list named it.
  renameSync(files.present, files.next);
  writePrivate(files.present, present);
  replacePrivate(files.list, list);
  expect(readAuditKey(backend.paths)).toMatchObject({ keyId: keyIdOf(createPublicKey(present)) });
  expect(existsSync(files.next)).toBe(false);
});

test('a backup holds the key pair and a checkpoint of its end, and what was restored from it goes on with both', async () => {
  const file = newFile('backup.tar');
  await backUp({ dir, file, actor: 'ada' });
  const made = join(folder, 'restored');
  await restore({ file, dir: made, revocationsFile: null, spreadDays: 7, actor: 'ada', wallNow: () => now });
  const restored = await openBackend({ dir: made, passphrase: null, wallNow: () => now });
  await makeCheckpoint(restored);
  const { json } = await auditVerify(restored, { publicKey: publicKey() }, () => undefined);
  expect(json).toMatchObject({ ok: true });
  // Who kept the checkpoints of before sees that the audit went on twice.
  await record(1);
  await makeCheckpoint(backend);
  const { json: seen } = await auditVerify(restored, { checkpoints: backend.paths.auditCheckpoints }, () => undefined);
  expect((seen as { findings: { kind: string }[] }).findings.map(({ kind }) => kind)).toContain('restarted');
  await restored.close();
});

test('after a key was shown, a role given or a policy changed they come within ten minutes, and not more often', async () => {
  const shown = (act: string) =>
    backend.store.write(async (tx) => audit(tx, { at: await backend.clock.persist(tx), actor: 'ada', act, details: { reason: 'a test' } }));
  const before = witness().length;
  now += 11 * 60_000;
  await record(1);
  await checkpointWhenDue(backend);
  expect(witness()).toHaveLength(before);
  await shown('key.disclosed');
  await checkpointWhenDue(backend);
  expect(witness()).toHaveLength(before + 1);
  await shown('role.given');
  now += 9 * 60_000;
  await checkpointWhenDue(backend);
  expect(witness()).toHaveLength(before + 1);
  now += 60_000;
  await checkpointWhenDue(backend);
  expect(witness()).toHaveLength(before + 2);
});

test('a beginning that was cut off, behind a checkpoint that nobody signed, is in no backup', async () => {
  const forged =
    "insert into audit_checkpoint select 900, 'retained', seq, hash, at, 0, (select key_id from audit_checkpoint where number = 1), hash, 'AAAA' from audit where seq = 10; delete from audit where seq <= 10";
  await tampered(forged, async () => {
    expect(await verifyAudit(backend.store)).toMatchObject({ ok: true });
    const file = newFile('cut.tar');
    await expect(backUp({ dir, file, actor: 'ada' })).rejects.toMatchObject({ code: 'AUDIT_BROKEN', detail: expect.stringMatching(/forged/) });
    expect(existsSync(file)).toBe(false);
  });
});

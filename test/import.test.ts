import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sealKey } from '../protocol/envelope.ts';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { verifyAudit } from '../server/audit.ts';
import { countFates, type Imported } from '../server/brought/import.ts';
import { digestOf } from '../server/brought/import-plan.ts';
import { makeEscrowCertificate } from '../server/certificates.ts';
import { createCustody } from '../server/custody.ts';
import type { Export } from '../server/formats/export.ts';
import { readExports } from '../server/formats/export.ts';
import { type ImportAsked, importCommand, importsCommand, importWithdrawCommand } from '../server/import-commands.ts';
import { writeReport } from '../server/import-report.ts';
import type { Store } from '../server/parts.ts';
import { asFile } from './new-database.ts';
import { scratch } from './scratch.ts';
import { codeOf, type GivenServer, givenServer, newKey, secrets, type TestMac } from './server-parts.ts';

let given: GivenServer;
let folder: string;
const revealed: string[] = [];
beforeAll(async () => {
  given = await givenServer();
  folder = scratch('sparekey-import');
});
afterAll(() => given.close());

let count = 0;
function newSerial(): string {
  count += 1;
  return `C02IMP${String(count).padStart(6, '0')}`;
}
/** A key of which every place is searched at the end. */
function keyText(): string {
  const text = newKey().reveal();
  revealed.push(text);
  return text;
}
const line = (serial: string, key: string, date = ''): string => `${serial},${key},${date}`;
const csv = (...lines: string[]): string => ['serial,key,date escrowed', ...lines, ''].join('\n');

function exportOf(text: string | Buffer, name = 'keys.csv'): Export {
  const [what] = readExports([{ name, bytes: Buffer.from(text), inFolder: false }], { source: null, mapping: {}, signs: null });
  if (!what) throw new Error('nothing was read');
  return what;
}
const bringIn = (text: string | Buffer, more: { dryRun?: boolean; on?: GivenServer } = {}): Promise<Imported> =>
  (more.on ?? given).custody.importExport({ what: exportOf(text), actor: 'ada', reason: 'taking over', dryRun: more.dryRun ?? false, pause: 0 });
const fates = ({ lines }: Imported): string[] => lines.map((one) => `${one.line} ${one.fate}`);

/** Everything that is stored, as text. */
async function dump(server = given): Promise<string> {
  const database = new DatabaseSync(await asFile(server.file, server.store), { readOnly: true });
  const tables = database.prepare("select name from sqlite_master where type = 'table' order by name").all();
  const text = tables
    .map(
      ({ name }) =>
        `${name}\n${database
          .prepare(`select * from [${name}] order by rowid`)
          .all()
          .map((row) => JSON.stringify(row))
          .join('\n')}`,
    )
    .join('\n');
  database.close();
  return text;
}
/** A person who says yes. */
const confirm = async (): Promise<void> => {};
const written = (path: string, text: string | Buffer): string => {
  const file = join(folder, path);
  writeFileSync(file, text, { mode: 0o600 });
  return file;
};
const provedMac = async (): Promise<{ mac: TestMac; key: RecoveryKey; envelopeId: string }> => {
  const mac = await given.newMac();
  const { key, envelopeId } = await mac.escrowed();
  await mac.prove(envelopeId, 'true');
  return { mac, key, envelopeId };
};

describe('each line has its fate', () => {
  test('for a Mac that is here it is offered, beside a proved key it is kept aside, the held key is known, and without a Mac it waits', async () => {
    const here = await given.newMac();
    await here.checkIn();
    const { mac: proved, key } = await provedMac();
    const other = keyText();
    const done = await bringIn(csv(line(here.serial, keyText()), line(proved.serial, other), line(proved.serial, key.reveal()), line(newSerial(), keyText())));
    expect(fates(done)).toEqual(['2 offered', '3 aside', '4 known', '5 waiting']);
    expect(Object.values(await here.states())).toEqual(['candidate']);
    expect(done.lines.every(({ keyId, because }) => keyId !== null && because !== '')).toBe(true);
  });

  test('C8: nothing takes the place of a proved key', async () => {
    const { mac, envelopeId } = await provedMac();
    const before = await mac.states();
    await bringIn(csv(line(mac.serial, keyText())));
    expect(await mac.states()).toEqual(before);
    expect((await mac.checkIn()).held).toMatchObject({ envelopeIds: [envelopeId], state: 'held' });
  });

  test('of two keys for one Mac the newest is asked about first, wherever it stands in the file; without a date last', async () => {
    const mac = await given.newMac();
    await mac.checkIn();
    const done = await bringIn(csv(line(mac.serial, keyText()), line(mac.serial, keyText(), '2025-01-01'), line(mac.serial, keyText(), '2026-01-01')));
    expect(fates(done)).toEqual(['2 waiting', '3 waiting', '4 offered']);
  });

  test('the same key for the same Mac again is one key; with a date that is still to come it is no newer', async () => {
    const mac = await given.newMac();
    await mac.checkIn();
    const [old, newer, unborn] = [keyText(), keyText(), keyText()];
    const done = await bringIn(csv(line(mac.serial, old, '2026-01-01'), line(mac.serial, newer, '2026-02-01'), line(mac.serial, old.toLowerCase())));
    expect(done.lines.map(({ fate, because }) => `${fate}: ${because}`)).toEqual([
      expect.stringMatching(/^waiting/),
      expect.stringMatching(/^offered/),
      'repeated: the same key as in line 2',
    ]);
    const late = await bringIn(csv(line(mac.serial, unborn, '2099-01-01')));
    expect(late.lines[0]?.because).toMatch(/its date is still to come and does not count$/);
    const row = await given.store.db.selectFrom('brought_key').select('made_at').where('id', '=', String(late.lines[0]?.keyId)).executeTakeFirstOrThrow();
    expect(row.made_at).toBeNull();
  });

  test('what cannot be taken says why, and is stored as a line like the others', async () => {
    const serial = newSerial();
    const wrong = csv(line('', keyText()), line(serial, 'ABCD'), line(serial, ''), line(serial, keyText().replace(/^./, '0')), `${serial},x`);
    const done = await bringIn(wrong);
    expect(fates(done)).toEqual(['2 refused', '3 refused', '4 no-key', '5 unsure', '6 refused']);
    expect(await given.store.db.selectFrom('import_line').select('fate').where('run_id', '=', String(done.runId)).execute()).toHaveLength(5);
  });

  test('envelopes: opened where they are ours and can be, kept closed where not, refused where they hold no key, and told where they are somebody else’s', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const theirs = makeEscrowCertificate({ commonName: 'Another MDM', privateKey, years: 1, at: new Date('2026-01-01T00:00:00Z') });
    const der = given.escrow.pairs[0]?.der as Buffer;
    const seal = (certificate: Buffer): string => sealKey(RecoveryKey.parse(keyText()) as RecoveryKey, certificate).toString('base64');
    const good = seal(der);
    const broken = Buffer.from(good, 'base64');
    broken[broken.length - 20] = (broken[broken.length - 20] ?? 0) ^ 1;
    const done = await bringIn(csv(line(newSerial(), good), line(newSerial(), seal(theirs)), line(newSerial(), broken.toString('base64'))));
    expect(fates(done)).toEqual(['2 waiting', '3 foreign', '4 refused']);
    expect(done.lines[1]?.because).toMatch(/^its key is sealed to another certificate \(issuer-serial:[0-9a-f]{64}:/);
    expect(done.lines[2]?.because).toBe('its envelope does not open to a recovery key');
    given.escrow.answers = false;
    const closed = await bringIn(csv(line(newSerial(), seal(der))));
    given.escrow.answers = true;
    expect(closed.lines[0]).toMatchObject({ fate: 'waiting' });
    const row = await given.store.db
      .selectFrom('brought_key')
      .select(['fingerprint', 'recipient'])
      .where('id', '=', String(closed.lines[0]?.keyId))
      .executeTakeFirstOrThrow();
    expect(row).toEqual({ fingerprint: null, recipient: given.escrow.certificates[0]?.digest });
  });
});

test('whatever bytes come: each line that was read has a fate, in a dry run as in the report, and nothing is thrown but a Problem', async () => {
  const fateNames = ['offered', 'waiting', 'aside', 'known', 'repeated', 'no-key', 'other-secret', 'empty', 'refused', 'unsure', 'foreign'];
  const rows = csv(line(newSerial(), keyText(), '2026-01-01'), line(newSerial(), ''), line(newSerial(), keyText()));
  const spoilt = fc
    .tuple(fc.nat(rows.length), fc.constantFrom('"', ',', '\n', '\0', '{', ';', '=', '\t'))
    .map(([at, sign]) => rows.slice(0, at) + sign + rows.slice(at));
  const cut = fc.nat(rows.length).map((at) => rows.slice(0, at));
  const any = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.concat([Buffer.from('serial,key,date\n'), bytes]));
  const json = fc.json({ maxDepth: 3 });
  await fc.assert(
    fc.asyncProperty(fc.oneof(spoilt, cut, any, json), async (text) => {
      let what: Export;
      try {
        what = exportOf(text);
      } catch (error) {
        expect(error).toBeInstanceOf(Problem);
        return;
      }
      const { lines } = await given.custody.importExport({ what, actor: 'ada', reason: 'any bytes', dryRun: true, pause: 0 });
      expect(lines.map((one) => one.line)).toEqual(what.entries.map((one) => one.line).toSorted((a, b) => a - b));
      for (const { fate, because } of lines) expect([fateNames.includes(fate), because !== '']).toEqual([true, true]);
    }),
    { numRuns: 150 },
  );
});

describe('a run', () => {
  test('is in the audit from its beginning to its end, with counts and without keys', async () => {
    const done = await bringIn(csv(line(newSerial(), keyText()), line(newSerial(), '')));
    const acts = (await given.acts()).filter(({ act, details }) => act.startsWith('import.') && details['runId'] === done.runId);
    expect(acts).toEqual([
      {
        act: 'import.begun',
        actor: 'ada',
        details: { runId: done.runId, source: 'csv', name: 'keys.csv', digest: expect.stringMatching(/^[0-9a-f]{64}$/), lines: 2, reason: 'taking over' },
      },
      { act: 'import.ended', actor: 'ada', details: { runId: done.runId, waiting: 1, 'no-key': 1 } },
    ]);
  });

  test('that is dry says the same as the run itself, and writes nothing at all', async () => {
    const mac = await given.newMac();
    await mac.checkIn();
    const text = csv(
      line(mac.serial, keyText(), '2026-01-01'),
      line(mac.serial, keyText()),
      line(newSerial(), keyText()),
      line(newSerial(), 'x'),
      line(newSerial(), ''),
    );
    const before = await dump();
    const dry = await bringIn(text, { dryRun: true });
    expect(await dump()).toBe(before);
    expect([dry.runId, dry.startedAt]).toEqual([null, null]);
    const wet = await bringIn(text);
    expect(wet.lines.map(({ keyId: _, ...rest }) => rest)).toEqual(dry.lines.map(({ keyId: _, ...rest }) => rest));
  });

  test('of the same file again is the same run: nothing is done, and its fates are told; read in another way it is another', async () => {
    const text = csv(line(newSerial(), keyText().replace(/^./, '0')));
    const first = await bringIn(text);
    const before = await dump();
    expect(await bringIn(text)).toEqual({ ...first, was: 'before' });
    expect(await dump()).toBe(before);
    const [other] = readExports([{ name: 'keys.csv', bytes: Buffer.from(text), inFolder: false }], { source: null, mapping: {}, signs: 'as-written' });
    const again = await given.custody.importExport({ what: other as Export, actor: 'ada', reason: 'read as written', dryRun: false });
    expect([first.lines[0]?.fate, again.was, again.lines[0]?.fate]).toEqual(['unsure', 'new', 'waiting']);
  });

  test('of a file that was changed between is a new one: what is here is known, what was added is taken', async () => {
    const rows = [line(newSerial(), keyText()), line(newSerial(), keyText())];
    await bringIn(csv(...rows));
    expect(fates(await bringIn(csv(...rows, line(newSerial(), keyText()))))).toEqual(['2 known', '3 known', '4 waiting']);
  });

  test('without a reason is refused', async () => {
    const what = exportOf(csv(line(newSerial(), keyText())));
    expect(await codeOf(given.custody.importExport({ what, actor: 'ada', reason: ' ', dryRun: false }))).toBe('REASON_MISSING');
  });

  test('of the very envelopes that a Mac delivers itself, when it is withdrawn, takes none of them along', async () => {
    const mac = await given.newMac();
    await mac.escrowed();
    const { recordId } = (await mac.deliver(RecoveryKey.parse(keyText()) ?? newKey(), { source: 'escrow-file' })).receipt;
    const own = () => given.store.db.selectFrom('envelope').selectAll().where('record_id', '=', recordId).execute();
    const [{ bytes } = { bytes: null }] = await own();
    const [what] = readExports([{ name: `${mac.serial}.cms`, bytes: Buffer.from(bytes ?? []), inFolder: true }], { source: null, mapping: {}, signs: null });
    if (!what) throw new Error('nothing was read');
    const { runId, lines } = await given.custody.importExport({ what, actor: 'ada', reason: 'taking over', dryRun: false, pause: 0 });
    expect(lines.map(({ fate }) => fate)).toEqual(['known']);
    expect((await importWithdrawCommand(given, { run: String(runId), actor: 'ada', reason: 'the wrong folder', confirm })).json).toMatchObject({
      withdrawn: 1,
    });
    expect((await mac.states())[recordId]).toBe('candidate');
    expect(await own()).toHaveLength(1);
  });

  test('that is withdrawn is as if it had never been; a key that its Mac has proved stays; then it can be imported again', async () => {
    const mac = await given.newMac();
    await mac.checkIn();
    const proved = keyText();
    const [first, waiting] = [newSerial(), newSerial()];
    const text = csv(line(mac.serial, proved), line(first, keyText()), line(waiting, keyText()));
    const { runId } = await bringIn(text);
    const order = (await mac.checkIn()).proofOrders[0];
    await mac.prove(String(order?.envelopeIds[0] ?? ''), 'true', { orderId: order?.id ?? null });
    expect(Object.values(await mac.states())).toEqual(['held']);
    const withdrawn = await importWithdrawCommand(given, { run: String(runId), actor: 'ada', reason: 'an old list', confirm });
    expect(withdrawn.json).toEqual({ run: runId, withdrawn: 2, kept: 1 });
    expect(withdrawn.text).toMatch(/^2 keys of keys\.csv taken back; 1 stay/);
    expect(Object.values(await mac.states())).toEqual(['held']);
    const bytes = await given.store.db.selectFrom('brought_key').select('bytes').where('serial', 'in', [first, waiting]).execute();
    expect(bytes).toEqual([{ bytes: null }, { bytes: null }]);
    expect((await importWithdrawCommand(given, { run: String(runId), actor: 'ada', reason: 'again', confirm })).text).toMatch(
      /^it was withdrawn on .*nothing was changed$/,
    );
    const again = await bringIn(text);
    expect([again.was, again.runId === runId, fates(again)]).toEqual(['new', false, ['2 known', '3 waiting', '4 waiting']]);
  });
});

describe('a run that is taken back while it is under way', () => {
  test('ends there: no further line of it is taken, and it is never said to be done; the same file is a new run afterwards', async () => {
    const serials = Array.from({ length: 3 }, newSerial);
    const text = csv(...serials.map((serial) => line(serial, keyText())));
    let runId = '';
    const what = exportOf(text);
    const withdrawing: Promise<unknown>[] = [];
    const importing = given.custody.importExport({
      what,
      actor: 'ada',
      reason: 'taking over',
      dryRun: false,
      batchLines: 1,
      pause: 20,
      progress: (done) => {
        if (done === 1)
          withdrawing.push(
            (async () => {
              const [run] = await given.store.db.selectFrom('import_run').select('id').where('digest', '=', digestOf(what)).execute();
              runId = run?.id ?? '';
              return given.custody.withdrawRun({ runId, actor: 'bob', reason: 'the wrong file' });
            })(),
          );
      },
    });
    expect(await codeOf(importing)).toBe('IMPORT_WITHDRAWN');
    expect(await Promise.all(withdrawing)).toEqual([{ withdrawn: 1, kept: 0 }]);
    expect(await given.store.db.selectFrom('brought_key').select('serial').where('serial', 'in', serials).where('state', '<>', 'withdrawn').execute()).toEqual(
      [],
    );
    const run = await given.store.db.selectFrom('import_run').selectAll().where('id', '=', runId).executeTakeFirstOrThrow();
    expect(run).toMatchObject({ ended_at: null, withdrawn_at: expect.any(Number) });
    expect((await given.acts('import.ended')).filter(({ details }) => details['runId'] === runId)).toEqual([]);
    expect(fates(await bringIn(text))).toEqual(['2 waiting', '3 waiting', '4 waiting']);
  });

  test('and what it brought after all, before this was looked at, goes when it is taken back once more', async () => {
    const { runId } = await bringIn(csv(line(newSerial(), keyText()), line(newSerial(), keyText())));
    const of = { run: String(runId), actor: 'ada', reason: 'an old list', confirm };
    await given.store.write((tx) => tx.updateTable('import_run').set({ withdrawn_at: 1 }).where('id', '=', String(runId)).execute());
    expect((await importWithdrawCommand(given, of)).json).toEqual({ run: runId, withdrawn: 2, kept: 0 });
    expect((await importWithdrawCommand(given, of)).text).toMatch(/nothing was changed$/);
  });
});

describe('a run that is cut goes on where it was', () => {
  const batchLines = 1;

  /** A backend of the same database, of which the n-th act ends the process: before its commit, or right after it. */
  function dying(on: GivenServer, act: number, afterCommit: boolean): GivenServer['custody'] {
    let acts = 0;
    const store: Store = {
      ...on.store,
      write: async (work) => {
        acts += 1;
        const dies = acts === act;
        const result = await on.store.write(async (tx) => {
          const inside = await work(tx);
          if (dies && !afterCommit) throw new Error('killed');
          return inside;
        });
        if (dies) throw new Error('killed');
        return result;
      },
    };
    return createCustody({ store, clock: on.clock, escrowKeys: on.escrow, secrets, settings: on.settings });
  }

  test.each([
    ['before the commit of any act', false],
    ['after the commit of any act', true],
  ])('%s: no line twice, none lost, and the same end as a run that was never cut', async (_, afterCommit) => {
    const on = await givenServer();
    const [one, two] = [await on.newMac(), await on.newMac()];
    await one.checkIn();
    await two.checkIn();
    // Beginning, what needs no key, four batches of keys, the end.
    const acts = 7;
    for (let act = 1; act <= acts + 1; act += 1) {
      const rows = [
        line(newSerial(), keyText()),
        line(newSerial(), ''),
        line(newSerial(), keyText()),
        line('x', keyText()),
        line(newSerial(), keyText(), '2026-01-01'),
      ];
      const same = newSerial();
      const what = exportOf(csv(...rows, line(same, keyText()), line(same, keyText(), '2026-01-01'), line(newSerial(), 'no key at all')));
      const importing = { what, actor: 'ada', reason: 'cut', dryRun: false, batchLines, pause: 0 };
      const cut = await dying(on, act, afterCommit)
        .importExport(importing)
        .catch((error: Error) => error.message);
      const done = await on.custody.importExport(importing);
      expect(fates(done)).toEqual(['2 waiting', '3 no-key', '4 waiting', '5 refused', '6 waiting', '7 waiting', '8 waiting', '9 refused']);
      expect(cut === 'killed').toBe(act <= acts);
      const isThrough = act > acts || (act === acts && afterCommit);
      const was = isThrough ? 'before' : act === 1 && !afterCommit ? 'new' : 'resumed';
      expect([act, done.was]).toEqual([act, was]);
      const stored = await on.store.db.selectFrom('brought_key').select('id').where('run_id', '=', String(done.runId)).execute();
      expect(stored).toHaveLength(5);
      expect((await on.acts('import.begun')).filter(({ details }) => details['runId'] === done.runId)).toHaveLength(1);
      expect((await on.acts('import.ended')).filter(({ details }) => details['runId'] === done.runId)).toHaveLength(1);
    }
    await on.close();
  });

  test('two processes that do the same file at once do each line once', async () => {
    const rows = Array.from({ length: 30 }, () => line(newSerial(), keyText()));
    const importing = { what: exportOf(csv(...rows)), actor: 'ada', reason: 'at once', dryRun: false, batchLines: 4, pause: 1 };
    const [first, second] = await Promise.all([given.custody.importExport(importing), given.custody.importExport(importing)]);
    expect(second.runId).toBe(first.runId);
    expect(countFates((await bringIn(csv(...rows))).lines)).toEqual({ waiting: 30 });
    expect(await given.store.db.selectFrom('brought_key').select('id').where('run_id', '=', String(first.runId)).execute()).toHaveLength(30);
  });
});

describe('the commands', () => {
  const asked = (paths: string[], more: Partial<ImportAsked> = {}): ImportAsked => ({
    paths,
    source: null,
    mapping: {},
    signs: null,
    dryRun: false,
    report: null,
    actor: 'ada',
    reason: 'taking over',
    say: () => {},
    ...more,
  });

  test('`import` says how many lines had which fate, what to look at, and to delete the file; 77 where a line was not taken', async () => {
    const bad = keyText();
    const file = written('mixed.csv', csv(line(newSerial(), keyText()), line(newSerial(), bad.slice(1)), line(newSerial(), '')));
    const before = readFileSync(file);
    const done = await importCommand(given, asked([file]));
    expect(done.exit).toBe(77);
    expect(done.text).toMatch(/^mixed\.csv \(a file\): 3 lines, run [0-9a-f-]{36}\nfate +lines/);
    expect(done.text).toMatch(/\nwaiting +1 +kept until its Mac is here/);
    expect(done.text).toMatch(/\n3 +C02IMP\d+ +refused +that is no recovery key: 23 letters and digits instead of 24$/);
    expect(done.warnings).toEqual([`delete what still holds keys in plain now, such as with: shred -u ${file}`]);
    expect(done.json).toMatchObject({
      dryRun: false,
      runs: [{ was: 'new', source: 'csv', lines: 3, taken: 1, fates: { waiting: 1, refused: 1, 'no-key': 1 }, look: [{ line: 3, fate: 'refused' }] }],
    });
    expect(readFileSync(file)).toEqual(before);
    expect(JSON.stringify(done)).not.toContain(bad.slice(1, 10));
  });

  test('`import` of what is all taken ends with 0; a dry run says that nothing was written', async () => {
    const file = written('good.csv', csv(line(newSerial(), keyText())));
    const dry = await importCommand(given, asked([file], { dryRun: true }));
    expect([dry.exit, dry.warnings]).toEqual([undefined, ['nothing was written: this is what would become of each line']]);
    expect((await importCommand(given, asked([file]))).exit).toBeUndefined();
    expect((await importCommand(given, asked([file]))).text).toMatch(/^good\.csv \(a file\): this very file was imported on .*; nothing was done now/);
  });

  test('says while it goes on how far it is, and nothing of that is in what --json gives', async () => {
    const file = written('long.csv', csv(...Array.from({ length: 450 }, () => line(newSerial(), keyText())), line(newSerial(), '')));
    const said: string[] = [];
    const done = await importCommand(given, asked([file], { say: (words) => said.push(words), sayEvery: 0 }));
    expect(said).toEqual(['long.csv: 201 of 451 lines', 'long.csv: 401 of 451 lines', 'long.csv: 451 of 451 lines']);
    expect(JSON.stringify(done.json)).not.toContain(' of 451 lines');
    expect(done.json).toMatchObject({ runs: [{ lines: 451, taken: 450, fates: { waiting: 450, 'no-key': 1 } }] });
    // Nobody looks up as often as that: what is over in a moment says nothing.
    const quiet: string[] = [];
    await importCommand(given, asked([written('short.csv', csv(line(newSerial(), keyText())))], { say: (words) => quiet.push(words) }));
    expect(quiet).toEqual([]);
  });

  test('`import-withdraw` says first how many keys go and how many stay, and takes nothing where that is not confirmed', async () => {
    const mac = await given.newMac();
    await mac.checkIn();
    const { runId } = await bringIn(csv(line(mac.serial, keyText()), line(newSerial(), keyText()), line(newSerial(), keyText())));
    const [order] = (await mac.checkIn()).proofOrders;
    await mac.prove(String(order?.envelopeIds[0] ?? ''), 'true', { orderId: order?.id ?? null });
    const before = await dump();
    const questions: string[] = [];
    const no = async (question: string): Promise<void> => {
      questions.push(question);
      throw new Problem('USAGE', 'it was not confirmed; nothing was changed');
    };
    const of = { run: String(runId), actor: 'ada', reason: 'an old list' };
    expect(await codeOf(importWithdrawCommand(given, { ...of, confirm: no }))).toBe('USAGE');
    expect(questions).toEqual(['2 keys of keys.csv go, and 1 stay.']);
    expect(await dump()).toBe(before);
    expect((await importWithdrawCommand(given, { ...of, confirm })).json).toEqual({ run: runId, withdrawn: 2, kept: 1 });
  });

  test('several files: each table is a run of its own; if one of them cannot be read, none is imported', async () => {
    const [one, two, none] = [csv(line(newSerial(), keyText())), csv(line(newSerial(), keyText())), 'a,b\n'].map((text, at) =>
      written(`several-${at}.csv`, text),
    );
    expect(await codeOf(importCommand(given, asked([String(one), String(none)])))).toBe('EXPORT_INVALID');
    const done = await importCommand(given, asked([String(one), String(two)]));
    expect((done.json as { runs: { was: string }[] }).runs.map(({ was }) => was)).toEqual(['new', 'new']);
  });

  test('the report has every line and no key, is private, takes no cell for a formula, and replaces nothing', async () => {
    const serial = newSerial();
    const file = written('reported.csv', csv(line(serial, keyText()), line('=1+1', keyText())));
    const report = join(folder, 'report.csv');
    await importCommand(given, asked([file], { report }));
    expect(readFileSync(report, 'utf8').split('\r\n')).toEqual([
      'file,line,serial,fate,because',
      expect.stringMatching(new RegExp(`^reported\\.csv,2,${serial},waiting,`)),
      'reported.csv,3,,refused,where the serial number should be is a formula',
      '',
    ]);
    expect(statSync(report).mode & 0o777).toBe(0o600);
    const before = await dump();
    expect(await codeOf(importCommand(given, asked([written('more.csv', csv(line(newSerial(), keyText())))], { report })))).toBe('USAGE');
    expect(await dump()).toBe(before);
    writeReport(join(folder, 'cells.csv'), [{ name: '=cmd', lines: [{ line: 1, serial: '-1', fate: '@x', because: 'a "b", c', keyId: null }] }]);
    expect(readFileSync(join(folder, 'cells.csv'), 'utf8')).toBe(`file,line,serial,fate,because\r\n'=cmd,1,'-1,'@x,"a ""b"", c"\r\n`);
    mkdirSync(join(folder, 'there'));
    expect(() => writeReport(join(folder, 'not-there', 'report.csv'), [])).toThrow(/there is no such folder/);
  });

  test('`imports` lists them, and shows each line of one by the beginning of its id', async () => {
    const serial = newSerial();
    const { runId } = await bringIn(csv(line(serial, keyText())));
    const listed = await importsCommand(given, null);
    expect(listed.text).toMatch(/^run +started +state +source +name +lines +taken +to look at +by\n/);
    expect(listed.text).toMatch(new RegExp(`\\n${runId} .* done +csv +keys\\.csv +1 +1 +0 +ada`));
    const one = await importsCommand(given, String(runId).slice(0, 8));
    expect(one.text).toMatch(new RegExp(`^keys\\.csv \\(a file\\), .*, ada: taking over; done\\nline +serial +fate +because\\n2 +${serial} +waiting`));
    expect(await codeOf(importsCommand(given, 'ffffffff'))).toBe('NOT_FOUND');
    expect(await codeOf(importsCommand(given, ''))).toBe('NOT_FOUND');
  });
});

test('after an import of each kind no key stands in plain in the database, and its audit is whole', async () => {
  const kinds = [keyText(), keyText().toLowerCase(), `${keyText()}x`, keyText().replace(/^./, '0'), keyText().replaceAll('-', '')];
  await bringIn(csv(...kinds.map((key) => line(newSerial(), key)), line('', keyText()), `${newSerial()},x,${keyText()}`));
  await bringIn(csv(line(newSerial(), keyText())), { dryRun: true });
  const text = await dump();
  expect(revealed.length).toBeGreaterThanOrEqual(8);
  for (const key of revealed) {
    expect(text).not.toContain(key);
    expect(text).not.toContain(key.replaceAll('-', ''));
  }
  expect(await verifyAudit(given.store)).toMatchObject({ ok: true });
});

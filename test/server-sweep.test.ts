import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { scratch } from './scratch.ts';
import { halfRows, questions } from './server-sweep/half-rows.ts';
import { type Ledger, newLedger } from './server-sweep/receipts.ts';
import { lookUp, type Swept, sweepBackend } from './server-sweep/sweep.ts';

/*
 * The quick form of `npm run sweep:server`: the backend as a process, killed under the load of simulated Macs. What it left
 * behind is then bent on purpose, so that what looks for faults is known to find them.
 */

let swept: Swept;
let ledger: Ledger = newLedger();
let file = '';

beforeAll(async () => {
  const folder = scratch('swept');
  swept = await sweepBackend({
    kills: 3,
    seconds: 0,
    clients: 6,
    answers: 60,
    seed: 11,
    systemCalls: false,
    operator: false,
    async look(database, given) {
      ledger = given;
      file = join(folder, 'kept.sqlite');
      copyFileSync(database, file);
    },
  });
});

test('after three kills under load every receipt that a Mac ever got is there, delivered again it is the same record, and nothing is there by halves', () => {
  const { kills, missing, halfRows: halves, auditBroken, surprises } = swept;
  expect({ kills, missing, halves, auditBroken, surprises }).toEqual({ kills: 3, missing: [], halves: [], auditBroken: 0, surprises: [] });
  expect(swept.receipts).toBeGreaterThan(20);
  expect(swept.words).toBeGreaterThan(20);
  expect(swept.auditRows).toBeGreaterThan(swept.receipts);
});

/** A copy in which the given statements were carried out, by somebody who asks no constraint. */
function bent(...statements: string[]): string {
  const copy = join(scratch('bent'), 'server.sqlite');
  copyFileSync(file, copy);
  const database = new DatabaseSync(copy, { enableForeignKeyConstraints: false });
  for (const statement of statements) database.exec(statement);
  database.close();
  return copy;
}

describe('what looks for faults finds', () => {
  test('a receipt and a word that were never given', async () => {
    const [receipt] = ledger.receipts;
    if (!receipt) throw new TypeError('no receipt');
    const never = { ...receipt, envelopeId: 'f'.repeat(64) };
    const word = { serial: receipt.serial, kind: 'rotation' as const, id: 'never' };
    const found = await lookUp(file, { ...ledger, receipts: [...ledger.receipts, never], words: [...ledger.words, word] });
    expect(found.missing).toEqual([expect.stringMatching(/ffffffffffff is not there/), expect.stringMatching(/rotation never/)]);
  });

  test('an envelope whose row is gone, whose bytes are others, or whose record is another or destroyed', async () => {
    const [{ envelopeId: id } = { envelopeId: '' }] = ledger.receipts;
    const other = `(select id from key_record where id <> (select record_id from envelope where id = '${id}') limit 1)`;
    const cases = {
      [`delete from envelope where id = '${id}'`]: /is not there/,
      [`update envelope set bytes = x'00' where id = '${id}'`]: /has other bytes/,
      [`update envelope set record_id = ${other} where id = '${id}'`]: /another record/,
      [`update key_record set state = 'destroyed' where id = (select record_id from envelope where id = '${id}')`]: /and is destroyed/,
    };
    for (const [statement, words] of Object.entries(cases)) expect((await lookUp(bent(statement), ledger)).missing.join('\n')).toMatch(words);
  });

  test('a held key that is not the one that opens the Mac, and a key that was stored twice', async () => {
    const [{ serial, envelopeId } = { serial: '', envelopeId: '' }] = ledger.ends;
    const superseded = bent(`update key_record set state = 'superseded' where id = (select record_id from envelope where id = '${envelopeId}')`);
    expect((await lookUp(superseded, ledger)).missing).toContain(`${serial}: the key that opens it is not the held one`);
    const macId = `(select id from mac where serial = '${serial}')`;
    const columns = 'mac_id, hardware_uuid, volume, source, received_at, state_at, state_because';
    const twice = bent(
      `insert into key_record (id, state, ${columns}) select 'twice', 'candidate', ${columns} from key_record where mac_id = ${macId} limit 1`,
    );
    expect((await lookUp(twice, ledger)).missing.join('\n')).toMatch(new RegExp(`${serial}: it sent \\d+ keys`));
  });

  test('a line of the audit that was changed, and one that was taken out', async () => {
    const changed = bent("update audit set actor = 'nobody' where seq = (select max(seq) / 2 from audit)");
    expect((await lookUp(changed, ledger)).auditBroken).toBe(1);
    const taken = bent('delete from audit where seq = (select max(seq) / 2 from audit)');
    expect((await lookUp(taken, ledger)).auditBroken).toBe(1);
  });

  /** One half of an act, as a backend that does not write it in one transaction would leave it. */
  const halves: Record<keyof typeof questions, string> = {
    'a record without an envelope': 'delete from envelope where record_id = (select id from key_record where rowid = 1)',
    'an envelope of a record of another Mac': "update key_record set mac_id = 'another' where rowid = 1",
    'an envelope without its bytes': 'update envelope set bytes = null where rowid = 1',
    'an opened envelope whose block is not remembered': 'delete from key_block where rowid = 1',
    'a remembered block of no envelope': "insert into key_block (digest, mac_id, envelope_id) values ('a', 'b', 'c')",
    'an envelope that the audit does not name once': "delete from audit where seq = (select min(seq) from audit where act = 'key.stored')",
    'an audited key that is not there': 'delete from envelope where rowid = 1',
    'two keys held for one volume':
      "drop index key_record_one_held; update key_record set state = 'held', mac_id = (select mac_id from key_record where rowid = 1), volume = (select volume from key_record where rowid = 1)",
    'one key in two records':
      'drop index key_record_one_held; drop index key_record_fingerprint; update key_record set fingerprint = 1, mac_id = (select mac_id from key_record where rowid = 1), volume = (select volume from key_record where rowid = 1)',
    'a rotation without its begin in the audit': "delete from audit where act = 'rotation.begun'",
    'an ended rotation without its ending in the audit': "delete from audit where act = 'rotation.ended'",
    'a rotation that is done without a key': "update rotation set id = 'another' where rowid = (select min(rowid) from rotation where state = 'done')",
    'a rotation that is not done although its key is proved': `update rotation set state = 'begun' where state = 'done' and rowid = (select min(rotation.rowid) from rotation
      join key_record on key_record.rotation_id = rotation.id where key_record.state = 'held' and rotation.mac_id not in (select mac_id from rotation where state = 'begun'))`,
    'a debt without its cause in the audit': "delete from audit where act = 'debt.opened'",
    'a closed debt without its end in the audit': "delete from audit where act = 'debt.closed'",
    'a debt that was closed without another key': "update debt set record_id = substr(closed_by, 8) where closed_by like 'record %'",
    'a debt that is half closed': 'update debt set closed_by = null',
    'a disclosure without audit': '',
    'a disclosure without its debt': '',
    'a disclosed key that is not marked': '',
    'an audited disclosure that is not there': `update audit set act = 'key.disclosed', details = '{"disclosureId":"x"}' where seq = 3`,
    'a grant without audit': "delete from audit where act = 'grant.given'",
    'a grant without its debt': "delete from debt where because = 'granted'",
    'a proof of no key': "update proof set record_id = 'another' where rowid = 1",
    'a proof that proved nothing': 'update key_record set proved_at = null',
    'an order for a proof without audit': "delete from audit where act = 'proof.ordered'",
    'a Mac without an enrolment': 'delete from enrolment where rowid = 1',
    'an enrolment without audit': "delete from audit where act = 'enrolment.made'",
    'an enrolment without a certificate': 'delete from certificate where rowid = 1',
    'an enrolment without its proof': 'delete from enrolment_proof where rowid = 1',
    'time that stepped back': 'update audit set at = at - 100000 where seq = (select max(seq) from audit)',
    'an audit that is newer than the clock': "update memory set value = '1' where name = 'clock'",
  };
  // Nobody looks at keys in the quick form: one view is put in, with one half of it missing.
  const view = `insert into disclosure (id, mac_id, volume, record_id, actor, reason, at, shown)
    select 'view', mac_id, volume, id, 'ada', 'a test', received_at, 1 from key_record where rowid = 1`;
  for (const name of ['a disclosure without audit', 'a disclosure without its debt', 'a disclosed key that is not marked']) halves[name] = view;

  test.each(Object.keys(questions))('%s', (name) => {
    const copy = bent(halves[name] ?? '');
    const database = new DatabaseSync(copy, { readOnly: true });
    const found = halfRows(database);
    database.close();
    expect(found.filter((line) => line.startsWith(`${name}: `))).not.toEqual([]);
  });

  test('a file that is damaged, and an orphan', () => {
    const copy = bent("update certificate set enrolment_id = 'nobody' where rowid = 1");
    const database = new DatabaseSync(copy, { readOnly: true });
    expect(halfRows(database).join('\n')).toMatch(/an orphan: certificate/);
    database.close();
  });
});

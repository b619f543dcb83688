import type { DatabaseSync } from 'node:sqlite';

/*
 * What is stored in one act is there as a whole or not at all. Each question names rows that one half of an act would
 * leave behind; its answer must be empty, whatever moment the backend died at.
 */

const audited = (act: string, id: string, row: string, macId = `${row}.mac_id`): string =>
  `exists (select 1 from audit where audit.mac_id = ${macId} and audit.act = '${act}' and json_extract(audit.details, '$.${id}') = ${row}.id)`;

export const questions: Readonly<Record<string, string>> = {
  'a record without an envelope': 'select id from key_record where not exists (select 1 from envelope where envelope.record_id = key_record.id)',
  'an envelope of a record of another Mac':
    'select envelope.id from envelope left join key_record on key_record.id = envelope.record_id where key_record.mac_id is not envelope.mac_id',
  'an envelope without its bytes':
    "select envelope.id from envelope join key_record on key_record.id = envelope.record_id where (envelope.bytes is null) <> (key_record.state = 'destroyed')",
  'an opened envelope whose block is not remembered':
    "select id from envelope where readable = 'yes' and not exists (select 1 from key_block where key_block.envelope_id = envelope.id and key_block.mac_id = envelope.mac_id)",
  'a remembered block of no envelope':
    'select digest from key_block where not exists (select 1 from envelope where envelope.id = key_block.envelope_id and envelope.mac_id = key_block.mac_id)',
  'an envelope that the audit does not name once': `select envelope.id from envelope where 1 <> (select count(*) from audit where audit.mac_id = envelope.mac_id
    and audit.act in ('key.stored', 'key.quarantined') and json_extract(audit.details, '$.envelopeId') = envelope.id)`,
  'an audited key that is not there': `select seq from audit where act in ('key.stored', 'key.quarantined')
    and not exists (select 1 from envelope where envelope.mac_id = audit.mac_id and envelope.id = json_extract(audit.details, '$.envelopeId'))`,
  'two keys held for one volume': "select mac_id from key_record where state = 'held' group by mac_id, volume having count(*) > 1",
  'one key in two records': 'select mac_id from key_record where fingerprint is not null group by mac_id, volume, fingerprint having count(*) > 1',
  'a rotation without its begin in the audit': `select id from rotation where not ${audited('rotation.begun', 'rotationId', 'rotation')}`,
  'an ended rotation without its ending in the audit': `select id from rotation where (state <> 'begun') <> ${audited('rotation.ended', 'rotationId', 'rotation')}`,
  'a rotation that is done without a key': `select id from rotation where state = 'done' and not exists (select 1 from envelope
    join key_record on key_record.id = envelope.record_id where envelope.rotation_id = rotation.id and envelope.mac_id = rotation.mac_id
    and key_record.state in ('held', 'superseded'))`,
  'a rotation that is not done although its key is proved': `select rotation.id from rotation join key_record on key_record.rotation_id = rotation.id
    and key_record.mac_id = rotation.mac_id where rotation.state = 'begun' and key_record.state = 'held'`,
  'a debt without its cause in the audit': `select id from debt where not ${audited('debt.opened', 'debtId', 'debt')}`,
  'a closed debt without its end in the audit': `select id from debt where (closed_at is not null) <> ${audited('debt.closed', 'debtId', 'debt')}`,
  'a debt that was closed without another key': `select id from debt where closed_by like 'record %' and not exists (select 1 from key_record
    where key_record.id = substr(debt.closed_by, 8) and key_record.mac_id = debt.mac_id and key_record.id is not debt.record_id)`,
  'a debt that is half closed': 'select id from debt where (closed_at is null) <> (closed_by is null)',
  'a disclosure without audit': `select id from disclosure where not ${audited('key.disclosed', 'disclosureId', 'disclosure')}`,
  'a disclosure without its debt':
    'select id from disclosure where not exists (select 1 from debt where debt.id = disclosure.id and debt.mac_id = disclosure.mac_id)',
  'a disclosed key that is not marked':
    'select disclosure.id from disclosure join key_record on key_record.id = disclosure.record_id where coalesce(key_record.disclosed_at, 0) < disclosure.at',
  'an audited disclosure that is not there': `select seq from audit where act = 'key.disclosed'
    and not exists (select 1 from disclosure where disclosure.id = json_extract(audit.details, '$.disclosureId'))`,
  'a grant without audit': `select id from grant_given where not ${audited('grant.given', 'grantId', 'grant_given')}`,
  'a grant without its debt':
    'select id from grant_given where not exists (select 1 from debt where debt.id = grant_given.id and debt.mac_id = grant_given.mac_id)',
  'a proof of no key': 'select id from proof where not exists (select 1 from key_record where key_record.id = proof.record_id)',
  'a proof that proved nothing': `select proof.id from proof join key_record on key_record.id = proof.record_id
    where proof.answer = 'true' and key_record.proved_at is null and key_record.state = 'held'`,
  'an order for a proof without audit': `select id from proof_order where not ${audited('proof.ordered', 'orderId', 'proof_order')}`,
  'a Mac without an enrolment': 'select id from mac where not exists (select 1 from enrolment where enrolment.mac_id = mac.id)',
  'an enrolment without audit': `select id from enrolment where not ${audited('enrolment.made', 'enrolmentId', 'enrolment')}`,
  'an enrolment without a certificate': 'select id from enrolment where not exists (select 1 from certificate where certificate.enrolment_id = enrolment.id)',
  'an enrolment without its proof':
    'select id from enrolment where not exists (select 1 from enrolment_proof where enrolment_proof.enrolment_id = enrolment.id)',
  'time that stepped back': 'select later.seq from audit as later join audit as earlier on earlier.seq = later.seq - 1 where later.at < earlier.at',
  'an audit that is newer than the clock': "select seq from audit where at > (select cast(value as integer) from memory where name = 'clock')",
};

/** One line for each half of an act, and for what SQLite itself finds. */
export function halfRows(database: DatabaseSync): string[] {
  const found = Object.entries(questions).flatMap(([name, question]) =>
    database
      .prepare(question)
      .all()
      .map((row) => `${name}: ${Object.values(row).join(' ')}`),
  );
  const integrity = database
    .prepare('pragma integrity_check')
    .all()
    .flatMap((row) => (row['integrity_check'] === 'ok' ? [] : [`the file is damaged: ${row['integrity_check']}`]));
  const orphans = database
    .prepare('pragma foreign_key_check')
    .all()
    .map((row) => `an orphan: ${row['table']} ${row['rowid']}`);
  return [...found, ...integrity, ...orphans];
}

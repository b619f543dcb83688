import { randomUUID } from 'node:crypto';
import { rowMac } from '../server/row-mac.ts';
import type { Tables } from '../server/tables.ts';
import type { givenPortal } from './portal-together.ts';

/*
 * A Mac as its rows have it, once more for somebody else and changed: what a real one would take an agent, and days, to come
 * to. Its key opens like that of the first one. Knows nothing of jest.
 */

type Backend = Awaited<ReturnType<typeof givenPortal>>['backend'];
type Row = Record<string, unknown>;
/** In the order in which they refer to one another. */
const ofMac = ['mac', 'key_record', 'envelope', 'disclosure', 'debt', 'episode', 'key_view', 'grant_given'] as const;
type Copied = (typeof ofMac)[number];
type Rows = Record<Copied, Row[]>;

export interface Change {
  personId?: string;
  /** Whose it is; left out: nobody's. */
  userName?: string;
  /** Of its last check-in. */
  facts?: Row;
  /** Anything else. */
  rows?: (rows: Rows) => void;
  /** Rows of other tables, with the id of the new Mac. */
  more?: (macId: string) => Partial<Record<keyof Tables, Row>>;
}

let made = 0;

export async function copyMac({ store, secrets }: Backend, macId: string, { personId, userName, facts, rows: change, more }: Change = {}): Promise<string> {
  const newId = randomUUID();
  await store.write(async (tx) => {
    const read = async (table: Copied): Promise<Row[]> => {
      const all = tx.selectFrom(table as 'key_view').selectAll();
      if (table === 'mac') return all.where('id', '=', macId).execute();
      if (table !== 'key_view') return all.where('mac_id' as 'id', '=', macId).execute();
      return all.where('episode_id', 'in', tx.selectFrom('episode').select('id').where('mac_id', '=', macId)).execute();
    };
    const rows = {} as Rows;
    for (const table of ofMac) rows[table] = await read(table);

    // What was called by an id is called by the new one wherever it stands. An envelope's is the digest of its bytes.
    const ids = new Map<unknown, string>([[macId, newId]]);
    for (const table of ofMac) if (table !== 'envelope') for (const { id } of rows[table]) ids.set(id, ids.get(id) ?? randomUUID());
    for (const table of ofMac)
      rows[table] = rows[table].map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, ids.get(value) ?? renamed(value, ids)])));
    for (const mac of rows.mac) {
      Object.assign(mac, { serial: `C02COPY${String(++made).padStart(4, '0')}`, hardware_uuid: randomUUID().toUpperCase() });
      if (facts) mac['facts'] = JSON.stringify({ ...(JSON.parse(String(mac['facts'])) as Row), ...facts });
    }
    if (personId !== undefined) for (const episode of rows.episode) episode['person_id'] = personId;
    change?.(rows);
    for (const envelope of rows.envelope) envelope['row_mac'] = whole(envelope, rows);

    for (const table of ofMac)
      for (const row of rows[table])
        await tx
          .insertInto(table)
          .values(row as never)
          .execute();
    const now = Number(rows.mac[0]?.['last_seen_at'] ?? 0);
    const claim = { mac_id: newId, account: null, source: 'admin', rank: 3, enrolment_id: null, created_by: 'a test', ended_at: null, ended_because: null };
    const claims = userName === undefined ? {} : { assignment: { id: randomUUID(), user_name: userName, created_at: now, ...claim } };
    for (const [table, row] of Object.entries({ ...claims, ...more?.(newId) }))
      await tx
        .insertInto(table as 'mac')
        .values((table === 'assignment' ? { id: randomUUID(), ...claim, created_at: now, ...row } : row) as never)
        .execute();
  });
  return newId;

  function whole(envelope: Row, rows: Rows): unknown {
    const record = rows.key_record.find(({ id }) => id === envelope['record_id']);
    // Somebody has changed it behind the backend's back: that is what is wanted.
    if (!record || envelope['row_mac'] === '') return '';
    const [recordId, envelopeId, volume] = [record['id'], envelope['id'], record['volume']].map(String) as [string, string, string];
    return rowMac(secrets, { macId: newId, volume, recordId, envelopeId, quarantined: record['state'] === 'quarantined' });
  }
}

/** Such as *record ID*, by which a debt says what closed it. */
function renamed(value: unknown, ids: ReadonlyMap<unknown, string>): unknown {
  const [, word, id] = (typeof value === 'string' && /^(record) (\S+)$/.exec(value)) || [];
  return id !== undefined && ids.has(id) ? `${word} ${ids.get(id)}` : value;
}

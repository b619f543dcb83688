import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type AuditRow, beginning, canonicalJson, hashOf } from '../server/audit.ts';
import { createChain, type Place, theBeginning } from '../server/auditing/chain.ts';
import type { Checkpoint } from '../server/auditing/checkpoint.ts';
import type { Finding } from '../server/auditing/finding.ts';

/* Whatever is done to one record, in a table or in a file, is named: what was done, and to which record. */

const acts = ['key.disclosed', 'debt.opened', 'check-in.begun', 'alarm.raised'];
const made = (seq: number, previous: string): AuditRow => {
  const row = {
    seq,
    at: 1_700_000_000_000 + seq * 1000,
    actor: seq % 3 === 0 ? 'ada' : 'server',
    act: acts[seq % acts.length] ?? '',
    mac_id: seq % 2 === 0 ? `mac-${seq % 5}` : null,
    details: canonicalJson({ n: seq, reason: 'locked out', words: 'ä "quoted"' }),
    previous,
    request_id: seq % 4 === 0 ? `req-${seq}` : null,
    network: seq % 4 === 0 ? '192.0.2.0/24' : null,
    token_id: seq % 8 === 0 ? 'token-1' : null,
  };
  return { ...row, hash: hashOf(row) };
};
function chainOf(length: number): AuditRow[] {
  const rows: AuditRow[] = [];
  for (let seq = 1; seq <= length; seq += 1) rows.push(made(seq, rows.at(-1)?.hash ?? beginning));
  return rows;
}
const length = 60;
const honest = chainOf(length);
const row = (seq: number): AuditRow => honest[seq - 1] as AuditRow;
/** Their signatures are looked at elsewhere. */
const checkpoint = (seq: number, number: number): Checkpoint => ({
  format: 'sparekey audit checkpoint 1',
  number,
  kind: 'end',
  seq,
  hash: row(seq).hash,
  at: row(seq).at,
  rows: seq,
  keyId: '0'.repeat(64),
  previous: '0'.repeat(64),
  signature: '',
});
const checkpoints = [20, 40, 60].map((seq, index) => checkpoint(seq, index + 1));

function read(rows: readonly AuditRow[], marks: readonly Checkpoint[] = checkpoints, base: Place = theBeginning) {
  const chain = createChain(base, marks);
  for (const each of rows) chain.take(each);
  return chain.end();
}
/** As a table gives them. */
const table = (rows: readonly AuditRow[]) => read([...rows].sort((a, b) => a.seq - b.seq));
const named = (findings: readonly Finding[]) => findings.map(({ kind, from, to }) => `${kind} ${from}${to === from ? '' : `-${to}`}`);
const again = (changed: AuditRow): AuditRow => ({ ...changed, hash: hashOf(changed) });
/** Another word in a column, and never the same one. */
const otherValue = (column: keyof AuditRow, from: AuditRow): Partial<AuditRow> => ({
  [column]:
    typeof from[column] === 'number'
      ? Number(from[column]) + 7
      : column === 'details'
        ? '{"n":0}'
        : column === 'hash' || column === 'previous'
          ? 'f'.repeat(64)
          : `${from[column] ?? ''}x`,
});
const columns = ['at', 'actor', 'act', 'mac_id', 'details', 'previous', 'hash', 'request_id', 'network', 'token_id'] as const;
const anySeq = fc.integer({ min: 1, max: length });
const runs = { numRuns: 60 };

test('a chain that nobody touched is whole, and sealed up to its last checkpoint', () => {
  expect(table(honest)).toMatchObject({ rows: length, findings: [], sealedTo: 60, last: { seq: length } });
});

describe('one record of a table', () => {
  test.each(columns)('%s changed: that record is named and no other', (column) => {
    fc.assert(
      fc.property(anySeq, (seq) => {
        const { findings } = table(honest.map((each) => (each.seq === seq ? { ...each, ...otherValue(column, each) } : each)));
        expect(named(findings)).toEqual([`changed ${seq}`]);
        expect(findings[0]?.says).toMatch(column === 'hash' && seq < length ? /its hash was changed/ : column === 'previous' ? /its link/ : /./);
      }),
      runs,
    );
  });

  test.each(columns.filter((column) => column !== 'hash'))('%s changed and the record hashed again: it is among those that are named', (column) => {
    fc.assert(
      fc.property(anySeq, (seq) => {
        const { findings } = table(honest.map((each) => (each.seq === seq ? again({ ...each, ...otherValue(column, each) }) : each)));
        expect(findings.some(({ from, to }) => from <= seq && seq <= to)).toBe(true);
        // At a checkpoint the checkpoint says so as well; elsewhere it is this record alone.
        if (seq % 20 !== 0 && seq < length - 1) expect(named(findings)).toEqual([`changed ${seq}`]);
      }),
      runs,
    );
  });

  test('emptied of what was added to newer records', () => {
    expect(named(table(honest.map((each) => (each.seq === 8 ? { ...each, token_id: null } : each))).findings)).toEqual(['changed 8']);
    const { findings } = table(honest.map((each) => (each.seq === 7 ? { ...each, network: '192.0.2.1' } : each)));
    expect(findings).toMatchObject([{ kind: 'changed', from: 7, says: 'its network was added later' }]);
  });

  test('removed: its number is named; the last one by the checkpoint that knows it', () => {
    fc.assert(
      fc.property(anySeq, (seq) => {
        expect(named(table(honest.filter((each) => each.seq !== seq)).findings)).toEqual([seq === length ? `cut-off ${length}` : `removed ${seq}`]);
      }),
      runs,
    );
  });

  test('exchanged with another: both are named, and where each belongs', () => {
    fc.assert(
      fc.property(anySeq, anySeq, (a, b) => {
        fc.pre(a !== b);
        const exchanged = honest.map((each) => (each.seq === a ? { ...row(b), seq: a } : each.seq === b ? { ...row(a), seq: b } : each));
        const moved = table(exchanged).findings.filter(({ kind }) => kind === 'moved');
        expect(moved.map(({ from, says }) => [from, says])).toEqual(
          [a, b].sort((x, y) => x - y).map((seq) => [seq, `it is record ${seq === a ? b : a}: its number was changed`]),
        );
      }),
      runs,
    );
  });

  test('given another number, behind the last or before the first', () => {
    fc.assert(
      fc.property(anySeq, fc.constantFrom(0, -5, length + 1, length + 9), (seq, to) => {
        const { findings } = table(honest.map((each) => (each.seq === seq ? { ...each, seq: to } : each)));
        expect(findings.find(({ kind }) => kind === 'moved')).toMatchObject({ from: to, says: `it is record ${seq}: its number was changed` });
      }),
      runs,
    );
  });

  test('put in, and those after it renumbered', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: length - 1 }), fc.boolean(), (seq, isHashed) => {
        const forged = { ...row(seq), actor: 'nobody', previous: row(seq - 1).hash };
        const rows = [...honest.slice(0, seq - 1), isHashed ? again(forged) : forged, ...honest.slice(seq - 1).map((each) => ({ ...each, seq: each.seq + 1 }))];
        expect(named(table(rows).findings)).toEqual([`inserted ${seq}`]);
      }),
      runs,
    );
  });

  test('removed, and those after it renumbered', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: length - 1 }), (seq) => {
        const rows = [...honest.slice(0, seq - 1), ...honest.slice(seq).map((each) => ({ ...each, seq: each.seq - 1 }))];
        expect(named(table(rows).findings)).toEqual([`removed ${seq}`]);
      }),
      runs,
    );
  });

  test('put before the first', () => {
    expect(named(table([{ ...again({ ...row(1), seq: 0 }) }, ...honest]).findings)).toEqual(['inserted 0']);
  });

  test('changed and everything after it hashed again: the next checkpoint says between which records', () => {
    fc.assert(
      fc.property(anySeq, (seq) => {
        const rows = honest.slice(0, seq - 1);
        for (const each of honest.slice(seq - 1))
          rows.push(again({ ...each, ...(each.seq === seq ? { actor: 'nobody' } : {}), previous: rows.at(-1)?.hash ?? beginning }));
        const from = Math.floor((seq - 1) / 20) * 20 + 1;
        expect(named(table(rows).findings)).toEqual([`rewritten ${from}-${from + 19}`]);
        // Without any checkpoint nothing would be seen: the chain is a whole one.
        expect(read(rows, []).findings).toEqual([]);
      }),
      runs,
    );
  });

  test('an end that was cut off, and a chain that begins anew', () => {
    expect(named(table(honest.slice(0, 47)).findings)).toEqual(['cut-off 48-60']);
    expect(table(honest.slice(0, 47)).sealedTo).toBe(40);
    const anew = honest.map((each) => (each.seq === 30 ? again({ ...each, previous: beginning }) : each));
    expect(named(table(anew).findings)).toEqual(['restarted 30']);
  });
});

test('one that is broken hides no other', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 2, max: 13 }), { minLength: 3, maxLength: 3 }), (places) => {
      const [changed = 0, removed = 0, hashed = 0] = places.map((place) => place * 4 - 1);
      const rows = honest
        .filter((each) => each.seq !== removed)
        .map((each) => (each.seq === changed ? { ...each, actor: 'x' } : each.seq === hashed ? again({ ...each, actor: 'x' }) : each));
      expect(named(table(rows).findings).sort()).toEqual([`changed ${changed}`, `changed ${hashed}`, `removed ${removed}`].sort());
    }),
    runs,
  );
});

test('a hundred in a row, and every second one', () => {
  const long = chainOf(300);
  const chain = (rows: readonly AuditRow[]) => read(rows, []).findings;
  expect(chain(long.filter(({ seq }) => seq <= 100 || seq > 200))).toMatchObject([{ kind: 'removed', from: 101, to: 200 }]);
  expect(chain(long.map((each) => (each.seq % 2 === 0 ? { ...each, actor: 'x' } : each))).map(({ from }) => from)).toEqual(
    Array.from({ length: 150 }, (_, index) => 2 * index + 2),
  );
});

describe('lines of a file', () => {
  test('two that were exchanged', () => {
    const rows = [...honest];
    [rows[9], rows[10]] = [row(11), row(10)];
    expect(read(rows).findings).toMatchObject([{ kind: 'moved', from: 10, says: 'it stands after record 11' }]);
  });
  test('one that stands far behind, and one that stands there twice', () => {
    expect(read([...honest.filter(({ seq }) => seq !== 5), row(5)]).findings).toMatchObject([{ kind: 'moved', from: 5, says: 'it stands after record 60' }]);
    expect(read([...honest.slice(0, 20), row(7), ...honest.slice(20)]).findings).toMatchObject([
      { kind: 'inserted', from: 7, says: 'a second record 7, after record 20' },
    ]);
  });
});

test('a table that begins after what was taken out of it is whole, and one more that is missing there is named', () => {
  const base = { seq: 20, hash: row(20).hash };
  expect(read(honest.slice(20), checkpoints, base)).toMatchObject({ findings: [], first: 21, sealedTo: 60 });
  expect(named(read(honest.slice(21), checkpoints, base).findings)).toEqual(['removed 21']);
  expect(named(read(honest.slice(19), checkpoints, base).findings)).toEqual(['inserted 20']);
});

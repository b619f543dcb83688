import { createHash } from 'node:crypto';
import type { Own, Tx } from './parts.ts';
import type { Look } from './postgres-transaction.ts';

/*
 * A quiet check-in writes when and with what its Mac was seen, and nothing that an act for another Mac decides by. Such acts are carried out
 * beside each other, each with a lock of its Mac. What they may write stands here and is looked at in the text of each statement before it is
 * sent, so that nobody has to remember it: rows of the Mac's own, by the number of its Mac or its enrolment, and of these columns.
 */

interface May {
  /** The column that says whose row it is. */
  key: string;
  of: keyof Own;
  columns: readonly string[];
}

const may: Readonly<Record<string, May>> = {
  mac: { key: 'id', of: 'macId', columns: ['last_seen_at', 'present_volume', 'facts', 'agent_rotation', 'waits', 'escrow_changed_at'] },
  enrolment: { key: 'id', of: 'enrolmentId', columns: ['last_seen_at'] },
  session: { key: 'enrolment_id', of: 'enrolmentId', columns: ['boot', 'booted_at', 'session_start', 'first_seen_at', 'last_seen_at'] },
  foreign_file: { key: 'mac_id', of: 'macId', columns: ['last_seen_at'] },
  fleet_row: { key: 'mac_id', of: 'macId', columns: ['last_seen_at'] },
  mac_dirty: { key: 'mac_id', of: 'macId', columns: [] },
};
/** Rows that come and go with check-ins. */
const mayCome = new Set(['session', 'mac_dirty']);
const mayGo = new Set(['session']);

const name = String.raw`"(\w+)"`;
const given = String.raw`\$(\d+)`;
const set = String.raw`"\w+" = (?:\$\d+|"excluded"\."\w+")`;
const sets = `(${set}(?:, ${set})*)`;
const update = new RegExp(String.raw`^update ${name} set ${sets} where ${name} = ${given}((?: and "\w+" = \$\d+)*)$`);
const insert = new RegExp(
  String.raw`^insert into ${name} \(("\w+"(?:, "\w+")*)\) values \((\$\d+(?:, \$\d+)*)\)(?: on conflict(?: \("\w+"(?:, "\w+")*\))? do (?:nothing|update set ${sets}))?$`,
);
const remove = new RegExp(`^delete from ${name} where ${name} = ${given}( and .*)?$`);
/** No question, whatever it begins with, or one that takes locks. */
const writes = /\b(insert|update|delete|merge|truncate|into|share|call|do|copy|pg_\w+|set_config|nextval)\b/i;

const namesIn = (text: string | undefined): string[] => [...(text ?? '').matchAll(/"(\w+)" =/g)].map(([, name]) => name ?? '');

/** `with "a" as (…), "b" as (…) …`: each of them; null where it is not so. */
function partsOf(text: string): string[] | null {
  const found: string[] = [];
  let rest = text.replace(/^with /, ', ');
  for (let named = /^, "\w+" as \(/.exec(rest); named; named = /^, "\w+" as \(/.exec(rest)) {
    let depth = 1;
    let at = named[0].length;
    for (; at < rest.length && depth > 0; at += 1) depth += rest[at] === '(' ? 1 : rest[at] === ')' ? -1 : 0;
    found.push(rest.slice(named[0].length, at - 1));
    rest = rest.slice(at);
  }
  return rest.startsWith(' ') && !text.includes("'") ? [...found, rest.slice(1)] : null;
}

/** Whether it only asks, or writes what a narrow act of this Mac may write. */
export function isNarrow(text: string, parameters: readonly unknown[], own: Own): boolean {
  if (/^(select|with)\b/i.test(text) && !writes.test(text)) return true;
  if (text.startsWith('with ')) return partsOf(text)?.every((part) => !part.startsWith('with ') && isNarrow(part, parameters, own)) ?? false;
  const isOwn = (table: string | undefined, key: string | undefined, place: string | undefined): boolean => {
    const known = may[table ?? ''];
    return known !== undefined && known.key === key && parameters[Number(place) - 1] === own[known.of];
  };
  const mayChange = (table: string | undefined, columns: readonly string[]): boolean => columns.every((column) => may[table ?? '']?.columns.includes(column));
  const updated = update.exec(text);
  if (updated) return isOwn(updated[1], updated[3], updated[4]) && mayChange(updated[1], namesIn(updated[2]));
  const inserted = insert.exec(text);
  if (inserted) {
    const [, table = '', columns = '', places = '', changed] = inserted;
    const names = columns.split(', ').map((name) => name.slice(1, -1));
    const key = may[table]?.key ?? '';
    const place = places.split(', ')[names.indexOf(key)]?.slice(1);
    const others = names.filter((name) => name !== key);
    return mayCome.has(table) && isOwn(table, key, place) && mayChange(table, [...others, ...namesIn(changed)]);
  }
  const removed = remove.exec(text);
  return removed !== null && mayGo.has(removed[1] ?? '') && isOwn(removed[1], removed[2], removed[3]) && !/\bor\b/i.test(removed[4] ?? '');
}

/** The act is no narrow one: all of it is taken back, and done again alone. */
export class NotNarrow extends Error {
  constructor() {
    super('the act writes more than a narrow one may: it is done again, alone');
  }
}

const alone = new WeakMap<Tx, () => never>();

/** For one act: what it asks is looked at, and whether it has ever asked more is remembered, whatever it made of the refusal. */
export function watchNarrow(own: Own): { look: Look; mark(tx: Tx): void; wasRefused(): boolean } {
  let refused = false;
  const refuse = (): never => {
    refused = true;
    throw new NotNarrow();
  };
  return {
    look(text, parameters) {
      if (refused || !isNarrow(text, parameters, own)) refuse();
    },
    mark: (tx) => void alone.set(tx, refuse),
    wasRefused: () => refused,
  };
}

/** In an act that decides by what a narrow act of another Mac may be writing now: it is done alone, where it is not already. */
export const aloneFrom = (tx: Tx): void => alone.get(tx)?.();

/** Of the lock of a Mac. Two Macs with one number wait for each other, and that is all. */
export const numberOf = (macId: string): number => createHash('sha256').update(macId).digest().readInt32BE(0);

import { Problem } from '../protocol/problems.ts';
import { assign, assignFromCsv, readAccount, readUserName, unassign, whose } from './assignments.ts';
import { type CsvLine, readAssignmentsCsv, refuseMistakes } from './assignments-csv.ts';
import type { Backend } from './backend.ts';
import { type CommandResult, table, when } from './command.ts';
import { whichMac } from './mac-commands.ts';
import { type Standing, type StandingChange, setStanding, standingOf } from './mac-standing.ts';
import type { Tx } from './parts.ts';
import { allClaims, type Claim, claimHistory, claimsOf } from './store/assignments.ts';
import { allMacs } from './store/macs.ts';
import { peopleNamed } from './store/people.ts';

/*
 * Whose Mac it is, as an operator says and sees it. The rules are those of assignments.ts; here are the words.
 */

interface Act {
  actor: string;
  reason: string;
}

const inOneAct = <T>({ store, clock }: Backend, work: (tx: Tx, at: number) => Promise<T>): Promise<T> =>
  store.write(async (tx) => work(tx, await clock.persist(tx)));

function userOf(text: string): string {
  const name = readUserName(text);
  if (name === null) throw new Problem('USAGE', 'that is no user name');
  return name;
}

export async function assignCommand(backend: Backend, act: Act & { mac: string; user: string; account: string | null }): Promise<CommandResult> {
  const { id: macId, serial } = await whichMac(backend, act.mac);
  const userName = userOf(act.user);
  const account = act.account === null ? null : readAccount(act.account);
  if (act.account !== null && account === null) throw new Problem('USAGE', '--account is the short name of an account on the Mac');
  const { before } = await inOneAct(backend, (tx, at) => assign(tx, at, { macId, userName, account, actor: act.actor, reason: act.reason }));
  const others = before.filter((name) => name !== userName);
  const isKnown = (await peopleNamed(backend.store.db, userName)).length > 0;
  return {
    json: { macId, serial, userName, account, source: 'admin', before },
    text: `${serial} is ${userName}’s${others.length > 0 ? `; it was ${others.join(', ')}’s` : ''}`,
    warnings: isKnown ? [] : [`nobody has signed in as ${userName} yet: compare it with what your sign-in provider calls them`],
  };
}

export async function unassignCommand(backend: Backend, act: Act & { mac: string; user: string | null }): Promise<CommandResult> {
  const { id: macId, serial } = await whichMac(backend, act.mac);
  const userName = act.user === null ? null : userOf(act.user);
  const ended = await inOneAct(backend, (tx, at) => unassign(tx, at, { macId, userName, actor: act.actor, reason: act.reason }));
  const left = whose(await claimsOf(backend.store.db, macId));
  return {
    json: { macId, serial, ended: ended.map(({ user_name: name, source }) => ({ userName: name, source })), whose: left.kind === 'one' ? left.userName : null },
    text:
      ended.length === 0
        ? `${serial} was nobody’s${userName === null ? '' : ` of that name`}; nothing was changed`
        : `${serial} is ${ended.map(({ user_name: name, source }) => `${name}’s (${source})`).join(', ')} no more; now it is ${saysWhose(left)}`,
  };
}

const saysWhose = (owner: ReturnType<typeof whose>): string =>
  owner.kind === 'one' ? `${owner.userName}’s` : owner.kind === 'nobody' ? 'nobody’s' : `nobody’s: two claims (${owner.userNames.join(', ')})`;

interface ClaimLine {
  macId: string;
  serial: string;
  userName: string;
  account: string | null;
  source: Claim['source'];
  rank: number;
  since: string;
  by: string;
  /** `yes`: it is this person's. */
  counts: 'yes' | 'two-claims' | 'outranked';
}

function linesOf(serial: string, claims: readonly Claim[]): ClaimLine[] {
  const owner = whose(claims);
  const highest = Math.max(...claims.map((claim) => claim.rank));
  return claims.map((claim) => ({
    macId: claim.mac_id,
    serial,
    userName: claim.user_name,
    account: claim.account,
    source: claim.source,
    rank: claim.rank,
    since: when(claim.created_at),
    by: claim.created_by,
    counts: claim.rank < highest ? 'outranked' : owner.kind === 'two-claims' ? 'two-claims' : 'yes',
  }));
}

const saysCounts: Record<ClaimLine['counts'], string> = { yes: 'yes', 'two-claims': 'no: two claims', outranked: 'no: outranked' };
const rowOf = (line: ClaimLine): string[] => [line.serial, line.userName, line.account ?? '–', line.source, line.since, line.by, saysCounts[line.counts]];
const heads = ['mac', 'user', 'account', 'source', 'since', 'by', 'counts'];

/** Of one Mac with its history, of one person, or all. */
export async function assignmentsCommand(backend: Backend, asked: { mac: string | null; user: string | null }): Promise<CommandResult> {
  const { db } = backend.store;
  const userName = asked.user === null ? null : userOf(asked.user);
  const one = asked.mac === null ? null : await whichMac(backend, asked.mac);
  const claims = one ? await claimsOf(db, one.id) : await allClaims(db);
  const serials = one ? new Map([[one.id, one.serial]]) : new Map((await allMacs(db)).map((mac) => [mac.id, mac.serial]));
  const lines = [...Map.groupBy(claims, (claim) => claim.mac_id)]
    .flatMap(([macId, of]) => linesOf(serials.get(macId) ?? macId, of))
    .filter((line) => userName === null || line.userName === userName)
    .toSorted((a, b) => (a.serial < b.serial ? -1 : a.serial > b.serial ? 1 : 0));
  const past = one ? (await claimHistory(db, one.id)).filter((claim) => claim.ended_at !== null) : [];
  const history = past.map((claim) => ({
    userName: claim.user_name,
    source: claim.source,
    since: when(claim.created_at),
    until: when(claim.ended_at),
    because: claim.ended_because,
  }));
  const before = history.map(({ userName: name, source, since, until, because }) => `${name} (${source}) from ${since} until ${until}: ${because}`);
  return {
    json: { assignments: lines, ...(one ? { history } : {}) },
    text: [lines.length === 0 ? 'nobody is named' : table(heads, lines.map(rowOf)), ...before.map((line) => `before: ${line}`)].join('\n'),
  };
}

interface CsvChange {
  macId: string;
  serial: string;
  people: { userName: string; account: string | null }[];
  before: string[];
  /** What the list makes of the Mac, all that is said of it considered. */
  whose: string;
  changes: boolean;
}

/** A whole list in one act: all of it, or nothing. `dryRun` only says what it would change. */
export async function assignCsvCommand(backend: Backend, act: Act & { bytes: Uint8Array; dryRun: boolean }): Promise<CommandResult> {
  const { lines, mistakes } = readAssignmentsCsv(act.bytes);
  const changes = await inOneAct(backend, async (tx, at) => {
    const planned = await plan(tx, lines, mistakes);
    for (const { macId, people, changes } of act.dryRun ? [] : planned)
      if (changes) await assignFromCsv(tx, at, { macId, people, actor: act.actor, reason: act.reason });
    return planned;
  });
  const changed = changes.filter((one) => one.changes);
  const clashing = changes.filter((one) => one.people.length > 1);
  const rows = changed.map((one) => [one.serial, one.before.join(', ') || '–', one.people.map(({ userName }) => userName).join(', '), one.whose]);
  const macs = `${changed.length} of ${changes.length} Mac${changes.length === 1 ? '' : 's'} in the list`;
  const first = act.dryRun ? `would change ${macs}; nothing was written` : `changed ${macs}`;
  return {
    json: { dryRun: act.dryRun, changed: changed.map(({ changes: _, ...one }) => one), unchanged: changes.length - changed.length },
    text: changed.length === 0 ? first : `${first}\n${table(['mac', 'list said', 'list says', 'is then'], rows)}`,
    warnings: clashing.map(
      ({ serial }) => `${serial} is on the list for more than one person: two claims, so it is nobody’s until an admin decides with \`assign\``,
    ),
  };
}

/** What the list changes; every mistake of form and of fact together, by line. */
async function plan(tx: Tx, lines: readonly CsvLine[], mistakes: readonly string[]): Promise<CsvChange[]> {
  const macs = Map.groupBy(await allMacs(tx), (mac) => mac.serial);
  const claims = Map.groupBy(await allClaims(tx), (claim) => claim.mac_id);
  const wrong = [...mistakes];
  const planned = new Map<string, CsvChange>();
  for (const { line, serial, userName, account } of lines) {
    const [mac, ...more] = macs.get(serial) ?? [];
    if (!mac || more.length > 0) {
      wrong.push(`line ${line}: ${mac ? 'more than one Mac has' : 'no Mac here has'} the serial number ${serial}`);
      continue;
    }
    const one = planned.get(mac.id) ?? { macId: mac.id, serial, people: [], before: [], whose: '', changes: false };
    const same = one.people.find((person) => person.userName === userName);
    if (same && same.account !== account) wrong.push(`line ${line}: ${serial} is named for ${userName} twice, with two accounts`);
    if (!same) one.people.push({ userName, account });
    planned.set(mac.id, one);
  }
  refuseMistakes(wrong.toSorted((a, b) => lineOf(a) - lineOf(b)));
  for (const one of planned.values()) {
    const present = claims.get(one.macId) ?? [];
    const old = present.filter((claim) => claim.source === 'csv');
    const isSame =
      old.length === one.people.length && one.people.every((p) => old.some((claim) => claim.user_name === p.userName && claim.account === p.account));
    const higher = present.filter((claim) => claim.source === 'admin');
    one.before = old.map((claim) => claim.user_name);
    one.changes = !isSame;
    const names = [...new Set(one.people.map((person) => person.userName))].toSorted();
    one.whose = higher.length > 0 ? `${saysWhose(whose(higher))} (admin)` : names.length > 1 ? 'nobody’s: two claims' : `${names.join()}’s`;
  }
  return [...planned.values()];
}

const lineOf = (mistake: string): number => Number(/^line (\d+)/.exec(mistake)?.[1] ?? 0);

export async function standingCommand(
  backend: Backend,
  act: { mac: string; change: StandingChange; actor: string; reason: string | null },
): Promise<CommandResult> {
  const { id: macId, serial } = await whichMac(backend, act.mac);
  const { change, actor, reason } = act;
  if (Object.keys(change).length === 0) return standingSaid(macId, serial, await standingOf(backend.store.db, macId));
  if (reason === null) throw new Problem('REASON_MISSING');
  return standingSaid(macId, serial, await inOneAct(backend, (tx, at) => setStanding(tx, at, { macId, actor, reason, change })));
}

function standingSaid(macId: string, serial: string, { ownership, state, localAdmin, set }: Standing): CommandResult {
  const whoseIs = ownership === 'personal' ? 'its user’s own' : 'the organisation’s';
  const admin = localAdmin ? 'with a managed local admin' : 'without a managed local admin';
  const by = set ? `set by ${set.by} on ${when(set.at)}: ${set.because}` : 'as nobody has said otherwise';
  return {
    json: { macId, serial, ownership, state, localAdmin, set: set && { ...set, at: when(set.at) } },
    text: `${serial}: ${whoseIs}, ${state === 'in-use' ? 'in use' : state}, ${admin}\n${by}`,
  };
}

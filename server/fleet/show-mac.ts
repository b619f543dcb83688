import { modeOf } from '../../protocol/mode.ts';
import type { Whose } from '../assignments.ts';
import { day, hour } from '../custody-parts.ts';
import type { FleetLine } from '../custody-report.ts';
import { type CustodyRows, lastFacts, rotationDoubtAfter } from '../custody-state.ts';
import type { Alarm } from '../store/alarms.ts';
import type { Debt } from '../store/debts.ts';
import { custodyRanks, versionKey } from '../store/fleet-conditions.ts';
import type { FleetNeed, Shown } from '../store/fleet-projection.ts';
import type { StandingRow } from '../store/mac-standing.ts';
import type { Mac } from '../store/macs.ts';
import { oneLine, waitsOf } from '../waits.ts';
import { wordsOf } from './filter.ts';
import { type NeedKind, needRank } from './needs.ts';
import { unseenAfter } from './noting.ts';

/** A rotation takes seconds; one that is under way for longer than this has stopped somewhere. */
const replacingTooLong = hour;
/** What is owed waits for its Mac; one that was on meanwhile has had its chances. */
const owedTooLong = 7 * day;
/** A key that was shown is replaced the same day, where its Mac is on. */
const shownTooLong = day;
/** A Mac that was just enrolled has its first key within minutes, once somebody signs in. */
const keylessTooLong = day;

export interface AroundMac {
  mac: Mac;
  line: FleetLine;
  rows: CustodyRows;
  /** Open, of the present volume, oldest first. */
  debts: readonly Debt[];
  owner: Whose;
  tags: readonly string[];
  standing: StandingRow | undefined;
  /** Those that wait, oldest first. */
  orders: readonly { created_at: number }[];
  refusals: readonly { record_id: string; at: number }[];
  olderSerials: readonly string[];
  alarms: readonly (Alarm & { isIdentity: boolean })[];
  mutedUntil(alarmId: string): number | null;
  /** When the MDM heard of it last. */
  heardAt: number | null;
  needsBefore: readonly FleetNeed[];
}

/** Times at which something changes by itself; those that have passed change nothing more. */
const soonest = (at: number, times: readonly (number | null)[]): number =>
  Math.min(...times.filter((time): time is number => time !== null && time > at), Number.MAX_SAFE_INTEGER);

/** What lists say of one Mac. `at`: server time, milliseconds. */
export function showMac(at: number, of: AroundMac): Shown {
  const { mac, line, rows, debts, owner, tags, standing } = of;
  const facts = lastFacts(mac);
  const held = rows.living.find((record) => record.state === 'held');
  const model = facts?.model ?? '';
  const name = oneLine(facts?.name ?? '') || (model === '' ? mac.serial : `${model} ${mac.serial.slice(-4)}`);
  const userName = owner.kind === 'one' ? owner.userName : owner.kind === 'two-claims' ? owner.userNames.join(' or ') : '';
  const shown = debts.find((debt) => debt.because === 'disclosed');
  const owed = debts[0];
  const order = of.orders[0];
  const [orderState, orderAt] = rows.open
    ? ['replacing', rows.open.begun_at]
    : order
      ? ['waiting', order.created_at]
      : owed && line.rotation.owed
        ? ['owed', owed.opened_at]
        : ['', 0];
  const { needs, due } = needsOf(at, of);
  const worst = needs.toSorted((one, other) => needRank(one.kind) - needRank(other.kind))[0];
  const holdUntil = line.hold?.until ?? 0;
  const changesAt = soonest(at, [...due, holdUntil, rows.open ? rows.open.begun_at + rotationDoubtAfter + 1 : null]);
  return {
    row: {
      mac_id: mac.id,
      serial: mac.serial,
      serial_proved: mac.serial_proved,
      name,
      name_key: name.toLowerCase().normalize('NFC'),
      user_name: userName,
      macos: facts?.macosVersion ?? '',
      macos_key: versionKey(facts?.macosVersion ?? ''),
      model,
      chip: facts?.chip ?? '',
      mode: facts ? modeOf(facts) : '',
      file_vault: facts?.fileVault.state ?? '',
      custody: line.state,
      custody_because: line.because,
      custody_rank: custodyRanks[line.state],
      unopened: line.unopened ? 1 : 0,
      key_at: held?.received_at ?? 0,
      proved_at: held?.proved_at ?? 0,
      last_seen_at: mac.last_seen_at ?? 0,
      order_state: String(orderState),
      order_at: Number(orderAt),
      replacing_since: rows.open?.begun_at ?? 0,
      disclosed_at: shown?.opened_at ?? 0,
      hold_until: holdUntil,
      problem: worst?.kind ?? '',
      problem_rank: worst ? needRank(worst.kind) : 99,
      problem_at: worst?.since ?? 0,
      state: standing?.state ?? 'in-use',
      ownership: standing?.ownership ?? 'organisation',
      created_at: mac.created_at,
      tags: tags.join(','),
      due_at: changesAt === Number.MAX_SAFE_INTEGER ? 0 : changesAt,
      updated_at: at,
    },
    words: [...new Set([mac.serial.toLowerCase(), ...wordsOf([mac.serial, name, userName, model, ...of.olderSerials].join(' '))])],
    needs,
    tags,
  };
}

/** What of this Mac needs a person now, and the times at which that has to be asked again though nothing happened. */
function needsOf(at: number, of: AroundMac): { needs: FleetNeed[]; due: (number | null)[] } {
  const { mac, line, rows, debts, standing } = of;
  // Nobody works with it any more.
  if (standing?.state === 'retired') return { needs: [], due: [] };
  const found = new Map<NeedKind, { since: number; detail: string }>();
  const due: (number | null)[] = [];
  const need = (kind: NeedKind, since: number, detail: string): void => {
    const before = of.needsBefore.find((one) => one.kind === kind);
    // What began once began then, whatever is the reason for it now.
    if (!found.has(kind)) found.set(kind, { since: Math.min(since, before?.since ?? since), detail: detail.slice(0, 300) });
  };
  /** From a time on. */
  const after = (time: number, then: () => void): void => {
    if (time <= at) then();
    else due.push(time);
  };

  const newest = Math.max(mac.created_at, ...rows.living.map((record) => record.refuted_at ?? record.received_at));
  if (line.state === 'lost') need('lost', mac.exhausted_at ?? newest, line.because);
  if (line.state === 'doubtful') need('doubtful', rows.open?.begun_at ?? newest, line.because);
  if (line.state === 'foreign') need('foreign', mac.escrow_changed_at ?? mac.created_at, line.because);
  if (line.state === 'none') {
    const since = line.adoption ? Date.parse(line.adoption.since) : mac.created_at;
    after(since + keylessTooLong, () => need('no-key', since, line.adoption ? `${line.adoption.title} (${line.adoption.code})` : line.because));
  }
  const shown = debts.find((debt) => debt.because === 'disclosed');
  if (shown) after(Math.max(shown.opened_at + shownTooLong, line.hold?.until ?? 0), () => need('disclosed', shown.opened_at, line.rotation.because));
  const open = rows.open;
  if (open) after(open.begun_at + replacingTooLong, () => need('replacing', open.begun_at, 'it was begun, and no end of it has come'));
  const owed = debts[0];
  if (owed && !open) {
    const since = owed.opened_at;
    const waits = waitsOf(mac);
    after(since + owedTooLong, () => {
      if ((mac.last_seen_at ?? 0) > since + owedTooLong)
        need('replacing', since, waits ? `${line.rotation.because}; the Mac says: ${waits.says}` : line.rotation.because);
      else due.push(at + day);
    });
  }
  const refused = of.refusals.find(({ record_id: id, at: when }) => rows.living.some((record) => record.id === id && (record.proved_at ?? 0) < when));
  if (refused) need('refused', refused.at, 'the key that was shown was said not to be accepted');
  for (const alarm of of.alarms) {
    const muted = of.mutedUntil(alarm.id);
    if (muted !== null && muted > at) {
      due.push(muted);
      continue;
    }
    const kind = alarm.isIdentity ? 'identity' : alarm.code === 'TWO_ROTATORS' ? 'fight' : alarm.code === 'KEY_REFUSED' ? 'refused' : 'alarm';
    need(kind, alarm.opened_at, `${alarm.code}: ${alarm.detail}`);
  }
  const seen = mac.last_seen_at ?? mac.created_at;
  const { heardAt } = of;
  if (standing?.state !== 'lost')
    after(seen + unseenAfter, () => {
      if (heardAt !== null && heardAt > seen + unseenAfter) need('unseen', seen, `the MDM heard of it on ${new Date(heardAt).toISOString()}`);
      // Also where no MDM has it yet: one may be connected later.
      else due.push(at + day);
    });
  return { needs: [...found].map(([kind, what]) => ({ mac_id: mac.id, kind, ...what })), due };
}

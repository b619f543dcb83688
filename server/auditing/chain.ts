import { type AuditRow, beginning, hashOf } from '../audit.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Broken, Finding, Gap } from './finding.ts';
import { findMoved } from './moved.ts';

export interface Place {
  seq: number;
  hash: string;
}
export const theBeginning: Place = { seq: 0, hash: beginning };

interface Seen {
  row: AuditRow | null;
  /** By the numbering of before, where records were renumbered. */
  seq: number;
  hash: string;
  computed: string;
  broken: Broken | null;
}

/** Of one kind of damage; the rest is counted. A table in which everything was changed needs no list of everything. */
const mostFindings = 10_000;
/** Records of which it is tried where they came from. */
const mostTried = 300;
/** By how many numbers those after an inserted or removed one may have been renumbered. */
const mostShift = 20;
const mostShiftTries = 500;

export interface Reading {
  rows: number;
  first: number | null;
  last: Place | null;
  findings: Finding[];
  /** Findings beyond those that are listed. */
  more: number;
  /** Up to this record a good checkpoint says that it is so; 0: none does. */
  sealedTo: number;
}

/**
 * Reads a chain record by record, and goes on after each fault: one that is broken hides no other. `checkpoints` are believed:
 * whoever gives them has looked at their signatures. `whole`: false for a selection, whose gaps mean nothing.
 */
export function createChain(base: Place, checkpoints: readonly Checkpoint[], whole = true) {
  const findings: Finding[] = [];
  let more = 0;
  const broken: Broken[] = [];
  const gaps: Gap[] = [];
  const marks = checkpoints.filter(({ seq }) => seq > base.seq).toSorted((a, b) => a.seq - b.seq || a.number - b.number);
  let nextMark = 0;
  let sealed = base;
  let rewritten: Finding | null = null;
  let before: Seen = { row: null, seq: base.seq, hash: base.hash, computed: base.hash, broken: null };
  /** Both sides are as they were hashed, and do not name each other: which of them it was, the next one says. */
  let loose: { left: Seen; right: Seen } | null = null;
  let rows = 0;
  let first: number | null = null;
  /** What was added to the numbers that records had when they were hashed. */
  let shift = 0;
  let shiftTries = 0;
  let held: AuditRow | null = null;

  function say(kind: Finding['kind'], from: number, to: number, act: string | null, says: string): Finding {
    const finding = { kind, from, to, act, says };
    if (findings.length < mostFindings) findings.push(finding);
    else more += 1;
    return finding;
  }

  const fits = (row: AuditRow, change: Partial<AuditRow>): boolean => hashOf({ ...row, ...change }) === row.hash;

  /** By how much the numbers were moved from here on; null: not by renumbering. One record alone is no renumbering, unless it is the last. */
  function shiftOf(row: AuditRow, next: AuditRow | null): number | null {
    if (shift !== 0 && fits(row, { seq: row.seq - shift })) return shift;
    for (let by = 1; by <= mostShift && shiftTries < mostShiftTries; by += 1) {
      shiftTries += 1;
      for (const each of [shift + by, shift - by]) {
        if (!fits(row, { seq: row.seq - each })) continue;
        if (next ? fits(next, { seq: next.seq - each }) : by === 1 && isLastRenumbered(row)) return each;
      }
    }
    return null;
  }
  function isLastRenumbered(row: AuditRow): boolean {
    const { row: other } = before;
    return other !== null && row.seq === other.seq + 1 && !(before.broken && fits(other, { seq: row.seq }));
  }

  function whatIsBroken(row: AuditRow): string {
    if (row.previous !== before.hash && [before.hash, before.computed].some((previous) => fits(row, { previous })))
      return 'its link to the record before was changed; the rest of it is as it was';
    for (const [column, name] of [
      ['request_id', 'request'],
      ['network', 'network'],
      ['token_id', 'token'],
      ['mac_id', 'Mac'],
    ] as const)
      if (row[column] !== null && fits(row, { [column]: null })) return `its ${name} was added later`;
    return 'what it says does not fit its hash';
  }

  function compareMarks(seen: Seen): void {
    for (let mark = marks[nextMark]; mark && mark.seq <= seen.seq; mark = marks[nextMark]) {
      nextMark += 1;
      // In a gap: that is said already.
      if (mark.seq < seen.seq) continue;
      if (mark.hash === seen.hash || mark.hash === seen.computed) sealed = { seq: mark.seq, hash: mark.hash };
      else if (rewritten) rewritten.says = rewritten.says.replace(/(?:; and \d+ later.*)?$/, `; and later ones up to checkpoint ${mark.number} with it`);
      else
        rewritten = say(
          'rewritten',
          sealed.seq + 1,
          mark.seq,
          null,
          `checkpoint ${mark.number} of ${new Date(mark.at).toISOString()} names another record ${mark.seq}: one or more of these were changed, and the chain was made anew`,
        );
    }
  }

  /** One whose hash is right, and that is named wrongly by the next: it was changed and hashed again. */
  function blame({ row, seq }: Seen): void {
    if (!row) return;
    if (row.previous === beginning && seq > base.seq + 1) say('restarted', seq, seq, row.act, 'a chain begins here anew');
    else say('changed', seq, seq, row.act, 'it was changed and its hash made anew: its neighbours still name the one of before');
  }

  /** A line that stands behind a later one; in a table that is what stands before the first. */
  function takeLate(row: AuditRow): void {
    const intact = fits(row, {});
    const gap = gaps.find(({ from, to }) => from <= row.seq && row.seq <= to);
    if (!gap) {
      const finding = say(
        'inserted',
        row.seq,
        row.seq,
        row.act,
        row.seq <= base.seq ? 'it stands before the first record' : `a second record ${row.seq}, after record ${before.seq}`,
      );
      if (!intact && broken.length < mostTried) broken.push({ row, finding });
      return;
    }
    splitGap(gap, row);
    const linked = (gap.from !== row.seq || row.previous === gap.before) && (gap.to !== row.seq || row.hash === gap.after);
    if (intact && linked) say('moved', row.seq, row.seq, row.act, `it stands after record ${before.seq}`);
    else say('changed', row.seq, row.seq, row.act, `it stands after record ${before.seq}, and what it says does not fit`);
  }

  function splitGap(gap: Gap, row: AuditRow): void {
    gaps.splice(gaps.indexOf(gap), 1);
    findings.splice(findings.indexOf(gap.finding), 1);
    if (gap.from < row.seq) addGap(gap.from, row.seq - 1, gap.before, row.previous);
    if (row.seq < gap.to) addGap(row.seq + 1, gap.to, row.hash, gap.after);
  }
  function addGap(from: number, to: number, hashBefore: string, after: string): void {
    const finding = say('removed', from, to, null, from === to ? 'it is missing' : `${to - from + 1} records are missing`);
    if (gaps.length < mostTried) gaps.push({ from, to, finding, before: hashBefore, after });
  }

  /** From here on the numbers are others than when the records were hashed. */
  function renumbered(row: AuditRow, by: number): void {
    const added = by - shift;
    if (added > 0) {
      const from = row.seq - added;
      // They may have been taken for changed ones.
      for (const one of findings.filter((finding) => finding.kind === 'changed' && finding.from >= from && finding.to < row.seq))
        findings.splice(findings.indexOf(one), 1);
      if (rewritten && rewritten.to >= from) {
        findings.splice(findings.indexOf(rewritten), 1);
        rewritten = null;
        while ((marks[nextMark - 1]?.seq ?? 0) >= from) nextMark -= 1;
      }
      loose = null;
      say('inserted', from, row.seq - 1, null, `${added} record(s) were put in, and those after renumbered`);
    } else {
      const original = row.seq - by;
      say('removed', original + added, original - 1, null, `${-added} record(s) are missing, and those after were renumbered`);
    }
    shift = by;
  }

  function read(row: AuditRow, next: AuditRow | null): void {
    rows += 1;
    first ??= row.seq;
    const computed = hashOf(row);
    if (!whole) {
      if (computed !== row.hash) say('changed', row.seq, row.seq, row.act, 'what it says does not fit its hash');
      else if (row.seq <= before.seq) say('moved', row.seq, row.seq, row.act, `it stands after record ${before.seq}`);
      before = { row, seq: Math.max(row.seq, before.seq), hash: row.hash, computed, broken: null };
      return;
    }
    if (row.seq - shift <= before.seq) {
      const by = row.seq > before.seq && computed !== row.hash ? shiftOf(row, next) : null;
      if (by === null) {
        takeLate(row);
        return;
      }
    }
    const isIntact = shift === 0 ? computed === row.hash : fits(row, { seq: row.seq - shift });
    let by: number | null = shift;
    if (!isIntact) by = shiftOf(row, next);
    const wasRenumbered = by !== null && by !== shift;
    if (by !== null && wasRenumbered) renumbered(row, by);
    const seq = row.seq - shift;
    const seen: Seen = { row, seq, hash: row.hash, computed: by === null ? computed : row.hash, broken: null };
    if (!wasRenumbered && seq > before.seq + 1) {
      addGap(before.seq + 1, seq - 1, before.hash, row.previous);
      settleLoose(null);
    } else if (!wasRenumbered) link(seen, by !== null);
    if (by === null) {
      seen.broken = { row, finding: say('changed', seq, seq, row.act, whatIsBroken(row)) };
      if (broken.length < mostTried) broken.push(seen.broken);
    }
    compareMarks(seen);
    before = seen;
  }

  function settleLoose(right: Seen | null): void {
    if (!loose) return;
    const { left, right: middle } = loose;
    loose = null;
    // Neither of its neighbours names it: it is the one. Else the first of the two, of which the second knows the hash of before.
    if (right || left.row === null || left.row.seq === base.seq) blame(middle);
    else blame(left);
  }

  function link(seen: Seen, intact: boolean): void {
    const { row } = seen;
    if (!row) return;
    if (row.previous === before.hash || row.previous === before.computed || (!intact && fits(row, { previous: before.hash }))) {
      if (before.broken && row.previous === before.computed && row.previous !== before.hash)
        before.broken.finding.says = 'its hash was changed; what it says is as it was';
      settleLoose(null);
      return;
    }
    const wasLoose = loose !== null;
    if (wasLoose) settleLoose(seen);
    // A broken one has its own finding, and what names it follows from that.
    if (!wasLoose && intact && !before.broken) loose = { left: before, right: seen };
  }

  function sayCutOff(): void {
    const last = marks.at(-1);
    if (!whole || !last || last.seq <= before.seq) return;
    const says = `checkpoint ${last.number} of ${new Date(last.at).toISOString()} knows record ${last.seq}, and the last one here is ${before.seq}`;
    const [from, to] = [before.seq + 1, last.seq];
    gaps.push({ from, to, finding: say('cut-off', from, to, null, says), before: before.hash, after: '' });
  }

  /** One behind what is given: what a record is can depend on the next. */
  function take(row: AuditRow): void {
    if (held) read(held, row);
    held = row;
  }

  function end(): Reading {
    if (held) read(held, null);
    held = null;
    if (loose) {
      const { left, right } = loose;
      loose = null;
      if (left.row === null) blame(right);
      else say('changed', left.seq, right.seq, right.row?.act ?? null, 'one of them was changed and its hash made anew: they do not name each other');
    }
    sayCutOff();
    for (const { moved, to, finding } of findMoved(broken, gaps, fits)) {
      const index = findings.indexOf(finding);
      if (index >= 0) findings[index] = { kind: 'moved', from: moved.seq, to: moved.seq, act: moved.act, says: `it is record ${to}: its number was changed` };
      for (const gap of gaps.filter(({ from, to: until }) => (from === to && until === to) || (until === moved.seq - 1 && moved.seq === before.row?.seq)))
        findings.splice(findings.indexOf(gap.finding), 1);
    }
    return {
      rows,
      first,
      last: before.row ? { seq: before.seq, hash: before.hash } : null,
      findings: findings.toSorted((a, b) => a.from - b.from),
      more,
      sealedTo: sealed === base ? 0 : sealed.seq,
    };
  }

  return { take, end };
}

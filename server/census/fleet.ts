// Many Macs: the newest line of each counts, each gets its judgement and its ring, and everything is counted once.
import { type Judgement, judge } from './judge.ts';
import { type CensusMac, readLine } from './line.ts';
import { serialDiffers, twoMachines } from './obstacles.ts';
import type { Found } from './reading.ts';
import { type RingName, ringsOf } from './ring-order.ts';
import type { Ours } from './standing.ts';

export interface Judged {
  mac: CensusMac;
  judgement: Judgement;
  ring: RingName;
}

export interface Census {
  /** By serial number. */
  macs: Judged[];
  /** Lines that say nothing, each with its place and its reason. */
  broken: { file: string; line: number; because: string }[];
  /** Macs that an MDM lists and that have not answered yet. */
  unanswered: string[];
  /** Macs that answered more than once: the newest answer counts. */
  repeated: { serial: string; answers: number }[];
  /** When the first and the last of the answers that count were given. */
  answeredFrom: string;
  answeredTo: string;
  /** Whether an escrow certificate of ours was given to know our payload by. */
  knowsOurs: boolean;
}

interface Kept {
  mac: CensusMac;
  answers: number;
  machines: Set<string>;
}

/** Reads everything once; of each Mac only its newest answer is kept. */
export async function takeCensus(found: AsyncIterable<Found>, ours: Ours): Promise<Census> {
  const kept = new Map<string, Kept>();
  const broken: Census['broken'] = [];
  const silent = new Set<string>();
  for await (const { file, line, text, serial, fault } of found) {
    if (text === null) {
      if (fault === null && serial !== null) silent.add(serial);
      else broken.push({ file, line, because: fault ?? 'nothing is here' });
      continue;
    }
    const read = readLine(text, serial);
    if ('broken' in read) broken.push({ file, line, because: read.broken });
    else keep(kept, serial !== null && serial !== read.mac.serial ? withProblem(read.mac, serialDiffers) : read.mac);
  }
  const ordered = [...kept.values()].sort((one, other) => (one.mac.serial < other.mac.serial ? -1 : 1));
  const judged = ordered.map(({ mac: said, machines }) => {
    const mac = machines.size > 1 ? withProblem(said, twoMachines) : said;
    return { mac, judgement: judge(mac, ours) };
  });
  const rings = ringsOf(judged);
  const times = judged.map(({ mac }) => Date.parse(mac.at));
  const iso = (time: number): string => (Number.isFinite(time) ? new Date(time).toISOString().replace(/\.\d+Z$/, 'Z') : '');
  return {
    macs: judged.map((one, at) => ({ ...one, ring: rings[at] ?? 'later' })),
    broken,
    unanswered: [...silent].filter((serial) => !kept.has(serial)).sort(),
    repeated: ordered.filter(({ answers }) => answers > 1).map(({ mac, answers }) => ({ serial: mac.serial, answers })),
    answeredFrom: iso(times.reduce((least, time) => Math.min(least, time), Number.POSITIVE_INFINITY)),
    answeredTo: iso(times.reduce((most, time) => Math.max(most, time), Number.NEGATIVE_INFINITY)),
    knowsOurs: ours.digests.size > 0,
  };
}

const withProblem = (mac: CensusMac, problem: string): CensusMac => ({ ...mac, problems: [...mac.problems, problem] });

/** Of two answers of one time the one that was read later counts. */
function keep(kept: Map<string, Kept>, mac: CensusMac): void {
  const before = kept.get(mac.serial);
  const machines = before?.machines ?? new Set<string>();
  if (mac.hardwareUuid) machines.add(mac.hardwareUuid.toUpperCase());
  const isNewer = !before || Date.parse(mac.at) >= Date.parse(before.mac.at);
  kept.set(mac.serial, { mac: isNewer ? mac : before.mac, answers: (before?.answers ?? 0) + 1, machines });
}

/** Can come as it is; needs something first; cannot come yet. */
export const standingOf = ({ judgement }: Pick<Judged, 'judgement'>): 'ready' | 'first' | 'stopped' => {
  const [worst] = judgement.obstacles;
  return worst?.weight === 'stops' ? 'stopped' : worst?.weight === 'first' ? 'first' : 'ready';
};

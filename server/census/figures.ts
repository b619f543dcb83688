// The fleet in figures: each plot is one question, and its title is the answer.
import { type Census, type Judged, standingOf } from './fleet.ts';
import { type AgentComes, type AtPayload, agentComes, atPayload, type Mode, modes } from './judge.ts';
import { obstacleTitles } from './obstacles.ts';
import { ringOrder } from './ring-order.ts';
import { majorOf } from './standing.ts';

interface Bar {
  label: string;
  count: number;
  /** What it means, in a sentence; empty where the label says it all. */
  says: string;
}

export interface Figure {
  id: string;
  /** What is asked, two or three words. */
  about: string;
  /** The answer, a sentence. */
  title: string;
  bars: Bar[];
  /** What the figures are out of. */
  of: number;
}

/** 1,234: as both languages of the sites can read it. */
export const number = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ',');
export const macs = (count: number): string => `${number(count)} ${count === 1 ? 'Mac' : 'Macs'}`;

/** Never 0 % for some, nor 100 % for not all. */
export function percent(count: number, of: number): string {
  if (of === 0 || count === 0) return '0 %';
  if (count === of) return '100 %';
  return `${Math.min(99, Math.max(1, Math.round((100 * count) / of)))} %`;
}

function counted(macs: readonly Judged[], of: (one: Judged) => readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const one of macs) for (const label of of(one)) counts.set(label, (counts.get(label) ?? 0) + 1);
  return counts;
}
const byCount = (counts: Map<string, number>): [string, number][] => [...counts].sort(([one, a], [other, b]) => b - a || (one < other ? -1 : 1));

/** More owners than these are told as one bar. */
const mostOwners = 12;

const ages: readonly { label: string; to: number }[] = [
  { label: 'up to a week', to: 7 },
  { label: 'up to a month', to: 30 },
  { label: 'up to three months', to: 90 },
  { label: 'up to a year', to: 365 },
  { label: 'older than a year', to: Number.POSITIVE_INFINITY },
];
const noFile = 'no escrow file';
const ageOf = ({ mac }: Judged): string => {
  const { escrowFile } = mac;
  if (escrowFile === null) return mac.root ? noFile : 'not known';
  const days = escrowFile.ageDays;
  return days === null ? 'not known' : (ages.find(({ to }) => days <= to)?.label ?? 'not known');
};

export interface Totals {
  macs: number;
  ready: number;
  first: number;
  stopped: number;
}

export function totalsOf(census: Census): Totals {
  const counts = counted(census.macs, (one) => [standingOf(one)]);
  return { macs: census.macs.length, ready: counts.get('ready') ?? 0, first: counts.get('first') ?? 0, stopped: counts.get('stopped') ?? 0 };
}

/** The first line of every report. */
export function headline({ macs: all, ready, first, stopped }: Totals): string {
  const rest = [
    ...(first > 0 ? [`${number(first)} ${first === 1 ? 'needs' : 'need'} something first`] : []),
    ...(stopped > 0 ? [`${number(stopped)} cannot yet`] : []),
  ];
  const come = ready === all ? (all === 1 ? 'The one Mac can come' : `All ${macs(all)} can come`) : `${number(ready)} of ${macs(all)} can come`;
  return `${come} to Sparekey as ${all === 1 || (ready === 1 && all > 1) ? 'it is' : 'they are'}${rest.length > 0 ? `; ${rest.join(', ')}` : ''}.`;
}

export function figuresOf(census: Census): Figure[] {
  const all = census.macs;
  const of = all.length;
  const figure = (id: string, about: string, bars: Bar[], title: (bars: Bar[]) => string): Figure => ({ id, about, title: title(bars), bars, of });
  const filled = (bars: Bar[]): Bar[] => bars.filter(({ count }) => count > 0);
  const share = (bar: Bar | undefined): string => (bar ? percent(bar.count, of) : '0 %');

  const modeCounts = counted(all, ({ judgement }) => [judgement.mode]);
  const modeBars = (['M1', 'M4', 'M2', 'M3', 'M5', 'M0'] as Mode[]).map((mode) => ({
    label: `${mode}: ${modes[mode].name}`,
    count: modeCounts.get(mode) ?? 0,
    says: modes[mode].means,
  }));
  const payloadCounts = counted(all, ({ judgement }) => [judgement.payload]);
  const payloadBars = (Object.keys(atPayload) as AtPayload[]).map((at) => ({ ...atPayload[at], count: payloadCounts.get(at) ?? 0 }));
  const owners = byCount(counted(all, ({ judgement }) => [judgement.ownerName]));
  const others = owners.slice(mostOwners).reduce((sum, [, count]) => sum + count, 0);
  const ownerBars = [
    ...owners.slice(0, mostOwners).map(([label, count]) => ({ label, count, says: '' })),
    ...(others > 0 ? [{ label: `${number(owners.length - mostOwners)} others`, count: others, says: '' }] : []),
  ];
  const ageCounts = counted(all, (one) => [ageOf(one)]);
  const ageBars = [...ages.map(({ label }) => label), noFile, 'not known'].map((label) => ({ label, count: ageCounts.get(label) ?? 0, says: '' }));
  const versions = counted(all, ({ mac }) => [majorOf(mac.macos) === null ? 'not known' : `macOS ${majorOf(mac.macos)}`]);
  const versionBars = [...versions]
    .sort(([one], [other]) => other.localeCompare(one, 'en', { numeric: true }))
    .map(([label, count]) => ({ label, count, says: '' }));
  const obstacleBars = byCount(counted(all, ({ judgement }) => judgement.obstacles.map(({ code }) => code))).map(([code, count]) => {
    const known = obstacleTitles.get(code);
    return { label: known?.title ?? code, count, says: known?.next ?? '', weight: known?.weight ?? 'note' };
  });
  const inTheWay = obstacleBars.filter(({ weight }) => weight !== 'note');
  const recent = ageBars.slice(0, 2).reduce((sum, { count }) => sum + count, 0);
  const newest = versionBars[0];
  const atOnce = payloadCounts.get('new-key-at-once') ?? 0;
  const observed = all.filter(({ judgement }) => !agentComes[judgement.agent].rotates).length;

  return [
    figure('modes', 'Mode that fits', filled(modeBars), (bars) => {
      const most = [...bars].sort((one, other) => other.count - one.count)[0];
      return most ? `${share(most)} fit ${most.label}` : 'No mode fits';
    }),
    figure(
      'agent',
      'When the agent comes, under its default settings',
      byCount(counted(all, ({ judgement }) => [judgement.agent])).map(([what, count]) => ({
        label: agentComes[what as AgentComes].label,
        count,
        says: agentComes[what as AgentComes].says,
      })),
      () =>
        observed === of
          ? 'On every Mac the agent only looks: it replaces no key and asks nobody'
          : `The agent replaces keys on ${macs(of - observed)}, only looks on ${number(observed)}, and asks nobody for a password`,
    ),
    figure('payload', 'When our escrow payload comes', filled(payloadBars), () =>
      atOnce === 0 ? 'On no Mac does the payload alone make a new key' : `On ${macs(atOnce)} macOS makes a new key the moment the payload comes`,
    ),
    figure('obstacles', 'What stands in the way', inTheWay, (bars) =>
      bars[0] ? `Most often in the way: ${bars[0].label} (${macs(bars[0].count)})` : 'Nothing stands in the way of any Mac',
    ),
    figure('owners', 'Who owns the escrow payload', ownerBars, (bars) => (bars[0] ? `The payload of ${share(bars[0])}: ${bars[0].label}` : 'Nobody')),
    figure('age', 'Age of macOS’s escrow file', filled(ageBars), () => `${percent(recent, of)} have an escrow file of the last month`),
    figure('macos', 'macOS', versionBars, () => (newest ? `${newest.label} runs on ${share(newest)}` : 'No version is known')),
    figure(
      'notes',
      'To be known',
      obstacleBars.filter(({ weight }) => weight === 'note'),
      (bars) => (bars[0] ? `Most often: ${bars[0].label} (${macs(bars[0].count)})` : 'Nothing more is to be known'),
    ),
    figure(
      'rings',
      'Rings, in this order',
      ringOrder
        .map(({ name, title, why }) => ({ label: title, count: all.filter(({ ring }) => ring === name).length, says: why }))
        .filter(({ count }) => count > 0),
      (bars) => `${bars.length} ${bars.length === 1 ? 'ring' : 'rings'}, the first of ${macs(bars[0]?.count ?? 0)}`,
    ),
  ];
}

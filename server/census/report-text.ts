import { oneLine, table } from '../command.ts';
import { type Figure, figuresOf, headline, macs, number, percent, totalsOf } from './figures.ts';
import { type Census, type Judged, standingOf } from './fleet.ts';
import { agentComes, modes, sentenceOf } from './judge.ts';
import { ringOrder } from './ring-order.ts';

/** For a terminal; `--csv` has every Mac. */
const mostMacs = 40;
const mostBroken = 50;

function figureText({ about, title, bars, of }: Figure): string {
  const widest = Math.max(0, ...bars.map(({ label }) => label.length));
  const rows = bars.map(({ label, count, says }) =>
    `${number(count).padStart(8)}  ${percent(count, of).padStart(5)}  ${oneLine(label).padEnd(widest)}  ${says}`.trimEnd(),
  );
  return [`${about}: ${title}`, ...rows].join('\n');
}

const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** The whole of one Mac. */
export function macText({ mac, judgement, ring }: Judged): string {
  const { agent, obstacles } = judgement;
  const lines = [
    ['Mac', `${mac.serial}, ${[mac.model, mac.chip, mac.macos && `macOS ${mac.macos} (${mac.build})`].filter(Boolean).join(', ')}`],
    ['Answered', mac.at],
    ['FileVault', `${mac.fileVault}; personal key: ${mac.personalKey}; institutional key: ${mac.institutionalKey}`],
    ['Payload', judgement.ownerName],
    ['Mode', `${judgement.mode}: ${modes[judgement.mode].means}`],
    ['Agent', agentComes[agent].says],
    ['Our payload', sentenceOf(judgement.payload)],
    ...obstacles.map(({ weight, says, next }) => [weight === 'note' ? 'To be known' : weight === 'first' ? 'First' : 'Stops', `${says}; ${next}`]),
    ['Next', judgement.next],
    ['Ring', ringOrder.find(({ name }) => name === ring)?.title ?? ring],
    ...mac.problems.map((problem) => ['Not read', problem]),
  ];
  return lines.map(([name = '', says = '']) => `${name.padEnd(12)} ${oneLine(says)}`).join('\n');
}

export function reportText(census: Census): string {
  const figures = figuresOf(census);
  const needy = census.macs.filter((one) => standingOf(one) !== 'ready');
  const shown = census.macs.length <= mostMacs ? census.macs : needy.slice(0, mostMacs);
  const rest = (census.macs.length <= mostMacs ? census.macs.length : needy.length) - shown.length;
  return [
    headline(totalsOf(census)),
    sourceText(census),
    ...figures.map(figureText),
    ...(shown.length > 0
      ? [
          `${census.macs.length <= mostMacs ? 'The Macs' : 'Macs that need something'}\n${table(
            ['serial', 'macos', 'mode', 'payload', 'in the way', 'next'],
            shown.map(({ mac, judgement }) => [
              mac.serial,
              mac.macos ?? '–',
              judgement.mode,
              cut(judgement.ownerName, 28),
              judgement.obstacles.find(({ weight }) => weight !== 'note')?.says ?? '–',
              judgement.next,
            ]),
          )}${rest > 0 ? `\nand ${number(rest)} more: --csv FILE has all, --mac SERIAL tells of one` : ''}`,
        ]
      : []),
    ...(census.broken.length > 0 ? [brokenText(census.broken)] : []),
  ].join('\n\n');
}

const brokenText = (broken: Census['broken']): string =>
  [
    `Not read: ${number(broken.length)} ${broken.length === 1 ? 'place' : 'places'}`,
    ...broken.slice(0, mostBroken).map(({ file, line, because }) => `  ${oneLine(file)}:${line}: ${because}`),
    ...(broken.length > mostBroken ? [`  and ${number(broken.length - mostBroken)} more: --json has all`] : []),
  ].join('\n');

const day = (iso: string): string => iso.slice(0, 10);

/** Where the figures come from, and what is not in them. */
export function sourceText({ answeredFrom, answeredTo, repeated, unanswered, broken, knowsOurs, macs: all }: Census): string {
  const older = all.filter(({ mac }) => mac.missing.length > 0).length;
  return [
    day(answeredFrom) === day(answeredTo) ? `Answers of ${day(answeredTo)}.` : `Answers from ${day(answeredFrom)} to ${day(answeredTo)}.`,
    ...(repeated.length > 0 ? [`${macs(repeated.length)} answered more than once: the newest answer counts.`] : []),
    ...(unanswered.length > 0 ? [`${macs(unanswered.length)} of the list ${unanswered.length === 1 ? 'has' : 'have'} not answered.`] : []),
    ...(knowsOurs ? [] : ['No escrow certificate of ours was given (--ours), so every payload counts as somebody else’s.']),
    ...(older > 0 ? [`${macs(older)} answered by an older assess.sh.`] : []),
    ...(broken.length > 0 ? [`${number(broken.length)} ${broken.length === 1 ? 'line' : 'lines'} could not be read: see below.`] : []),
  ].join(' ');
}

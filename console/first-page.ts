import type { FirstItem, FirstPage } from '../server/fleet/figures.ts';
import type { Trends } from '../server/fleet/trends.ts';
import { type Html, html } from '../web/html.ts';
import { ago, clockTime, dateOf } from '../web/times.ts';
import { blindSpots } from './figures-page.ts';
import { devicePath, inWords, macsInWords, middle, number, sentence, since } from './fleet-parts.ts';
import { alarmList } from './operations/alarms.ts';
import { listEmergencies } from './operations/emergency.ts';
import { figuresFirst, figuresTrends } from './operations/figures.ts';
import { listProposals } from './operations/weaker-disclosure.ts';
import { sparkline } from './plots.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

/* What needs a person today. */

/** What does not go on by itself; Macs without a key are told of by the first question. */
const stuckKinds = ['identity', 'refused', 'doubtful', 'disclosed', 'replacing', 'fight', 'alarm', 'unseen'];

/** More than these nobody does in a day; the rest is counted by kind. */
const mostItems = 20;
/** So many are looked through for those that are not told above. */
const mostAlarms = 50;

/** Three questions, each answered in words, with the Macs that the answer is about. */
function questions({ macs, custody, unrecoverable, exposed, exposure, needs }: FirstPage): Html {
  const stuck = needs.filter(({ kind }) => stuckKinds.includes(kind));
  const count = stuck.reduce((sum, one) => sum + one.count, 0);
  const parts = [
    [custody['lost'] ?? 0, 'lost'],
    [custody['none'] ?? 0, 'without a key here'],
    [custody['foreign'] ?? 0, 'with their keys at somebody else’s'],
  ].filter(([many]) => Number(many) > 0);
  const oldest = stuck.map(({ oldest: at }) => at).toSorted()[0];
  const answer = (question: string, isBad: 'bad' | 'late' | null, words: Html): Html =>
    html`<div><dt>${question}</dt><dd${isBad && html` class="${isBad}"`}>${words}</dd></div>`;
  return html`<dl class="questions">
${answer(
  'Is any Mac unrecoverable?',
  unrecoverable > 0 ? 'bad' : null,
  macs === 0
    ? html`<strong>There is no Mac yet.</strong>`
    : unrecoverable === 0
      ? html`<strong>No.</strong> A key that is here opens each of ${macsInWords(macs)}${(custody['doubtful'] ?? 0) > 0 ? html`; of <a href="/fleet?custody=doubtful">${number(custody['doubtful'] ?? 0)}</a> it is not known which` : null}.`
      : html`<strong>Yes: <a href="/fleet?custody=foreign&amp;custody=lost&amp;custody=none">${macsInWords(unrecoverable)}</a>.</strong> ${parts.map(([many, says]) => `${number(Number(many))} ${says}`).join(', ')}.`,
)}
${answer(
  'Is any key out in the open?',
  exposed > 0 ? 'late' : null,
  exposed === 0
    ? html`<strong>No.</strong> Every key that was shown has been replaced.`
    : html`<strong>Yes: <a href="/fleet?disclosed=true">${exposed === 1 ? 'the key of 1 Mac' : `the keys of ${macsInWords(exposed)}`}</a>.</strong> Shown and not yet replaced, ${number(exposure.hours)} hours together.`,
)}
${answer(
  'Is anything stuck?',
  count > 0 ? 'late' : null,
  count === 0
    ? html`<strong>No.</strong> Whatever was ordered goes on.`
    : html`<strong>Yes: <a href="/fleet?${stuck.map(({ kind }) => `problem=${kind}`).join('&')}">${count === 1 ? 'in 1 case' : `in ${number(count)} cases`}</a>.</strong> ${oldest && html`The oldest since ${dateOf(Date.parse(oldest), 'en')}.`}`,
)}</dl>`;
}

/** How it differs from a week ago, in words and as a line. */
function trend(days: Trends['days'], of: 'held' | 'proved'): Html | null {
  const [last, before] = [days.at(-1), days.at(-8)];
  if (last === undefined || before === undefined) return null;
  const change = last[of] - before[of];
  const words = change === 0 ? 'as many as a week ago' : `${number(Math.abs(change))} ${change > 0 ? 'more' : 'fewer'} than a week ago`;
  const values = days.map((day) => day[of]);
  return html`${sparkline(values, `From ${number(values[0] ?? 0)} to ${number(last[of])} in ${days.length} days`)}<span class="small">${words}</span>`;
}

function figures(first: FirstPage, { days, exposure }: Trends): Html {
  const { held, proved, exposure: out } = first;
  const hours = exposure.map((week) => week.hours);
  const many = ({ count, of }: { count: number; of: number }): Html => html`<b>${number(count)} <span class="soft">of ${number(of)}</span></b>`;
  return html`<h2>Three figures</h2><ul class="figures">
<li>${many(held)}Macs with a held key${trend(days, 'held')}</li>
<li>${many(proved)}proved within ${proved.withinDays} days${trend(days, 'proved')}</li>
<li><b>${out.last30Days === null ? number(out.hours) : number(out.last30Days)}</b>${out.last30Days === null ? 'hours for which keys that are out now have been out' : 'exposure hours in 30 days'}${hours.length > 1 && sparkline(hours.slice(0, -1), `From ${number(hours[0] ?? 0)} to ${number(hours.at(-2) ?? 0)} hours a week`)}<details><summary>What it does not see</summary>${blindSpots(out.blindSpots)}</details></li></ul>
<p class="ways"><a href="/figures">The last twelve weeks</a></p>`;
}

/** The one thing to press: what can be done at once by whoever may, else the page that says more. */
function button(visit: ConsoleVisit, { act, device, alarm, kind }: FirstItem): Html | null {
  const to = (path: string, words: string): Html =>
    html`<a class="button second" href="${path}">${words}${device && html`<span class="hidden-words">: ${device.name}</span>`}</a>`;
  if (act?.operation === 'alarms.judge' && alarm && visit.may('alarm.judge')) return to(`/alarms/${alarm.id}`, act.says);
  if (device && act?.operation === 'rotations.order' && visit.may('rotation.order')) return to(`${devicePath(device.id)}/replace`, act.says);
  if (device && act?.operation === 'proofs.order' && visit.may('rotation.order')) return to(`${devicePath(device.id)}/prove`, act.says);
  if (kind === 'request') return to('/disclosures', visit.may('request.decide') ? 'Agree or decline' : 'See who asks');
  if (device) return to(devicePath(device.id), 'Look at this Mac');
  return alarm ? to(`/alarms/${alarm.id}`, 'Look at the alarm') : null;
}

/** Words come before codes; what kind of alarm it is was said in words already. */
const whyOf = ({ alarm, why }: FirstItem): string => (alarm && why.startsWith(`${alarm.code}: `) ? why.slice(alarm.code.length + 2) : why);

const item = (
  visit: ConsoleVisit,
  one: FirstItem,
): Html => html`<li><div><p><strong>${sentence(one.what)}</strong> ${one.device && html`<a href="${devicePath(one.device.id)}">${middle(one.device.name, 40)}</a>${one.device.user === null ? null : html`, <bdi>${one.device.user}</bdi>`}, `}${ago(Date.parse(one.since), visit.at, 'en')}</p>
<p class="soft">${inWords(sentence(whyOf(one)))} ${inWords(sentence(one.next))}</p></div>${button(visit, one)}</li>`;

async function emergencies(visit: ConsoleVisit): Promise<Html> {
  const open = (await visit.perform(listEmergencies, {})).items.filter(({ state }) => state === 'open' || state === 'asked');
  return html`${open.map(
    (one) =>
      html`<div class="deadline" role="status"><p><strong>${one.state === 'open' ? 'Emergency: self-service is open for many.' : 'Somebody asks to open self-service for many.'}</strong> ${one.tags.join(', ')}, until ${clockTime(Date.parse(one.until), visit.at, 'en')}: ${one.reason} <a href="/disclosures/emergency/${one.id}">${one.state === 'open' ? `${macsInWords(one.macs)} so far; end it or look` : 'Agree or look'}</a></p></div>`,
  )}`;
}

/** Of policies: only for whoever may agree, and did not propose it themselves. */
async function proposals(visit: ConsoleVisit): Promise<Html> {
  const waiting = (await visit.perform(listProposals, { open: true })).items.filter(({ mayDecide }) => mayDecide);
  return html`${waiting.map(
    (one) =>
      html`<div class="deadline" role="status"><p><strong>Somebody asks to show keys more easily.</strong> <bdi>${one.proposedBy}</bdi>, the policy ${one.name}: ${one.reason} <a href="/policies#proposal-${one.id}">Agree or decline</a></p></div>`,
  )}`;
}

/** Those that the list above does not name already. */
async function alarms(visit: ConsoleVisit, told: readonly FirstItem[]): Promise<Html> {
  const { items: open, next, learningUntil } = await visit.perform(alarmList, { muted: false, limit: mostAlarms });
  const items = open.filter(({ id }) => !told.some(({ alarm }) => alarm?.id === id)).slice(0, 5);
  return html`<h2>Alarms</h2>${learningUntil && html`<p class="note">This fleet is being learned until ${dateOf(Date.parse(learningUntil), 'en')}: alarms that stop nothing are listed here, and sent to nobody before that.</p>`}
${
  items.length === 0
    ? html`<p>${open.length === 0 ? 'No alarm is open.' : 'Each open alarm stands in the list above.'}</p>`
    : html`<ul class="today">${items.map(
        (one) =>
          html`<li><div><p><strong>${sentence(one.says)}</strong> ${one.serial && html`<code><bdi>${one.serial}</bdi></code>, `}${since(one.since, visit.at)}; ${one.owner === null ? 'nobody looks after it' : html`<bdi>${one.owner}</bdi> looks after it`}</p><p class="soft">${sentence(one.fix)}</p></div><a class="button second" href="/alarms/${one.id}">${visit.may('alarm.judge') ? 'Take over, mute or judge' : 'Look at the alarm'}</a></li>`,
      )}</ul>`
}
<p class="ways"><a href="/alarms">${next === null && open.length <= 5 ? 'Alarms' : 'All alarms'}</a></p>`;
}

export function addFirstPage({ page }: ConsoleSite): void {
  page('/', 'fleet.read', async (visit) => {
    const first = await visit.perform(figuresFirst, { limit: mostItems });
    const trends = await visit.perform(figuresTrends, {});
    const { items, more, macs } = first;
    return {
      title: 'Today',
      scripts: ['times'],
      body: html`<h1>Today</h1>
${await emergencies(visit)}
${await proposals(visit)}
${questions(first)}
${macs === 0 ? html`<p>Nothing is kept before a Mac has enrolled. <a href="/fleet">What to do next</a></p>` : figures(first, trends)}
<h2>${items.length === 0 ? 'Nothing needs a person today' : `What needs a person, oldest first`}</h2>
${items.length === 0 ? html`<p>What comes up stands here, with what to do.</p>` : html`<ol class="today">${items.map((one) => item(visit, one))}</ol>`}
${more > 0 ? html`<p>${number(more)} more, of these kinds:</p><ul>${first.needs.map((one) => html`<li><a href="/fleet?problem=${one.kind}&amp;sort=problem">${number(one.count)}: ${one.says}</a></li>`)}</ul>` : null}
${await alarms(visit, items)}`,
    };
  });
}

import { Problem } from '../protocol/problems.ts';
import { type Html, html } from '../web/html.ts';
import { dateOf } from '../web/times.ts';
import type { Page } from '../web/visit.ts';
import { devicePath, headline, inWords, sentence, since } from './fleet-parts.ts';
import { alarmAssign, alarmGet, alarmJudge, alarmList, alarmMute, alarmUnmute } from './operations/alarms.ts';
import { orProblem, problemBox } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

type Listed = Awaited<ReturnType<typeof alarmList.run>>;
type Alarm = Listed['items'][number];

const day = 24 * 60 * 60 * 1000;

const views = {
  open: { words: 'Open', input: { state: 'open', muted: false } },
  muted: { words: 'Muted', input: { state: 'open', muted: true } },
  judged: { words: 'Judged', input: { state: 'judged' } },
} as const;
type View = keyof typeof views;
const viewOf = (text: string | undefined): View => (text === 'muted' || text === 'judged' ? text : 'open');

const whose = (alarm: Alarm): Html =>
  html`${alarm.serial === null || alarm.macId === null ? 'this backend, or the fleet' : html`<a href="${devicePath(alarm.macId)}"><code><bdi>${alarm.serial}</bdi></code></a>`}`;

const entry = (
  alarm: Alarm,
  now: number,
): Html => html`<tr><th scope="row"><a href="/alarms/${alarm.id}">${headline(alarm.says)}</a><br><span class="soft">${inWords(sentence(alarm.detail))}</span></th><td>${whose(alarm)}</td><td class="once">${since(alarm.since, now)}</td>
<td>${alarm.judgedBy === null ? (alarm.owner === null ? 'nobody' : html`<bdi>${alarm.owner}</bdi>`) : html`<bdi>${alarm.judgedBy}</bdi>`}</td><td>${alarm.judgement ?? (alarm.mutedUntil === null ? alarm.fix : html`Muted until ${dateOf(Date.parse(alarm.mutedUntil), 'en')}: ${alarm.mutedBecause}`)}</td></tr>`;

const learning = (until: string | null): Html | null =>
  until === null
    ? null
    : html`<p class="note">This fleet is being learned until ${dateOf(Date.parse(until), 'en')}: alarms that stop nothing are listed, and sent to nobody before that. Half of what is found in the first days has always been so.</p>`;

async function list(visit: ConsoleVisit): Promise<Page> {
  const view = viewOf(visit.query['view']);
  const { cursor, device } = visit.query;
  const found = await visit.perform(alarmList, {
    ...views[view].input,
    ...(cursor === undefined ? {} : { cursor }),
    ...(device === undefined ? {} : { device }),
  });
  const isJudged = view === 'judged';
  return {
    title: `${views[view].words} alarms`,
    scripts: ['times'],
    body: html`<h1>Alarms</h1>${learning(found.learningUntil)}
<ul class="links">${(Object.keys(views) as View[]).map((name) => html`<li><a href="/alarms${name === 'open' ? '' : `?view=${name}`}"${name === view ? html` aria-current="true"` : null}>${views[name].words}</a></li>`)}</ul>
${
  found.items.length === 0
    ? html`<p>${view === 'open' ? 'No alarm is open.' : view === 'muted' ? 'None is muted.' : 'None was judged yet.'}</p>`
    : html`<div class="scroll" tabindex="0" role="region" aria-label="Alarms"><table><thead><tr><th scope="col">What</th><th scope="col">Of</th><th scope="col">Since</th><th scope="col">${isJudged ? 'Judged by' : 'Owner'}</th><th scope="col">${isJudged ? 'What it was' : 'What to do'}</th></tr></thead><tbody>${found.items.map((one) => entry(one, visit.at))}</tbody></table></div>`
}
<nav class="row paging" aria-label="Pages">${cursor === undefined ? null : html`<a href="/alarms?view=${view}">Back to the beginning</a>`}${found.next === null ? null : html`<a class="button second" href="/alarms?view=${view}&amp;cursor=${found.next}">Next</a>`}</nav>`,
  };
}

async function one(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const alarm = await visit.perform(alarmGet, { id: visit.params['id'] });
  const { form } = visit;
  const here = `/alarms/${alarm.id}`;
  const isOpen = alarm.judgedAt === null;
  const days = form['days'] ?? '7';
  return {
    title: headline(alarm.says),
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<p class="ways"><a href="/alarms">Alarms</a></p><h1>${headline(alarm.says)}</h1>${problemBox(problem)}
<p class="lead">${inWords(sentence(alarm.detail))}</p>${isOpen ? html`<p><strong>Next:</strong> ${sentence(alarm.fix)}</p>` : null}
<dl class="facts"><dt>Of</dt><dd>${whose(alarm)}</dd><dt>Since</dt><dd>${since(alarm.since, visit.at)}</dd><dt>Owner</dt><dd>${alarm.owner === null ? 'nobody' : html`<bdi>${alarm.owner}</bdi>`}</dd>${alarm.mutedUntil && html`<dt>Muted</dt><dd>until ${dateOf(Date.parse(alarm.mutedUntil), 'en')}: ${alarm.mutedBecause}</dd>`}${alarm.judgedBy !== null && html`<dt>Judged</dt><dd>${since(alarm.judgedAt, visit.at)} by <bdi>${alarm.judgedBy}</bdi>: ${alarm.judgement}</dd>`}<dt>Code</dt><dd><code>${alarm.code}</code></dd></dl>
${
  isOpen && visit.may('alarm.judge')
    ? html`<h2>Owner</h2>${
        alarm.owner === visit.admin.name
          ? html`<form method="post" action="${here}/assign">${visit.token(`${here}/assign`)}<p>You look after it.</p><button class="second">Give this alarm back</button></form>`
          : html`<form method="post" action="${here}/assign">${visit.token(`${here}/assign`)}<input type="hidden" name="owner" value="${visit.admin.name}"><button class="second">I look after this alarm</button></form>`
      }
<h2>Mute</h2>${
        alarm.mutedUntil === null
          ? html`<form method="post" action="${here}/mute">${visit.token(`${here}/mute`)}<p class="soft">Nobody is told of it for so long. What it stops stays stopped.</p><label for="days">Days</label><input id="days" name="days" type="number" min="1" max="365" required value="${days}"><label for="reason">Reason</label><input id="reason" name="reason" required maxlength="500" autocomplete="off" value="${form['reason']}"><button class="second">Mute this alarm</button></form>`
          : html`<form method="post" action="${here}/unmute">${visit.token(`${here}/unmute`)}<button class="second">Tell people of this alarm again</button></form>`
      }
<h2>Judge</h2><form method="post" action="${here}/judge">${visit.token(`${here}/judge`)}<label for="judgement">What it was</label><p class="hint" id="judgement-hint">In your words, for whoever reads the audit. It closes the alarm.</p><input id="judgement" name="judgement" required maxlength="1000" autocomplete="off" aria-describedby="judgement-hint" value="${form['judgement']}"><button>Judge and close this alarm</button></form>`
    : null
}`,
  };
}

export function addAlarmsPage({ page, act }: ConsoleSite): void {
  page('/alarms', 'fleet.read', list);
  page('/alarms/:id', 'fleet.read', (visit) => one(visit));
  const acts: Readonly<Record<string, (visit: ConsoleVisit, id: string) => Promise<unknown>>> = {
    judge: (visit, id) => visit.perform(alarmJudge, { id, judgement: visit.form['judgement'] }),
    assign: (visit, id) => visit.perform(alarmAssign, { id, owner: visit.form['owner'] || null }),
    mute: (visit, id) =>
      visit.perform(alarmMute, { id, until: new Date(visit.at + (Number(visit.form['days']) || 0) * day).toISOString(), reason: visit.form['reason'] }),
    unmute: (visit, id) => visit.perform(alarmUnmute, { id }),
  };
  for (const [name, run] of Object.entries(acts))
    act(`/alarms/:id/${name}`, 'alarm.judge', async (visit) => {
      const id = visit.params['id'] ?? '';
      const done = await orProblem(run(visit, id));
      return done instanceof Problem ? one(visit, done) : { to: `/alarms/${id}` };
    });
}

import { Problem } from '../protocol/problems.ts';
import { type Html, html } from '../web/html.ts';
import type { Answer, Page } from '../web/visit.ts';
import { clock, table, when } from './evidence-parts.ts';
import { agreeToEmergency, askForEmergency, type EmergencyOut, endAnEmergency, getEmergency, listEmergencies } from './operations/emergency.ts';
import { orProblem, problemBox, tagsFrom } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

const path = '/disclosures/emergency';
/** As many ids as a form may hold. */
const mostInOneStart = 300;

const states: Record<EmergencyOut['state'], string> = {
  asked: 'asked; a second person has to agree',
  agreed: 'agreed, begins later',
  open: 'open',
  over: 'over',
  ended: 'ended by hand',
};

const row = (one: EmergencyOut, now: number): Html =>
  html`<tr><th scope="row"><a href="${path}/${one.id}">${one.tags.join(', ')}</a></th><td>${states[one.state]}</td><td>${clock(one.from, now)} to ${clock(one.until, now)}</td><td>${one.askedBy}${one.agreedBy !== null && html`, ${one.agreedBy}`}</td><td class="number">${one.views}</td><td class="number">${one.macs}</td></tr>`;

const askForm = (visit: ConsoleVisit): Html => html`<h2>Open it</h2>
<p>People whose own Mac has one of these tags, or who are in one of these groups, are shown its key in the portal whatever the settings say. Whose Mac it is, alarms and limits go on counting. A second person has to agree.</p>
<form method="post" action="${path}">${visit.token(path)}
<label for="tags">Tags</label><p class="hint" id="tags-hint">Separated by commas; a group is <code>group:NAME</code>.</p><input id="tags" name="tags" required maxlength="1000" autocomplete="off" aria-describedby="tags-hint" value="${visit.form['tags']}">
<label for="hours">For how many hours</label><input id="hours" name="hours" type="number" min="1" max="168" required value="${visit.form['hours'] ?? '8'}">
<label for="reason">Reason</label><input id="reason" name="reason" required minlength="10" maxlength="500" autocomplete="off" value="${visit.form['reason']}">
<button>Ask to open it</button></form>`;

async function listPage(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const { items } = await visit.perform(listEmergencies, {});
  return {
    title: 'Self-service for many',
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<h1>Self-service for many</h1>
${problemBox(problem)}
${
  items.length === 0
    ? html`<p>It was never opened. It is for the day on which a provider has lost everybody’s password, and costs nothing to have never needed.</p>`
    : table(
        'Self-service for many',
        ['For', 'State', 'When', 'By', 'Keys shown', 'Macs'],
        items.map((one) => row(one, visit.at)),
      )
}
${visit.may('emergency.open') && askForm(visit)}
<p class="ways"><a href="/disclosures">Disclosures</a></p>`,
  };
}

const wordsForm = (visit: ConsoleVisit, action: string, button: string, kind: 'danger' | 'second'): Html =>
  html`<form method="post" action="${action}">${visit.token(action)}<label for="${kind}-words">Why</label><input id="${kind}-words" name="words" required maxlength="500" autocomplete="off"><button class="${kind}">${button}</button></form>`;

async function onePage(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const { emergency: one, deviceIds } = await visit.perform(getEmergency, { id: visit.params['id'] });
  const here = `${path}/${one.id}`;
  const isLive = one.state === 'asked' || one.state === 'agreed' || one.state === 'open';
  return {
    title: 'Self-service for many',
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<h1>Self-service for ${one.tags.join(', ')}</h1>
${problemBox(problem)}
<blockquote>${one.reason}</blockquote>
<dl class="facts"><dt>State</dt><dd><strong>${states[one.state]}</strong></dd><dt>When</dt><dd>${clock(one.from, visit.at)} to ${clock(one.until, visit.at)}</dd><dt>Asked by</dt><dd>${one.askedBy}, ${when(one.askedAt, visit.at)}</dd>
${one.agreedBy !== null && html`<dt>Agreed by</dt><dd>${one.agreedBy}, ${when(one.agreedAt, visit.at)}</dd>`}${one.endedBy !== null && html`<dt>Ended by</dt><dd>${one.endedBy}, ${when(one.endedAt, visit.at)}</dd>`}
<dt>Keys shown</dt><dd>${one.views}, of ${one.macs} Macs, to ${one.people} people</dd></dl>
${one.state === 'asked' && !one.isMine && visit.may('emergency.agree') && html`<h2>Agree</h2><p>From then on the people of these Macs are shown their own keys, until ${clock(one.until, visit.at)} or until somebody ends it. Ask ${one.askedBy} by another way than this page whether it is them.</p>${wordsForm(visit, `${here}/agree`, 'Agree and open it', 'danger')}`}
${isLive && (visit.may('emergency.open') || visit.may('emergency.agree')) && html`<h2>End it</h2><p>Nobody is shown a key by it from then on. Another one can be asked for at any time.</p>${wordsForm(visit, `${here}/end`, 'End it now', 'second')}`}
${
  !isLive &&
  deviceIds.length > 0 &&
  visit.may('rotation.order') &&
  html`<h2>Afterwards</h2><p>Every key that was shown is owed a replacement, which comes once its person is back in. To have all of them replaced in waves, now:</p>
<form method="post" action="/rotations/edit">${visit.token('/rotations/edit')}<input type="hidden" name="macs" value="${deviceIds.slice(0, mostInOneStart).join(' ')}"><input type="hidden" name="perHour" value="60"><input type="hidden" name="reason" value="after self-service for many, ${one.id}"><button class="second">Replace ${deviceIds.length === 1 ? 'this key' : `${Math.min(deviceIds.length, mostInOneStart)} keys`} in waves</button></form>`
}
<p class="ways"><a href="${path}">Self-service for many</a></p>`,
  };
}

export function addEmergencyPage(admins: ConsoleSite): void {
  admins.page(path, 'signed-in', (visit) => listPage(visit));
  admins.page(`${path}/:id`, 'signed-in', (visit) => onePage(visit));
  admins.act(path, { permission: 'emergency.open', fresh: true }, async (visit) => {
    const { tags, hours = '', reason } = visit.form;
    const until = new Date(visit.at + Math.min(168, Math.max(0, Number(hours) || 0)) * 60 * 60 * 1000).toISOString();
    const asked = await orProblem(visit.perform(askForEmergency, { tags: tagsFrom(tags) ?? [], until, reason }));
    return asked instanceof Problem ? listPage(visit, asked) : { to: `${path}/${asked.id}` };
  });
  const act = async (visit: ConsoleVisit, done: Promise<unknown>): Promise<Answer> => {
    const answer = await orProblem(done);
    return answer instanceof Problem ? onePage(visit, answer) : { to: `${path}/${visit.params['id']}` };
  };
  const said = ({ params, form }: ConsoleVisit) => ({ id: params['id'], words: form['words'] });
  admins.act(`${path}/:id/agree`, { permission: 'emergency.agree', fresh: true }, (visit) => act(visit, visit.perform(agreeToEmergency, said(visit))));
  admins.act(`${path}/:id/end`, 'signed-in', (visit) => act(visit, visit.perform(endAnEmergency, said(visit))));
}

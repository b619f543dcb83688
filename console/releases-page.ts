import { Problem } from '../protocol/problems.ts';
import { macById } from '../server/store/macs.ts';
import { type Html, html } from '../web/html.ts';
import type { Page } from '../web/visit.ts';
import { clock, evidenceParts, instructions, when } from './evidence-parts.ts';
import { confirmReleaseCode, getRelease, makeReleaseCode, type ReleaseOut, withdrawReleaseCode } from './operations/releases.ts';
import { orProblem, problemBox } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

/*
 * Codes of the desk: who calls, how the desk knows, what to say, and what became of the code. Never the key: whoever is called by
 * somebody who is not who they say gives nothing away that they know.
 */

const path = '/disclosures/releases';

const states: Record<ReleaseOut['state'], string> = {
  unconfirmed: 'waits for a second person of the desk',
  ready: 'may be typed',
  open: 'was typed; the key may be seen there',
  over: 'over',
  expired: 'was not typed in time',
  withdrawn: 'withdrawn',
  done: 'the person is in',
};

export const releaseRow = (one: ReleaseOut, now: number): Html =>
  html`<tr><th scope="row"><a href="${path}/${one.id}">${one.device.serial}</a></th><td>${one.personName}</td><td>${one.madeBy}${one.confirmedBy !== null && html`, ${one.confirmedBy}`}</td><td>${states[one.state]}</td><td>${when(one.usedAt, now)}</td><td class="number">${one.keysShown}</td><td class="number">${one.refusals}</td></tr>`;

export const makeForm = (visit: ConsoleVisit): Html => html`<form method="post" action="${path}">${visit.token(path)}
<label for="device">Serial number of the Mac</label><input id="device" name="device" required maxlength="64" autocomplete="off" autocapitalize="characters" spellcheck="false" value="${visit.form['device'] ?? visit.query['device']}">
<label for="personName">Who calls</label><input id="personName" name="personName" required maxlength="120" autocomplete="off" value="${visit.form['personName']}">
<label for="verified">How you know that it is them</label><p class="hint" id="verified-hint">Such as: called back on the number in the directory. A name, a birthday or a serial number prove nothing.</p><input id="verified" name="verified" required minlength="10" maxlength="500" autocomplete="off" aria-describedby="verified-hint" value="${visit.form['verified']}">
<button>Make a code</button></form>`;

async function formPage(visit: ConsoleVisit, problem: Problem | null): Promise<Page> {
  return {
    title: 'A code of the desk',
    status: problem ? problem.kind.status : 200,
    body: html`<h1>A code of the desk</h1>${problemBox(problem)}${makeForm(visit)}<p class="ways"><a href="/disclosures">Disclosures</a></p>`,
  };
}

/** Beside a code, and beside what became of it. */
async function deskParts(admins: ConsoleSite, visit: ConsoleVisit, id: string): Promise<Html> {
  const { release, evidence } = await visit.perform(getRelease, { id });
  const mac = await macById(admins.site.ground.backend.store.db, release.device.id);
  return html`${mac && instructions(mac)}${evidenceParts(evidence, visit.at)}`;
}

async function onePage(admins: ConsoleSite, visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const { release: one } = await visit.perform(getRelease, { id: visit.params['id'] });
  const here = `${path}/${one.id}`;
  const isLive = one.state === 'unconfirmed' || one.state === 'ready' || one.state === 'open';
  return {
    title: `Code for ${one.device.serial}`,
    status: problem ? problem.kind.status : 200,
    scripts: isLive ? ['times', 'look-again'] : ['times'],
    body: html`<h1>Code for ${one.personName}, ${one.device.serial}</h1>
${problemBox(problem)}
<div${isLive && html` data-look-again aria-live="polite"`}><dl class="facts"><dt>State</dt><dd><strong>${states[one.state]}</strong></dd><dt>Typed</dt><dd>${when(one.usedAt, visit.at)}</dd><dt>Keys shown</dt><dd>${one.keysShown}, last ${when(one.lastShownAt, visit.at)}</dd><dt>Said to be refused</dt><dd>${one.refusals}</dd>
<dt>Made by</dt><dd>${one.madeBy}, who knew it was them: ${one.verified}</dd>${one.confirmedBy !== null && html`<dt>Confirmed by</dt><dd>${one.confirmedBy}</dd>`}<dt>Good until</dt><dd>${clock(one.openUntil ?? one.expiresAt, visit.at)}</dd></dl></div>
${
  one.state === 'unconfirmed' &&
  !one.isMine &&
  visit.may('release.assist') &&
  html`<form method="post" action="${here}/confirm">${visit.token(`${here}/confirm`)}<label for="words">How you know that it is right</label><input id="words" name="words" required maxlength="500" autocomplete="off"><button>Confirm the code</button></form>`
}
${isLive && visit.may('release.assist') && html`<form method="post" action="${here}/withdraw">${visit.token(`${here}/withdraw`)}<button class="second">End it now</button></form>`}
${await deskParts(admins, visit, one.id)}
<p class="ways"><a href="/disclosures">Disclosures</a></p>`,
  };
}

export function addReleasesPage(admins: ConsoleSite): void {
  const fresh = { permission: 'release.assist', fresh: true } as const;
  // The page for the code is on the site of users: their listener, and not the one of admins.
  const portal = admins.site.ground.backend.settings.people?.url ?? '';
  admins.page(path, 'release.assist', (visit) => formPage(visit, null));
  admins.act(path, fresh, async (visit) => {
    const { device: id, personName, verified } = visit.form;
    const made = await orProblem(visit.perform(makeReleaseCode, { id: id?.trim(), personName, verified }));
    if (made instanceof Problem) return formPage(visit, made);
    const { release, code } = made;
    return {
      title: `Code for ${release.device.serial}`,
      scripts: ['times'],
      body: html`<h1>Read this out to ${release.personName}</h1>
<p><strong>It is shown this once.</strong> ${release.state === 'unconfirmed' ? html`It is good only once another person of the desk has confirmed it: <a href="${path}/${release.id}">here</a>.` : html`It is good until ${clock(release.expiresAt, visit.at)}, once, for ${release.device.serial} alone.`}</p>
<p>“Open ${portal.replace(/^https:\/\//, '')}/release on any device, and type:”</p>
<pre class="scroll release-code" tabindex="0"><code>${code}</code></pre>
<p>Say each sign on its own. There is no B, D, E, G, P, T, no O or zero, no I, L or one. You do not see the key, and nobody reads it out to you.</p>
<p><a class="button" href="${path}/${release.id}">What becomes of it</a></p>
${await deskParts(admins, visit, release.id)}`,
    };
  });
  admins.page(`${path}/:id`, 'signed-in', (visit) => onePage(admins, visit));
  admins.act(`${path}/:id/confirm`, fresh, async (visit) => {
    const done = await orProblem(visit.perform(confirmReleaseCode, { id: visit.params['id'], words: visit.form['words'] }));
    return done instanceof Problem ? onePage(admins, visit, done) : { to: `${path}/${visit.params['id']}` };
  });
  admins.act(`${path}/:id/withdraw`, 'release.assist', async (visit) => {
    const done = await orProblem(visit.perform(withdrawReleaseCode, { id: visit.params['id'] }));
    return done instanceof Problem ? onePage(admins, visit, done) : { to: `${path}/${visit.params['id']}` };
  });
}

import type { Problem } from '../protocol/problems.ts';
import { type Permission, scopeOf } from '../server/permissions.ts';
import type { FrameParts } from '../web/frame.ts';
import { type Html, html } from '../web/html.ts';
import type { Page, Visit } from '../web/visit.ts';
import { adminOfVisit, emergenciesOf, needsOfPage } from './visit.ts';

/** The parts of the console in the order of a day: what is wrong, what is done about it, who did it. */
const parts = [
  { path: '/fleet', words: 'Fleet' },
  { path: '/rotations', words: 'Rotations' },
  { path: '/disclosures', words: 'Disclosures' },
  { path: '/alarms', words: 'Alarms' },
  { path: '/policies', words: 'Policies' },
  { path: '/audit', words: 'Audit' },
  { path: '/people', words: 'People' },
  { path: '/tokens', words: 'Tokens' },
] as const;

/** Those that there are, and that this admin may see. */
function navigation(visit: Visit): Html | null {
  const admin = adminOfVisit(visit);
  if (admin === null) return null;
  const may = (needs: Permission | 'signed-in' | null): boolean => needs === 'signed-in' || (needs !== null && scopeOf(admin, needs) !== false);
  const here = visit.path.split('?')[0] ?? '/';
  const isHere = (path: string): boolean => here === path || here.startsWith(`${path}/`);
  return html`<nav class="parts" aria-label="Console"><ul class="links">${parts
    .filter(({ path }) => may(needsOfPage(visit, path)))
    .map(({ path, words }) => html`<li><a href="${path}"${isHere(path) ? html` aria-current="page"` : null}>${words}</a></li>`)}</ul></nav>`;
}

const person = (visit: Visit): Html | null =>
  visit.session &&
  html`<div class="who"><a href="/account">${visit.session.person.displayName}</a>
<form method="post" action="/sign-out">${visit.token('/sign-out')}<button class="quiet">Sign out</button></form></div>`;

/** Around every page of the console: English, dense, the whole width. Signing in and what is one's own keep the width of a column. */
export function consoleFrame(frameParts: FrameParts, visit: Visit, page: Page, _back: string): string {
  const isWide = adminOfVisit(visit) !== null;
  const hasTimes = page.body.toString().includes('<time');
  const scripts = (page.scripts ?? [])
    .filter((name) => name !== 'times' || hasTimes)
    .map((name) => html`<script type="module" src="${frameParts.assetPath(`${name}.js`)}"></script>`);
  const logo = frameParts.logoPath === null ? null : html`<img src="${frameParts.logoPath}" alt="" height="28">`;
  return html`<!doctype html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<title>${page.title} – ${frameParts.organisation} keys</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="${frameParts.assetPath('icon.svg')}">
<link rel="stylesheet" href="${frameParts.assetPath('site.css')}">
<link rel="stylesheet" href="${frameParts.assetPath('console.css')}">
${scripts}</head>
<body class="console${isWide ? ' wide' : ''}">
<a class="skip" href="#content">Skip to the content</a>
<header class="head"><p class="brand"><a href="/">${logo}${frameParts.organisation} keys</a></p>${navigation(visit)}${person(visit)}</header>
${emergenciesOf(visit).length > 0 && html`<p class="note emergency" role="status">Self-service is open for many (${emergenciesOf(visit).join(', ')}), whatever the settings say. <a href="/disclosures/emergency">Look at it</a></p>`}
<main id="content" tabindex="-1">
${page.body}
</main>
<p class="print-refusal">This page is not printed.</p>
<footer class="foot"><ul class="links"><li><a href="/docs">API</a></li>${isWide && html`<li><a href="/you">What you may do</a></li>`}<li><a href="/cannot-sign-in">Help</a></li></ul></footer>
</body>
</html>
`.toString();
}

const sentence = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;

/** What happened, what to do, and the code small: of the table that programs get too. */
export function consoleErrorPage(problem: Problem, visit: Visit, { code, goOn, hasCookies }: { code: string | null; goOn: string; hasCookies: boolean }): Page {
  const { title, fix, status } = problem.kind;
  const { retryAfterSeconds } = problem;
  const name = visit.session?.person.displayName;
  const isRole = problem.code === 'NOT_ALLOWED';
  const heading = isRole ? (problem.detail === 'no role' ? 'You have no role here yet' : 'Your roles do not allow this') : sentence(title).slice(0, -1);
  return {
    title: heading,
    status,
    ...(retryAfterSeconds === undefined ? {} : { headers: { 'retry-after': String(retryAfterSeconds) } }),
    body: html`<h1>${heading}</h1>
${
  isRole
    ? html`<p>You are signed in as ${name ?? 'nobody'}, and nothing was changed. ${
        problem.detail === 'no role'
          ? 'Whoever works here has a role that somebody gave them, such as viewer or help desk.'
          : `It needs the permission ${problem.detail}.`
      }</p><p>Ask an owner of Sparekey in your organisation, or the operator of this server, to give you one. They need your user name: <code>${visit.session?.person.userName ?? ''}</code>.</p>`
    : html`<p>${sentence(fix)}</p>${problem.detail === undefined || problem.code === 'SERVER_BUG' ? null : html`<p class="soft">${problem.detail}</p>`}`
}
${problem.code === 'FORM_REFUSED' && !hasCookies ? html`<p>Your browser sent no cookie: allow cookies for this site.</p>` : null}
${isRole && problem.detail === 'no role' ? null : html`<p><a class="button second" href="${goOn}">Go on</a></p>`}
<p class="code small">${problem.code}${code === null ? null : html` · <strong>${code}</strong>`} · <code>${visit.requestId}</code></p>`,
  };
}

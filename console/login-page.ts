import { deviceLoginsOf } from '../server/admins/device-login.ts';
import { type Html, html } from '../web/html.ts';
import { ago } from '../web/times.ts';
import type { Page } from '../web/visit.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

const look = '/login/confirm';
const decide = '/login/confirm/decide';
const fresh = { permission: 'signed-in', fresh: true } as const;

/** Where a person lets `sparekeyctl` in, on the machine whose code they type. */
export function addLoginPage({ site, page, act }: ConsoleSite): void {
  const logins = deviceLoginsOf(site.ground.backend);

  const ask = (visit: ConsoleVisit, trouble?: Html): Page => ({
    title: trouble ? 'This code is not waiting – Let the command line in' : 'Let the command line in',
    status: trouble ? 422 : 200,
    body: html`<h1>Let the command line in</h1>
${trouble}
<p><code>sparekeyctl login</code> shows a code of eight letters. Type it here, on the machine at which you began it.</p>
<form method="post" action="${look}">${visit.token(look)}
<label for="code">Code</label><p class="hint" id="code-hint">Somebody sent you this code, or told you to type it? Then it is not yours: close this page.</p>
<input id="code" name="code" autocomplete="off" autocapitalize="characters" autocorrect="off" spellcheck="false" required maxlength="32" aria-describedby="code-hint"${trouble ? html` aria-invalid="true"` : null}>
<button>Go on</button></form>`,
  });
  const notWaiting = html`<div class="error" role="alert" id="trouble"><h2>No sign-in waits for this code</h2><p>A letter may be wrong, ten minutes may have passed, or it was used. Compare it, or begin again with <code>sparekeyctl login</code>.</p></div>`;

  page(look, fresh, async (visit) => ask(visit));

  act(look, fresh, async (visit) => {
    const code = (visit.form['code'] ?? '').slice(0, 32);
    const asking = await logins.lookUp(visit.admin, code);
    if (!asking) return ask(visit, notWaiting);
    const elsewhere = asking.network !== visit.network;
    const carried = html`${visit.token(decide)}<input type="hidden" name="code" value="${code}">`;
    return {
      title: `Let ${asking.machine} in`,
      scripts: ['times'],
      body: html`<h1>Let ${asking.machine} in?</h1>
<dl class="facts"><dt>It calls itself</dt><dd>${asking.machine}</dd><dt>It asks from</dt><dd>${asking.network}${elsewhere ? html` <strong>(you are at ${visit.network})</strong>` : ' (as you do)'}</dd><dt>Begun</dt><dd>${ago(asking.begunAt, visit.at, 'en')}</dd></dl>
<p>For twelve hours it may do all that you may, but make tokens. Signing out everywhere ends it.</p>
<form method="post" action="${decide}">${carried}<input type="hidden" name="is" value="mine"><button>Let ${asking.machine} in as ${visit.session.person.userName}</button></form>
<form method="post" action="${decide}">${carried}<input type="hidden" name="is" value="not-mine"><button class="second">This was not me</button></form>`,
    };
  });

  act(decide, fresh, async (visit) => {
    const code = (visit.form['code'] ?? '').slice(0, 32);
    const isMine = visit.form['is'] === 'mine';
    const { freshAt } = visit.session;
    const done = await (isMine ? logins.confirm(visit.admin, code, visit.network, freshAt) : logins.refuse(visit.admin, code, visit.network));
    if (!done) return ask(visit, notWaiting);
    return {
      title: isMine ? 'It is let in' : 'It is refused',
      body: isMine
        ? html`<h1>It is let in</h1><p>Go back to the command line: it goes on within seconds. You can close this page.</p>`
        : html`<h1>It is refused</h1><p>Whoever asked gets nothing, and the audit has it. If somebody sent you that code, tell an owner of Sparekey: they wanted to act in your name.</p>`,
    };
  });
}

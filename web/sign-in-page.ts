import type { SitesGround } from '../server/serve.ts';
import { type Html, html } from './html.ts';
import { isLocalPath } from './paths.ts';
import type { SignInTrouble } from './sign-in-trouble.ts';
import { signInWords } from './sign-in-words.ts';
import type { Page, SiteName, Visit } from './visit.ts';

/** Where everybody begins who wanted to be nowhere else. */
export const homeOf = (site: SiteName): string => (site === 'portal' ? '/macs' : '/');

/** Where somebody wants to be afterwards. Signing in is no such place. */
export function thenOf(site: SiteName, text: string | undefined): string {
  const path = text ?? '';
  return isLocalPath(path) && !/^\/(sign-in|sign-out|set-up)\b/.test(path) ? path : homeOf(site);
}

export interface SigningIn {
  /** Where they wanted to be. */
  goal: string;
  /** Somebody who is signed in proves it once more. */
  again: boolean;
  trouble?: SignInTrouble | { waitSeconds: number };
  /** Why they are asked, where it is not by their own wish. */
  note?: 'ended' | 'signedOut';
  userName?: string;
}

/** Whether this visit can be one in which somebody proves once more who they are. */
export const isAgain = (visit: Visit, given: string | undefined): boolean => given === '1' && visit.session !== null;

const statusOf: Partial<Record<SignInTrouble, number>> = { down: 503, emptied: 400, flowOld: 400 };

/** A passkey, by a script: without one there is no button. `ask`: where its challenge comes from. */
export const passkeyForm = (
  visit: Visit,
  given: { ask: string; answer: string; fields: Html; button: string; hint: string; failed: string; quiet?: boolean },
): Html =>
  html`<div class="passkey" data-passkey="${given.ask}" hidden>
<form hidden data-asks>${visit.token(given.ask)}</form>
<form method="post" action="${given.answer}" data-answers>${visit.token(given.answer)}<input type="hidden" name="answer" value="">${given.fields}
<button${given.quiet ? html` class="second"` : null} aria-describedby="passkey-hint">${given.button}</button></form>
<p class="hint" id="passkey-hint">${given.hint}</p>
<p class="error" role="alert" hidden data-failed>${given.failed}</p>
</div>`;

export const troubleBox = ({ title, text }: { title: string; text: string }): Html =>
  html`<div class="error" role="alert" id="trouble"><h2>${title}</h2><p>${text}</p></div>`;

/** In English as all of the console. */
const atConsole = {
  first: 'For whoever looks after the Macs. Use your work account, or the account that was made for you here.',
  again: (most: number) => `For this we ask who you are once more. The sign-in then counts for ${most} minutes.`,
};

/** One page for all ways in, and for whatever went wrong on one of them: the others are beside it. */
export function signInPage(ground: SitesGround, visit: Visit, given: SigningIn): Page {
  const words = signInWords[visit.language];
  const { providers, localAccounts, freshMinutes } = ground.settings.signIn;
  const { goal, again, trouble, note, userName = '' } = given;
  const session = again ? visit.session : null;
  const query = new URLSearchParams([['then', goal], ...(again ? [['again', '1']] : [])]).toString();
  const fields = html`<input type="hidden" name="then" value="${goal}">${again ? html`<input type="hidden" name="again" value="1">` : null}`;
  const said = trouble === undefined ? null : typeof trouble === 'string' ? words.trouble[trouble] : words.wait(trouble.waitSeconds);
  const status = trouble === undefined ? 200 : typeof trouble === 'string' ? (statusOf[trouble] ?? 403) : 429;
  const withProviders = providers.map(
    ({ id, name }, at) => html`<p><a class="button${at === 0 ? '' : ' second'}" href="/sign-in/with/${id}?${query}">${words.with(name)}</a></p>`,
  );
  // What was typed was not right, or was not there: both fields say so, and where it is said why.
  const isTyped = trouble === 'wrong' || trouble === 'emptied';
  const wrong = isTyped ? html` aria-invalid="true" aria-describedby="trouble"` : null;
  const title = again ? words.again.title : words.title;
  const lead = ground.site === 'console' ? atConsole : { first: words.lead, again: words.again.lead };
  const password = html`<form method="post" action="/sign-in/password" class="sign-in">${visit.token('/sign-in/password')}${fields}
<label for="name">${words.userName}</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false" required maxlength="256" value="${session ? session.person.userName : userName}"${wrong}>
<label for="password">${words.password}</label>
<p class="hint" id="password-hint">${words.show}</p>
<input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024"${isTyped ? html` aria-invalid="true" aria-describedby="trouble password-hint"` : html` aria-describedby="password-hint"`}>
<button${providers.length > 0 ? html` class="second"` : null}>${words.signIn}</button>
</form>`;
  return {
    title: said ? `${said.title} – ${title}` : title,
    status,
    ...(typeof trouble === 'object' ? { headers: { 'retry-after': String(trouble.waitSeconds) } } : {}),
    scripts: ['passkey'],
    body: html`<h1>${title}</h1>
${said && troubleBox(said)}
${note && html`<p class="note" role="status">${words[note]}</p>`}
<p>${again ? lead.again(freshMinutes) : lead.first}</p>
<div class="sign-in-ways">${withProviders}
${passkeyForm(visit, {
  ask: '/sign-in/passkey',
  answer: '/sign-in/passkey/answer',
  fields,
  button: words.passkey,
  hint: words.passkeyMeans,
  failed: words.passkeyFailed,
  quiet: true,
})}
${localAccounts ? html`${providers.length > 0 ? html`<h2>${words.or}</h2>` : null}${password}` : null}</div>
<p class="ways"><a href="/cannot-sign-in">${words.cannot}</a></p>
${again ? null : html`<p class="ways"><a href="/set-up">${words.setUp}</a></p>`}`,
  };
}

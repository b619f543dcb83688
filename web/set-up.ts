import { Problem } from '../protocol/problems.ts';
import { type Accounts, spendCode } from '../server/accounts.ts';
import { leastPassword, type PasswordFault } from '../server/password-rules.ts';
import { enter } from './entering.ts';
import { type Html, html } from './html.ts';
import type { Passkeys } from './passkeys.ts';
import { setUpWords } from './set-up-words.ts';
import { homeOf, passkeyForm, signInPage, troubleBox } from './sign-in-page.ts';
import { signInWords } from './sign-in-words.ts';
import type { Answer, Page, Site, Visit } from './visit.ts';
import { say } from './words.ts';

export interface OwnParts {
  accounts: Accounts;
  passkeys: Passkeys;
}

/** A new password is typed twice; `fault` is what was wrong with the last one. */
export const newPasswordFields = (visit: Visit, userName: string): Html => {
  const { words } = say(setUpWords, visit.language);
  return html`<input type="hidden" name="username" value="${userName}" autocomplete="username">
<label for="password">${words.password}</label><p class="hint" id="password-hint">${words.passwordHint(leastPassword)}</p>
<input id="password" name="password" type="password" autocomplete="new-password" required maxlength="1024" aria-describedby="password-hint">
<label for="repeat">${words.repeat}</label><input id="repeat" name="repeat" type="password" autocomplete="new-password" required maxlength="1024">`;
};

type Ready = { personId: string; name: string; displayName: string; emergency: boolean };
type Fault = PasswordFault | 'different' | 'passkey';

/**
 * An account that was made here gets its password or its passkey by a code that was handed over. The code goes from step to
 * step in the form and is spent with the last one, so that whoever breaks off can begin again.
 */
export function addSetUp(site: Site, { accounts, passkeys }: OwnParts): void {
  const { ground } = site;

  function ask(visit: Visit, given: { trouble?: { title: string; text: string }; status?: number; name?: string } = {}): Page {
    const { words, language } = say(setUpWords, visit.language);
    return {
      title: given.trouble ? `${given.trouble.title} – ${words.title}` : words.title,
      language,
      status: given.status ?? 200,
      body: html`<h1>${words.title}</h1>
${given.trouble && troubleBox(given.trouble)}
<p>${words.lead}</p>
<form method="post" action="/set-up">${visit.token('/set-up')}
<label for="name">${words.userName}</label><input id="name" name="name" autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false" required maxlength="256" value="${given.name ?? ''}">
<label for="code">${words.code}</label><p class="hint" id="code-hint">${words.codeHint}</p>
<input id="code" name="code" autocomplete="one-time-code" autocapitalize="characters" autocorrect="off" spellcheck="false" required maxlength="64" aria-describedby="code-hint">
<button>${words.goOn}</button></form>
<p class="ways"><a href="/sign-in">${say(signInWords, visit.language).words.back}</a></p>`,
    };
  }

  function choose(visit: Visit, ready: Ready, fault?: Fault): Page {
    const { words, language } = say(setUpWords, visit.language);
    const { code = '' } = visit.form;
    const carried = html`<input type="hidden" name="name" value="${ready.name}"><input type="hidden" name="code" value="${code}">`;
    const trouble = fault && words.faults[fault];
    return {
      title: trouble ? `${trouble.title} – ${words.title}` : words.title,
      language,
      status: fault ? 422 : 200,
      scripts: ['passkey'],
      body: html`<h1>${words.title}</h1>
${trouble && troubleBox(trouble)}
<p>${ready.emergency ? words.emergency : words.choose(ready.displayName)}</p>
${ready.emergency ? null : html`<form method="post" action="/set-up/password">${visit.token('/set-up/password')}${carried}${newPasswordFields(visit, ready.name)}<button>${words.save}</button></form><h2>${words.or}</h2>`}
${passkeyForm(visit, {
  ask: '/set-up/passkey',
  answer: '/set-up/passkey/answer',
  fields: html`${carried}<label for="label">${words.label}</label><input id="label" name="label" maxlength="64" autocomplete="off">`,
  button: words.passkey,
  hint: words.passkeyMeans,
  failed: words.passkeyFailed,
  quiet: !ready.emergency,
})}
<noscript><p>${words.noScript}</p></noscript>`,
    };
  }

  /** The account that this code is for, or the page that says why not. */
  async function checked(visit: Visit): Promise<Ready | Page> {
    const { name = '', code = '' } = visit.form;
    const result = await accounts.checkCode({ name: name.slice(0, 256), code: code.slice(0, 64), network: visit.network });
    if (result.is === 'ready') return result;
    const { words } = say(setUpWords, visit.language);
    if (result.is === 'wrong') return ask(visit, { trouble: words.wrong, status: 403, name });
    return ask(visit, { trouble: say(signInWords, visit.language).words.wait(result.seconds), status: 429, name });
  }

  const into = async (
    visit: Visit,
    { personId }: Ready,
    way: 'password' | 'passkey',
    chosen?: Pick<Awaited<ReturnType<Accounts['choosePassword']>>, 'known' | 'still'>,
  ): Promise<Answer> => {
    const entering = { personId, way, goal: homeOf(ground.site), expected: null, ...(chosen === undefined ? {} : { known: chosen.known }) };
    const entered = await enter(ground, visit, entering, async (tx) => (!chosen || (await chosen.still(tx)) ? null : 'wrong'));
    return typeof entered === 'string' ? signInPage(ground, visit, { goal: homeOf(ground.site), again: false, trouble: entered }) : entered;
  };

  site.page('/set-up', 'nobody', async (visit) => ask(visit));
  site.act('/set-up', 'nobody', async (visit) => {
    const ready = await checked(visit);
    return 'personId' in ready ? choose(visit, ready) : ready;
  });

  site.act('/set-up/password', 'nobody', async (visit) => {
    const ready = await checked(visit);
    if (!('personId' in ready)) return ready;
    const { password = '', repeat = '', code = '' } = visit.form;
    const fault = accounts.faultOf(password, ready) ?? (password === repeat ? null : 'different');
    if (fault || ready.emergency) return choose(visit, ready, fault ?? 'passkey');
    const chosen = await accounts.choosePassword({ personId: ready.personId, name: ready.name, password, code });
    if (!chosen.done) return ask(visit, { trouble: say(setUpWords, visit.language).words.wrong, status: 403, name: ready.name });
    return into(visit, ready, 'password', chosen);
  });

  const ownerOf = (ready: Ready) => ({ id: ready.personId, userName: ready.name, displayName: ready.displayName });

  site.ask('/set-up/passkey', 'nobody', async (visit) => {
    const { name, code } = (visit.json ?? {}) as { name?: unknown; code?: unknown };
    const form = { name: typeof name === 'string' ? name : '', code: typeof code === 'string' ? code : '' };
    const ready = await checked({ ...visit, form });
    return 'personId' in ready ? passkeys.beginNew(visit, ownerOf(ready)) : {};
  });
  site.act('/set-up/passkey/answer', 'nobody', async (visit) => {
    const ready = await checked(visit);
    if (!('personId' in ready)) return ready;
    const { answer = '', label = '', code = '' } = visit.form;
    const keep = await passkeys.finishNew(visit, ownerOf(ready), answer, label);
    const { store, clock } = ground.backend;
    const kept =
      keep !== null &&
      (await store.write(async (tx) => {
        const at = await clock.persist(tx);
        if (!(await keep(tx, at))) return false;
        // Somebody was quicker with the code: nothing of this is kept.
        if (!(await spendCode(tx, { name: ready.name, code }, at))) throw new Problem('FORM_SPENT');
        return true;
      }));
    return kept ? into(visit, ready, 'passkey') : choose(visit, ready, 'passkey');
  });
}

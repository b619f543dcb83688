import { audit } from '../server/audit.ts';
import type { Tx } from '../server/parts.ts';
import { passkeysOf, removePasskey } from '../server/store/passkeys.ts';
import { accountOf, personById } from '../server/store/people.ts';
import { endOwnWebSession, openWebSessionsOf } from '../server/store/web-sessions.ts';
import { accountWords } from './account-words.ts';
import { enter } from './entering.ts';
import { html } from './html.ts';
import { usableAddress } from './mail-queue.ts';
import { stillSignedIn } from './sessions.ts';
import { newPasswordFields, type OwnParts } from './set-up.ts';
import { setUpWords } from './set-up-words.ts';
import { passkeyForm, troubleBox } from './sign-in-page.ts';
import { ago, clockTime } from './times.ts';
import type { Page, SignedIn, Site, SiteName } from './visit.ts';
import { say } from './words.ts';

/** What belongs to oneself: where one is signed in, passkeys, the password of an account that was made here. */
export function addAccount(site: Site, { accounts, passkeys }: OwnParts): void {
  const { ground } = site;
  const { store, clock, settings } = ground.backend;
  const { idleMinutes, sessionHours, providers } = ground.settings.signIn;
  const hostOfSite = (which: SiteName): string => {
    const url = (which === 'portal' ? settings.people : settings.console)?.url;
    return url === undefined ? which : new URL(url).host;
  };
  const ownerOf = ({ session: { person } }: SignedIn) => ({ id: person.id, userName: person.userName, displayName: person.displayName });

  async function account(visit: SignedIn, trouble?: { title: string; text: string }, note?: string): Promise<Page> {
    const { words, language } = say(accountWords, visit.language);
    const { person, id: here } = visit.session;
    const row = await personById(store.db, person.id);
    const local = await accountOf(store.db, person.id);
    const own = await passkeysOf(store.db, person.id);
    const living = (await openWebSessionsOf(store.db, person.id)).filter(
      (session) => visit.at < session.created_at + sessionHours * 3_600_000 && visit.at < session.last_seen_at + idleMinutes * 60_000,
    );
    const provider = providers.find(({ id }) => id === row?.provider);
    return {
      title: trouble ? `${trouble.title} – ${words.title}` : words.title,
      language,
      status: trouble ? 422 : 200,
      scripts: ['passkey', 'times'],
      body: html`<h1>${words.title}</h1>
${trouble && troubleBox(trouble)}${note && html`<p class="note" role="status">${note}</p>`}
<p>${words.who(person.displayName, person.userName)}</p>
<p>${usableAddress(person.email) === null ? words.noMail : words.mail(person.email ?? '')}</p>
<h2>${words.sessions}</h2>
<ul class="own">${living.map(
        (session) =>
          html`<li>${session.browser}${session.id === here ? ` (${words.thisOne})` : ''}${session.site === ground.site ? null : `, ${hostOfSite(session.site)}`}, ${words.from(session.network)}, ${words.since} ${clockTime(session.created_at, visit.at, language)}${
            session.id !== here &&
            html`
<form method="post" action="/account/sessions/end">${visit.token('/account/sessions/end')}<input type="hidden" name="session" value="${session.id}"><button class="quiet">${words.end(`${session.browser}, ${session.network}`)}</button></form>`
          }</li>`,
      )}</ul>
<p>${words.sessionsMean}</p>
<form method="post" action="/sign-out-everywhere">${visit.token('/sign-out-everywhere')}<button class="second" aria-describedby="everywhere-hint">${words.everywhere}</button></form>
<p class="hint" id="everywhere-hint">${words.everywhereMeans}</p>
<h2>${words.passkeys}</h2>
<p>${words.passkeysMean}${provider ? ` ${words.passkeysLast(provider.name)}` : ''}</p>
${own.length === 0 ? html`<p>${words.none}</p>` : null}
<ul class="own">${own.map(
        (passkey) => html`<li>${passkey.label}: ${words.added} ${ago(passkey.created_at, visit.at, language)}, ${
          passkey.last_used_at === null ? words.neverUsed : html`${words.used} ${ago(passkey.last_used_at, visit.at, language)}`
        }${passkeys.isOfHere(passkey) ? null : `, ${words.worksAt(passkeys.hostOf(passkey))}`}
<form method="post" action="/account/passkeys/remove">${visit.token('/account/passkeys/remove')}<input type="hidden" name="passkey" value="${passkey.id}"><button class="quiet">${words.remove(passkey.label)}</button></form></li>`,
      )}</ul>
${passkeyForm(visit, {
  ask: '/account/passkeys/ask',
  answer: '/account/passkeys/add',
  fields: html`<label for="label">${words.label}</label><input id="label" name="label" maxlength="64" autocomplete="off">`,
  button: words.add,
  hint: words.addMeans,
  failed: words.addFailed,
  quiet: true,
})}
<noscript><p>${words.noScript}</p></noscript>
${local?.emergency === 0 ? html`<h2>${words.password}</h2><p class="ways"><a href="/account/password">${words.change}</a></p>` : null}`,
    };
  }

  site.page('/account', 'person', async (visit) =>
    account(visit, undefined, visit.query['changed'] === '1' ? say(accountWords, visit.language).words.changed : undefined),
  );

  // No fresh sign-in: it takes away and gives nothing.
  site.act('/account/sessions/end', 'person', async (visit) => {
    const { person } = visit.session;
    const sessionId = visit.form['session'] ?? '';
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await stillSignedIn(ground, tx, visit, at, 'person');
      if (!(await endOwnWebSession(tx, person.id, sessionId, 'ended by its person', at))) return;
      await audit(tx, { at, actor: person.userName, act: 'session.ended', details: { personId: person.id, sessionId, network: visit.network } });
    });
    return { to: '/account' };
  });

  site.ask('/account/passkeys/ask', 'fresh', async (visit) => passkeys.beginNew(visit, ownerOf(visit)));
  site.act('/account/passkeys/add', 'fresh', async (visit) => {
    const keep = await passkeys.finishNew(visit, ownerOf(visit), visit.form['answer'] ?? '', visit.form['label'] ?? '');
    const kept =
      keep !== null &&
      (await store.write(async (tx) => {
        const at = await clock.persist(tx);
        await stillSignedIn(ground, tx, visit, at, 'fresh');
        return keep(tx, at);
      }));
    return kept ? { to: '/account' } : account(visit, say(accountWords, visit.language).words.notAdded);
  });
  site.act('/account/passkeys/remove', 'fresh', async (visit) => {
    const { person } = visit.session;
    const passkeyId = visit.form['passkey'] ?? '';
    const removed = await store.write(async (tx) => {
      const at = await clock.persist(tx);
      await stillSignedIn(ground, tx, visit, at, 'fresh');
      const own = await passkeysOf(tx, person.id);
      const gone = own.find(({ id }) => id === passkeyId);
      if (gone && person.emergency && own.filter((one) => passkeys.hostOf(one) === passkeys.hostOf(gone)).length === 1) return false;
      if (await removePasskey(tx, person.id, passkeyId)) {
        await audit(tx, { at, actor: person.userName, act: 'passkey.removed', details: { personId: person.id, passkeyId, network: visit.network } });
      }
      return true;
    });
    return removed ? { to: '/account' } : account(visit, say(accountWords, visit.language).words.lastOne);
  });

  function choose(visit: SignedIn, fault?: keyof (typeof setUpWords)['en']['faults']): Page {
    const { words, language } = say(accountWords, visit.language);
    const { words: setUp } = say(setUpWords, visit.language);
    const trouble = fault && setUp.faults[fault];
    return {
      title: words.change,
      language,
      status: fault ? 422 : 200,
      body: html`<h1>${words.change}</h1>
${trouble && troubleBox(trouble)}
<p>${words.changeMeans}</p>
<form method="post" action="/account/password">${visit.token('/account/password')}${newPasswordFields(visit, visit.session.person.userName)}<button>${words.change}</button></form>`,
    };
  }

  site.page('/account/password', 'fresh', async (visit) =>
    (await accountOf(store.db, visit.session.person.id))?.emergency === 0 ? choose(visit) : { to: '/account' },
  );
  site.act('/account/password', 'fresh', async (visit) => {
    const { id: personId, userName, displayName } = visit.session.person;
    if ((await accountOf(store.db, personId))?.emergency !== 0) return { to: '/account' };
    const { password = '', repeat = '' } = visit.form;
    const fault = accounts.faultOf(password, { name: userName, displayName }) ?? (password === repeat ? null : 'different');
    if (fault) return choose(visit, fault);
    const before = (tx: Tx, at: number) => stillSignedIn(ground, tx, visit, at, 'fresh');
    const { known, still } = await accounts.choosePassword({ personId, name: userName, password, code: null, before });
    const entering = { personId, way: 'password', goal: '/account?changed=1', expected: personId, known };
    const entered = await enter(ground, visit, entering, async (tx) => ((await still(tx)) ? null : 'wrong'));
    return typeof entered === 'string' ? { to: '/sign-in' } : entered;
  });
}

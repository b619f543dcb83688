import { createAccounts } from '../server/accounts.ts';
import { audit } from '../server/audit.ts';
import { addAccount } from './account.ts';
import { enter, knownCookie } from './entering.ts';
import { createPasskeys } from './passkeys.ts';
import { endSession, endSessionsOf, sessionCookieOf } from './sessions.ts';
import { addSetUp } from './set-up.ts';
import { isAgain, type SigningIn, signInPage, thenOf } from './sign-in-page.ts';
import { addProviderPages } from './sign-in-with.ts';
import type { Answer, Site, Visit } from './visit.ts';

/** Every way in and out, and what belongs to oneself. */
export async function addSignIn(site: Site): Promise<void> {
  const { ground } = site;
  const { store, clock, secrets, settings } = ground.backend;
  const accounts = createAccounts({ store, clock, secrets, settings });
  const passkeys = createPasskeys(ground);
  const { localAccounts } = ground.settings.signIn;

  const page = (visit: Visit, given: SigningIn): Answer => signInPage(ground, visit, given);
  const sent = (visit: Visit): SigningIn => ({ goal: thenOf(ground.site, visit.form['then']), again: isAgain(visit, visit.form['again']) });
  const expectedOf = (visit: Visit, { again }: SigningIn): string | null => (again ? (visit.session?.person.id ?? null) : null);

  site.page('/sign-in', 'nobody', async (visit) => {
    const { then, again, ended, out } = visit.query;
    const signing = { goal: thenOf(ground.site, then), again: isAgain(visit, again) };
    if (visit.session && !signing.again) return { to: signing.goal };
    return page(visit, { ...signing, ...(ended === '1' ? { note: 'ended' } : out === '1' ? { note: 'signedOut' } : {}) });
  });

  site.act('/sign-in/password', 'nobody', async (visit) => {
    const signing = sent(visit);
    const { name = '', password = '' } = visit.form;
    const userName = name.slice(0, 256);
    if (!localAccounts) return page(visit, { ...signing, trouble: 'off' });
    if (name.trim() === '' || password === '') return page(visit, { ...signing, userName, trouble: 'emptied' });
    const signedIn = await accounts.signIn({ name: userName, password, network: visit.network, known: visit.cookies[knownCookie] });
    if (signedIn.is === 'wait') return page(visit, { ...signing, userName, trouble: { waitSeconds: signedIn.seconds } });
    if (signedIn.is !== 'in') return page(visit, { ...signing, userName, trouble: signedIn.is });
    const { personId, known, still } = signedIn;
    const entering = { personId, way: 'password', goal: signing.goal, expected: expectedOf(visit, signing), known };
    const entered = await enter(ground, visit, entering, async (tx) => ((await still(tx)) ? null : 'wrong'));
    return typeof entered === 'string' ? page(visit, { ...signing, userName, trouble: entered }) : entered;
  });

  site.ask('/sign-in/passkey', 'nobody', async (visit) => passkeys.begin(visit));
  site.act('/sign-in/passkey/answer', 'nobody', async (visit) => {
    const signing = sent(visit);
    const found = await passkeys.finish(visit, visit.form['answer'] ?? '');
    if (typeof found === 'string') return page(visit, { ...signing, trouble: found });
    const { personId, used } = found;
    const entered = await enter(ground, visit, { personId, way: 'passkey', goal: signing.goal, expected: expectedOf(visit, signing) }, used);
    return typeof entered === 'string' ? page(visit, { ...signing, trouble: entered }) : entered;
  });

  // Loads much: only where there is a provider.
  if (ground.settings.signIn.providers.length > 0) addProviderPages(site, (await import('./providers.ts')).createProviders(ground));

  site.act('/sign-out', 'nobody', async (visit) => ({ to: '/sign-in?out=1', cookies: await endSession(ground, visit) }));
  site.act('/sign-out-everywhere', 'person', async (visit) => {
    const { person } = visit.session;
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      const sessions = await endSessionsOf(tx, person.id, 'signed-out-everywhere', at);
      await audit(tx, { at, actor: person.userName, act: 'sessions.ended', details: { personId: person.id, sessions } });
    });
    return { to: '/sign-in?out=1', cookies: [{ name: sessionCookieOf(ground.site), value: null }] };
  });

  addSetUp(site, { accounts, passkeys });
  addAccount(site, { accounts, passkeys });
}

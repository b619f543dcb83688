import { randomUUID } from 'node:crypto';
import { fill, press, send, signInWith, steps, to, type World } from './portal-state-world.ts';

/** Signing in, the own account, setting one up, and what is said where something went wrong. */
export async function addSignInStates(world: World): Promise<void> {
  const { add, alike, first, person, store, accounts, now } = world;

  add('sign-in', null, to('/sign-in'));
  add('sign-in-refused', null, to('/sign-in'), signInWith('nobody', 'not a password'));
  add('sign-in-ended', null, to('/sign-in?then=%2Fmacs&ended=1'));
  alike('sign-in-signed-out', null, to('/sign-in?out=1'));
  alike('sign-in-emptied', null, to('/sign-in'), send('form.sign-in'));
  alike('sign-in-provider-down', null, to('/sign-in'), press('a[href^="/sign-in/with/example"]'));
  alike('sign-in-too-old', null, to('/sign-in/back/example?code=of-before&state=of-before'));
  alike('sign-in-passkey-refused', null, to('/sign-in'), send('form[data-answers]'));
  // For this name from this network: nobody else waits.
  const guesses = first.portal.client();
  let guessed: Promise<void> | null = null;
  const guess = async (): Promise<void> => {
    for (let times = 0; times < 6; times++)
      await guesses.submit(await guesses.get('/sign-in'), '/sign-in/password', { name: 'guessed', password: 'not a password' });
  };
  alike(
    'sign-in-wait',
    null,
    async () => {
      guessed ??= guess();
      await guessed;
    },
    to('/sign-in'),
    signInWith('guessed', 'not a password'),
  );
  add('cannot-sign-in', null, to('/cannot-sign-in'));
  add('release', null, to('/release'));
  alike('release-wrong', null, to('/release'), fill('#code', '2222-3333-4444'), press('main form button'));
  add('release-over', null, to('/release/key'));
  add('not-found', null, to('/no-such-page'));
  await first.portal.account('signs-in-here');
  add('signed-in', null, to('/sign-in'), signInWith('signs-in-here', world.password));

  // Oneself.
  const herself = await person({ displayName: 'Augusta Ada King-Noel, Countess of Lovelace' });
  add('account', herself, to('/account'));
  add('sign-in-again', herself, to('/sign-in?again=1&then=%2Fmacs'));
  alike('sign-in-somebody-else', herself, to('/sign-in?again=1&then=%2Fmacs'), signInWith('signs-in-here', world.password));
  alike('account-changed', herself, to('/account?changed=1'));
  alike('account-passkey-refused', herself, to('/account'), send('form[data-answers]'));
  add('account-password', herself, to('/account/password'));
  const choose = (password: string, repeat: string) => [fill('#password', password), fill('#repeat', repeat)];
  alike('account-password-differs', herself, to('/account/password'), ...choose('a long enough one', 'another long one'), press('main form button'));
  const many = await person();
  for (const _ of [1, 2, 3]) world.cookiesOf(many.userName);
  const passkey = { person_id: many.id, public_key: Buffer.alloc(8), counter: 0, transports: '[]', created_at: now() - 40 * 86_400_000, host: '' };
  for (const [label, last_used_at] of [
    ['iPhone', now() - 3_600_000],
    ['Security key with a name that its owner has chosen at length', null],
  ] as const)
    await store.write((tx) =>
      tx
        .insertInto('passkey')
        .values({ ...passkey, id: randomUUID(), label, last_used_at })
        .execute(),
    );
  add('account-full', many, to('/account'));

  // A new account.
  add('set-up', null, to('/set-up'));
  const setUp = (name: string, code: string) => steps(to('/set-up'), fill('#name', name), fill('#code', code), press('main form button'));
  alike('set-up-wrong-code', null, setUp('new-here', 'ABCD-EFGH-JKLM'));
  const made = (name: string, emergency: boolean) =>
    accounts.add({ name, displayName: 'Grace Hopper', email: `${name}@example.org`, emergency, actor: 'a test' });
  const { code } = await made('new-here', false);
  add('set-up-choose', null, setUp('new-here', code));
  alike('set-up-too-short', null, setUp('new-here', code), ...choose('short', 'short'), press('form[action="/set-up/password"] button'));
  alike('set-up-passkey-refused', null, setUp('new-here', code), send('form[data-answers]'));
  const safe = await made('emergency-1', true);
  alike('set-up-emergency', null, setUp('emergency-1', safe.code));

  // What went wrong.
  const wrong = { 'too-many': 'TOO_MANY_REQUESTS', later: 'STORE_FAILED', broken: 'SERVER_BUG', 'form-spent': 'FORM_SPENT', elsewhere: 'ORIGIN_REFUSED' };
  for (const [name, problem] of Object.entries(wrong)) alike(`wrong-${name}`, null, to(`/problem/${problem}`));
  alike('wrong-not-understood', null, to('/problem/MESSAGE_INVALID'));
  alike('wrong-form-old', herself, to('/problem/FORM_REFUSED'));
  alike('wrong-no-cookies', null, to('/problem/FORM_REFUSED'));
  // More than an HTTP server reads: old cookies of other sites of the same host.
  const old = Array.from({ length: 6 }, (_, at) => ({ name: `old${at}`, value: 'x'.repeat(4000), url: world.url }));
  alike('wrong-unreadable', { cookies: old }, to('/sign-in'));
}

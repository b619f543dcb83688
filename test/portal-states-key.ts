import { randomUUID } from 'node:crypto';
import { getKey, press, send, steps, to, type World } from './portal-state-world.ts';
import type { Macs } from './portal-states-macs.ts';

/** The key: before it, while it is shown, when it is hidden again, instead of it, and when it was refused. */
export async function addKeyStates(world: World, { ready, replaced, ada }: Macs): Promise<void> {
  const { add, alike, copy, person, now, store } = world;
  const mac = (change: Parameters<typeof copy>[2] = {}, of = ready) => copy(of, ada, change);
  const keyOf = async (...about: Parameters<typeof mac>) => `${await mac(...about)}/key`;
  const idOf = (path: string): string => path.split('/')[2] ?? '';
  const stale = { cookies: world.cookiesOf(ada.userName, { stale: true }) };

  // Before it.
  const before = await keyOf();
  add('key-before', ada, to(before));
  add('key-before-sign-in', stale, to(before));
  alike('key-before-required', ada, world.under({ selfService: { reason: 'required' } }, to(before)));
  alike('key-before-no-reason', ada, world.under({ selfService: { reason: 'none' } }, to(before)));
  alike('key-without-a-reason', ada, world.under({ selfService: { reason: 'required' } }, to(before), send('main form[action$="/key"]')));
  alike('key-never-shown', ada, to(`${before}?gone=1`));

  // While it is shown.
  const at = await keyOf();
  const shown = steps(to(at), getKey);
  add('key-one-by-one', ada, shown, press('.one'));
  alike('key-last-group', ada, shown, steps(press('.one'), ...Array.from({ length: 5 }, () => press('.next'))));
  alike(
    'key-copied',
    ada,
    shown,
    steps(press('.copy'), async (page) => void (await page.locator('.copied:not(:empty)').waitFor())),
  );
  const slow = await keyOf();
  add('key-more-time', ada, to(slow), getKey, press('form.more-time button'));
  const intel = await keyOf({ facts: { keyboardLayout: 'unheard of', language: 'is-IS', chip: 'Intel(R) Core(TM) i5', model: 'MacBookPro16,1' } });
  alike('key-unknown-layout', ada, to(intel), getKey);
  for (const layout of ['French', 'SwissGerman', 'Dutch']) alike(`key-layout-${layout}`, ada, to(await keyOf({ facts: { keyboardLayout: layout } })), getKey);
  const doubt = await keyOf({ rows: ({ key_record }) => void key_record.map((row) => Object.assign(row, { refuted_at: now() - 1 })) });
  alike('key-in-doubt', ada, to(doubt), getKey);
  const changed = await mac();
  alike(
    'key-changed',
    ada,
    to(`${changed}/key`),
    getKey,
    world.rows((tx) =>
      tx
        .updateTable('key_view')
        .set({ record_id: 'of another Mac' })
        .where('episode_id', 'in', tx.selectFrom('episode').select('id').where('mac_id', '=', idOf(changed)))
        .execute(),
    ),
    to(`${changed}/key?gone=1`),
    getKey,
  );

  // Hidden again.
  const hidden = await keyOf();
  add('key-hidden', ada, to(hidden), getKey, press('form.hide button'));
  const over = await keyOf();
  const gone = (query = '') => steps(to(over), getKey, to(`${over}?gone=1${query}`));
  alike('key-gone-ended', ada, gone('&ended=1'));
  alike('key-gone-cleared', ada, gone('&clipboard=cleared'));
  alike('key-gone-kept', ada, gone('&clipboard=kept&place=3'));
  alike('key-gone-sign-in', stale, to(`${over}?gone=1`));

  // As often as it may be: an hour of it, and more than that in a day.
  const types = await person();
  const typed = await copy(ready, types);
  const atLimit = idOf(typed);
  const { id: recordId } = await store.db.selectFrom('key_record').select('id').where('mac_id', '=', atLimit).executeTakeFirstOrThrow();
  const hour = world.rows(async (tx) => {
    const episode = await tx.selectFrom('episode').select('id').where('mac_id', '=', atLimit).executeTakeFirstOrThrow();
    const views = await tx.selectFrom('key_view').selectAll().where('episode_id', '=', episode.id).orderBy('shown_at', 'desc').execute();
    const [last] = views;
    if (!last || views.length > 12) return;
    for (let times = 1; times <= 12; times++)
      await tx
        .insertInto('key_view')
        .values({ ...last, id: randomUUID(), because: 'more-time', shown_at: last.shown_at + times, record_id: recordId })
        .execute();
  });
  const tried = steps(to(`${typed}/key`), getKey, hour);
  alike('key-used-up', types, tried, to(`${typed}/key?gone=1`));
  const again = steps(to(`${typed}/key?gone=1`), getKey);
  alike('key-limit', types, tried, world.under({ selfService: { viewsPerPerson: 12 } }, again));
  alike('key-limit-network', types, tried, world.under({ selfService: { viewsPerAddress: 12 } }, again));

  // Instead of it.
  const tampered = await mac({ rows: ({ envelope }) => void envelope.map((row) => Object.assign(row, { row_mac: '' })) });
  add(
    'key-not-opened',
    ada,
    world.rows((tx) => tx.deleteFrom('alarm').where('mac_id', '=', idOf(tampered)).execute()),
    to(`${tampered}/key`),
    getKey,
  );

  // It was refused.
  const list = (path: string) => steps(to(`${path}/key`), getKey, press('a[href*="/refused"]'));
  const [refuses, other, third] = [await mac(), await mac({}, replaced), await mac()];
  add('refused-nothing-shown', ada, to(`${await mac()}/refused`));
  add('refused-second-try', ada, list(refuses), press('button[value="same"]'));
  add('refused-no-other-key', ada, list(refuses), press('button[value="other"]'));
  const wereRefused = (path: string) =>
    world.rows(async (tx) => {
      await tx.deleteFrom('refusal').where('mac_id', '=', idOf(path)).execute();
      await tx
        .deleteFrom('key_view')
        .where('episode_id', 'in', tx.selectFrom('episode').select('id').where('mac_id', '=', idOf(path)))
        .execute();
      await tx.deleteFrom('episode').where('mac_id', '=', idOf(path)).execute();
    });
  add('refused-another-key', ada, wereRefused(other), list(other), press('button[value="other"]'));
  alike('refused-sign-in', stale, to(`${refuses}/refused`));
  const threeKeys = world.rows(async (tx) => {
    const episode = await tx.selectFrom('episode').select('id').where('mac_id', '=', idOf(third)).executeTakeFirstOrThrow();
    const last = await tx.selectFrom('key_view').selectAll().where('episode_id', '=', episode.id).orderBy('shown_at', 'desc').executeTakeFirstOrThrow();
    for (const times of [1, 2])
      await tx
        .insertInto('key_view')
        .values({ ...last, id: randomUUID(), because: 'other-key', shown_at: last.shown_at + times, record_id: `another, ${times}` })
        .execute();
  });
  alike('refused-three-keys', ada, wereRefused(third), list(third), threeKeys, to(`${third}/refused`));

  // Not without a code: whoever opens this too often. The last of all, for it is the same for everybody here.
  const client = world.first.portal.client();
  alike(
    'cannot-sign-in-too-often',
    null,
    async () => {
      for (let times = 0; times < 30; times++) await client.get('/cannot-sign-in');
    },
    to('/cannot-sign-in'),
  );
}

import { randomUUID } from 'node:crypto';
import type { Tables } from '../server/tables.ts';
import { screensOf } from '../web/steps/screens.ts';
import { isWay, stepsOf } from '../web/steps/steps.ts';
import type { Change } from './portal-copies.ts';
import { fill, getKey, type Person, press, send, to, type World } from './portal-state-world.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** Macs that other states are made from. */
export interface Macs {
  /** Its key is held and proved; nobody has looked at it. */
  ready: string;
  /** One that replaced its key since: the old one is superseded. */
  replaced: string;
  /** Whose the copies are. */
  ada: Person;
}

type Standing = Partial<Pick<Tables['mac_standing'], 'ownership' | 'state' | 'local_admin'>>;

/** Macs and why their keys are not shown, asking for one, getting to the field, and what becomes of a key that was shown. */
export async function addMacStates(world: World): Promise<Macs> {
  const { add, alike, first, person, copy, own, now } = world;
  const standing = (about: Standing): Change => ({
    more: (mac_id) => ({
      mac_standing: { mac_id, ownership: 'organisation', state: 'in-use', local_admin: 0, set_at: now(), set_by: 'a test', because: 'a test', ...about },
    }),
  });
  const alarmOf = (mac_id: string, code: string) => ({
    alarm: { id: randomUUID(), mac_id, code, detail: 'a test', opened_at: now(), judged_at: null, judged_by: null, judgement: null },
  });
  const rotation =
    (minutes: number): NonNullable<Change['more']> =>
    (mac_id) => ({
      rotation: {
        id: randomUUID(),
        mac_id,
        volume: volume,
        enrolment_id: enrolment,
        because: 'ordered',
        boot: '',
        escrow_payload: 'ours',
        recipient: '',
        begun_at: now() - minutes * minute,
        state: 'begun',
        ended_at: null,
        ended_because: null,
      },
    });
  const records = (change: Partial<Tables['key_record']>): Change => ({ rows: ({ key_record }) => void key_record.map((row) => Object.assign(row, change)) });
  const noKey: Change['rows'] = (rows) => {
    rows.key_record = [];
    rows.envelope = [];
  };

  // First of all those for which time passes.
  const went = await own();
  const client = first.portal.client();
  await first.portal.signIn(client, went.whose.userName);
  const viewed = async (): Promise<void> => {
    const page = await client.submit(await client.get(`${went.mac}/key`), `${went.mac}/key`);
    if (page.status !== 200) throw new Error(`no key: ${page.content}`);
  };
  await viewed();
  // From here on the rows say what happens to it.
  const ada = await person();
  const shownId = (await copy(went.macId, ada)).split('/')[2] ?? '';
  const key = went.it.mac.recoveryKey ?? '';
  went.it.mac.resetPasswordWith(key, 'ada');
  await client.submit(await client.get(`${went.mac}/afterwards`), `${went.mac}/back-in`);
  went.it.mac.logIn('ada');
  // Its key was proved on this day: it is given the next one tomorrow.
  went.it.pass(25 * 60 * 60);
  await went.it.settle();
  await went.it.checkIn();
  if (went.it.mac.recoveryKey === key) throw new Error('the key was not replaced');
  const ready = await own();
  const shown = await own();
  const { volume, enrolment } = await (async () => {
    const { db } = world.store;
    const mac = await db.selectFrom('mac').select('present_volume').where('id', '=', ready.macId).executeTakeFirstOrThrow();
    const { id } = await db.selectFrom('enrolment').select('id').where('mac_id', '=', ready.macId).executeTakeFirstOrThrow();
    return { volume: mac.present_volume ?? '', enrolment: id };
  })();
  const mac = (change: Change = {}) => copy(ready.macId, ada, change);

  // Macs.
  const none = await person();
  add('macs', ready, to('/macs'));
  add('macs-none', none, to('/macs'));
  add('not-listed', ready, to('/not-listed'));
  alike('not-listed-nobody-to-call', ready, world.under({ contact: null }, to('/not-listed')));
  add('mac', ready, to(ready.mac));
  add('mac-of-somebody-else', none, to(ready.mac));
  add('looked-nobody', ready, to(`${ready.mac}/looked`));
  add('afterwards', ready, to(`${ready.mac}/afterwards`));
  const several = await person();
  await copy(ready.macId, several, {
    facts: { name: `Het apparaat van ${'de afdeling met een lange naam '.repeat(3)}`, fileVault: { state: 'unknown', hasRecoveryKey: 'unknown' } },
  });
  await copy(ready.macId, several, {
    facts: { name: 'Ondoorbreekbarecomputernaamzondereenenkelespatieofstreepjeerin', model: 'Mac15,6' },
    ...standing({ state: 'lost' }),
  });
  await copy(ready.macId, several, { facts: { fileVault: { state: 'encrypting', hasRecoveryKey: 'yes' } }, ...records({ proved_at: now() - 99 * day }) });
  await copy(ready.macId, several, { rows: noKey, facts: { fileVault: { state: 'decrypting', hasRecoveryKey: 'yes' } } });
  add('macs-several', several, to('/macs'));

  // Who may not.
  const not: Record<string, Change> = {
    personal: standing({ ownership: 'personal' }),
    lost: standing({ state: 'lost' }),
    retired: standing({ state: 'retired' }),
    'local-admin': standing({ local_admin: 1 }),
    alarm: { more: (mac_id) => alarmOf(mac_id, 'IDENTITY_CLONED') },
    'two-claims': { more: (mac_id) => ({ assignment: { mac_id, user_name: 'somebody-else' } }) },
    'not-checked-in': { rows: ({ mac }) => void mac.map((row) => Object.assign(row, { facts: null, last_seen_at: null, present_volume: null })) },
    'not-confirmed': { userName: undefined as never, more: (mac_id) => ({ assignment: { mac_id, user_name: ada.userName, source: 'profile', rank: 1 } }) },
    'file-vault-off': { facts: { fileVault: { state: 'off', hasRecoveryKey: 'no' } } },
    'file-vault-later': { facts: { fileVault: { state: 'off', deferredFor: 'ada', hasRecoveryKey: 'no' } } },
    'encrypted-by-user': { rows: noKey, facts: { escrow: { payload: 'none', file: null } } },
    'no-key': { rows: noKey },
    'key-elsewhere': { rows: noKey, facts: { escrow: { payload: 'foreign', file: null } } },
    'key-lost': { rows: ({ mac }) => void mac.map((row) => Object.assign(row, { exhausted_at: now(), exhausted_volume: volume })) },
  };
  for (const [name, change] of Object.entries(not)) (name === 'personal' ? add : alike)(`mac-${name}`, ada, to(await mac(change)));
  const off = await person({ groups: ['no-self-service'] });
  alike('mac-off', off, to(await copy(ready.macId, off)));

  // What is known of a key that may be shown.
  const known: Record<string, Change> = {
    'key-not-checked': records({ proved_at: null, proved_by: null }),
    'key-checked-long-ago': records({ proved_at: now() - 99 * day }),
    'key-refuted': records({ refuted_at: now() - day }),
    'key-in-doubt': {
      more: (mac_id) => alarmOf(mac_id, 'KEY_REFUSED'),
      rows: ({ mac }) => void mac.map((row) => Object.assign(row, { agent_rotation: unresolved })),
    },
    'key-unopened': records({ opened: 0 }),
    replacing: { more: rotation(1) },
    'replacing-long': { more: rotation(20) },
  };
  for (const [name, change] of Object.entries(known)) alike(`mac-${name}`, ada, to(await mac(change)));
  add('key-before-replacing', ada, to(`${await mac({ more: rotation(1) })}/key`));

  const { serial } = await first.store.db.selectFrom('mac').select('serial').where('id', '=', ready.macId).executeTakeFirstOrThrow();
  add('label', ready, to(`/label/${serial}`));

  // With approval.
  const asks = await person({ groups: ['approval'] });
  const asked = (state: Tables['key_request']['state'], more: Partial<Tables['key_request']> = {}) =>
    copy(ready.macId, asks, {
      more: (mac_id) => ({
        key_request: {
          id: randomUUID(),
          mac_id,
          person_id: asks.id,
          reason: 'Ik ben mijn wachtwoord vergeten, en mijn vergadering begint zo.',
          code: '7F3A-29',
          created_at: now() - 3 * minute,
          expires_at: now() + 4 * hour,
          state,
          used_at: null,
          decided_at: null,
          decided_by: null,
          words: null,
          ...more,
        },
      }),
    });
  const decided = { decided_at: now(), decided_by: 'olivia', words: 'Bel mij even op 5102, ik herken dit verzoek niet.' };
  const toAsk = await copy(ready.macId, asks);
  add('mac-ask-first', asks, to(toAsk));
  add('request', asks, to(`${toAsk}/request`));
  alike('request-without-a-reason', asks, to(`${toAsk}/request`), send('form[action$="/request"]'));
  add('request-waiting', asks, to(`${await asked('waiting')}/request`));
  const approved = await asked('approved', decided);
  add('request-approved', asks, to(`${approved}/request`));
  alike('mac-approved', asks, to(approved));
  add('request-refused', asks, to(`${await asked('refused', decided)}/request`));
  alike('request-expired', asks, to(`${await asked('expired')}/request`));
  alike('request-withdrawn', asks, to(`${await asked('withdrawn', { decided_at: now() })}/request`));
  const often = await person({ groups: ['approval'] });
  const oftenAsked = await copy(ready.macId, often);
  const [, , oftenId = ''] = oftenAsked.split('/');
  for (let times = 0; times < 10; times++) {
    const row = { id: randomUUID(), mac_id: oftenId, person_id: often.id, reason: 'again', code: `AAAA-${10 + times}`, created_at: now(), expires_at: now() };
    const ended = { state: 'withdrawn' as const, used_at: null, decided_at: now(), decided_by: null, words: null };
    await world.store.write((tx) =>
      tx
        .insertInto('key_request')
        .values({ ...row, ...ended })
        .execute(),
    );
  }
  alike('request-too-often', often, to(`${oftenAsked}/request`), fill('#reason', 'once more'), press('form[action$="/request"] button'));

  // Before the key: each screen that a Mac may show, each step, and whom to call when it does not work.
  add('unlock', ready, to(`${ready.mac}/unlock`));
  add('unlock-look', ready, to(`${ready.mac}/unlock?look=1`));
  for (const id of [...screensOf('apple'), 'no-question-mark'] as const) {
    const steps = isWay(id) ? stepsOf(id, 'apple', '15').length : 1;
    for (let step = 1; step <= steps; step++) add(`unlock-${id}-${step}`, ready, to(`${ready.mac}/unlock?shows=${id}&step=${step}`));
    (id === 'password-field' ? add : alike)(`unlock-${id}-still`, ready, to(`${ready.mac}/unlock?shows=${id}&still=1`));
  }
  const intel = await mac({
    facts: { chip: 'Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz', model: 'MacBookPro16,1', keyboardLayout: 'unheard of', language: 'is-IS' },
  });
  alike('unlock-unknown-layout', ada, to(`${intel}/unlock`));
  alike('unlock-look-intel', ada, to(`${intel}/unlock?look=1`));
  alike('unlock-firmware', ada, to(`${intel}/unlock?shows=firmware`));
  alike('unlock-password-field-intel', ada, to(`${intel}/unlock?shows=password-field`));

  // A key that was shown, and what becomes of it.
  add('key-shown', shown, to(`${shown.mac}/key`), getKey);
  add('key-gone', shown, to(`${shown.mac}/key?gone=1`));
  add('mac-key-shown', shown, to(shown.mac));
  add('looked', shown, to(`${shown.mac}/looked`));
  add('refused', shown, to(`${shown.mac}/key`), getKey, press('a[href$="/refused"]'));
  add('not-me', shown, to(`${shown.mac}/looked`), press('a[href*="/not-me"]'));

  add('afterwards-done', went, to(`${went.mac}/afterwards`));
  alike('mac-key-replaced', went, to(went.mac));
  alike('afterwards-check', ada, to(`${await copy(went.macId, ada, records({ proved_at: null, proved_by: null }))}/afterwards`));

  /** Of the Mac whose key was just shown, as if that were now. */
  const after = (change: Change & { seen?: number; held?: boolean; episode?: Partial<Tables['episode']>; hoursAgo?: number } = {}) =>
    copy(shownId, ada, {
      ...change,
      rows: (rows) => {
        const by = now() - Number(rows.key_view[0]?.['shown_at']) - (change.hoursAgo ?? 0) * hour;
        for (const row of [...rows.key_view, ...rows.episode, ...rows.disclosure, ...rows.debt, ...rows.mac])
          for (const name of ['shown_at', 'ends_at', 'began_at', 'at', 'opened_at', 'last_seen_at']) if (row[name]) row[name] = Number(row[name]) + by;
        for (const row of rows.disclosure) if (change.held === false) Object.assign(row, { hold_ended_at: now(), hold_ended_because: 'back-in' });
        for (const row of rows.episode) Object.assign(row, change.episode);
        for (const row of rows.mac) if (change.seen !== undefined) row['last_seen_at'] = change.seen;
        change.rows?.(rows);
      },
    });
  const seen = now() + 1;
  const backIn = { held: false, seen, episode: { back_in_at: now() } };
  const grant = (mac_id: string, purpose: Tables['grant_given']['purpose'], at = now()) => ({
    grant_given: { id: randomUUID(), mac_id, enrolment_id: enrolment, purpose, for_id: 'a test', record_id: recordId, boot: '', key_digest: '', at },
  });
  const { id: recordId } = await world.store.db.selectFrom('key_record').select('id').where('mac_id', '=', ready.macId).executeTakeFirstOrThrow();
  const courses: Record<string, Parameters<typeof after>[0]> = {
    waiting: {},
    'not-unlocked': { seen },
    'back-in': backIn,
    rotation: { ...backIn, more: rotation(1) },
    grant: { ...backIn, facts: { custodyMode: 'server' }, more: (mac_id) => grant(mac_id, 'prove') },
    mdm: { ...backIn, facts: { rotator: 'mdm' } },
    'service-desk': { ...backIn, more: (mac_id) => alarmOf(mac_id, 'IDENTITY_CLONED') },
    'other-disk': { ...backIn, rows: ({ mac }) => void mac.map((row) => Object.assign(row, { present_volume: 'another' })) },
    unheard: { hoursAgo: 26 },
    'not-replaced': { ...backIn, hoursAgo: 26 },
    'not-me': { held: false, episode: { not_me_at: now() }, more: (mac_id) => alarmOf(mac_id, 'NOT_ME') },
  };
  const made: Record<string, string> = {};
  for (const [name, change] of Object.entries(courses)) {
    made[name] = await after(change);
    (name === 'waiting' || name === 'unheard' ? add : alike)(`afterwards-${name}`, ada, to(`${made[name]}/afterwards`));
  }
  alike('mac-back-in', ada, to(made['back-in'] ?? ''));
  alike('mac-not-me', ada, to(made['not-me'] ?? ''));
  alike('looked-not-me', ada, to(`${made['not-me']}/looked`));
  for (const macAccounts of ['mobile', 'platform-sso', 'smart-card'] as const)
    alike(`afterwards-${macAccounts}`, ada, world.under({ macAccounts }, to(`${made['waiting']}/afterwards`)));
  const silent = await person();
  await world.store.write((tx) => tx.updateTable('person').set({ email: null }).where('id', '=', silent.id).execute());
  const ofSilent = await copy(shownId, silent);
  alike('afterwards-no-mail', silent, to(`${ofSilent}/afterwards`));
  alike('looked-no-mail', silent, to(`${ofSilent}/looked`));

  // Many who looked.
  const busy = await after({
    rows: (rows) => {
      const [one = {}] = rows.disclosure;
      for (let times = 1; times <= 40; times++)
        rows.disclosure.push({
          ...one,
          id: randomUUID(),
          at: now() - times * 7 * hour,
          actor: times % 3 === 0 ? 'olivia.van-den-bergh@service-desk.example.org' : 'olivia',
          reason: times % 4 === 0 ? 'locked out, called back on the number that the personnel office has' : 'ticket 4711',
          shown: times % 5 === 0 ? 0 : 1,
        });
    },
    more: (mac_id) => grant(mac_id, 'rotate', now() - 3 * hour),
  });
  add('looked-many', ada, to(`${busy}/looked`));
  alike('looked-older', ada, to(`${busy}/looked?from=30`));

  // It was not me: once said, nobody is signed in any more.
  const robbed = await person();
  const robbedMac = await copy(shownId, robbed);
  const robbedId = robbedMac.split('/').at(-1) ?? '';
  add(
    'not-me-said',
    null,
    world.rows(async (tx) => {
      await tx.deleteFrom('alarm').where('mac_id', '=', robbedId).execute();
      await tx.updateTable('episode').set({ not_me_at: null }).where('mac_id', '=', robbedId).execute();
    }),
    world.signInAs(robbed.userName),
    to(`${robbedMac}/looked`),
    press('a[href*="/not-me"]'),
    press('form[action$="/not-me"] button'),
  );
  return { ready: ready.macId, replaced: went.macId, ada };
}

const unresolved = JSON.stringify({ id: 'of-before', state: 'unresolved', because: 'ordered' });

import { randomUUID } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { afterwardsWords } from '../portal/afterwards-words.ts';
import { mountPortal } from '../portal/portal.ts';
import type { MountSites, SitesGround } from '../server/serve.ts';
import { type Given, givenPortal } from './given-portal.ts';
import type { PortalClient } from './portal-client.ts';

/* Whose Macs, what is said of them, and what becomes of a key that was shown: the real site, the real agent, a fake Mac. */

const people = {
  contact: {
    name: 'the service desk',
    phone: '+31 (0)20 123 45',
    email: 'desk@example.org',
    page: 'https://help.example.org/mac',
    hours: 'Mon–Fri 8:00–18:00',
  },
  selfService: { groups: [{ group: 'night', contact: { name: 'the night shift', phone: '020 99' } }] },
};
let ground: SitesGround | null = null;
const much = { perMinute: 1e6, burst: 1e6 };
const mountSites: MountSites = (its) => {
  ground = its;
  return mountPortal(its, { sent: much, helpCodes: much });
};
/** What settings.json says of it, for as long as this takes. */
async function withSettings(change: Partial<SitesGround['settings']>, work: () => Promise<void>): Promise<void> {
  const settings = ground?.settings;
  if (!settings) throw new Error('there is no portal');
  const before = { ...settings };
  Object.assign(settings, change);
  try {
    await work();
  } finally {
    Object.assign(settings, before);
  }
}

const minute = 60;
const hour = 60 * minute;

/** `checked`: the Mac was given its key for that, and is given none to replace it on the same day. */
const place = async ({ groups = [], checked = false }: { groups?: string[]; checked?: boolean } = {}) => {
  const it = await givenPortal({ people, mountSites });
  await it.settle();
  if (checked) await it.checkIn();
  const ada = await it.portal.person(undefined, { displayName: 'Ada', groups });
  await it.assign(ada, { account: 'ada' });
  return { it, ada, here: `/macs/${await it.macId()}` };
};
type It = Awaited<ReturnType<typeof place>>['it'];

const dutch = async (it: It, person: Given): Promise<PortalClient> => {
  const client = it.portal.client({ language: 'nl' });
  await it.portal.signIn(client, person.userName);
  return client;
};
/** *Get recovery key*, as its person presses it. The key as the page says it. */
const getKey = async ({ client }: Given, here: string): Promise<void> => {
  const shown = await client.submit(await client.get(`${here}/key`), `${here}/key`);
  expect(shown.status).toBe(200);
};
const acts = async (it: It, act: string) =>
  it.store.db
    .selectFrom('audit')
    .selectAll()
    .where('act', '=', act)
    .where('mac_id', '=', await it.macId())
    .orderBy('seq')
    .execute();

describe('devices', () => {
  test('a person sees their own Macs alone, in words, in both languages; another’s is the same as none', async () => {
    const { it, ada, here } = await place({ checked: true });
    const page = await ada.client.get('/macs');
    const serialEnd = (await it.custody.macReport(await it.macId())).serial.slice(-4);
    expect(page.content).toMatch(new RegExp(`Your Macs .*Serial number ends in ${serialEnd} \\. Last heard of: just now`));
    expect(page.content).toMatch(/The disk is encrypted \(FileVault is on\)\. The key was checked on this Mac just now/);
    // Whoever has come because they are locked out is one tap from the first step.
    expect(page.text).toContain(`href="${here}/unlock"`);
    it.turnServerClock(24 * hour);
    const again = await dutch(it, ada);
    expect((await again.get('/macs')).content).toMatch(/De schijf is versleuteld \(FileVault staat aan\)\. De sleutel is gisteren op deze Mac gecontroleerd/);

    const bob = await it.portal.person();
    expect((await bob.client.get('/macs')).content).toMatch(/No Mac is in your name\..*Call the service desk.*\(0\)20 123 45.*Help code [0-9A-Z]{4}-\d\d/);
    const [theirs, none] = [await bob.client.get(here), await bob.client.get('/macs/00000000-0000-4000-8000-000000000000')];
    const plain = (text: string) => text.replace(/[0-9A-Z]{4}-\d\d/, '');
    expect([theirs.status, plain(theirs.content)]).toEqual([404, plain(none.content)]);
    for (const more of ['/looked', '/afterwards', '/not-me?view=x']) expect((await bob.client.get(here + more)).status).toBe(404);
    const token = (await bob.client.get('/macs')).forms.find(({ action }) => action === '/sign-out')?.fields['token'] ?? '';
    for (const more of ['/back-in', '/not-me']) expect((await bob.client.post(here + more, { token })).status).toBeGreaterThanOrEqual(400);
    expect((await it.portal.client().get(here)).content).not.toContain(serialEnd);
  });

  test('at the foot stand the privacy statement and the documentation for IT professionals, where the organisation names them', async () => {
    const { it, ada } = await place();
    const nobody = it.portal.client();
    const pages = async () => [await nobody.get('/sign-in'), await ada.client.get('/macs')].map(({ text }) => /<footer.*<\/footer>/s.exec(text)?.[0] ?? '');
    expect((await pages()).join('')).not.toMatch(/Privacy|IT professionals/);
    const brand = { accent: null, logoFile: null, privacyPage: 'https://example.org/privacy', adminPage: 'https://example.org/it' };
    await withSettings({ brand }, async () => {
      for (const foot of await pages()) {
        expect(foot).toContain('<a href="https://example.org/privacy">Privacy</a>');
        expect(foot).toContain('<a href="https://example.org/it">For IT professionals</a>');
      }
    });
  });

  test('thirty Macs are one light page, the last used first', async () => {
    const { it, ada } = await place();
    const row = await it.store.db
      .selectFrom('mac')
      .selectAll()
      .where('id', '=', await it.macId())
      .executeTakeFirstOrThrow();
    for (let n = 0; n < 29; n++) {
      const mac = { ...row, id: randomUUID(), serial: `MANY${1000 + n}`, hardware_uuid: randomUUID(), last_seen_at: 1_000_000 * n };
      const claim = { user_name: ada.userName, account: null, source: 'csv' as const, rank: 2, enrolment_id: null, created_at: 1, created_by: 'a test' };
      await it.store.write(async (tx) => {
        await tx.insertInto('mac').values(mac).execute();
        await tx
          .insertInto('assignment')
          .values({ ...claim, id: randomUUID(), mac_id: mac.id, ended_at: null, ended_because: null })
          .execute();
      });
    }
    const page = await ada.client.get('/macs');
    const ends = [...page.content.matchAll(/ends in (\w{4})/g)].map(([, end]) => end);
    expect([ends.length, ends[0], ends[1], ends[29]]).toEqual([30, row.serial.slice(-4), '1028', '1000']);
    expect(page.text.length).toBeLessThan(20_000);
  });

  test('not listed says why and whom to call, by the group of whoever asks', async () => {
    const { ada } = await place({ groups: ['night'] });
    const page = await ada.client.get('/not-listed');
    expect(page.content).toMatch(/it was set up again.*two people|two people.*it was set up again/);
    expect(page.content).toMatch(/Call the night shift Telephone 020 99/);
    expect(page.text).toContain('href="tel:02099"');
  });

  const states: [name: string, make: (it: It) => Promise<void> | void, en: RegExp, nl: RegExp][] = [
    [
      'a key that was not checked for months',
      (it) => it.turnServerClock(99 * 24 * hour),
      /It has not been checked since \w+/,
      /Die is sinds \p{L}+( \d+)? niet meer/u,
    ],
    [
      'a rotation that has just begun',
      async (it) => {
        const { volume } = await it.custodyOf();
        const row = {
          id: 'r1',
          mac_id: await it.macId(),
          volume: volume ?? '',
          enrolment_id: '',
          because: 'ordered',
          boot: '',
          escrow_payload: 'ours',
          recipient: '',
        };
        const enrolment = await it.store.db.selectFrom('enrolment').select('id').where('mac_id', '=', row.mac_id).executeTakeFirstOrThrow();
        const begun = { begun_at: it.backend.clock.now(), state: 'begun' as const, ended_at: null, ended_because: null };
        await it.store.write((tx) =>
          tx
            .insertInto('rotation')
            .values({ ...row, id: `r-${row.mac_id}`, enrolment_id: enrolment.id, ...begun })
            .execute(),
        );
      },
      /just replacing its key. Wait a minute\..*Help me get in/,
      /vervangt net zijn sleutel. Wacht een minuut\..*Help mij erin/,
    ],
    [
      'FileVault off, deferred',
      async (it) => {
        const mac = await it.store.db
          .selectFrom('mac')
          .select(['id', 'facts'])
          .where('id', '=', await it.macId())
          .executeTakeFirstOrThrow();
        const facts = JSON.parse(mac.facts ?? '{}');
        facts.fileVault = { state: 'off', deferredFor: 'ada', hasRecoveryKey: 'no' };
        facts.name = `The Mac of ${'a very long name '.repeat(14)}`;
        await it.store.write((tx) =>
          tx
            .updateTable('mac')
            .set({ facts: JSON.stringify(facts) })
            .where('id', '=', mac.id)
            .execute(),
        );
      },
      /a very long name.*will be encrypted when somebody next logs.*There is no recovery key, and none is needed.*Help code/,
      /versleuteld zodra iemand in- of uitlogt.*Er is geen herstelsleutel/,
    ],
    ['lost', (it) => standing(it, { state: 'lost' }), /reported as lost.*its key is not shown.*Serial number ends in \w{4} Help code/, /als verloren gemeld/],
    ['retired', (it) => standing(it, { state: 'retired' }), /taken out of use/, /uit gebruik genomen/],
    ['personal', (it) => standing(it, { ownership: 'personal' }), /your own, not your organisation’s/, /van jezelf/],
    ['two claims', (it) => it.alsoClaim({ userName: 'somebody else' }), /Two people are named for this Mac/, /op naam van twee mensen/],
    [
      'an alarm',
      async (it) => {
        const row = { mac_id: await it.macId(), code: 'IDENTITY_CLONED', detail: 'x', opened_at: 1, judged_at: null, judged_by: null, judgement: null };
        await it.store.write((tx) =>
          tx
            .insertInto('alarm')
            .values({ ...row, id: `a-${row.mac_id}` })
            .execute(),
        );
      },
      /Something unusual has happened with this Mac/,
      /iets ongewoons gebeurd/,
    ],
  ];
  test('each state of a Mac is drawn, in both languages', async () => {
    const { it, ada, here } = await place({ checked: true });
    const before = it.backend.clock.now();
    for (const [name, make, en, nl] of states) {
      // Each upon the one before: what comes later says more.
      await make(it);
      const [english, nederlands] = [it.portal.client(), await dutch(it, ada)];
      await it.portal.signIn(english, ada.userName);
      const there = await english.get(here);
      expect([name, there.content]).toEqual([name, expect.stringMatching(en)]);
      const dutchPage = await nederlands.get(here);
      expect([name, dutchPage.content]).toEqual([name, expect.stringMatching(nl)]);
      // In the list too: a Mac without a button says why.
      const list = await english.get('/macs');
      const [, why] = /<h2>The key of this Mac is not shown here<\/h2>\s*<p><strong>(.*?)<\/strong>/.exec(there.text) ?? [];
      expect([name, list.text.includes(why ?? `href="${here}/unlock"`)]).toEqual([name, true]);
      await undo(it);
    }
    expect(it.backend.clock.now()).toBeGreaterThan(before);
  });

  test('with two claims, and by the word of an enrolment that waits to be confirmed, nothing of it is shown and nothing said of it counts', async () => {
    const { it, ada, here } = await place();
    await it.disclose('a test');
    const page = await ada.client.get(here);
    expect(page.forms.map(({ action }) => action)).toContain(`${here}/back-in`);
    const [, view = ''] = /not-me\?view=([\w-]+)/.exec((await ada.client.get(`${here}/looked`)).text) ?? [];
    const confirm = await ada.client.get(`${here}/not-me?view=${view}`);
    const mac_id = await it.macId();
    const alone = async () => {
      const now = await ada.client.get(here);
      expect([now.status, now.text.includes('/looked'), now.text.includes('/back-in')]).toEqual([200, false, false]);
      for (const more of ['/looked', '/afterwards', `/not-me?view=${view}`]) expect((await ada.client.get(here + more)).status).toBe(404);
      expect((await ada.client.submit(page, `${here}/back-in`)).status).toBe(404);
      expect((await ada.client.submit(confirm, `${here}/not-me`)).status).toBe(404);
      expect((await it.custodyOf()).hold).not.toBeNull();
    };
    await it.alsoClaim({ userName: 'somebody else' });
    await alone();
    await undo(it);
    await it.store.write(async (tx) => {
      const stranger = { source: 'profile', rank: 1, enrolment_id: null } as const;
      await tx.updateTable('assignment').set(stranger).where('mac_id', '=', mac_id).execute();
    });
    await alone();
  });

  test('a Mac that has no key, and one that has never checked in, lead to the service desk', async () => {
    const { it, ada, here } = await place();
    const macId = await it.macId();
    await it.store.write((tx) => tx.updateTable('key_record').set({ state: 'quarantined' }).where('mac_id', '=', macId).execute());
    expect((await ada.client.get(here)).content).toMatch(/We have no key of this Mac\..*Your organisation encrypted it, but its key has not arrived here/);
    await it.store.write((tx) => tx.updateTable('mac').set({ facts: null, last_seen_at: null, present_volume: null }).where('id', '=', macId).execute());
    expect((await ada.client.get(here)).content).toMatch(/This Mac has not reported yet.*leave it on for an hour.*Last heard of never/);
  });
});

async function standing(it: It, more: { state?: 'lost' | 'retired'; ownership?: 'personal' }): Promise<void> {
  const row = {
    mac_id: await it.macId(),
    ownership: 'organisation' as const,
    state: 'in-use' as const,
    local_admin: 0,
    set_at: 1,
    set_by: 'a test',
    because: 'a test',
  };
  await it.store.write((tx) =>
    tx
      .insertInto('mac_standing')
      .values({ ...row, ...more })
      .execute(),
  );
}
async function undo(it: It): Promise<void> {
  const mac_id = await it.macId();
  await it.store.write(async (tx) => {
    for (const table of ['rotation', 'alarm', 'mac_standing'] as const) await tx.deleteFrom(table).where('mac_id', '=', mac_id).execute();
    await tx.deleteFrom('assignment').where('mac_id', '=', mac_id).where('user_name', '=', 'somebody else').execute();
    const { facts } = await tx.selectFrom('mac').select('facts').where('id', '=', mac_id).executeTakeFirstOrThrow();
    const on = { ...JSON.parse(facts ?? '{}'), fileVault: { state: 'on', hasRecoveryKey: 'yes' } };
    await tx
      .updateTable('mac')
      .set({ facts: JSON.stringify(on) })
      .where('id', '=', mac_id)
      .execute();
  });
}

describe('afterwards', () => {
  test('from shown to checked, each waiting in words until it is true; “I am back in” ends the hold, once', async () => {
    const { it, ada, here } = await place();
    const key = it.mac.recoveryKey ?? '';
    expect((await ada.client.get(`${here}/afterwards`)).content).toContain('You have not been shown a key of this Mac.');
    await getKey(ada, here);
    const waiting = await ada.client.get(`${here}/afterwards`);
    expect(waiting.content).toMatch(
      /Key shown \d\d:\d\d .*New password Waiting for the Mac\..*Key replaced Waiting for you, so that nothing changes while you type\..*This comes after/,
    );
    expect(waiting.content).toMatch(/login keychain.*Create New Keychain.*Your Mac password and your work password.*a password of its own/);
    expect(waiting.text).toMatch(/look-again\.js/);
    expect((await (await dutch(it, ada)).get(`${here}/afterwards`)).content).toMatch(/Sleutel getoond .*Wacht op jou.*Maak nieuwe sleutelhanger aan/);

    // The hold stands against everything until its person says so.
    it.mac.resetPasswordWith(key, 'ada');
    it.pass(minute);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(key);
    const said = await ada.client.submit(await ada.client.get(`${here}/afterwards`), `${here}/back-in`);
    expect(said.content).toMatch(/New password \d\d:\d\d .*You said just now that you are back in/);
    expect(said.forms.map(({ action }) => action)).not.toContain(`${here}/back-in`);
    expect((await it.custodyOf()).hold).toBeNull();
    const token = waiting.forms.find(({ action }) => action === `${here}/back-in`)?.fields['token'] ?? '';
    expect((await ada.client.post(`${here}/back-in`, { token })).status).toBe(200);
    expect([(await acts(it, 'hold.ended')).length, (await acts(it, 'episode.back-in')).length]).toEqual([1, 1]);

    it.mac.logIn('ada');
    await it.settle();
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(key);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    const done = await ada.client.get(`${here}/afterwards`);
    expect(done.content).toMatch(/Key shown .*New password .*Key replaced \d\d:\d\d .*New key checked on the Mac \d\d:\d\d .*All is done\./);
    // While it could still matter it was there.
    expect([waiting, said, done].map((page) => page.content.includes('Connect to a network Wi-Fi or'))).toEqual([true, true, false]);
    expect(done.text).not.toMatch(/look-again\.js/);
  });

  test('what to do about passwords is said by what the accounts of the organisation’s Macs are', async () => {
    const { ada, here } = await place();
    await getKey(ada, here);
    const { text } = afterwardsWords.en.passwords;
    for (const accounts of ['local', 'mobile', 'platform-sso', 'smart-card'] as const)
      await withSettings({ macAccounts: accounts }, async () => {
        const { content } = await ada.client.get(`${here}/afterwards`);
        expect(Object.entries(text).flatMap(([of, lines]) => (lines.every((line) => content.includes(line)) ? [of] : []))).toEqual([accounts]);
      });
  });

  test('nothing heard for a day is said, with whom to call', async () => {
    const { it, ada, here } = await place();
    await getKey(ada, here);
    it.turnServerClock(24 * hour + minute);
    const client = it.portal.client();
    await it.portal.signIn(client, ada.userName);
    expect((await client.get(`${here}/afterwards`)).content).toMatch(
      /Nothing has been heard of this Mac for more than a day\..*Call the service desk.*Help code/,
    );
  });
});

describe('who looked at my key', () => {
  test('every view is there, with who, when and why: its person, an admin, the Mac itself', async () => {
    const { it, ada, here } = await place();
    await it.disclose('on the telephone, called back <b>');
    await getKey(ada, here);
    const macId = await it.macId();
    const enrolment = await it.store.db.selectFrom('enrolment').select('id').where('mac_id', '=', macId).executeTakeFirstOrThrow();
    const record = await it.store.db.selectFrom('key_record').select('id').where('mac_id', '=', macId).executeTakeFirstOrThrow();
    const grant = {
      id: `g-${macId}`,
      mac_id: macId,
      enrolment_id: enrolment.id,
      purpose: 'prove' as const,
      for_id: 'p',
      record_id: record.id,
      boot: '',
      key_digest: 'd',
    };
    await it.store.write((tx) =>
      tx
        .insertInto('grant_given')
        .values({ ...grant, at: it.backend.clock.now() - hour * 1000 })
        .execute(),
    );
    const page = await ada.client.get(`${here}/looked`);
    expect(page.content).toMatch(/You \. On this site, to get in\./);
    expect(page.content).toMatch(/an operator \. Why: on the telephone, called back <b>/);
    expect(page.content).toMatch(/Your Mac itself, to check its key\./);
    expect(page.text).not.toContain('<b>');
    expect((await (await dutch(it, ada)).get(`${here}/looked`)).content).toMatch(/Jij \. Op deze site, om erin te komen\./);
  });

  test('“this was not me” signs its person out everywhere, ends the hold, has the key replaced, raises the alarm and writes the mails', async () => {
    const { it, ada, here } = await place();
    const key = it.mac.recoveryKey ?? '';
    const thief = it.portal.client();
    await it.portal.signIn(thief, ada.userName);
    await getKey({ ...ada, client: thief }, here);
    expect((await it.custodyOf()).hold).not.toBeNull();

    const looked = await ada.client.get(`${here}/looked`);
    const [, view = ''] = /not-me\?view=([\w-]+)/.exec(looked.text) ?? [];
    const confirm = await ada.client.get(`${here}/not-me?view=${view}`);
    expect(confirm.content).toMatch(/Did somebody else look at the key of .*You are signed out everywhere.*The Mac replaces its key/);
    expect((await it.custodyOf()).hold).not.toBeNull();
    const done = await ada.client.submit(confirm, `${here}/not-me`);
    expect(done.content).toMatch(/It is done The Mac replaces its key as soon as .*Change it now.*Call the service desk.*Help code/);
    expect(done.words).not.toContain('Sign out');

    expect((await thief.get(here, { follow: false })).headers['location']).toMatch(/^\/sign-in/);
    expect((await ada.client.get(here, { follow: false })).headers['location']).toMatch(/^\/sign-in/);
    const { hold, rotation } = await it.custodyOf();
    expect([hold, rotation.owed]).toEqual([null, true]);
    const macId = await it.macId();
    const alarms = await it.store.db.selectFrom('alarm').select('code').where('mac_id', '=', macId).execute();
    expect(alarms).toEqual([{ code: 'NOT_ME' }]);
    const mails = await it.store.db.selectFrom('mail').select(['kind', 'address']).where('kind', 'like', 'not-me%').orderBy('kind').execute();
    expect(mails).toEqual([
      { kind: 'not-me', address: `${ada.userName}@example.org` },
      { kind: 'not-me-desk', address: 'desk@example.org' },
    ]);
    for (const act of ['key.not-me', 'rotation.ordered', 'hold.ended', 'session.all-ended']) expect([act, (await acts(it, act)).length]).toEqual([act, 1]);

    // Whoever signs in as them is shown nothing until an admin has judged it; the replacement waits for nobody.
    const again = it.portal.client();
    await it.portal.signIn(again, ada.userName);
    expect((await again.get(here)).content).toContain('Something unusual has happened with this Mac.');
    await it.settle();
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(key);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect((await again.get(`${here}/looked`)).content).toContain('You said that this was not you.');
    // Once more, by a form of before: the key that was shown is dead, and nothing is ordered again.
    const second = await again.get(`${here}/not-me?view=${view}`);
    expect((await again.submit(second, `${here}/not-me`)).content).toContain('had been replaced already');
    expect((await acts(it, 'rotation.ordered')).length).toBe(1);
  });

  test('“this was not me” of a view by the service desk, said over and over, writes each mail once', async () => {
    const { it, ada, here } = await place();
    const macId = await it.macId();
    const { disclosureId } = await it.backend.custody.disclose({ macId, actor: 'desk', reason: 'called' });
    for (let times = 0; times < 3; times += 1) {
      if (times > 0) await it.portal.signIn(ada.client, ada.userName);
      const confirm = await ada.client.get(`${here}/not-me?view=${disclosureId}`);
      expect((await ada.client.submit(confirm, `${here}/not-me`)).status).toBe(200);
    }
    const mails = await it.store.db.selectFrom('mail').select(['kind', 'details']).where('kind', 'like', 'not-me%').orderBy('kind').execute();
    expect(mails.filter(({ details }) => details.includes(macId)).map(({ kind }) => kind)).toEqual(['not-me', 'not-me-desk']);
  });
});

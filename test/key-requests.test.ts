import { beforeAll, describe, expect, test } from '@jest/globals';
import { requestsWords } from '../portal/requests-words.ts';
import { expireRequests } from '../server/key-requests.ts';
import { setStanding } from '../server/mac-standing.ts';
import { decideCommand, requestsCommand } from '../server/requests-commands.ts';
import { claimsOf } from '../server/store/assignments.ts';
import { type Given, givenPortal, passwordOfTests } from './given-portal.ts';

/* Self-service with approval: asked for on the portal, decided by an operator, used for one time of being locked out. */

const hour = 3600;
const people = {
  selfService: { everybody: 'with-approval', approvalHours: 4, reason: 'none', groups: [{ group: 'trusted', selfService: 'on' }] },
  contact: { name: 'Service desk', phone: '+31 20 555 0100' },
};
let given: Awaited<ReturnType<typeof givenPortal>>;
let macId: string;
let request: string;
beforeAll(async () => {
  given = await givenPortal({ people, settings: { assignedTo: 'Grace' } });
  await given.checkIn();
  await given.checkIn();
  macId = await given.macId();
  request = `/macs/${macId}/request`;
});

const words = requestsWords.en;
/** Somebody else's Mac until now. */
async function owner(about: Parameters<typeof given.portal.person>[1] = {}): Promise<Given> {
  const person = await given.portal.person(undefined, about);
  await given.store.write(async (tx) => void (await tx.updateTable('assignment').set({ ended_at: 1 }).where('source', '=', 'admin').execute()));
  await given.assign(person);
  return person;
}
const ask = async ({ client }: Given, reason = 'I have forgotten my password') => {
  // Nobody asks twice in one millisecond.
  given.turnServerClock(1);
  return client.submit(await client.get(request), request, { reason });
};
const codeOf = async ({ userName }: Given): Promise<string> => {
  const { requests } = (await requestsCommand(given.backend)).json as { requests: { code: string; state: string; userName: string }[] };
  return requests.find((one) => one.state === 'waiting' && one.userName === userName)?.code ?? 'none waits';
};
const decide = async (person: Given, as: 'approved' | 'refused', reason = 'called back', actor = 'olivia') =>
  decideCommand(given.backend, { request: await codeOf(person), as, actor, reason });
const keyOf = (text: string) => /Group 1 of 6 ((?:[A-Z0-9] ){4})/.exec(text)?.[1] ?? null;
/** *Get recovery key*, signed in a moment ago. */
async function getKey({ client, userName }: Given) {
  const path = `/macs/${macId}/key`;
  const again = await client.get(`/sign-in?again=1&then=${path}`);
  const page = await client.submit(again, '/sign-in/password', { name: userName, password: passwordOfTests });
  return page.forms.some(({ action }) => action === path) ? client.submit(page, path) : page;
}
const acts = async (act: string): Promise<Record<string, unknown>[]> =>
  (await given.store.db.selectFrom('audit').select(['actor', 'details']).where('act', '=', act).orderBy('seq').execute()).map(({ actor, details }) => ({
    actor,
    ...(JSON.parse(details) as Record<string, unknown>),
  }));

describe('what the agent says of whose Mac it is', () => {
  test('the profile’s `assignedTo` is an assignment of the lowest rank, and the computer’s name is shown to its person', async () => {
    expect(await claimsOf(given.store.db, macId)).toMatchObject([{ user_name: 'grace', source: 'profile', rank: 1 }]);
    const grace = await given.portal.person('grace');
    const page = await grace.client.get(`/macs/${macId}`);
    expect(page.content).toContain('Ada’s MacBook Pro');
    expect(page.forms.map(({ action }) => action)).not.toContain(`/macs/${macId}/key`);
  });

  test('a variable that the MDM has not filled is not sent, and is told as a warning of the settings', async () => {
    const other = await givenPortal({ settings: { assignedTo: '$EMAIL' } });
    await other.checkIn();
    expect(await claimsOf(other.store.db, await other.macId())).toEqual([]);
    const row = await other.store.db
      .selectFrom('mac')
      .select('facts')
      .where('id', '=', await other.macId())
      .executeTakeFirstOrThrow();
    expect(Object.keys(JSON.parse(row.facts ?? '{}'))).not.toContain('assignedTo');
    expect(JSON.stringify(other.status())).toContain('a variable that the MDM has not filled');
  });
});

describe('with approval', () => {
  test('no key without it: its page leads to asking, and a form that was made before is refused', async () => {
    const ada = await owner();
    const led = await getKey(ada);
    expect(led.path).toBe(request);
    expect(keyOf(led.content)).toBeNull();
    const before = (await acts('key.disclosed')).length;
    expect((await ada.client.post(`/macs/${macId}/key`, {})).status).toBe(403);
    expect((await acts('key.disclosed')).length).toBe(before);
  });

  test('asked, waited for, approved, used for one time of being locked out, and then asked for anew', async () => {
    const ada = await owner();
    expect((await ada.client.get(request)).content).toContain(words.how);
    const waiting = await ask(ada);
    expect(waiting.path).toBe(request);
    expect(waiting.content).toContain(words.waiting.says);
    expect(waiting.content).toContain('I have forgotten my password');
    const code = await codeOf(ada);
    expect(waiting.content).toContain(code);
    expect((await acts('request.made')).at(-1)).toMatchObject({ actor: ada.userName, code, reason: 'I have forgotten my password' });
    expect(keyOf((await getKey(ada)).content)).toBeNull();

    const said = await decide(ada, 'approved');
    expect(said.text).toContain(`${code}: ${ada.userName} may be shown the key of`);
    expect((await acts('request.approved')).at(-1)).toMatchObject({ actor: 'olivia', code, reason: 'called back' });
    const yes = await ada.client.get(request);
    expect(yes.content).toContain(words.approved.says);
    expect(yes.text).toContain(`href="/macs/${macId}/unlock"`);

    const shown = await getKey(ada);
    expect(keyOf(shown.content)).not.toBeNull();
    // The same episode: shown again without asking again.
    given.turnServerClock(360);
    const again = await ada.client.get(`/macs/${macId}/key`);
    expect(keyOf((await ada.client.submit(again, `/macs/${macId}/key`)).content)).not.toBeNull();

    await given.custody.backIn({ macId, personId: ada.id, actor: ada.userName });
    const over = await getKey(ada);
    expect(over.path).toBe(request);
    expect(over.content).toContain(words.over.used);
    expect(keyOf(over.content)).toBeNull();
  });

  test('hours that end while somebody is typing take no time away from them: the five minutes go on to their own end, and no further view is shown', async () => {
    const ada = await owner();
    await ask(ada);
    await decide(ada, 'approved');
    given.turnServerClock(4 * hour - 240);
    const key = `/macs/${macId}/key`;
    let shown = await getKey(ada);
    for (let times = 1; times <= 12; times += 1) {
      given.turnServerClock(290);
      if (times === 2) await given.store.write(async (tx) => expect(await expireRequests(tx, await given.backend.clock.persist(tx))).toBeGreaterThan(0));
      // Every other time as without a script: the page has gone by itself.
      const from = times % 2 === 0 ? shown : await ada.client.get(`${key}?gone=1`);
      expect(from.forms.map(({ action }) => action)).not.toContain(`${key}/again`);
      shown = await ada.client.submit(from, `${key}/more-time`);
      expect([times, keyOf(shown.content) !== null]).toEqual([times, true]);
    }
    expect((await ada.client.get(`${key}?gone=1`)).path).toBe(request);
    const over = await getKey(ada);
    expect(over.path).toBe(request);
    expect(over.content).toContain(words.over.expired);
  });

  test('but of a Mac that was lost meanwhile nothing more is shown', async () => {
    const ada = await owner();
    await ask(ada);
    await decide(ada, 'approved');
    given.turnServerClock(4 * hour - 60);
    const shown = await getKey(ada);
    expect(keyOf(shown.content)).not.toBeNull();
    given.turnServerClock(120);
    const stand = (state: 'lost' | 'in-use') =>
      given.store.write(async (tx) => setStanding(tx, await given.backend.clock.persist(tx), { macId, change: { state }, actor: 'olivia', reason: 'a test' }));
    await stand('lost');
    const after = await ada.client.submit(shown, `/macs/${macId}/key/more-time`);
    expect([after.path, keyOf(after.content)]).toEqual([`/macs/${macId}`, null]);
    await stand('in-use');
  });

  test('refused with words that its person reads, and they may ask again', async () => {
    const ada = await owner();
    await ask(ada);
    await decide(ada, 'refused', 'bring the Mac to the desk');
    const no = await ada.client.get(request);
    expect(no.content).toContain(words.refused.says);
    expect(no.content).toContain('bring the Mac to the desk');
    expect(no.content).toContain('+31 20 555 0100');
    expect(keyOf((await getKey(ada)).content)).toBeNull();
    expect((await ask(ada, 'the desk is closed')).content).toContain(words.waiting.says);
  });

  test('an approval ends after its hours, and a request that nobody answers ends by itself: each with a line in the audit', async () => {
    const ada = await owner();
    await ask(ada);
    await decide(ada, 'approved');
    given.turnServerClock(4 * hour + 1);
    await given.portal.signIn(ada.client, ada.userName);
    expect((await ada.client.get(request)).content).toContain(words.over.expired);
    expect(keyOf((await getKey(ada)).content)).toBeNull();
    await ask(ada);
    const code = await codeOf(ada);
    given.turnServerClock(4 * hour + 1);
    await expect(decideCommand(given.backend, { request: code, as: 'approved', actor: 'olivia', reason: 'late' })).rejects.toMatchObject({ code: 'USAGE' });
    expect((await requestsCommand(given.backend)).text).toBe('nobody waits for an approval');
    expect((await acts('request.expired')).slice(-2)).toMatchObject([{ was: 'approved' }, { was: 'waiting', code }]);
  });

  test('nobody decides on what they ask for themselves, also not by the first part of their address', async () => {
    const ada = await owner();
    await ask(ada);
    for (const actor of [ada.userName, ada.userName.toUpperCase(), `${ada.userName}@example.org`])
      await expect(decide(ada, 'approved', 'it is me', actor)).rejects.toMatchObject({ code: 'OWN_REQUEST' });
    expect((await ada.client.get(request)).content).toContain(words.waiting.says);
  });

  test('asked twice is asked once; taken back it does not wait any more; without a word of what happened nothing is asked', async () => {
    const ada = await owner();
    const empty = await ask(ada, '  ');
    expect([empty.status, empty.content.includes(words.reasonMissing)]).toEqual([422, true]);
    const form = await ada.client.get(request);
    await ada.client.submit(form, request, { reason: 'forgot it' });
    const code = await codeOf(ada);
    const twice = await ada.client.submit(form, request, { reason: 'forgot it' });
    expect(twice.content).toContain(code);
    expect((await acts('request.made')).filter((one) => one['code'] === code)).toHaveLength(1);
    await ada.client.submit(twice, request, {}, { button: words.withdraw });
    expect((await ada.client.get(request)).content).toContain(words.over.withdrawn);
    expect(await codeOf(ada)).toBe('none waits');
    await expect(decideCommand(given.backend, { request: code, as: 'approved', actor: 'olivia', reason: 'x' })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('an approval is for its Mac and its person: not for whoever the Mac is given to next', async () => {
    const ada = await owner();
    await ask(ada);
    await decide(ada, 'approved');
    const next = await owner();
    expect((await ada.client.get(request)).status).toBe(404);
    expect((await next.client.get(request)).content).toContain(words.how);
    expect(keyOf((await getKey(next)).content)).toBeNull();
  });

  test('ten requests in an hour are enough: then the desk, in words', async () => {
    const ada = await owner();
    for (let times = 0; times < 10; times++) {
      const page = await ask(ada);
      await ada.client.submit(page, request, {}, { button: words.withdraw });
    }
    const tooMany = await ask(ada);
    expect([tooMany.status, tooMany.content.includes(words.tooMany), tooMany.content.includes('+31 20 555 0100')]).toEqual([429, true, true]);
  });

  test('is not decided by whoever asks, under any of their names', async () => {
    const ada = await owner({ email: 'grace.hopper@example.org', displayName: 'Rear Admiral' });
    await ask(ada);
    for (const actor of ['Grace.Hopper', 'grace.hopper@elsewhere.example', ' rear admiral', ada.userName.toUpperCase()])
      await expect(decide(ada, 'approved', 'mine', actor)).rejects.toMatchObject({ code: 'OWN_REQUEST' });
    await decide(ada, 'refused');
  });

  test('made after the Mac was taken away, between the check and the act, is not made', async () => {
    const ada = await owner();
    const page = await ada.client.get(request);
    const { write } = given.store;
    given.store.write = async (act) => {
      given.store.write = write;
      await owner();
      return write(act);
    };
    const answer = await ada.client.submit(page, request, { reason: 'still mine?' });
    expect([answer.status, (await acts('request.made')).some(({ reason }) => reason === 'still mine?')]).toEqual([404, false]);
  });

  test('whose group needs no approval is not led here, and somebody else’s Mac is not there', async () => {
    const trusted = await owner({ groups: ['trusted'] });
    expect((await trusted.client.get(request)).path).toBe(`/macs/${macId}`);
    const other = await given.portal.person();
    expect((await other.client.get(request)).status).toBe(404);
    expect((await other.client.post(request, { reason: 'x' })).status).toBeGreaterThanOrEqual(403);
  });

  test('in Dutch, each state in its own words', async () => {
    const nl = requestsWords.nl;
    const ada = await owner({ looks: { language: 'nl' } });
    expect((await ada.client.get(request)).content).toContain(nl.how);
    expect((await ask(ada)).content).toContain(nl.waiting.says);
    await decide(ada, 'refused');
    expect((await ada.client.get(request)).content).toContain(nl.refused.says);
    await ask(ada);
    await decide(ada, 'approved');
    expect((await ada.client.get(request)).content).toContain(nl.approved.says);
  });
});

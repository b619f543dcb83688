import { mountConsole } from '../console/console.ts';
import { mountPortal } from '../portal/portal.ts';
import { Problem, type ProblemCode } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { seedFleet } from '../scripts/seed-fleet.ts';
import { type AlarmCode, putAlarm } from '../server/alarms.ts';
import { type Role, roles, type Scope } from '../server/permissions.ts';
import type { MountSites } from '../server/serve.ts';
import { type AdminGiven, type Answered, givenConsole } from './console-together.ts';
import { fill, type PageState, press, type Step, send, steps, to } from './portal-state-world.ts';

/*
 * Every state of every page of the console: of a backend that is new, of a fleet in which everything is under way at once, and
 * for each role. For whoever looks at all of them; knows nothing of jest.
 */

const day = 24 * 60 * 60 * 1000;
const much = { perMinute: 1e6, burst: 1e6 };
const people = { contact: { name: 'Service desk of Example', phone: '+31 20 555 01 23' }, mail: { from: 'keys@example.org' } };
const longReason = 'the person is locked out, was called back on the number in the directory, and has a meeting in ten minutes (INC-20261123-4711)';

/** The sites as they are, and a page that says what went wrong without its having gone wrong. */
const mountSites: MountSites = async (ground) => {
  if (ground.site === 'portal') return mountPortal(ground, { sent: much, helpCodes: much });
  await mountConsole(ground, { site: { sent: much, helpCodes: much }, api: { admin: much, address: much } });
  ground.http.app.get('/problem/:code', async (request) => {
    throw new Problem((request.params as { code: ProblemCode }).code, undefined, { retryAfterSeconds: 60 });
  });
};

const done = (answer: Answered, what: string): Answered => {
  if (answer.status >= 300) throw new Error(`${what}: ${answer.status} ${answer.text.slice(0, 300)}`);
  return answer;
};

export async function givenConsolePages(): Promise<{ url: string; elsewhere: string[]; parts: readonly (() => Promise<readonly PageState[]>)[] }> {
  const it = await givenConsole({ serial: 'C02CONSOLE01', people, mountSites, settings: { pilot: true } });
  const { url } = it.console;
  const { store, clock } = it.backend;
  const cookiesOf = ({ browser }: AdminGiven) => [...browser.jar].map(([name, value]) => ({ name, value, url }));
  const as = async (role: Role | null, scope: Scope = null) => {
    const admin = await it.as(role, scope);
    return { ...admin, cookies: cookiesOf(admin) };
  };
  type Signed = Awaited<ReturnType<typeof as>>;

  function stateList() {
    const states: PageState[] = [];
    const put =
      (alike: boolean) =>
      (name: string, of: Signed | null, ...of_: Step[]) =>
        void states.push({ name, cookies: of?.cookies ?? [], steps: of_, alike });
    return { states, add: put(false), alike: put(true) };
  }

  async function empty(): Promise<readonly PageState[]> {
    const { states, add, alike } = stateList();
    const owner = await as('owner');
    for (const path of ['/', '/fleet', '/disclosures', '/policies']) add(`empty${path.replaceAll('/', '-')}`, owner, to(path));
    for (const path of ['/figures', '/rotations', '/alarms', '/tokens', '/people/tokens', '/disclosures/emergency', '/policies/history'])
      alike(`empty${path.replaceAll('/', '-')}`, owner, to(path));
    return states;
  }

  async function full(): Promise<readonly PageState[]> {
    const { states, add, alike } = stateList();
    await it.settle();
    await it.checkIn();
    await store.write((tx) => tx.deleteFrom('fleet_day').execute());
    await seedFleet(it.backend, { devices: 300, seed: 3, days: 60 });
    const macId = await it.macId();
    const [owner, other, desk, approver, admin] = [await as('owner'), await as('owner'), await as('help-desk'), await as('approver'), await as('admin')];
    const mac = `/fleet/${macId}`;
    const key = `/devices/${macId}/key`;
    const found = async (query: string): Promise<{ id: string; serial: string }[]> => done(await owner.get(`/v1/devices?${query}`), query).body.items;
    const first = async (query: string): Promise<string> => {
      const [one] = await found(query);
      if (!one) throw new Error(`no Mac: ${query}`);
      return one.id;
    };

    // The fleet.
    add('first', owner, to('/'));
    add('fleet', owner, to('/fleet'));
    add('fleet-filtered', owner, to('/fleet?custody=lost&custody=none&silentDays=3&sort=-seen'));
    alike('fleet-columns', owner, to('/fleet?limit=50'), press('details.columns summary'));
    alike('fleet-none-like-that', owner, to('/fleet?q=nothing-is-called-like-that'));
    alike('fleet-refused', owner, to('/fleet?cursor=nothing'));
    add('fleet-chosen', owner, to('/fleet/chosen?custody=held'));
    add('figures', owner, to('/figures'));
    // One Mac.
    await store.write((tx) =>
      tx
        .updateTable('fleet_row')
        .set({ name: 'A MacBook whose owner gave it a name of more than sixty letters, as some do' })
        .where('mac_id', '=', macId)
        .execute(),
    );
    for (const tag of ['office', 'a-tag-that-says-at-some-length-where-it-stands'])
      done(await owner.post('/v1/tags/add', { devices: [macId], tags: [tag] }), 'tag');
    add('device', owner, to(mac));
    for (const state of ['lost', 'doubtful', 'none', 'foreign'] as const) alike(`device-${state}`, owner, to(`/fleet/${await first(`custody=${state}`)}`));
    for (const name of ['replace', 'user', 'standing']) add(`device-${name}`, owner, to(`${mac}/${name}`));
    for (const name of ['prove', 'hold', 'nobody']) alike(`device-${name}`, owner, to(`${mac}/${name}`));
    alike('device-replace-refused', owner, to(`${mac}/replace`), send(`form[action="${mac}/replace"]`));
    const [older] = await found('custody=held&sort=-seen');
    add('device-merge', owner, to(`${mac}/merge?other=${older?.serial}`));
    alike('device-merge-unknown', owner, to(`${mac}/merge?other=NOTHING`));
    // Many keys at once.
    const wish = { devices: (await found('custody=held&limit=60')).map(({ id }) => id), reason: 'the office in Berlin moves, and every key is to be new' };
    const plan = done(await owner.post('/v1/rotations/plan', { chosen: { kind: 'macs', macs: wish.devices } }), 'plan').body;
    const started = done(
      await owner.post('/v1/rotations', { chosen: { kind: 'macs', macs: wish.devices }, reason: wish.reason, confirmCount: plan.count }),
      'start',
    ).body;
    add('rotations', owner, to('/rotations'));
    add('rotation', owner, to(`/rotations/${started.id}?change=1`));
    alike('rotation-cancel', owner, to(`/rotations/${started.id}/cancel`));
    add('rotations-new', owner, to('/rotations/new?custody=held&macos=26'));
    add('rotations-plan', owner, to('/rotations/new?custody=held'), fill('[name="reason"]', 'a drill'), press('form[action="/rotations/plan"] button'));
    // Rules.
    const rules = { disclosure: { needs: 'second-person', breakGlass: true }, rotation: { everyDays: 365 } };
    done(await owner.put('/v1/policies/new', { name: 'The office', rank: 10, tags: ['office'], rules, version: null, reason: 'the board wants it' }), 'policy');
    add('policies', owner, to('/policies'));
    add('policy', owner, to('/policies'), press('main td a[href^="/policies/"], main th a[href^="/policies/"]'));
    add(
      'policy-dry-run',
      owner,
      to('/policies/new'),
      fill('[name="name"]', 'Aged'),
      fill('[name="reason"]', 'a drill'),
      steps(async (page) => page.locator('[name="rotation"]').check(), fill('[name="everyDays"]', '90'), press('form[action="/policies/new/preview"] button')),
    );
    alike('policy-refused', owner, to('/policies/new'), send('form[action="/policies/new/preview"]'));
    alike('policies-history', owner, to('/policies/history'));
    // Alarms.
    const codes: AlarmCode[] = ['TWO_ROTATORS', 'SERIAL_CONFLICT', 'KEY_REFUSED'];
    const troubled = await first('custody=none');
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      for (const code of codes)
        await putAlarm(it.backend, tx, at, troubled, code, 'two changes in 14 days: 2026-11-20T08:12:00.000Z, 2026-11-22T17:40:00.000Z');
      await putAlarm(it.backend, tx, at, null, 'CERTIFICATE_ENDS', 'the certificate of this backend ends on 2026-12-01T00:00:00.000Z');
    });
    add('alarms', owner, to('/alarms'));
    add('alarm', owner, to('/alarms'), press('main a[href^="/alarms/"]'));
    // Disclosure.
    const guarded = await first('custody=held&sort=-name');
    done(await owner.post('/v1/tags/add', { devices: [guarded], tags: ['office'] }), 'tag');
    add('key-asks', desk, to(`/devices/${guarded}/key`));
    const theirs = RecoveryKey.parse('AAAA-BBBB-CCCC-DDDD-EEEE-2345');
    if (!theirs) throw new Error('no key');
    await it.custody.bring([
      { serial: 'C02NOAGENT01', key: theirs, source: 'intune', trust: 'admin', runId: null, madeAt: clock.now() - 90 * day, actor: 'ada' },
    ]);
    add('brought', admin, to('/disclosures/brought?device=C02NOAGENT01'));
    add(
      'brought-shown',
      admin,
      to('/disclosures/brought?device=C02NOAGENT01'),
      fill('#reason', 'the person is locked out'),
      press('form[action="/disclosures/brought"] button'),
    );
    alike(
      'brought-refused',
      desk,
      to('/disclosures/brought?device=C02CONSOLE01'),
      fill('#reason', 'the person is locked out'),
      press('form[action="/disclosures/brought"] button'),
    );
    const asked = done(await desk.post(`/v1/devices/${macId}/disclosure-requests`, { reason: longReason, ticket: 'INC-20261123-4711' }), 'ask').body;
    add('request', approver, to(`/disclosures/${asked.id}`));
    add('disclosures', approver, to('/disclosures'));
    alike('disclosures-own', desk, to('/disclosures'));
    alike('key-waits', desk, to(key));
    const glass = steps(
      to(key),
      press('details summary:has-text("Break glass")'),
      fill('#glass-reason', 'nobody answers, and the board meets'),
      press('form:has([name="glass"]) button'),
    );
    const free = await first('custody=held&sort=seen&q=C0');
    add('key-before', desk, to(`/devices/${free}/key`));
    alike('key-refused-reason', desk, to(`/devices/${free}/key`), fill('#reason', 'no'), press(`form[action="/devices/${free}/key"] button`));
    add('key-shown', admin, glass);
    alike('key-gone', desk, to(`/devices/${free}/key?gone=1`));
    add('reviews', approver, to('/disclosures'));
    add('release-form', desk, to('/disclosures/releases'));
    const code = (path: string) =>
      steps(
        to('/disclosures/releases'),
        fill('#device', path),
        fill('#personName', 'Augusta Ada King-Noel'),
        fill('#verified', 'called back on the number in the directory'),
        press('form[action="/disclosures/releases"] button'),
      );
    add('release-code', desk, code('C02CONSOLE01'));
    add('release', other, to('/disclosures'), press('main a[href^="/disclosures/releases/"]'));
    const emergency = done(
      await owner.post('/v1/emergencies', {
        tags: ['office'],
        until: new Date(clock.now() + day / 4).toISOString(),
        reason: 'the provider has lost all passwords',
      }),
      'emergency',
    ).body;
    add('emergency-asked', approver, to(`/disclosures/emergency/${emergency.id}`));
    add('emergency-list', owner, to('/disclosures/emergency'));
    const agree: Step = async () => {
      const answer = await other.post(`/v1/emergencies/${emergency.id}/agree`, { words: 'agreed by telephone' });
      if (answer.status !== 200 && answer.status !== 409) done(answer, 'agree');
    };
    add('first-emergency', owner, agree, to('/'));
    alike('emergency-open', owner, agree, to(`/disclosures/emergency/${emergency.id}`));
    // Who may what.
    done(await owner.post('/v1/roles', { group: 'it-service-desk-amsterdam', role: 'help-desk', tags: ['office'], reason: 'ticket 4711' }), 'role');
    add('people', owner, to('/people'));
    alike('people-found', owner, to('/people?q=nobody-is-called-like-that'));
    add('people-review', owner, to('/people/review'));
    add('people-table', owner, to('/people/table'));
    add('role-take', owner, to('/people'), press('main a[href^="/people/roles/"]'));
    alike('role-refused', owner, to('/people'), fill('#name', 'nobody-like-that'), fill('#reason', 'a test'), press('form[action="/people/give"] button'));
    add(
      'token-made',
      owner,
      to('/tokens'),
      fill('#name', 'reports of every morning'),
      async (page) => page.locator('[name="role-viewer"]').check(),
      press('form[action="/tokens/make"] button'),
    );
    add('tokens', owner, to('/tokens'));
    alike('tokens-everybody', owner, to('/people/tokens'));
    add('login', owner, to('/login/confirm'));
    alike('login-wrong', owner, to('/login/confirm'), fill('#code', 'ABCD-EFGH'), press('main form button'));
    // What was done.
    add('audit', owner, to('/audit'));
    add('audit-found', owner, to('/audit?act=policy.&from=2026-01-01'));
    alike('audit-none', owner, to('/audit?text=nothing-says-that'));
    alike('audit-refused', owner, to('/audit?from=yesterday'));
    add('docs', owner, to('/docs'));
    // Oneself, and who is not let in.
    add('sign-in', null, to('/sign-in'));
    alike('cannot-sign-in', null, to('/cannot-sign-in'));
    alike('set-up', null, to('/set-up'));
    add('account', owner, to('/account'));
    add('nobody', await as(null), to('/'));
    add('not-found', owner, to('/no-such-page'));
    const wrong = { broken: 'SERVER_BUG', later: 'STORE_FAILED', 'too-many': 'TOO_MANY_REQUESTS' };
    for (const [name, problem] of Object.entries(wrong)) alike(`wrong-${name}`, owner, to(`/problem/${problem}`));
    alike('mac-unknown', owner, to('/fleet/NOSUCHMAC1'));
    for (const role of Object.keys(roles) as Role[]) {
      const one = await as(role, role === 'viewer' ? ['office'] : null);
      alike(`role-${role}-first`, one, to('/'));
      alike(`role-${role}-fleet`, one, to('/fleet'));
      alike(`role-${role}-device`, one, to(mac));
      alike(`role-${role}-disclosures`, one, to('/disclosures'));
      add(`role-${role}`, one, to('/you'));
    }
    add('forbidden', await as('viewer'), to('/people'));
    return states;
  }
  return { url, elsewhere: [], parts: [empty, full] };
}

import { DatabaseSync, type SQLInputValue, StatementSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { forgetWhatIsOld, watchEpisodes } from '../portal/watch.ts';
import type { SitesGround } from '../server/serve.ts';
import { requestsNamed } from '../server/store/key-requests.ts';
import { sendMails } from '../web/mail-sending.ts';
import { lockedOut } from './key-pages.ts';

/*
 * What the backend asks of its database while somebody gets a key, and in the rounds of its timers: none of it may take the
 * longer the more Macs, people and views there are. SQLite says itself how it would look each of them up.
 */

const asked = new Set<string>();
// Where they are run: a statement is prepared once and asked many times.
const { all, run } = StatementSync.prototype;
beforeAll(() => {
  StatementSync.prototype.all = function (this: StatementSync, ...values: SQLInputValue[]) {
    asked.add(this.sourceSQL);
    return Reflect.apply(all, this, values);
  } as typeof all;
  StatementSync.prototype.run = function (this: StatementSync, ...values: SQLInputValue[]) {
    asked.add(this.sourceSQL);
    return Reflect.apply(run, this, values);
  } as typeof run;
});
afterAll(() => {
  Object.assign(StatementSync.prototype, { all, run });
});

/** Tables that have a row or a few for each thing that there is, and go on growing. */
const growing = ['person', 'local_account', 'passkey', 'web_session', 'sign_in_flow', 'spent_form', 'assignment', 'mac_standing', 'key_request']
  .concat(['episode', 'key_view', 'refusal', 'help_code', 'mail', 'mac', 'enrolment', 'session', 'key_record', 'envelope', 'debt', 'disclosure'])
  .concat(['rotation', 'proof', 'grant_given', 'alarm', 'audit', 'sign_in_throttle']);
/** What is open at this moment is in an index of its own, which is no longer than that. */
const openOnes = ['episode_open', 'mail_waiting', 'mail_full', 'key_request_open', 'disclosure_on_hold', 'web_session_ended'];

test('no page, no act of somebody who is locked out and no round of the watch reads a whole table', async () => {
  const it = await lockedOut({}, { alone: true });
  const { client } = it.person;
  const ground = { backend: it.backend, settings: it.serving.backend.settings, log: { info() {}, warn() {}, error() {} }, every: () => undefined };
  asked.clear();
  for (const path of ['/macs', `/macs/${it.id}`, `/macs/${it.id}/unlock`, '/account']) expect((await client.get(path)).status).toBe(200);
  expect((await it.getKey()).status).toBe(200);
  for (const path of [it.refused, `/macs/${it.id}/looked`, `/macs/${it.id}/afterwards`]) expect((await client.get(path)).status).toBe(200);
  await client.submit(await client.get(it.refused), it.refused);
  it.pass(30 * 60 * 60);
  await watchEpisodes(ground as unknown as SitesGround);
  await forgetWhatIsOld(ground as unknown as SitesGround);
  await sendMails({ ...ground, settings: { mail: null } } as unknown as SitesGround, () => null as never).catch(() => undefined);
  await requestsNamed(it.store.db, 'K7RM-42');
  await it.checkIn();

  const database = new DatabaseSync(it.backend.paths.database, { readOnly: true });
  const whole: string[] = [];
  for (const text of [...asked]) {
    if (!/^\s*(select|update|delete|insert)\b/i.test(text)) continue;
    const plan = database.prepare(`explain query plan ${text}`);
    const rows = plan.all(...Array.from({ length: text.split('?').length - 1 }, () => null)) as { detail: string }[];
    for (const { detail } of rows) {
      // From its newest end, and no further than it has to be.
      if (detail === 'SCAN audit' && / order by "seq" desc limit \?$/.test(text)) continue;
      const [, table = '', index] = /^SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?/.exec(detail) ?? [];
      if (growing.includes(table) && !openOnes.includes(index ?? '')) whole.push(`${detail}: ${text}`);
      if (/AUTOMATIC/.test(detail)) whole.push(`${detail}: ${text}`);
    }
  }
  database.close();
  expect(asked.size).toBeGreaterThan(60);
  expect(whole).toEqual([]);
});

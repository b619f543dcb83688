import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAccounts } from '../../server/accounts.ts';
import { operatorAdmin } from '../../server/admins/admin.ts';
import { giveRole } from '../../server/admins/roles.ts';
import { makeLoginToken } from '../../server/admins/tokens.ts';
import type { Backend } from '../../server/backend.ts';
import { queueMail } from '../../web/mail-queue.ts';
import type { Chance } from '../server-sweep/chance.ts';
import { clientOf } from '../tls-client.ts';
import type { Pair } from './pair.ts';

/** What an admin was told: that this order is placed. */
export interface GivenOrder {
  serial: string;
  orderId: string;
  /** Sent again, because nobody had answered. */
  again: boolean;
}

export interface AtWork {
  orders: GivenOrder[];
  surprises: string[];
}

/** An admin with a token, as `sparekeyctl login` gives it. */
export async function makeAdmin(backend: Backend): Promise<string> {
  const { store, clock, secrets, settings } = backend;
  const accounts = createAccounts({ store, clock, secrets, settings });
  const userName = 'grace';
  const { personId } = await accounts.add({ name: userName, displayName: 'Grace', email: 'grace@example.org', emergency: false, actor: 'a test' });
  const subject = { kind: 'person', person: { id: personId, user_name: userName } } as const;
  await giveRole(backend, operatorAdmin('an operator'), { subject, role: 'admin', scope: null, reason: 'a test' });
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    return (await makeLoginToken(tx, at, { person: { id: personId, userName }, machine: 'a test', freshAt: at, network: 'a test' })).token;
  });
}

/** Letters to admins, which wait for whichever backend sends them. */
export const queueMails = (backend: Backend, count: number): Promise<void> =>
  backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    for (let n = 0; n < count; n += 1)
      await queueMail(tx, {
        kind: 'disclosure-decided',
        address: `admin-${n}@example.org`,
        episodeId: null,
        details: { macId: null, words: `letter ${n}`, lines: [`line ${n}`], link: '/disclosures' },
        at,
      });
  });

/** Orders replacements of keys by the API, through the balancer, and asks again until there is an answer: as a script of an admin would. */
export async function orderOnAndOn(
  pair: Pair,
  token: string,
  given: { macs: () => readonly string[]; chance: Chance; stopping: () => boolean },
): Promise<AtWork> {
  const work: AtWork = { orders: [], surprises: [] };
  const client = clientOf(pair.console?.port ?? 0, pair.reached.client.ca);
  const { chance, stopping } = given;
  while (!stopping()) {
    await sleep(chance.between(50, 250));
    const macs = given.macs();
    const serial = macs[chance.between(0, macs.length - 1)];
    if (serial === undefined) continue;
    let key = randomUUID();
    for (let again = false; ; again = true) {
      while (!pair.reached.up) await sleep(40);
      const headers = { host: `127.0.0.1:${pair.console?.port}`, authorization: `Bearer ${token}`, accept: 'application/json', 'idempotency-key': key };
      const asking = { method: 'POST', headers, body: { reason: 'a test' }, version: null };
      const answer = await client.ask(`/v1/devices/${serial}/rotation`, asking).catch(() => null);
      if (answer?.status === 200) {
        work.orders.push({ serial, orderId: answer.body.orderId, again });
        break;
      }
      // The backend died in the middle, and nobody knows whether it was placed: another one is asked for, which joins one that waits.
      if (answer?.body?.code === 'IDEMPOTENCY_UNSETTLED') key = randomUUID();
      // A Mac that has not checked in yet has nothing to be ordered.
      else if (answer && answer.status < 500 && answer.status !== 429) {
        if (!['KEY_UNKNOWN', 'MAC_UNKNOWN', 'NOT_FOUND'].includes(answer.body?.code))
          work.surprises.push(`order: ${answer.status} ${answer.text.slice(0, 200)}`);
        break;
      }
      await sleep(chance.between(40, 120));
    }
  }
  return work;
}

import { randomUUID } from 'node:crypto';
import { request } from 'node:https';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { readEvent, type WebhookEvent } from '../server/mdm/webhook-event.ts';
import { makeEscrowFile } from './fake-mac/escrow-file.ts';
import { encode, everything, type GivenMdm, givenMdm, type ManagedMac, securityOf } from './mdm-parts.ts';
import { givenServer, newKey } from './server-parts.ts';

/* What MicroMDM's webhook brings: its events have no `ids`, its key is a password, and it is asked for nothing. */

describe('without NanoMDM’s API, and without an opener', () => {
  const micromdm = { ...everything, server: 'micromdm' as const, canAsk: false };
  const eventOf = (topic: string, inner: object): WebhookEvent => {
    const name = topic === 'mdm.Connect' ? 'acknowledge_event' : 'checkin_event';
    const event = readEvent(Buffer.from(JSON.stringify({ topic, event_id: randomUUID(), created_at: new Date(Date.now()).toISOString(), [name]: inner })));
    if (!event) throw new TypeError('no event');
    return event;
  };

  test('MicroMDM’s events, which have no `ids`, bring keys as NanoMDM’s do, and nothing is asked', async () => {
    const server = await givenServer();
    const [udid, serial, key] = [randomUUID().toUpperCase(), 'C02MICRO0001', newKey()];
    const file = makeEscrowFile(key.reveal(), server.escrow.pairs[0]?.der ?? Buffer.alloc(0));
    const take = (event: WebhookEvent) => server.custody.mdm.take(micromdm, event, randomUUID());
    const info = eventOf('mdm.Connect', {
      udid,
      status: 'Acknowledged',
      command_uuid: 'A',
      raw_payload: encode({ UDID: udid, SecurityInfo: { FDE_PersonalRecoveryKeyCMS: file } }),
    });
    expect(await take(info)).toEqual({ fate: 'ignored', because: 'serial-unknown' });
    const asked = { udid, status: 'Acknowledged', command_uuid: 'B', raw_payload: encode({ UDID: udid, QueryResponses: { SerialNumber: serial } }) };
    // Somebody else's question: what the Mac says of itself then is nobody's business here.
    expect(await take(eventOf('mdm.Connect', asked))).toEqual({ fate: 'ignored', because: 'nothing-for-us' });
    expect(await take(eventOf('mdm.Authenticate', { udid, raw_payload: encode({ UDID: udid, SerialNumber: serial }) }))).toEqual({
      fate: 'taken',
      because: 'enrolled',
    });
    expect(await take(info)).toEqual({ fate: 'taken', because: 'key-waiting' });
    expect(await server.store.db.selectFrom('brought_key').select(['serial', 'source', 'trust']).execute()).toEqual([
      { serial, source: 'micromdm', trust: 'mdm' },
    ]);
    expect(await server.store.db.selectFrom('mdm_command').selectAll().execute()).toEqual([]);
    await server.close();
  });

  test('an envelope that nobody can open now is kept as it came, and the same one says nothing new', async () => {
    const server = await givenServer();
    server.escrow.answers = false;
    const mac = await server.newMac();
    await mac.checkIn();
    const key = newKey();
    const file = makeEscrowFile(key.reveal(), server.escrow.pairs[0]?.der ?? Buffer.alloc(0));
    const info = () =>
      eventOf('mdm.Connect', {
        udid: mac.hardwareUuid,
        status: 'Acknowledged',
        command_uuid: 'A',
        raw_payload: encode({ SecurityInfo: { FDE_PersonalRecoveryKeyCMS: file } }),
      });
    const take = () => server.custody.mdm.take(micromdm, info(), randomUUID());
    expect(await take()).toEqual({ fate: 'taken', because: 'key-waiting' });
    await mac.deliver(file, { source: 'escrow-file' });
    expect(await take()).toEqual({ fate: 'taken', because: 'same-envelope' });
    await server.close();
  });
});

describe('MicroMDM, over HTTPS', () => {
  let micro: GivenMdm;
  beforeAll(async () => {
    micro = await givenMdm({ server: 'micromdm' });
  });
  /** As its program does: what stands before the @ of the webhook's address goes along as Basic authentication; no `ids`, no signature. */
  const send = (account: string, topic: string, inner: object) =>
    new Promise<{ status: number; code: string | null }>((resolve, reject) => {
      const body = JSON.stringify(micro.event(topic, inner));
      const url = new URL(`https://${account}127.0.0.1:${micro.webhook.port}/v1/mdm/webhook`);
      const sent = request(url, { method: 'POST', ca: micro.webhook.ca, agent: false, headers: { 'content-type': 'application/json' } }, (reply) => {
        let text = '';
        reply.on('data', (chunk: Buffer) => {
          text += chunk.toString('utf8');
        });
        reply.on('end', () => resolve({ status: reply.statusCode ?? 0, code: text === '' ? null : JSON.parse(text).code }));
      });
      sent.on('error', reject);
      sent.end(body);
    });
  const account = `mdm:${encodeURIComponent('a key of a webhook, long enough')}@`;
  const authenticate = (mac: ManagedMac) => ({
    udid: mac.udid,
    raw_payload: encode({ MessageType: 'Authenticate', UDID: mac.udid, SerialNumber: mac.serial }),
  });

  test('with the key as the password of its address its events are taken, and a key that they bring is shown', async () => {
    const mac = micro.newMac();
    expect(await send(account, 'mdm.Authenticate', authenticate(mac))).toEqual({ status: 200, code: null });
    const uuid = randomUUID();
    const payload = encode({ CommandUUID: uuid, Status: 'Acknowledged', UDID: mac.udid, SecurityInfo: securityOf(mac) });
    expect((await send(account, 'mdm.Connect', { udid: mac.udid, status: 'Acknowledged', command_uuid: uuid, raw_payload: payload })).status).toBe(200);
    expect(await micro.brought(mac)).toMatchObject([{ source: 'micromdm', trust: 'mdm', state: 'waiting' }]);
    const shown = await micro.backend.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' });
    expect(shown.key.equals(mac.key)).toBe(true);
    expect(await micro.db.selectFrom('mdm_command').selectAll().execute()).toEqual([]);
  });

  test('a body that is signed as NanoMDM signs, and no account, is not MicroMDM’s', async () => {
    const mac = micro.newMac();
    expect((await micro.post(micro.event('mdm.Authenticate', authenticate(mac)))).status).toBe(403);
  });

  test.each([
    ['no account', ''],
    ['another password', 'mdm:another%20key%20of%20a%20webhook@'],
    ['the password as the name', `${encodeURIComponent('a key of a webhook, long enough')}:@`],
  ])('with %s nothing is taken', async (_, wrong) => {
    const mac = micro.newMac();
    expect(await send(wrong, 'mdm.Authenticate', authenticate(mac))).toEqual({ status: 403, code: 'WEBHOOK_REFUSED' });
    expect(await micro.db.selectFrom('mdm_device').selectAll().where('id', '=', mac.udid).execute()).toEqual([]);
  });
});

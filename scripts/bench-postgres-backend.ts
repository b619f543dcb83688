import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { certificateDigest, openEnvelope, recipientNames } from '../protocol/envelope.ts';
import type { CheckInRequest } from '../protocol/messages.ts';
import { makeEscrowCertificate } from '../server/certificates.ts';
import { openClock } from '../server/clock.ts';
import { createCustody } from '../server/custody.ts';
import { openDatabase } from '../server/database.ts';
import type { Caller, EscrowKeys, Store } from '../server/parts.ts';
import { usualCustodySettings } from '../test/custody-settings.ts';
import { checkInBody, sealedDelivery, type TestMac } from '../test/device-calls.ts';
import { answerPeer } from './bench-peer.ts';

/* The acts of a backend on PostgreSQL, without its listeners, in a process of its own, for `scripts/bench-postgres.ts`. */

export interface Ask {
  /** `alone`: one act after another, each with its own commit, and no narrow ones: as many as the one lock of all backends lets through. */
  way: 'together' | 'alone';
  kind: 'check-in' | 'delivery';
  milliseconds: number;
}

const [addressFile = '', howMany = '0'] = process.argv.slice(2);
const store = await openDatabase(readFileSync(addressFile, 'utf8'));
const { writeFor: _none, ...plain } = store;
let last: Promise<unknown> = Promise.resolve();
const oneByOne: Store = {
  ...plain,
  write<T>(act: Parameters<typeof store.write<T>>[0]): Promise<T> {
    const mine = last.then(() => store.write(act));
    last = mine.catch(() => undefined);
    return mine;
  },
};
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 });
const der = makeEscrowCertificate({ commonName: 'Escrow', privateKey, years: 20, at: new Date() });
const escrowKeys: EscrowKeys = {
  certificates: [{ digest: certificateDigest(der), der, names: recipientNames(der), modulusBytes: 384 }],
  canOpen: true,
  open: async (envelope) => openEnvelope(envelope, privateKey, der),
};
const secrets = { fingerprint: randomBytes(32), rowMac: randomBytes(32), nonce: randomBytes(32), ticket: randomBytes(32) };
const custodyOn = async (on: Store) => createCustody({ store: on, clock: await openClock(on), escrowKeys, secrets, settings: usualCustodySettings });
const custodies = { together: await custodyOn(store), alone: await custodyOn(oneByOne) };

async function enrolled(at: number): Promise<{ mac: TestMac; caller: Caller }> {
  const upper = (): string => randomUUID().toUpperCase();
  const mac = { serial: `C02P${process.pid}${String(at).padStart(4, '0')}`, hardwareUuid: upper(), volume: upper(), boot: upper() } as TestMac;
  const { serial, hardwareUuid } = mac;
  const [macId, enrolmentId, publicKey, now] = [randomUUID(), randomUUID(), randomBytes(91), Date.now()];
  await store.write(async (tx) => {
    const known = { serial, hardware_uuid: hardwareUuid, created_at: now };
    await tx
      .insertInto('mac')
      .values({ ...known, id: macId, serial_proved: 1, unreadable_count: 0 })
      .execute();
    const enrolment = { ...known, id: enrolmentId, mac_id: macId, way: 'profile', status: 'active', confirmed: 1 } as const;
    const proof = { public_key_digest: enrolmentId, public_key: publicKey, statement: 'made for a benchmark', proof: Buffer.alloc(0) };
    await tx
      .insertInto('enrolment')
      .values({ ...enrolment, ...proof })
      .execute();
  });
  const claims = { serial, serialProved: true, hardwareUuid, way: 'profile', confirmed: true, profileNotAfter: null } as const;
  return { mac, caller: { ...claims, macId, enrolmentId, publicKey, standing: 'active', protocol: 1, requestId: 'bench' } };
}

const checkIn = ({ mac, caller }: (typeof macs)[number], way: Ask['way']) => custodies[way].checkIn(caller, checkInBody(mac) as unknown as CheckInRequest);
const newDelivery = ({ mac }: (typeof macs)[number]) => sealedDelivery(der, mac, { source: 'agent', validated: 'true' });
const macs = await Promise.all(Array.from({ length: Number(howMany) }, (_, at) => enrolled(at)));
for (const one of macs) {
  await checkIn(one, 'together');
  const { id, request } = newDelivery(one);
  await custodies.together.deliver(one.caller, id, request);
}

/** Each Mac asks again when it is answered; acts a second. */
async function round({ way, kind, milliseconds }: Ask): Promise<number> {
  const sealed = macs.map((one) => Array.from({ length: kind === 'delivery' ? 20 : 0 }, () => newDelivery(one)));
  let done = 0;
  const began = performance.now();
  await Promise.all(
    macs.map(async (one, at) => {
      while (performance.now() - began < milliseconds) {
        const delivery = sealed[at]?.pop();
        if (kind === 'delivery' && !delivery) break;
        await (delivery ? custodies[way].deliver(one.caller, delivery.id, delivery.request) : checkIn(one, way));
        done += 1;
      }
    }),
  );
  return (1000 * done) / (performance.now() - began);
}

answerPeer(
  (ask: Ask) => round(ask),
  () => store.close(),
);

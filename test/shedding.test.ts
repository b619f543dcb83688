import { EventEmitter } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { describe, expect, test } from '@jest/globals';
import { protocolHeader, protocolVersion, urgentHeader } from '../protocol/messages.ts';
import { boundHandshakes, handshakesOfOne } from '../server/handshakes.ts';
import { createCounters } from '../server/metrics.ts';
import { createShedding, type Kind } from '../server/shedding.ts';
import { tellOfShedding } from '../server/shedding-alarm.ts';
import { spreadOf, watchLoad } from '../server/under-load.ts';
import { checkInBody, deviceIdentity, enrol, foreignCa, type GivenServer, givenServer, newMac, type TestMac } from './given-server.ts';
import type { Answer, Identity } from './tls-client.ts';

/** A backend that is asked for more than it can says so early, cheaply, and to those who can wait. */

const late = { never: () => 0, much: () => 5000 };

describe('whom it sends away', () => {
  test('quiet check-ins first, keys and reports of used ones last, each kind within its own bound', () => {
    const counters = createCounters();
    const shedding = createShedding({ checkIns: 4, counters, late: late.never, random: () => 0.5 });
    const entered = (kind: Kind, times: number): number => Array.from({ length: times }, () => shedding.enter(kind)).filter((one) => 'leave' in one).length;
    expect([entered('check-in', 10), entered('enrolment', 10), entered('urgent', 20)]).toEqual([4, 2, 16]);
    // Whether one ends a rotation is not known before it is read, so none is refused. Connections are what bounds them.
    expect(entered('delivery', 5000)).toBe(5000);
    expect(shedding.shed()).toBe(6 + 8 + 4);
    expect(counters.of('shed')).toContainEqual({ labels: { kind: 'check-in', because: 'too many' }, value: 6 });
    shedding.close();
  });

  test('whoever has ended makes room, once', () => {
    const shedding = createShedding({ checkIns: 1, late: late.never });
    const first = shedding.enter('check-in');
    expect(shedding.enter('check-in')).toHaveProperty('retryAfterSeconds');
    if ('leave' in first) {
      first.leave();
      first.leave();
    }
    expect(shedding.underWay()['check-in']).toBe(0);
    expect(shedding.enter('check-in')).toHaveProperty('leave');
    shedding.close();
  });

  test('where the process comes late to its work quiet check-ins wait, and deliveries do not', () => {
    const shedding = createShedding({ checkIns: 100, late: late.much });
    expect(shedding.enter('check-in')).toHaveProperty('retryAfterSeconds');
    expect(shedding.enter('urgent')).toHaveProperty('leave');
    shedding.close();
  });

  test('lateness is measured by itself: a process that was held up for more than a second says so', async () => {
    const shedding = createShedding({ checkIns: 100 });
    expect(shedding.enter('check-in')).toHaveProperty('leave');
    const until = performance.now() + 1300;
    while (performance.now() < until);
    expect(shedding.enter('check-in')).toHaveProperty('retryAfterSeconds');
    shedding.close();
  });

  test('each is told a time of its own, as many to a second as were answered; none later than half an hour and a quarter', () => {
    let at = 0;
    let x = 0.5;
    const random = () => {
      x = (x * 16807 + 0.1234) % 1;
      return x;
    };
    const shedding = createShedding({ checkIns: 10, late: late.never, now: () => at, random });
    // A hundred a second are answered for ten seconds.
    for (let n = 0; n < 1000; n += 1) {
      at += 10;
      const one = shedding.enter('urgent');
      if ('leave' in one) one.leave();
    }
    for (let n = 0; n < 10; n += 1) shedding.enter('check-in');
    const told = Array.from({ length: 8000 }, () => shedding.enter('check-in')).map((one) => ('retryAfterSeconds' in one ? one.retryAfterSeconds : 0));
    const sorted = told.toSorted((one, other) => one - other);
    expect(sorted[0]).toBeGreaterThanOrEqual(3);
    // 8,000 at 80 a second.
    expect(sorted[4000]).toBeGreaterThan(40);
    expect(sorted[4000]).toBeLessThan(65);
    expect(sorted.at(-1)).toBeLessThan(140);
    const tenth = (from: number) => told.filter((seconds) => seconds >= from && seconds < from + 10).length;
    for (const from of [20, 40, 60]) expect(tenth(from)).toBeLessThan(1200);
    for (let n = 0; n < 400_000; n += 1) shedding.enter('check-in');
    const last = shedding.enter('check-in');
    expect('retryAfterSeconds' in last && last.retryAfterSeconds).toBeLessThanOrEqual(1.25 * 1800);
    shedding.close();
  });
});

describe('whoever shows no certificate of ours', () => {
  test('is told to come after all that stand in line, and makes it no longer for any of them', () => {
    const shedding = createShedding({ checkIns: 1, late: late.never, now: () => 0, random: () => 0.5 });
    shedding.enter('check-in');
    const told = (isKnown: boolean): number => {
      const answer = shedding.enter('check-in', () => isKnown);
      return 'retryAfterSeconds' in answer ? answer.retryAfterSeconds : 0;
    };
    for (let n = 0; n < 10_000; n += 1) told(false);
    expect(told(true)).toBeLessThanOrEqual(6);
    for (let n = 0; n < 1000; n += 1) told(true);
    const last = told(true);
    expect(told(false)).toBeGreaterThan(last);
    expect(told(true)).toBeLessThanOrEqual(last + 1);
    shedding.close();
  });

  test('is told so at the listener, whatever it sends, and a Mac is told a time that is near', async () => {
    const given = await givenServer({ settings: { limits: { checkIns: 4 } } });
    const { mac, identity } = await enrolled(given);
    const stranger = deviceIdentity({ CN: 'nobody' }, { ca: foreignCa });
    let free: () => void = () => {};
    const standing = new Promise<void>((resolve) => {
      free = resolve;
    });
    const held = given.serving.backend.store.write(() => standing);
    const ask = (who: Identity | null) =>
      given.client.ask('/v1/check-in', { ...(who ? { identity: { cert: who.cert, key: who.key } } : {}), body: checkInBody(mac) });
    // Those that find room are not answered now; the first that is answered found none.
    const sent: Promise<Answer>[] = [];
    await new Promise<void>((resolve) => {
      const sending = setInterval(() => {
        const one = ask(identity);
        sent.push(one);
        void one.then(() => {
          clearInterval(sending);
          resolve();
        });
      }, 50);
    });
    const after = async (who: Identity | null): Promise<number> => Number((await ask(who)).headers['retry-after']);
    for (let n = 0; n < 20; n += 1) await after(n % 2 ? null : stranger);
    // Twenty places at the least rate would be a second each and more.
    expect(await after(identity)).toBeLessThan(15);
    free();
    await held;
    await Promise.all(sent);
  });
});

describe('the alarm', () => {
  test('comes when it lasts, once, and ends when a whole window was calm', async () => {
    const server = await shared();
    const { store, clock, log } = server.serving.backend;
    let shed = 0;
    const tell = tellOfShedding({ store, clock, log }, { shed: () => shed });
    const open = async () => (await server.serving.backend.custody.fleet()).alarms.filter(({ code }) => code === 'BACKEND_BUSY').length;
    const minutes = async (n: number, by: number) => {
      for (let minute = 0; minute < n; minute += 1) {
        shed += by;
        await tell();
      }
    };
    await minutes(4, 10);
    expect(await open()).toBe(0);
    await minutes(3, 10);
    expect(await open()).toBe(1);
    await minutes(9, 0);
    expect(await open()).toBe(1);
    await minutes(2, 0);
    expect(await open()).toBe(0);
  });
});

interface FakeSocket extends EventEmitter {
  remoteAddress: string;
}

async function enrolled(given: GivenServer): Promise<{ mac: TestMac; identity: Identity }> {
  const mac = newMac();
  const { identity } = await enrol(given, mac, { profile: deviceIdentity({ CN: mac.serial }) });
  return { mac, identity };
}

const secure = (port: number, ca: string, identity: Identity): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = tlsConnect({ port, host: '127.0.0.1', ca, ...identity }, () => resolve(socket));
    socket.once('error', reject);
  });

const plain = (port: number): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = netConnect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', () => {});
  });

const ask = (socket: TLSSocket, body: unknown): Promise<string> =>
  new Promise((resolve) => {
    const text = JSON.stringify(body);
    socket.once('data', (chunk) => resolve(chunk.toString('latin1')));
    socket.write(
      `POST /v1/check-in HTTP/1.1\r\nhost: a\r\n${protocolHeader}: ${protocolVersion}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    );
  });

let server: Promise<GivenServer> | null = null;
const shared = (): Promise<GivenServer> => {
  server ??= givenServer({ settings: { limits: { checkIns: 4 } } });
  return server;
};

describe('at the listener', () => {
  test('503 with Retry-After while the database stands still, before the body has come; urgent ones go on to it', async () => {
    const given = await shared();
    const { mac, identity } = await enrolled(given);
    const post = (headers: Record<string, string> = {}) => given.client.ask('/v1/check-in', { identity, headers, body: checkInBody(mac) });
    let free: () => void = () => {};
    const standing = new Promise<void>((resolve) => {
      free = resolve;
    });
    const held = given.serving.backend.store.write(() => standing);
    // Those that find room are not answered now; the first that is answered found none.
    const sent: Promise<Answer>[] = [];
    const refused = await new Promise<Answer>((resolve) => {
      const send = () => {
        const one = post();
        sent.push(one);
        void one.then((answer) => {
          clearInterval(sending);
          resolve(answer);
        });
      };
      const sending = setInterval(send, 50);
    });
    expect(refused).toMatchObject({ status: 503, body: { code: 'SERVER_BUSY' } });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(refused.headers['connection']).toBe('close');
    const urgent = post({ [urgentHeader]: '1' });
    free();
    await held;
    expect((await urgent).status).toBe(200);
    expect((await Promise.all(sent)).filter(({ status }) => status === 200)).not.toHaveLength(0);
  });

  test('who is connected is answered while handshakes stand still; when too many do, the next is refused at once, and one that ended makes room', async () => {
    const given = await givenServer({ settings: { limits: { handshakes: 10, connections: 1000, connectionsPerAddress: 1000 } } });
    const { mac, identity } = await enrolled(given);
    const port = Number(new URL(given.url).port);
    const open = await secure(port, given.ca, identity);
    // They connect, and begin nothing.
    const silent = await Promise.all(Array.from({ length: 10 }, () => plain(port)));
    const refused = await plain(port);
    await new Promise((resolve) => refused.once('close', resolve));
    expect(await ask(open, checkInBody(mac))).toMatch(/^HTTP\/1.1 200/);
    open.destroy();
    for (const socket of silent) socket.destroy();
    // The last of them may not be gone yet.
    let status = 0;
    while (status !== 200)
      status = await given.client.ask('/v1/check-in', { identity, body: checkInBody(mac) }).then(
        (answer) => answer.status,
        () => 0,
      );
    expect(status).toBe(200);
  });

  test('how wide a fleet spreads grows with it, and not at all where the settings say so', async () => {
    const given = await shared();
    const { mac, identity } = await enrolled(given);
    expect((await given.client.ask('/v1/check-in', { identity, body: checkInBody(mac) })).body.spreadSeconds).toBe(0);
    const { backend } = given.serving;
    const rounds: (() => Promise<void>)[] = [];
    const every = (_ms: number, _name: string, work: () => Promise<void>) => void rounds.push(work);
    const load = watchLoad({ ...backend, settings: { ...backend.settings, keys: { ...backend.settings.keys, spreadSeconds: 60 } } }, createCounters(), {
      every,
    });
    await rounds[0]?.();
    expect(load.spreadSeconds()).toBe(60);
    load.end();
    expect([spreadOf(60, 20_000), spreadOf(60, 1_000_000), spreadOf(0, 100_000)]).toEqual([200, 600, 0]);
  });

  test('those who wait for news leave connections for whoever brings a key', async () => {
    const { backend } = (await shared()).serving;
    const settings = { ...backend.settings, limits: { ...backend.settings.limits, connections: 10, waiters: 5000 } };
    const load = watchLoad({ ...backend, settings }, createCounters(), { every: () => {} });
    const seats = Array.from({ length: 10 }, (_, at) => load.waiting.waiting.sit(`mac-${at}`));
    expect(seats.filter((seat) => seat !== null)).toHaveLength(8);
    load.end();
  });

  test('of the handshakes one network has a quarter, unless it is a proxy or the settings let one address have every connection', () => {
    const of = (connectionsPerAddress: number) => handshakesOfOne({ handshakes: 1000, connections: 5000, connectionsPerAddress });
    expect([of(500), of(5000)]).toEqual([250, 1000]);
    const refusals: string[] = [];
    const begun: string[] = [];
    const server = new EventEmitter();
    server.on('connection', (socket: FakeSocket) => void begun.push(socket.remoteAddress));
    const isProxy = (address: string | undefined) => address === '192.0.2.1';
    const underWay = boundHandshakes(server as never, { most: 8, mostOfOne: 2, isProxy, onRefused: (because) => void refusals.push(because) });
    const come = (address: string): FakeSocket => {
      const socket = Object.assign(new EventEmitter(), { remoteAddress: address, remotePort: begun.length + refusals.length, localPort: 1, destroyed: false });
      const made = Object.assign(socket, { resetAndDestroy: () => void socket.emit('close') });
      server.emit('connection', made);
      return made;
    };
    const [first] = [come('198.51.100.7'), come('198.51.100.7'), come('198.51.100.7')];
    // One subscriber's /64 is one network.
    for (let n = 0; n < 4; n += 1) come(`2001:db8::${n}`);
    for (let n = 0; n < 3; n += 1) come('192.0.2.1');
    expect(refusals).toEqual(['too many of one network', 'too many of one network', 'too many of one network']);
    expect(underWay()).toBe(7);
    come('203.0.113.9');
    come('203.0.113.10');
    expect(refusals.at(-1)).toBe('too many');
    first?.emit('close');
    come('198.51.100.7');
    expect([underWay(), refusals.length]).toEqual([8, 4]);
    server.emit('secureConnection', first);
    expect(underWay()).toBe(8);
  });

  test('a server without handshakes has no line', () => {
    const bounds = { most: 1, mostOfOne: 1, isProxy: () => false, onRefused: () => {} };
    expect(() => boundHandshakes({ listeners: () => [] } as never, bounds)).toThrow(TypeError);
  });
});

import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { protocolHeader, protocolVersion } from '../protocol/messages.ts';
import type { BenchMac } from './bench-macs.ts';
import { answerPeer } from './bench-peer.ts';

/*
 * Macs without an agent, as cheap as can be, so that it is the server that is measured: bare TLS, requests that were put
 * together before. Each of `at once` sends its next one when the one before is answered.
 */

export interface Round {
  port: number;
  ca: string;
  /** Each request on a connection, and with a handshake, of its own; otherwise all of one Mac's on one, which lasts from round to round. */
  fresh: boolean;
  atOnce: number;
  /** Until it is over. */
  milliseconds?: number;
  /** Whose turn it is, and what is sent, in this order; again from the beginning where time is left. Those `atOnce` apart are sent one after another. */
  sends: { mac: number; method: string; path: string; body: string }[];
}

export interface Done {
  answered: number;
  milliseconds: number;
  /** Answers that were none of 200 and 201, by their first line. */
  others: Record<string, number>;
  /** Milliseconds from the start of a request, its handshake included, to its answer. */
  waits: number[];
}

const kept = new Map<string, TLSSocket>();
let macs: (Pick<BenchMac, 'cert' | 'key'> & { context?: SecureContext })[] = [];

const contextOf = (at: number, ca: string): SecureContext => {
  const mac = macs[at % macs.length];
  if (!mac) throw new Error('no Macs');
  mac.context ??= createSecureContext({ cert: mac.cert, key: mac.key, ca, minVersion: 'TLSv1.3' });
  return mac.context;
};

const open = (round: Round, mac: number): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port: round.port, host: '127.0.0.1', secureContext: contextOf(mac, round.ca), ALPNProtocols: ['http/1.1'] });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      socket.off('error', reject);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });

function bytesOf({ method, path, body }: Round['sends'][number], fresh: boolean): string {
  const length = Buffer.byteLength(body);
  return `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${protocolHeader}: ${protocolVersion}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\nconnection: ${fresh ? 'close' : 'keep-alive'}\r\n\r\n${body}`;
}

/** The first line of the answer, once all of it is here; of a refusal what it says, too. */
const ask = (socket: TLSSocket, bytes: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = '';
    let end = -1;
    const stop = (): void => {
      socket.off('data', take);
      socket.off('error', failed);
      socket.off('close', closed);
    };
    const failed = (error: Error): void => {
      stop();
      reject(error);
    };
    const closed = (): void => failed(new Error('closed before its answer'));
    function take(chunk: Buffer): void {
      text += chunk.toString('latin1');
      if (end < 0) {
        const head = text.indexOf('\r\n\r\n');
        if (head < 0) return;
        end = head + 4 + Number(/\r\ncontent-length: (\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
      }
      if (text.length < end) return;
      stop();
      const line = text.slice(0, text.indexOf('\r\n'));
      resolve(/ 20\d /.test(line) ? line : `${line} ${text.slice(text.indexOf('\r\n\r\n') + 4, 600)}`);
    }
    socket.on('data', take);
    socket.once('error', failed);
    socket.once('close', closed);
    socket.write(bytes);
  });

async function run(round: Round): Promise<Done> {
  const { sends, fresh, atOnce } = round;
  const messages = sends.map((one) => bytesOf(one, fresh));
  const done: Done = { answered: 0, milliseconds: 0, others: {}, waits: [] };
  const began = performance.now();
  const isOver = (taken: number): boolean => (round.milliseconds === undefined ? taken >= sends.length : performance.now() - began >= round.milliseconds);
  const worker = async (first: number): Promise<void> => {
    for (let taken = first; !isOver(taken); taken += atOnce) {
      const at = taken % sends.length;
      const { mac = 0 } = sends[at] ?? {};
      const from = performance.now();
      const name = `${round.port} ${mac}`;
      const before = fresh ? undefined : kept.get(name);
      const socket = before && !before.destroyed ? before : await open(round, mac);
      if (!fresh) kept.set(name, socket);
      const line = await ask(socket, messages[at] ?? '');
      done.waits.push(performance.now() - from);
      if (/^HTTP\/1\.1 20[01] /.test(line)) done.answered += 1;
      else done.others[line] = (done.others[line] ?? 0) + 1;
      if (fresh) socket.destroy();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, first) => worker(first)));
  done.milliseconds = performance.now() - began;
  return done;
}

answerPeer(
  (message: { macs?: typeof macs; round?: Round }) => {
    if (message.round) return run(message.round);
    macs = message.macs ?? [];
    return macs.length;
  },
  () => {
    for (const socket of kept.values()) socket.destroy();
  },
);

import { connect, createSecureContext, type SecureContext } from 'node:tls';
import { Passing, retry, usualRetries } from '../agent/retry.ts';
import { protocolHeader, protocolVersion } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { BenchMac } from './bench-macs.ts';
import { answerPeer } from './bench-peer.ts';
import type { OneRun } from './herd-model.ts';

/* Thousands of Macs in one process, which all come in the same moment: real handshakes, and the agent's own way of trying again. */

/** Seconds until a connection stands, as the agent has it. */
const connectSeconds = 10;

interface Herd {
  port: number;
  ca: string;
  macs: (Pick<BenchMac, 'cert' | 'key'> & { body: string })[];
  /** Those above take turns. */
  howMany: number;
}

async function come({ port, ca, macs, howMany }: Herd): Promise<OneRun> {
  const contexts = macs.map(({ cert, key }) => createSecureContext({ cert, key, ca, minVersion: 'TLSv1.3' }));
  const run: OneRun = { answered: [], shed: 0, refused: 0, later: 0 };
  const began = performance.now();
  const one = async (at: number): Promise<void> => {
    const { body = '' } = macs[at % macs.length] ?? {};
    try {
      await retry(() => ask(port, contexts[at % contexts.length], body, run), usualRetries);
      run.answered.push((performance.now() - began) / 1000);
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      run.later += 1;
    }
  };
  await Promise.all(Array.from({ length: howMany }, (_, at) => one(at)));
  return run;
}

function ask(port: number, secureContext: SecureContext | undefined, body: string, run: OneRun): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ALPNProtocols: ['http/1.1'], ...(secureContext ? { secureContext } : {}) });
    let text = '';
    const timer = setTimeout(() => socket.destroy(), connectSeconds * 1000);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.write(
        `POST /v1/check-in HTTP/1.1\r\nhost: 127.0.0.1\r\n${protocolHeader}: ${protocolVersion}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    });
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.once('close', () => {
      clearTimeout(timer);
      const status = text.slice(9, 12);
      if (status === '200') return resolve();
      if (status === '503') run.shed += 1;
      else run.refused += 1;
      const after = /\r\nretry-after: (\d+)/i.exec(text)?.[1];
      reject(
        new Passing(
          new Problem(status === '503' ? 'SERVER_BUSY' : 'SERVER_UNREACHABLE', status, after === undefined ? {} : { retryAfterSeconds: Number(after) }),
        ),
      );
    });
  });
}

answerPeer((herd: Herd) => come(herd));

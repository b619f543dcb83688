import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { scratch } from './scratch.ts';

const at = new Date();
const newCa = (commonName: string) => makeCa({ commonName, years: 5, at });
const [ours, theirs] = [newCa('Example Sparekey CA'), newCa('Example Proxy CA')];
const folder = scratch('few-then-all');
let server: Server;
/** Handshakes that began, the agent's look at a refused certificate among them. */
let connections = 0;

beforeAll(async () => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const cert = issueServerCertificate({
    ca: ours.certificateDer,
    caKey: ours.privateKey,
    publicKeyDer: pair.publicKey.export({ format: 'der', type: 'spki' }),
    names: ['127.0.0.1'],
    at,
    days: 30,
  });
  server = createServer({ key: pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), cert: pem('CERTIFICATE', cert) }, (_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ nonce: 'n', expiresInSeconds: 60 })),
  );
  server.on('connection', () => {
    connections++;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // What OpenSSL takes for the store of the system; read when a process starts, so each run below is one.
  writeFileSync(join(folder, 'system.pem'), pem('CERTIFICATE', ours.certificateDer));
});
afterAll(() => void server.close());

const ask = (trust: 'bundled' | 'system', trustedCertificates: string[]): Promise<string> => {
  const settings = { serverUrl: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, trust, trustedCertificates, proxy: 'none' };
  const code = `
    const { openServer } = await import(${JSON.stringify(join(import.meta.dirname, '../agent/server.ts'))});
    const server = openServer({ settings: ${JSON.stringify(settings)}, identity: null, runner: null });
    console.log(await server.nonce().catch((problem) => problem.code));
    server.close();`;
  return new Promise((resolve) => {
    const program = join(folder, 'ask.mjs');
    writeFileSync(program, code);
    const child = spawn(process.execPath, [program], {
      env: { PATH: '/usr/bin:/bin', SSL_CERT_FILE: join(folder, 'system.pem'), NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.on('close', () => resolve(said.trim()));
  });
};
const certificateOf = (ca: typeof ours): string => pem('CERTIFICATE', ca.certificateDer);

describe('the certificates of the settings are tried first, and then all that are trusted', () => {
  test.each<[string, 'bundled' | 'system', string[], string, number]>([
    ['they do: one connection', 'bundled', [certificateOf(ours)], 'n', 1],
    ['they do not, and the store of the Mac does: believed at the second connection', 'system', [certificateOf(theirs)], 'n', 2],
    ['there are none: the store of the Mac at once', 'system', [], 'n', 1],
    ['nobody does: refused, after one look at the certificate', 'bundled', [certificateOf(theirs)], 'TLS_INTERCEPTED', 3],
  ])('%s', async (_, trust, trusted, answer, expected) => {
    connections = 0;
    expect([await ask(trust, trusted), connections]).toEqual([answer, expected]);
  });
});

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from '@jest/globals';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { newPair } from './given-server.ts';
import { freePort } from './ports.ts';
import { until } from './waiting.ts';

/*
 * Pebble, the ACME server that Let's Encrypt tests clients with, and its DNS server, by which every name leads to this machine.
 * Debian: apt install pebble. Without it a test is skipped, and its name says so; in CI it fails.
 */
const { PATH = '', CI } = process.env;
const environment = { PATH: `${PATH}:/usr/local/bin:/usr/bin:/bin` };
// `-h` alone: there is no option that only says a version.
const isHere = ['pebble', 'pebble-challtestsrv'].every((name) => spawnSync(name, ['-h'], { env: environment, timeout: 60_000 }).error === undefined);

export function testWithPebble(name: string, body: () => Promise<void>): void {
  if (isHere) test(name, body);
  else if (CI) test(name, () => Promise.reject(new Error('pebble is not on this machine')));
  else test.skip(`${name} [skipped: pebble is not on this machine (Debian: apt install pebble)]`, body);
}

async function freeDatagramPort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

export interface AcmeCa {
  directory: string;
  /** PEM of the CA of its own address. */
  trusted: string;
  stop(): Promise<void>;
}

/** It looks for every name at `lookAt` of this machine. `external`: it gives accounts to this customer only. */
export async function startAcmeCa(folder: string, lookAt: number, external: { keyId: string; key: string } | null = null): Promise<AcmeCa> {
  const [port, management, dns] = [await freePort(), await freePort(), await freeDatagramPort()];
  const ca = makeCa({ commonName: 'Pebble itself', years: 1, at: new Date() });
  const pair = newPair();
  const der = issueServerCertificate({
    ca: ca.certificateDer,
    caKey: ca.privateKey,
    names: ['127.0.0.1'],
    publicKeyDer: pair.publicKey.export({ type: 'spki', format: 'der' }),
    at: new Date(),
    days: 30,
  });
  const files = { certificate: join(folder, 'pebble.pem'), privateKey: join(folder, 'pebble-key.pem'), config: join(folder, 'pebble.json') };
  const trusted = join(folder, 'pebble-ca.pem');
  writeFileSync(files.certificate, pem('CERTIFICATE', der));
  writeFileSync(files.privateKey, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  writeFileSync(trusted, pem('CERTIFICATE', ca.certificateDer));
  const pebble = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${management}`,
    certificate: files.certificate,
    privateKey: files.privateKey,
    httpPort: 1,
    tlsPort: lookAt,
    externalAccountBindingRequired: external !== null,
    externalAccountMACKeys: external ? { [external.keyId]: external.key } : {},
  };
  writeFileSync(files.config, JSON.stringify({ pebble }));
  // Half of all good nonces are refused, as after a restart of the CA.
  const env = { ...environment, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '50' };
  const started: ChildProcess[] = [
    spawn('pebble-challtestsrv', ['-dns01', `127.0.0.1:${dns}`, '-http01', '', '-https01', '', '-tlsalpn01', '', '-defaultIPv6', '', '-management', ''], {
      env,
      stdio: 'ignore',
    }),
    spawn('pebble', ['-config', files.config, '-dnsserver', `127.0.0.1:${dns}`], { env, stdio: 'ignore' }),
  ];
  let up = false;
  const asking = setInterval(() => void answers(port).then((is) => (up ||= is)), 50);
  await until(() => up);
  clearInterval(asking);
  return {
    directory: `https://127.0.0.1:${port}/dir`,
    trusted,
    async stop() {
      for (const child of started) {
        const ended = new Promise<void>((resolve) => (child.exitCode === null && child.signalCode === null ? child.once('exit', () => resolve()) : resolve()));
        child.kill('SIGKILL');
        await ended;
      }
    },
  };
}

import { createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyDigest } from '../server/accept-enrolment.ts';
import { readAuthority } from '../server/authorities.ts';
import { issueClientCertificate, pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { openDatabase } from '../server/database.ts';
import { sha256 } from '../server/device-identity.ts';
import { initialise } from '../server/init.ts';
import { checkInBody, type TestMac } from '../test/device-calls.ts';
import { freePort } from '../test/ports.ts';

export const passphrase = 'a fleet that is none';

/** A Mac that is enrolled, with the identity that it speaks with. */
export interface BenchMac extends TestMac {
  macId: string;
  enrolmentId: string;
  cert: string;
  key: string;
}

export interface BenchGround {
  dir: string;
  port: number;
  /** PEM: by it the backend's certificate is known. */
  ca: string;
  /** What the bare server has too. */
  tls: { certificate: string; key: string; clientCas: string };
  macs: BenchMac[];
}

const day = 24 * 3_600_000;

/** A data folder as `init` makes it, with Macs that have enrolled and been quiet since. */
export async function makeGround(folder: string, howMany: number): Promise<BenchGround> {
  const dir = join(folder, 'data');
  const port = await freePort();
  await initialise({
    dir,
    names: ['127.0.0.1'],
    organisation: 'Example',
    devicesPort: port,
    passphrase,
    copy: null,
    deviceCaFiles: [],
    ownTls: null,
    admin: 'grace',
    say: () => undefined,
  });
  const paths = folderPaths(dir);
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8')) as object;
  writeFileSync(paths.settings, JSON.stringify({ ...settings, listen: { port, host: '127.0.0.1' } }));
  const agentCa = readAuthority(paths.agentCa);
  const caKey = createPrivateKey(readFileSync(paths.agentCa.key));
  const now = Date.now();
  const made = Array.from({ length: howMany }, (_, at) => newMac(at, { ca: agentCa.der, caKey }, now));
  const store = await openDatabase(paths.database);
  try {
    for (let at = 0; at < made.length; at += 200)
      await store.write(async (tx) => {
        const some = made.slice(at, at + 200);
        await tx
          .insertInto('mac')
          .values(some.map(({ rows }) => rows.mac))
          .execute();
        await tx
          .insertInto('enrolment')
          .values(some.map(({ rows }) => rows.enrolment))
          .execute();
        await tx
          .insertInto('certificate')
          .values(some.map(({ rows }) => rows.certificate))
          .execute();
      });
  } finally {
    await store.close();
  }
  const read = (file: string): string => readFileSync(file, 'utf8');
  return {
    dir,
    port,
    ca: read(paths.tlsCa.certificate),
    tls: { certificate: read(paths.tls.certificate), key: read(paths.tls.key), clientCas: pem('CERTIFICATE', agentCa.der) },
    macs: made.map(({ mac }) => mac),
  };
}

function newMac(at: number, issuer: { ca: Buffer; caKey: ReturnType<typeof createPrivateKey> }, now: number) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKeyDer = publicKey.export({ type: 'spki', format: 'der' });
  const [macId, enrolmentId] = [randomUUID(), randomUUID()];
  const der = issueClientCertificate({ ...issuer, publicKeyDer, commonName: enrolmentId, at: new Date(now - day), days: 400 });
  const upper = (): string => randomUUID().toUpperCase();
  const mac: BenchMac = {
    macId,
    enrolmentId,
    serial: `C02B${String(at).padStart(8, '0')}`,
    hardwareUuid: upper(),
    volume: upper(),
    boot: upper(),
    cert: pem('CERTIFICATE', der),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
  const { serial, hardwareUuid: hardware_uuid } = mac;
  return {
    mac,
    rows: {
      mac: { id: macId, serial, serial_proved: 1, created_at: now - day, hardware_uuid, unreadable_count: 0 },
      enrolment: {
        id: enrolmentId,
        mac_id: macId,
        way: 'profile' as const,
        public_key_digest: keyDigest(publicKeyDer),
        public_key: publicKeyDer,
        statement: 'made for a benchmark',
        proof: Buffer.alloc(0),
        profile_certificate: der,
        profile_not_after: now + 399 * day,
        serial,
        hardware_uuid,
        created_at: now - day,
        status: 'active' as const,
        confirmed: 1,
      },
      certificate: {
        digest: sha256(der),
        enrolment_id: enrolmentId,
        der,
        issued_at: now - day,
        not_after: now + 399 * day,
        first_used_at: now - day,
        status: 'active' as const,
      },
    },
  };
}

/** What a Mac on which nothing is the matter says at every check-in. */
export const quietCheckIn = (mac: TestMac): string => JSON.stringify(checkInBody(mac));

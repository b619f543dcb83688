import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeView } from '../portal/episodes.ts';
import { lettersOf } from '../portal/mails.ts';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import type { Log } from '../server/log.ts';
import { peopleSettings } from '../server/people-settings.ts';
import type { SitesGround } from '../server/serve.ts';
import { queueMail } from '../web/mail-queue.ts';
import { type MailRound, sendMails } from '../web/mail-sending.ts';
import { freePort } from './ports.ts';
import { scratch } from './scratch.ts';
import { type GivenServer, givenServer, type MacWish, type TestMac } from './server-parts.ts';
import { type Sink, type SinkOptions, smtpSink } from './smtp-sink.ts';

/** The rounds and the mails on a real database and real mail servers, without a listener for people. */

export const portalUrl = 'https://key.example.org';

function makeServerPair(): { ca: string; certificate: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const at = new Date();
  const ca = makeCa({ commonName: 'Mail CA', years: 1, at });
  const publicKeyDer = publicKey.export({ type: 'spki', format: 'der' });
  const der = issueServerCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, names: ['127.0.0.1'], publicKeyDer, at, days: 30 });
  return {
    ca: pem('CERTIFICATE', ca.certificateDer),
    certificate: pem('CERTIFICATE', der),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
export const pair = makeServerPair();

export interface GivenMails {
  server: GivenServer;
  ground: SitesGround;
  dir: string;
  logged: string[];
  /** A new Mac whose key is held. */
  newMac(wish?: MacWish & { name?: string }): Promise<TestMac>;
  person(about?: { email?: string | null; language?: string | null; name?: string }): Promise<string>;
  /** A view as the key page writes it; the episode's id. */
  show(mac: TestMac, personId: string, more?: { browser?: string }): Promise<string>;
  send(): Promise<MailRound>;
}

export async function givenMails(people: object = {}): Promise<GivenMails> {
  const server = await givenServer();
  const dir = scratch('mail');
  const settings = peopleSettings.parse({
    url: portalUrl,
    listen: { port: 8444 },
    contact: { name: 'Service desk', phone: '+31 20 123 45 67', email: 'desk@example.org', hours: 'Mon–Fri 8:00–18:00' },
    ...people,
  });
  const logged: string[] = [];
  const note = (event: string, details = {}): void => void logged.push(JSON.stringify({ event, ...details }));
  const log: Log = { info: note, warn: note, error: note };
  const { store, clock, custody } = server;
  const backend = { store, clock, custody, paths: folderPaths(dir), settings: { organisation: 'Example', keys: server.settings } };
  const ground = { backend, settings, log, every: () => undefined } as unknown as SitesGround;
  const write = lettersOf(settings, 'Example');
  return {
    server,
    ground,
    dir,
    logged,
    newMac: async ({ name, ...wish } = {}) => {
      const mac = await server.newMac(wish);
      if (name !== undefined) mac.factsMore = { name };
      await mac.escrowed();
      return mac;
    },
    person: async ({ email = 'ada@example.org', language = null, name = 'Ada' } = {}) => {
      const id = randomUUID();
      const row = { id, provider: 'local', subject: id, user_name: 'ada', email, display_name: name, groups: '[]', language, created_at: clock.now() };
      await store.write((tx) =>
        tx
          .insertInto('person')
          .values(row as never)
          .execute(),
      );
      return id;
    },
    show: async (mac, personId, { browser } = {}) => {
      let episodeId = '';
      await custody.disclose({
        macId: mac.id,
        actor: 'ada',
        reason: 'locked out',
        person: 'owner',
        after: async (tx, at, written) => {
          const code = async () => '7F3A-19';
          const { episode } = await writeView(tx, at, written, { macId: mac.id, personId, sessionId: 'one', network: '192.0.2.1', because: 'again', code });
          episodeId = episode.id;
          const details = { macId: mac.id, shownAt: at, ...(browser === undefined ? {} : { browser }) };
          await queueMail(tx, { kind: 'key-shown', personId, episodeId, details, at });
        },
      });
      return episodeId;
    },
    send: () => sendMails(ground, write),
  };
}

/** The same, with a mail server of their own that listens, and settings that lead to it. */
export async function givenSmtp(
  options: Partial<SinkOptions> & { smtp?: object; password?: string } = {},
): Promise<GivenMails & { sink: Sink; port: number; listen(more?: Partial<SinkOptions>): Promise<Sink> }> {
  const port = await freePort();
  const folder = scratch('smtp');
  mkdirSync(folder, { recursive: true });
  const [trustedCertificatesFile, passwordFile] = [join(folder, 'ca.pem'), join(folder, 'password')];
  writeFileSync(trustedCertificatesFile, pair.ca);
  writeFileSync(passwordFile, `${options.password ?? 'the right one'}\n`, { mode: 0o600 });
  const security = options.security ?? 'starttls';
  const account = { user: 'sparekey', password: 'the right one' };
  const listen = (more: Partial<SinkOptions> = {}) =>
    smtpSink({ port, security, certificate: pair.certificate, key: pair.key, account, ...(options.answer ? { answer: options.answer } : {}), ...more });
  const smtp = { host: '127.0.0.1', port, security, user: account.user, passwordFile, trustedCertificatesFile, ...options.smtp };
  const given = await givenMails({ mail: { from: 'sparekey@example.org', smtp } });
  return { ...given, sink: await listen(), port, listen };
}

import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pem, readPem } from '../../server/certificates.ts';
import { folderPaths } from '../../server/data-folder.ts';
import { deviceCa } from '../device-calls.ts';
import { makeDataFolder, passphrase } from '../made-backend.ts';
import { freePort } from '../ports.ts';
import { type Life, type SweptBackend, startBackend } from '../server-sweep/backend-process.ts';
import { clientOf } from '../tls-client.ts';
import { type Balancer, openBalancer } from './balancer.ts';

/** One of the backends: a data folder of its own, and its life. */
interface Member extends SweptBackend {
  name: 'a' | 'b';
  life: Life | null;
}

/** Two backends on one PostgreSQL database, set up as docs/operating.md says it, behind a balancer. */
export interface Pair {
  a: Member;
  b: Member;
  /** A copy of the folder that nobody serves: for whoever looks, as a command would. */
  dir: string;
  /** As Macs and admins reach them. */
  reached: SweptBackend;
  console: { url: string; port: number } | null;
  balancers: Balancer[];
  start(member: Member): Promise<void>;
  /** Without waiting for it, and whatever comes of it. */
  startOnly(member: Member): Life;
  /** SIGKILL, and it was that which ended it. */
  kill(member: Member): Promise<void>;
  /** SIGTERM, and it ended in order. */
  stop(member: Member): Promise<void>;
  close(): Promise<void>;
}

export interface PairOptions {
  /** Whether Macs and admins may go on now. */
  mayAsk?: () => boolean;
  /** The address of an empty database. */
  address: string;
  /** The portal and the console too. */
  sites: boolean;
  /** More of settings.json. */
  settings?: object;
  people?: object;
}

const compiledByTests = fileURLToPath(new URL('../../node_modules/.cache/sparekey-tests', import.meta.url));

export async function makePair({ address, sites, settings = {}, people = {}, mayAsk = () => true }: PairOptions): Promise<Pair> {
  const folder = mkdtempSync(join(tmpdir(), 'two-backends-'));
  const passphraseFile = join(folder, 'passphrase');
  writeFileSync(passphraseFile, `${passphrase}\n`, { mode: 0o600 });
  const ca = join(folder, 'device-ca.pem');
  writeFileSync(ca, pem('CERTIFICATE', deviceCa.certificateDer));
  const front = { macs: await freePort(), people: await freePort(), console: await freePort() };
  const first = join(folder, 'data');
  const made = await makeDataFolder(first, front.macs, {
    deviceCaFiles: [ca],
    putDatabase: async (file) => writeFileSync(folderPaths(dirname(file)).databaseUrl, address, { mode: 0o600 }),
  });
  const read = (dir: string) => JSON.parse(readFileSync(folderPaths(dir).settings, 'utf8'));
  const common = { ...read(first), logLevel: 'warn', ...settings, keys: { ...read(first).keys, grantsPerHour: 100_000 } };
  const [der = null] = readPem(readFileSync(join(folderPaths(first).escrow, `${made.escrowCertificate}.certificate.pem`), 'utf8'));
  if (der === null) throw new Error('there is no escrow certificate');
  const escrow = { der, digest: made.escrowCertificate };
  const tlsCa = readFileSync(folderPaths(first).tlsCa.certificate, 'utf8');

  async function member(name: Member['name']): Promise<Member & { ports: typeof front }> {
    const dir = join(folder, `data-${name}`);
    cpSync(first, dir, { recursive: true });
    chmodSync(dir, 0o700);
    const ports = { macs: await freePort(), people: await freePort(), console: await freePort() };
    const host = '127.0.0.1';
    const site = (at: 'people' | 'console') => ({ url: `https://${host}:${front[at]}`, listen: { host, port: ports[at] } });
    const both = sites ? { people: { ...site('people'), ...people }, console: site('console') } : {};
    writeFileSync(folderPaths(dir).settings, JSON.stringify({ ...common, listen: { port: ports.macs, host }, ...both }), { mode: 0o600 });
    const swept = { paths: folderPaths(dir), passphrase, passphraseFile, url: made.serverUrl, client: clientOf(ports.macs, tlsCa) };
    return { ...swept, escrow, up: false, compiled: compiledByTests, name, life: null, ports };
  }

  const [a, b] = [await member('a'), await member('b')];
  const balancers = [await openBalancer(front.macs, [a.ports.macs, b.ports.macs])];
  if (sites) balancers.push(await openBalancer(front.console, [a.ports.console, b.ports.console]));
  let isOver = false;
  // As the balancer has them: each message may come to the other one.
  const reached: SweptBackend = {
    ...a,
    client: clientOf(front.macs, tlsCa),
    freshly: true,
    get up() {
      // Whoever asks until somebody answers would ask for ever.
      if (isOver) throw new Error('the two backends are gone');
      return (a.up || b.up) && mayAsk();
    },
  };

  return {
    a,
    b,
    dir: first,
    reached,
    console: sites ? { url: `https://127.0.0.1:${front.console}`, port: front.console } : null,
    balancers,
    startOnly(it) {
      it.life = startBackend(it);
      return it.life;
    },
    async start(it) {
      it.life = startBackend(it);
      const life = it.life;
      if (!(await Promise.race([life.ready, sleep(120_000, false, { ref: false })]))) {
        life.kill('SIGKILL');
        throw new Error(`backend ${it.name} did not come to serve: ${(await life.ended).said}`);
      }
    },
    async kill(it) {
      it.life?.kill('SIGKILL');
      const ended = await it.life?.ended;
      if (ended?.by !== 'SIGKILL') throw new Error(`backend ${it.name} ended by itself (${ended?.code}): ${ended?.said}`);
    },
    async stop(it) {
      it.life?.kill('SIGTERM');
      const ended = await it.life?.ended;
      if (ended?.code !== 0) throw new Error(`backend ${it.name} did not stop in order (${ended?.code}): ${ended?.said}`);
    },
    async close() {
      isOver = true;
      for (const { life } of [a, b]) life?.kill('SIGKILL');
      await Promise.all([a, b].map(({ life }) => life?.ended));
      for (const balancer of balancers) await balancer.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

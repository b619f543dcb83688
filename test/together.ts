import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { World } from '../agent/check-in.ts';
import { realDisk } from '../agent/disk.ts';
import { runJob } from '../agent/job.ts';
import type { Journal } from '../agent/journal.ts';
import type { Log } from '../agent/log.ts';
import { ask } from '../agent/requests.ts';
import { openSecrets } from '../agent/secrets.ts';
import type { PublicStatus } from '../agent/status.ts';
import { pem } from '../server/certificates.ts';
import { type Log as ServerLog, silentLog } from '../server/log.ts';
import { type MountSites, type Serving, serve } from '../server/serve.ts';
import { notAllowed } from './allowed-commands.ts';
import { makePair } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import type { Pair, Settings } from './fake-mac/state.ts';
import { Killed, type Killing, killing } from './killing.ts';
import { makeDataFolder, passphrase } from './made-backend.ts';
import { type Network, openNetwork } from './network.ts';
import { freePort } from './ports.ts';

/*
 * A fake Mac and the real backend: real TLS with real certificates, real envelopes, SQLite; the real agent in process. Only
 * macOS and time are made up, and time is one for both sides: `pass` moves it. Knows nothing of jest: the sweeps use it too.
 */

export const operator = 'an operator';

export interface GivenOptions {
  escrow?: 'ours' | 'foreign' | 'none';
  fileVault?: 'on' | 'off';
  settings?: Settings;
  /** Settings that are not there. */
  without?: string[];
  serial?: string;
  hardwareUuid?: string;
  macos?: string;
  /** Where the organisation's identity lies; null: this Mac has none. */
  identity?: 'keychain' | 'files' | null;
  /** What the agent's world is made of instead, for faults. */
  world?: Partial<World>;
}

interface Backing {
  folder: string;
  serving: Serving;
  network: Network;
  deviceCa: Pair;
  values: Settings & { escrowCertificate: string };
  dir: string;
  passphrase: string;
}

/** A listener for people beside the one for Macs: its settings but its address, and what is put there. */
interface PeoplesListener {
  settings: object;
  /** The admins' site too: its settings but its address. */
  console?: object;
  mountSites: MountSites;
  /** Where the backend writes its lines. */
  log?: ServerLog;
}
let people: PeoplesListener | null = null;

/** Said before the first `given` of a process: its backend has a listener for people too. */
export function servePeople(listener: PeoplesListener): void {
  if (backing) throw new Error('the backend runs already');
  people = listener;
}

let backing: Promise<Backing> | null = null;
const macs: FakeMac[] = [];
const time = { now: Date.parse('2026-11-23T09:00:00Z') };
let made = 0;

/** One backend per process (jest: per test file): each course has a Mac of its own. */
async function openBacking(): Promise<Backing> {
  const folder = mkdtempSync(join(tmpdir(), 'given-'));
  const dir = join(folder, 'backend');
  const deviceCa = makePair({ subject: { CN: 'Example Device CA', O: 'Example' }, kind: 'ca', days: 3650 });
  const ca = join(folder, 'device-ca.pem');
  writeFileSync(ca, deviceCa.certificate);
  const [port, behind] = [await freePort(), await freePort()];
  const made = await makeDataFolder(dir, port, { deviceCaFiles: [ca], admin: 'admin' });
  time.now = Math.max(time.now, Date.now());
  const settings = join(dir, 'settings.json');
  const chosen = JSON.parse(readFileSync(settings, 'utf8'));
  const more = people ? { people: await peopleSettings(people.settings), ...(people.console ? { console: await peopleSettings(people.console) } : {}) } : {};
  writeFileSync(settings, JSON.stringify({ ...chosen, listen: { ...chosen.listen, port: behind }, ticketsBesideDeviceCas: true, ...more }));
  const serving = await start(dir, passphrase);
  const network = await openNetwork(port, behind);
  const values = {
    serverUrl: made.serverUrl,
    escrowCertificate: pem('CERTIFICATE', serving.backend.escrowKeys.certificates[0]?.der ?? Buffer.alloc(0)),
    trustedCertificates: [readFileSync(serving.backend.paths.tlsCa.certificate, 'utf8')],
    identityIssuer: 'Example Device CA',
  };
  return { folder, serving, network, deviceCa, values, dir, passphrase };
}

async function peopleSettings(more: object): Promise<object> {
  const port = await freePort();
  return { url: `https://127.0.0.1:${port}`, listen: { host: '127.0.0.1', port }, ...more };
}

function start(dir: string, passphrase: string): Promise<Serving> {
  // Time stands still here, so a bucket would never fill again.
  const much = { perMinute: 1e6, burst: 1e6 };
  const rates = { nonce: much, enroll: much, refused: much, 'check-in': much, rotations: much, keys: much, grants: much };
  return serve({ dir, passphrase, log: people?.log ?? silentLog, wallNow: () => time.now, rates, ...(people ? { mountSites: people.mountSites } : {}) });
}

/** The Macs' folders go; the backend and its network stop. */
export async function closeAll(): Promise<void> {
  try {
    closeMacs();
  } finally {
    const it = await backing;
    await it?.network.close();
    await it?.serving.stop();
    if (it) rmSync(it.folder, { recursive: true, force: true });
    backing = null;
  }
}

/** The folders of the Macs that were made until now: a long sweep would fill the disk with them, and time passes for each. */
export function closeMacs(): void {
  const all = macs.splice(0);
  for (const mac of all) mac.dispose();
  // C4, in every story that anything tells.
  const other = all.flatMap((mac) => notAllowed(mac.runner.lines));
  if (other.length > 0) throw new Error(`the agent ran what it may not run: ${[...new Set(other)].join(' | ')}`);
}

export async function given(options: GivenOptions = {}) {
  backing ??= openBacking();
  const it = await backing;
  const { deviceCa, values, network, passphrase } = it;
  const backend = () => it.serving.backend;
  const serial = options.serial ?? `C02TEST${String(++made).padStart(5, '0')}`;
  const mac = FakeMac.create({
    serial,
    escrowProfile: options.escrow ?? 'ours',
    escrowCertificate: values.escrowCertificate,
    ...(options.identity === null ? {} : { deviceCa, identity: options.identity ?? 'keychain' }),
    ...(options.hardwareUuid ? { hardwareUuid: options.hardwareUuid } : {}),
    clock: () => time.now,
    fileVault: options.fileVault ?? 'on',
    settings: Object.fromEntries(Object.entries({ ...values, ...options.settings }).filter(([name]) => !options.without?.includes(name))),
    ...(options.macos ? { macosVersion: options.macos } : {}),
  });
  macs.push(mac);
  writeSigned(mac);
  const lines: { event: string; [field: string]: unknown }[] = [];
  const log = Object.assign((event: string, fields = {}) => void lines.push({ event, ...fields }), { close: async () => undefined }) as unknown as Log;
  const world = (): Partial<World> => ({
    runner: mac.runner,
    secrets: openSecrets(async () => mac.keytar('job'), 2),
    now: () => mac.now,
    wait: async () => undefined,
    // Nobody comes to the terminal, and nobody is waited for.
    openDoor: async () => ({ ready: async () => false, ask: async () => null, close: () => undefined }),
    log,
    ...options.world,
  });
  /** What launchd does: one run of the job; its exit status. */
  const checkIn = (more: Partial<World> = {}, pid: number = process.pid): Promise<number> =>
    runJob(mac.root, { version: '0.1.0', pid, world: { ...world(), ...more } });
  /** The same, dead at one effect. What it did until then, and whether it died. */
  const checkInAndDie = async (point: Parameters<typeof killing>[2], more: Partial<World> = {}): Promise<Killing> => {
    const killed = killing(mac.root, { runner: mac.runner, secrets: openSecrets(async () => mac.keytar('job'), 2) }, point);
    try {
      await checkIn({ ...killed.world, ...more });
    } catch (cause) {
      if (!(cause instanceof Killed)) throw cause;
    }
    // launchd starts no second job while the first one lives; a dead one leaves its lock behind.
    rmSync(mac.path('/var/db/io.sparekey.agent/lock'), { force: true });
    return killed;
  };
  const read = <T>(path: string): T => JSON.parse(readFileSync(mac.path(path), 'utf8')) as T;
  const macId = () => backend().custody.findMac(serial);
  const pass = (seconds: number): void => {
    time.now += seconds * 1000;
    for (const one of macs) {
      one.runner.pass(seconds);
      one.machine.settle();
    }
  };
  return {
    mac,
    get serving() {
      return it.serving;
    },
    get backend() {
      return backend();
    },
    get custody() {
      return backend().custody;
    },
    get store() {
      return backend().store;
    },
    get dir() {
      return it.dir;
    },
    passphrase,
    network,
    /** The backend is stopped and started again; with a folder: from that one. */
    async restart(dir: string = it.dir): Promise<void> {
      await it.serving.stop();
      it.dir = dir;
      it.serving = await start(dir, passphrase);
    },
    /** The backend's clock alone. */
    turnServerClock(seconds: number): void {
      time.now += seconds * 1000;
      for (const one of macs)
        one.change((state) => {
          state.clockOffsetSeconds -= seconds;
        });
    },
    /** The package, as it lies on a Mac that was set up again. */
    installPackage: () => writeSigned(mac),
    values,
    deviceCa,
    lines,
    checkIn,
    checkInAndDie,
    /** Time passes for the Mac and for the backend: uptime and clocks. */
    pass,
    journal: () => read<Journal>('/var/db/io.sparekey.agent/journal.json'),
    status: () => read<PublicStatus>('/var/db/io.sparekey.agent.public/status.json'),
    macId,
    custodyOf: async () => backend().custody.custodyOf(await macId()),
    /** The backend's key, by the way that people get it: a disclosure. */
    disclose: async (reason = 'a test') => (await backend().custody.disclose({ macId: await macId(), actor: operator, reason })).key.reveal(),
    /** The held key as the backend would open it, without anybody being shown it; of this volume, where one is named. */
    heldKey: async (volume?: string): Promise<string | null> => {
      const held = backend()
        .store.db.selectFrom('envelope')
        .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
        .select('envelope.bytes')
        .where('key_record.mac_id', '=', await macId())
        .where('key_record.state', '=', 'held');
      const row = await (volume === undefined ? held : held.where('key_record.volume', '=', volume.toUpperCase())).executeTakeFirst();
      const opened = row?.bytes ? await backend().escrowKeys.open(row.bytes) : null;
      return opened && typeof opened === 'object' ? opened.reveal() : null;
    },
    /** Every key of this Mac that the backend could show, whatever its state. */
    storedKeys: async (): Promise<string[]> => {
      const rows = await backend()
        .store.db.selectFrom('envelope')
        .select('bytes')
        .where('mac_id', '=', await macId())
        .execute();
      const opened = await Promise.all(rows.map(({ bytes }) => (bytes ? backend().escrowKeys.open(bytes) : 'unreadable')));
      return opened.flatMap((key) => (typeof key === 'object' ? [key.reveal()] : []));
    },
    turnClock: (seconds: number) => turnClock(mac, seconds),
    order: async (more: { withoutLogin?: boolean; overrideHold?: boolean } = {}) =>
      backend().custody.orderRotation({ macId: await macId(), actor: operator, reason: 'a test', ...more }),
    request: (kind: 'rotate' | 'check-in' | 'look', id: string) => ask(realDisk(mac.root), { id, kind, reason: kind === 'rotate' ? 'a test' : null }),
    /** A user is at the console for longer than the settle time, and the agent has seen it. */
    async settle(): Promise<void> {
      await checkIn();
      pass(601);
    },
  };
}

/** The Mac's clock alone: macOS moves its own boot time along, so no uptime passes. */
function turnClock(mac: FakeMac, seconds: number): void {
  mac.change((state) => {
    state.clockOffsetSeconds += seconds;
    state.boot.bootedAt += seconds * 1000;
  });
}

function writeSigned(mac: FakeMac): void {
  const folder = mac.path('/Library/Sparekey/lib');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'build.json'), JSON.stringify({ signed: true }));
}

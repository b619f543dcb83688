import type { X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { readAuthority, readDeviceCas, readTlsIdentity, renewTlsCertificate } from './authorities.ts';
import { whoTrustsNot } from './authority-users.ts';
import { type Backend, openBackend } from './backend.ts';
import { tellOfBackups } from './backup-late.ts';
import { type Ending, endingCertificates, sayEnding } from './certificate-dates.ts';
import { pem } from './certificates.ts';
import { addDeviceApi } from './device-api.ts';
import { createDeviceIdentity } from './device-identity.ts';
import { createEnrolment } from './enrolment.ts';
import { buildHttp, type HttpApp } from './http.ts';
import { startingTls } from './last-tls.ts';
import { connectionLimits, type Rate, type RateName } from './limits.ts';
import type { Log } from './log.ts';
import { mountNeighbours, type Neighbours } from './neighbours.ts';
import { sharesPort } from './one-port.ts';
import { createStrangerAlarm, tellOfCertificates } from './operator-alarms.ts';
import type { PeopleSettings } from './people-settings.ts';
import { createPeers } from './proxy.ts';
import { spreadRestoreDebts } from './restore.ts';
import { checkDataFolder } from './serve-check.ts';
import { type SocketName, socketsWithout } from './settings.ts';
import { openSharedPort, type SharedPort } from './sni-port.ts';
import { forgetSpentNonces } from './store/enrolments.ts';
import { holdFolder } from './store/serve-lock.ts';
import { createTlsKeeper, hostOf, isOwnCertificate, tlsFilesOf } from './tls-keeper.ts';

export interface ServeOptions {
  dir: string;
  /** Null for a server that keeps keys and opens none. */
  passphrase: string | null;
  log: Log;
  rates?: Partial<Record<RateName, Rate>>;
  /** The machine's clock; default the real one. */
  wallNow?: () => number;
  /** How long a request waits for another process to let go of the database. */
  busyMilliseconds?: number;
  /** Puts the sites for people on their listener, where the settings have one. Given by main.ts: nothing here knows a site. */
  mountSites?: MountSites;
  /** Listening sockets that systemd has opened, by descriptor: they take the place of the ports in the settings. */
  sockets?: Partial<Record<SocketName, number>>;
}

/** What the sites stand on. */
export interface SitesGround {
  http: HttpApp;
  backend: Backend;
  settings: PeopleSettings;
  log: Log;
  /** Work that comes round, until the backend stops. */
  every(milliseconds: number, name: string, work: () => Promise<void>): void;
}
export type MountSites = (ground: SitesGround) => Promise<void>;

export interface Serving {
  url: string;
  port: number;
  /** The listener for people, where there is one. */
  people: { url: string; port: number } | null;
  /** The port of the listener for other systems, where there is one. */
  neighboursPort: number | null;
  backend: Backend;
  /** Looks at the listeners' certificates, as it is done twice a minute: true where it was time for another of our own. */
  renewCertificate(): boolean;
  /** Ends what is under way, then everything. */
  stop(): Promise<void>;
}

const second = 1000;
const minute = 60 * second;
/** A header with a chain of certificates in it, escaped. Bytes. */
const proxiedHeaderBytes = 32 * 1024;

/** Runs the backend until it is stopped: a listener for Macs, and one for people where the settings say so. */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { log } = options;
  checkDataFolder(options.dir, options.passphrase !== null);
  const { dir, passphrase, wallNow, busyMilliseconds, sockets = {} } = options;
  const release = holdFolder(resolve(options.dir));
  const backend = await openBackend({
    dir,
    passphrase,
    log,
    ...(wallNow ? { wallNow } : {}),
    ...(busyMilliseconds === undefined ? {} : { busyMilliseconds }),
  }).catch((error: unknown) => {
    release();
    throw error;
  });
  const { paths, settings, store, clock, secrets, custody } = backend;
  const timers = createTimers(log);
  const listeners: HttpApp[] = [];
  let neighbours: Neighbours | null = null;
  let door: SharedPort | null = null;
  try {
    const agentCa = readAuthority(paths.agentCa);
    const deviceCas = readDeviceCas(paths.deviceCas);
    if (isOwnCertificate(settings)) renewTlsCertificate(paths, clock.now());
    const ownFiles = tlsFilesOf(paths, settings);
    const begun = startingTls(paths, ownFiles, { host: hostOf(settings.serverUrl), now: clock.now() });
    const tls = begun.identity;
    const keeper = createTlsKeeper({ paths, settings, now: clock.now, log });
    const peers = createPeers(settings.proxy);
    const strangers = createStrangerAlarm({ store, clock, log });
    const plain = settings.proxy?.plain ? (address: string) => strangers(address, 'it connects, and is none of the proxies') : null;
    const bounds = { ...connectionLimits, ...settings.limits, ...(settings.proxy ? { headerBytes: proxiedHeaderBytes } : {}) };
    const http = buildHttp({
      tls: {
        certificate: tls.certificate,
        key: tls.key,
        clientCas: [agentCa.der, ...deviceCas].map((der) => pem('CERTIFICATE', der)),
        oldest: settings.tls.oldest,
      },
      limits: bounds,
      log,
      peers,
      plain,
    });
    listeners.push(http);
    const { serialPattern } = settings;
    const { confirmProvedSerials } = settings.keys;
    const identity = createDeviceIdentity({ store, clock, agentCa: agentCa.der, deviceCas, serialPattern, confirmProvedSerials, log });
    const enrolment = createEnrolment({ store, clock, secrets, settings, agentCa, deviceCas, identity, log });
    addDeviceApi({ http, identity, enrolment, custody, log, onHeaderRefused: strangers, ...(options.rates ? { rates: options.rates } : {}) });
    const { people: settingsOfPeople } = settings;
    const shared = settingsOfPeople && options.mountSites && sharesPort(settings) ? settingsOfPeople : null;
    const macsAt = sockets.macs === undefined ? settings.listen : { fd: sockets.macs };
    if (sockets.people !== undefined && (shared || !settingsOfPeople)) throw nobodysSocket(`people (descriptor ${sockets.people})`);
    if (sockets.neighbours !== undefined && !settings.coexistence?.listen) throw nobodysSocket(`neighbours (descriptor ${sockets.neighbours})`);
    let port = 0;
    const said = () => log.info('server-started', { url: settings.serverUrl, port, canOpen: backend.escrowKeys.canOpen, deviceCas: deviceCas.length });
    if (shared) await http.ready();
    else port = await http.listen(macsAt);
    if (!shared) said();

    const peopleTls = settingsOfPeople?.tls ? readTlsIdentity(settingsOfPeople.tls) : tls;
    const people =
      settingsOfPeople && options.mountSites
        ? buildHttp({
            tls: { certificate: peopleTls.certificate, key: peopleTls.key, clientCas: [], oldest: '1.2' },
            limits: bounds,
            log,
            peers,
            audience: 'people',
            plain,
          })
        : null;
    if (people) listeners.push(people);
    let peoplePort = 0;
    const macNames = [settings.serverUrl, ...settings.otherUrls].map(hostOf);
    if (people && settingsOfPeople && options.mountSites) {
      await options.mountSites({ http: people, backend, settings: settingsOfPeople, log, every: timers.every });
      if (shared) {
        // Not before both are there: half a backend on the one port would turn people away.
        await people.ready();
        door = openSharedPort({
          byName: new Map([[hostOf(shared.url), people], ...macNames.map((name) => [name, http] as const)]),
          unnamed: http,
          limits: bounds,
          isProxy: peers.isProxy,
          log,
        });
        port = await door.listen(macsAt);
        peoplePort = port;
        said();
      } else peoplePort = await people.listen(sockets.people === undefined ? settingsOfPeople.listen : { fd: sockets.people });
      log.info('sites-started', { url: settingsOfPeople.url, port: peoplePort });
    }

    let neighboursPort: number | null = null;
    if (settings.coexistence) {
      const { certificate, key } = tls;
      neighbours = mountNeighbours({
        backend,
        settings: settings.coexistence,
        tls: { certificate, key, oldest: '1.2' },
        deviceCas,
        identity,
        limits: settings.limits,
        peers,
        onHeaderRefused: strangers,
        fd: sockets.neighbours ?? null,
        log,
        ...(wallNow ? { wallNow } : {}),
        every: timers.every,
      });
      if (neighbours.http) {
        listeners.push(neighbours.http);
        neighboursPort = await neighbours.listen();
        log.info('neighbours-started', { port: neighboursPort });
      }
    }

    timers.every(30 * second, 'custody', async () => void (await custody.sweepTimers()));
    timers.every(minute, 'opener', async () => void (await custody.openLater()));
    timers.every(10 * minute, 'restore', async () => void (await spreadRestoreDebts(store, clock)));
    timers.every(60 * minute, 'nonces', () => store.write(async (tx) => forgetSpentNonces(tx, await clock.persist(tx))));
    // Also where no MDM is asked any more: what was asked before has to come to its end.
    timers.every(60 * minute, 'mdm-forget', () => custody.mdm.forgetOld());
    timers.every(6 * 60 * minute, 'retention', async () => void (await custody.retire()));
    const useForMacs = (certificate: Buffer, key: Buffer): void => {
      for (const one of [http, neighbours?.http, settingsOfPeople?.tls ? null : people]) one?.useCertificate(certificate, key);
    };
    const distrusting = isOwnCertificate(settings) ? {} : { distrusting: async ({ raw }: X509Certificate) => (await whoTrustsNot(backend, raw)).length };
    keeper.keep({ name: 'listener of the Macs', files: ownFiles, host: hostOf(settings.serverUrl), use: useForMacs, ...distrusting }, begun);
    if (settingsOfPeople?.tls && people)
      keeper.keep({ name: 'listener for people', files: settingsOfPeople.tls, host: hostOf(settingsOfPeople.url), use: people.useCertificate });
    let lookedAt = Number.NEGATIVE_INFINITY;
    let endings: Ending[] = [];
    timers.every(30 * second, 'tls', async () => {
      const refused = await keeper.lookAndAsk();
      if (performance.now() - lookedAt > 10 * minute) {
        lookedAt = performance.now();
        const told = endings.map(sayEnding);
        endings = endingCertificates(paths, settings, clock.now());
        for (const ending of endings) if (!told.includes(sayEnding(ending))) log.warn('certificate-expiring', { days: ending.step, of: sayEnding(ending) });
      }
      await tellOfCertificates({ store, clock, log }, endings, refused);
    });
    timers.every(60 * minute, 'backups', () => tellOfBackups({ store, clock, log }, settings.backup));

    let stopped: Promise<void> | null = null;
    return {
      url: settings.serverUrl,
      port,
      neighboursPort,
      people: settingsOfPeople && people ? { url: settingsOfPeople.url, port: peoplePort } : null,
      backend,
      renewCertificate: () => keeper.look().renewed,
      stop() {
        stopped ??= (async () => {
          log.info('server-stopping');
          // First the requests, then the timers, then the database beneath both.
          await Promise.all([door?.stop(), ...listeners.map((listener) => listener.stop())]);
          neighbours?.close();
          await timers.stop();
          await backend.close();
          release();
          log.info('server-stopped');
        })();
        return stopped;
      },
    };
  } catch (error) {
    // A backend without its sites is not one that serves half: Macs would be answered from a closed database.
    await Promise.all([door?.stop(), ...listeners.map((listener) => listener.stop(0))]);
    neighbours?.close();
    await timers.stop();
    await backend.close();
    release();
    throw error;
  }
}

const nobodysSocket = (which: string) => new Problem('SERVER_SETTINGS_INVALID', socketsWithout(which));

/** Work that comes round. One of a kind at a time; a failure is logged and tried again at its next turn. */
function createTimers(log: Log) {
  const running = new Set<Promise<void>>();
  const handles = new Map<string, NodeJS.Timeout>();
  let stopped = false;

  function turn(milliseconds: number, name: string, work: () => Promise<void>): void {
    if (stopped) return;
    const run = work()
      .catch((error: unknown) =>
        log.error('timers-failed', { timer: name, code: error instanceof Problem ? error.code : error instanceof Error ? error.name : 'unknown' }),
      )
      .then(() => {
        running.delete(run);
        if (!stopped)
          handles.set(
            name,
            setTimeout(() => turn(milliseconds, name, work), milliseconds),
          );
      });
    running.add(run);
  }
  return {
    every: turn,
    async stop() {
      stopped = true;
      for (const handle of handles.values()) clearTimeout(handle);
      await Promise.all(running);
    },
  };
}

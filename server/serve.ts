import type { X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { type Acme, createAcme } from './acme/acme.ts';
import { prepareAcme } from './acme/renewal.ts';
import { buildForAdmins, openForAdmins } from './admins-listener.ts';
import { startAuditing } from './auditing/rounds.ts';
import { readAuthority, readDeviceCas, readTlsIdentity, renewTlsCertificate } from './authorities.ts';
import { whoTrustsNot } from './authority-users.ts';
import { type Backend, openBackend } from './backend.ts';
import { type Ending, endingCertificates, sayEnding } from './certificate-dates.ts';
import { pem } from './certificates.ts';
import { addDeviceApi } from './device-api.ts';
import { createDeviceIdentity } from './device-identity.ts';
import { createEnrolment } from './enrolment.ts';
import { buildHttp, type HttpApp } from './http.ts';
import { startingTls } from './last-tls.ts';
import { connectionLimits, type Rate, type RateName } from './limits.ts';
import type { Log } from './log.ts';
import { type Counters, countAnswers, countingLog, createCounters } from './metrics.ts';
import { mountNeighbours, type Neighbours } from './neighbours.ts';
import { sharesPort } from './one-port.ts';
import { createStrangerAlarm, tellOfCertificates } from './operator-alarms.ts';
import type { PeopleSettings } from './people-settings.ts';
import { createPeers } from './proxy.ts';
import { createRounds, type Round } from './rounds.ts';
import { checkDataFolder } from './serve-check.ts';
import { refuseIdleSockets, type SocketName } from './settings.ts';
import { openSharedPort, type SharedPort } from './sni-port.ts';
import { holdFolder } from './store/serve-lock.ts';
import { createTlsKeeper, hostOf, isOwnCertificate, tlsFilesOf } from './tls-keeper.ts';
import { watchLoad } from './under-load.ts';
import { startRounds } from './what-comes-round.ts';

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
  /** Puts a site on its listener, one after the other, where the settings have them. Given by main.ts: nothing here knows a site. */
  mountSites?: MountSites;
  /** Listening sockets that systemd has opened, by descriptor: they take the place of the ports in the settings. */
  sockets?: Partial<Record<SocketName, number>>;
}

/** What a site stands on. */
export interface SitesGround {
  /** For users, or for admins. */
  site: 'portal' | 'console';
  http: HttpApp;
  backend: Backend;
  /** Their `url` is this site's. */
  settings: PeopleSettings;
  log: Log;
  /** Work that comes round, until the backend stops. */
  every(milliseconds: number, name: string, work: () => Promise<void>): void;
  /** All of it, those of the backend included. */
  rounds(): readonly Readonly<Round>[];
  counters: Counters;
}
export type MountSites = (ground: SitesGround) => Promise<void>;

export interface Serving {
  url: string;
  port: number;
  /** The listener for people, where there is one. */
  people: { url: string; port: number } | null;
  /** The listener for admins, where there is one. */
  console: { url: string; port: number } | null;
  /** The port of the listener for other systems, where there is one. */
  neighboursPort: number | null;
  backend: Backend;
  waiting(): number;
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
  const counters = createCounters();
  const log = countingLog(options.log, counters);
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
  const timers = createRounds(log, backend.store.alone ?? null);
  const answered = (listener: string) => countAnswers(counters, listener);
  const listeners: HttpApp[] = [];
  const load = watchLoad(backend, counters, timers);
  let neighbours: Neighbours | null = null;
  let door: SharedPort | null = null;
  let acme: Acme | null = null;
  try {
    const agentCa = readAuthority(paths.agentCa);
    const deviceCas = readDeviceCas(paths.deviceCas);
    if (isOwnCertificate(settings)) renewTlsCertificate(paths, clock.now());
    if (settings.tls.acme) prepareAcme(paths);
    const ownFiles = tlsFilesOf(paths, settings);
    const begun = startingTls(paths, ownFiles, { host: hostOf(settings.serverUrl), now: clock.now() });
    const tls = begun.identity;
    const keeper = createTlsKeeper({ paths, settings, now: clock.now, log });
    const peers = createPeers(settings.proxy);
    const strangers = createStrangerAlarm({ store, clock, log });
    if (settings.tls.acme) acme = createAcme({ paths, settings, ground: { store, clock, log }, log, tried: keeper.lookAndAsk });
    const challenges = acme?.challenges ?? null;
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
      ...load.listener,
    });
    listeners.push(http);
    const confirming = { serialPattern: settings.serialPattern, confirmProvedSerials: settings.keys.confirmProvedSerials };
    const identity = createDeviceIdentity({ store, clock, agentCa: agentCa.der, deviceCas, ...confirming, log });
    const enrolment = createEnrolment({ store, clock, secrets, settings, agentCa, deviceCas, identity, log });
    addDeviceApi({ http, identity, enrolment, custody, log, ...load, onHeaderRefused: strangers, ...(options.rates ? { rates: options.rates } : {}) });
    const { people: settingsOfPeople, console: settingsOfConsole, coexistence } = settings;
    const shared = settingsOfPeople && options.mountSites && sharesPort(settings) ? settingsOfPeople : null;
    const macsAt = sockets.macs === undefined ? settings.listen : { fd: sockets.macs };
    refuseIdleSockets(sockets, { people: settingsOfPeople && !shared, neighbours: coexistence?.listen, console: settingsOfConsole });
    let port = 0;
    const said = () => log.info('server-started', { url: settings.serverUrl, port, canOpen: backend.escrowKeys.canOpen, deviceCas: deviceCas.length });
    if (shared || challenges) await http.ready();
    else port = await http.listen(macsAt);
    if (!shared && challenges) {
      door = openSharedPort({ byName: new Map(), unnamed: http, others: http, challenges, limits: bounds, isProxy: peers.isProxy, log });
      port = await door.listen(macsAt);
    }
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
            onAnswer: answered('people'),
          })
        : null;
    if (people) listeners.push(people);
    let peoplePort = 0;
    const ground = { backend, log, every: timers.every, rounds: timers.all, counters };
    const macNames = [settings.serverUrl, ...settings.otherUrls].map(hostOf);
    if (people && settingsOfPeople && options.mountSites) {
      await options.mountSites({ site: 'portal', http: people, settings: settingsOfPeople, ...ground });
      if (shared) {
        // Not before both are there: half a backend on the one port would turn people away.
        await people.ready();
        door = openSharedPort({
          byName: new Map([[hostOf(shared.url), people], ...macNames.map((name) => [name, http] as const)]),
          unnamed: http,
          challenges,
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

    let admins: HttpApp | null = null;
    let consolePort = 0;
    if (settingsOfPeople && settingsOfConsole && options.mountSites) {
      const { url, networks, listen, tls: own } = settingsOfConsole;
      const identity = own ? readTlsIdentity(own) : tls;
      admins = buildForAdmins({ identity, networks, limits: bounds, log, peers, plain, onAnswer: answered('console') });
      listeners.push(admins);
      const site = { http: admins, settings: { ...settingsOfPeople, url }, ...ground };
      consolePort = await openForAdmins(options.mountSites, site, sockets.console === undefined ? listen : { fd: sockets.console });
    }

    let neighboursPort: number | null = null;
    if (coexistence) {
      const { certificate, key } = tls;
      neighbours = mountNeighbours({
        backend,
        settings: coexistence,
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

    startRounds(timers, backend, wallNow ?? null);
    const useForMacs = (certificate: Buffer, key: Buffer): void => {
      for (const one of [http, neighbours?.http, settingsOfPeople?.tls ? null : people, settingsOfConsole?.tls ? null : admins])
        one?.useCertificate(certificate, key);
    };
    const distrusting = isOwnCertificate(settings) ? {} : { distrusting: async ({ raw }: X509Certificate) => (await whoTrustsNot(backend, raw)).length };
    keeper.keep({ name: 'listener of the Macs', files: ownFiles, host: hostOf(settings.serverUrl), use: useForMacs, ...distrusting }, begun);
    if (settingsOfPeople?.tls && people)
      keeper.keep({ name: 'listener for people', files: settingsOfPeople.tls, host: hostOf(settingsOfPeople.url), use: people.useCertificate });
    if (settingsOfConsole?.tls && admins)
      keeper.keep({ name: 'listener for admins', files: settingsOfConsole.tls, host: hostOf(settingsOfConsole.url), use: admins.useCertificate });
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
    timers.every(minute, 'acme', async () => void (await acme?.look()));
    const auditing = await startAuditing(backend, timers.every, log);

    let stopped: Promise<void> | null = null;
    return {
      url: settings.serverUrl,
      port,
      neighboursPort,
      people: settingsOfPeople && people ? { url: settingsOfPeople.url, port: peoplePort } : null,
      console: settingsOfConsole && admins ? { url: settingsOfConsole.url, port: consolePort } : null,
      backend,
      waiting: load.waiting.waiting.count,
      renewCertificate: () => {
        void acme?.look(true).catch(() => log.error('timers-failed', { timer: 'acme' }));
        return keeper.look().renewed;
      },
      stop() {
        stopped ??= (async () => {
          log.info('server-stopping');
          load.end();
          // First the requests, then the timers, then the database beneath both.
          await Promise.all([door?.stop(), ...listeners.map((listener) => listener.stop())]);
          neighbours?.close();
          acme?.close();
          auditing.close();
          await timers.stop();
          await auditing.end();
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
    acme?.close();
    await timers.stop();
    await backend.close();
    release();
    throw error;
  }
}

import { resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { readAuthority, readDeviceCas, readTlsIdentity, renewTlsCertificate } from './authorities.ts';
import { type Backend, collectMistakes, openBackend } from './backend.ts';
import { pem } from './certificates.ts';
import { checkCoexistence } from './coexistence-check.ts';
import { existingFolder, tooOpen } from './data-folder.ts';
import { addDeviceApi } from './device-api.ts';
import { createDeviceIdentity } from './device-identity.ts';
import { createEnrolment } from './enrolment.ts';
import { buildHttp, type HttpApp } from './http.ts';
import { connectionLimits, type Rate, type RateName } from './limits.ts';
import type { Log } from './log.ts';
import { mountNeighbours, type Neighbours } from './neighbours.ts';
import { checkPeople } from './people-check.ts';
import type { PeopleSettings } from './people-settings.ts';
import { tryWriting } from './private-files.ts';
import { spreadRestoreDebts } from './restore.ts';
import { readServerSecrets } from './server-secrets.ts';
import { readableSettings, readSettings } from './settings.ts';
import { forgetSpentNonces } from './store/enrolments.ts';

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
  /** Looks at the listener's own certificate, as it is done once a day: true where it was time for another. */
  renewCertificate(): boolean;
  /** Ends what is under way, then everything. */
  stop(): Promise<void>;
}

const second = 1000;
const minute = 60 * second;
const day = 24 * 60 * minute;
/** Days before the end of the listener's certificate at which its operator is told. */
const warnAtDays = [60, 30, 7];
/** One that comes from outside, for people: some are good for 47 days, and replaced when 15 are left. */
const warnPeopleAtDays = 10;

/** Everything that can be wrong with a data folder, found in one go. */
export const checkDataFolder = (dir: string, canOpen: boolean): void => mistakesOf(dir, canOpen).refuse();

export function mistakesOf(dir: string, canOpen: boolean): ReturnType<typeof collectMistakes> {
  const paths = existingFolder(resolve(dir));
  const mistakes = collectMistakes();
  mistakes.attempt(() => {
    const open = tooOpen(paths);
    if (open.length > 0) throw new Problem('FILE_TOO_OPEN', open.join(', '));
  });
  mistakes.attempt(() => tryWriting(paths.dir));
  const settings = mistakes.attempt(() => readSettings(paths.settings));
  mistakes.attempt(() => readServerSecrets(paths.secrets));
  mistakes.attempt(() => readAuthority(paths.agentCa));
  mistakes.attempt(() => readTlsIdentity(paths.tls));
  mistakes.attempt(() => readDeviceCas(paths.deviceCas));
  const { rest, wrong = [] } = settings ? { rest: settings } : (readableSettings(paths.settings) ?? {});
  mistakes.attempt(() => {
    if (rest?.people) checkPeople(rest.people, rest, wrong);
  });
  mistakes.attempt(() => {
    if (rest?.coexistence) checkCoexistence(rest.coexistence, rest, wrong);
  });
  mistakes.attempt(() => {
    // Rules 7.6: it could promise grants and never give one.
    if (rest && !canOpen && rest.keys.grants !== 'never')
      throw new Problem('SERVER_SETTINGS_INVALID', 'keys.grants: must be "never" in a server that was started with --sealed');
  });
  return mistakes;
}

/** Runs the backend until it is stopped: a listener for Macs, and one for people where the settings say so. */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { log } = options;
  checkDataFolder(options.dir, options.passphrase !== null);
  const { dir, passphrase, wallNow, busyMilliseconds } = options;
  const backend = await openBackend({ dir, passphrase, log, ...(wallNow ? { wallNow } : {}), ...(busyMilliseconds === undefined ? {} : { busyMilliseconds }) });
  const { paths, settings, store, clock, secrets, custody } = backend;
  const timers = createTimers(log);
  const listeners: HttpApp[] = [];
  let neighbours: Neighbours | null = null;
  try {
    const agentCa = readAuthority(paths.agentCa);
    const deviceCas = readDeviceCas(paths.deviceCas);
    const renewed = settings.tls.ownCertificate ? renewTlsCertificate(paths, clock.now()) : null;
    const tls = renewed ?? readTlsIdentity(paths.tls);
    const http = buildHttp({
      tls: {
        certificate: tls.certificate,
        key: tls.key,
        clientCas: [agentCa.der, ...deviceCas].map((der) => pem('CERTIFICATE', der)),
        oldest: settings.tls.oldest,
      },
      limits: { ...connectionLimits, ...settings.limits },
      log,
    });
    listeners.push(http);
    const { serialPattern } = settings;
    const { confirmProvedSerials } = settings.keys;
    const identity = createDeviceIdentity({ store, clock, agentCa: agentCa.der, deviceCas, serialPattern, confirmProvedSerials, log });
    const enrolment = createEnrolment({ store, clock, secrets, settings, agentCa, deviceCas, identity, log });
    addDeviceApi({ http, identity, enrolment, custody, log, ...(options.rates ? { rates: options.rates } : {}) });
    const port = await http.listen(settings.listen.port, settings.listen.host);
    log.info('server-started', { url: settings.serverUrl, port, canOpen: backend.escrowKeys.canOpen, deviceCas: deviceCas.length });

    const { people: settingsOfPeople } = settings;
    const peopleTls = settingsOfPeople?.tls ? readTlsIdentity(settingsOfPeople.tls) : tls;
    const people =
      settingsOfPeople && options.mountSites
        ? buildHttp({
            tls: { certificate: peopleTls.certificate, key: peopleTls.key, clientCas: [], oldest: '1.2' },
            limits: { ...connectionLimits, ...settings.limits },
            log,
            audience: 'people',
          })
        : null;
    if (people) listeners.push(people);
    let peoplePort = 0;
    if (people && settingsOfPeople && options.mountSites) {
      await options.mountSites({ http: people, backend, settings: settingsOfPeople, log, every: timers.every });
      peoplePort = await people.listen(settingsOfPeople.listen.port, settingsOfPeople.listen.host);
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
        log,
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
    timers.every(6 * 60 * minute, 'retention', async () => void (await custody.retire()));
    const renewCertificate = (): boolean => {
      const fresh = settings.tls.ownCertificate ? renewTlsCertificate(paths, clock.now()) : null;
      if (fresh) http.useCertificate(fresh.certificate, fresh.key);
      if (fresh) neighbours?.http?.useCertificate(fresh.certificate, fresh.key);
      if (fresh && !settingsOfPeople?.tls) people?.useCertificate(fresh.certificate, fresh.key);
      const days = Math.floor(((fresh ?? readTlsIdentity(paths.tls)).notAfter - clock.now()) / day);
      if (days <= (warnAtDays[0] ?? 0)) log.warn('certificate-expiring', { days });
      if (settingsOfPeople?.tls && people) {
        // Whoever brings it brings another every few weeks: a restart would need the passphrase.
        const theirs = readTlsIdentity(settingsOfPeople.tls);
        people.useCertificate(theirs.certificate, theirs.key);
        const left = Math.floor((theirs.notAfter - clock.now()) / day);
        if (left <= warnPeopleAtDays) log.warn('certificate-expiring', { days: left, of: settingsOfPeople.tls.certificate });
      }
      return fresh !== null;
    };
    timers.every(day, 'tls', async () => void renewCertificate());

    let stopped: Promise<void> | null = null;
    return {
      url: settings.serverUrl,
      port,
      neighboursPort,
      people: settingsOfPeople && people ? { url: settingsOfPeople.url, port: peoplePort } : null,
      backend,
      renewCertificate,
      stop() {
        stopped ??= (async () => {
          log.info('server-stopping');
          // First the requests, then the timers, then the database beneath both.
          await Promise.all(listeners.map((listener) => listener.stop()));
          neighbours?.close();
          await timers.stop();
          await backend.close();
          log.info('server-stopped');
        })();
        return stopped;
      },
    };
  } catch (error) {
    // A backend without its sites is not one that serves half: Macs would be answered from a closed database.
    await Promise.all(listeners.map((listener) => listener.stop(0)));
    neighbours?.close();
    await timers.stop();
    await backend.close();
    throw error;
  }
}

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

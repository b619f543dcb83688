import { X509Certificate } from 'node:crypto';
import { deviceCaFiles } from './authorities.ts';
import type { Backend } from './backend.ts';
import { readPem, verifyChain } from './certificates.ts';
import { when } from './command.ts';
import { lastFacts } from './custody-state.ts';
import { sha256 } from './device-identity.ts';
import { readPrivate } from './private-files.ts';
import { certificatesOf, enrolmentsOf } from './store/enrolments.ts';
import { allMacs, type Mac } from './store/macs.ts';

const day = 24 * 60 * 60 * 1000;
/** Who was away for longer enrols again, or is gone. */
const countedDays = 90;

/** A Mac that stands in the way. */
export interface InTheWay {
  macId: string;
  serial: string;
  lastSeenAt: string;
  because: string;
}

/** The certificates in each PEM file of a folder. */
export function pemFilesOf(folder: string): { path: string; ders: Buffer[] }[] {
  return deviceCaFiles(folder).map((path) => ({ path, ders: readPem(readPrivate(path).toString('utf8')) }));
}

async function seenLately({ store, clock }: Backend): Promise<Mac[]> {
  return (await allMacs(store.db)).filter(({ last_seen_at: at }) => at !== null && at > clock.now() - countedDays * day);
}
/** What the answer about Macs does not say, and whoever acts on it has to know. */
export async function notSaid({ store, clock }: Pick<Backend, 'store' | 'clock'>): Promise<string[]> {
  const away = (await allMacs(store.db)).filter(({ last_seen_at: at }) => at === null || at <= clock.now() - countedDays * day).length;
  return [
    ...(away > 0 ? [`not counted: ${away} Mac(s) that were not seen for ${countedDays} days; they may need it when they come back`] : []),
    'each Mac is counted by what it said at its last check-in; settings that were taken from it since are not known here',
    'only Macs of ours are counted: browsers of people, Crypt clients and an MDM that trust the CA are not known here',
  ];
}

const inTheWay = (mac: Mac, because: string): InTheWay => ({ macId: mac.id, serial: mac.serial, lastSeenAt: when(mac.last_seen_at), because });

/** Macs that have not said that their settings have this certificate among those that they trust. */
export async function whoTrustsNot(backend: Backend, der: Buffer): Promise<InTheWay[]> {
  const digest = sha256(der);
  return (await seenLately(backend)).flatMap((mac) => {
    const trusted = lastFacts(mac)?.trusted;
    if (trusted?.includes(digest)) return [];
    return [inTheWay(mac, trusted ? 'its settings do not have the new certificate' : 'its agent does not say what it trusts: it is too old')];
  });
}

/** Macs that are known by a certificate which only this device CA stands behind. */
export async function whoIsCutOff(backend: Backend, digest: string): Promise<InTheWay[]> {
  const anchors = pemFilesOf(backend.paths.deviceCas).flatMap(({ ders }) => ders);
  const left = anchors.filter((der) => sha256(der) !== digest);
  const found: InTheWay[] = [];
  for (const mac of await seenLately(backend)) {
    for (const enrolment of await enrolmentsOf(backend.store.db, mac.id)) {
      if (enrolment.status !== 'active' || enrolment.profile_certificate === null) continue;
      // A Mac whose device certificate is its identity gets others in the course of time, of other CAs too: the one in use counts.
      const [used] = enrolment.way === 'direct' ? await certificatesOf(backend.store.db, enrolment.id) : [];
      const leaf = Buffer.from(used?.der ?? enrolment.profile_certificate);
      // What a Mac showed besides is kept with the proof of a direct enrolment.
      const others = enrolment.way === 'direct' ? readPem(Buffer.from(enrolment.proof).toString('latin1')).slice(1) : [];
      const at = new Date(Math.min(backend.clock.now(), new X509Certificate(leaf).validToDate.getTime() - 1000));
      const reaches = (to: readonly Buffer[]): boolean => verifyChain({ leaf, others, anchors: to, at, usage: 'clientAuth' }).ok;
      if (reaches(left)) continue;
      found.push(inTheWay(mac, reaches(anchors) ? 'its identity is of this CA' : 'which CA its identity is of cannot be told'));
      break;
    }
  }
  return found;
}

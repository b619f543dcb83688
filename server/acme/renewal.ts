import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { checkTlsIdentity, readTlsIdentity } from '../authorities.ts';
import { makeServerRequest, readPem } from '../certificates.ts';
import type { FolderPaths } from '../data-folder.ts';
import { isFor } from '../last-tls.ts';
import type { Log } from '../log.ts';
import { createOutbound } from '../outbound.ts';
import { readPrivate, replacePrivate, tryWriting } from '../private-files.ts';
import type { ServerSettings } from '../settings.ts';
import { hostOf } from '../tls-keeper.ts';
import type { Challenges } from './challenges.ts';
import { createAcmeClient } from './client.ts';

const hour = 60 * 60 * 1000;
const day = 24 * hour;
/** After a failure; a CA counts failed tries by the hour. */
const firstWait = hour;
const longestWait = day;
/** A CA that names a time is believed so far. */
const longestTold = 7 * day;
/** Of a chain, in bytes; one of four certificates is a tenth of it. It goes out with each handshake. */
const mostChain = 64 * 1024;

/** The names of the certificate: all under which Macs come, and people where they have no certificate of their own. */
export const acmeNames = (settings: Pick<ServerSettings, 'serverUrl' | 'otherUrls' | 'people'>): string[] => [
  ...new Set([settings.serverUrl, ...settings.otherUrls, ...(settings.people && !settings.people.tls ? [settings.people.url] : [])].map(hostOf)),
];

/** Until the CA has given the first certificate the listener shows our own, so that there is one to start with. */
export function prepareAcme(paths: FolderPaths): void {
  if (existsSync(paths.acme.certificate) && existsSync(paths.acme.key)) return;
  mkdirSync(dirname(paths.acme.key), { mode: 0o700, recursive: true });
  const own = readTlsIdentity(paths.tls);
  replacePrivate(paths.acme.key, own.key);
  replacePrivate(paths.acme.certificate, own.certificate);
}

/** When it is time for another: other names than wanted, or a third of its life left (of a short one half). */
export function isAcmeDue(leaf: X509Certificate, names: readonly string[], now: number): boolean {
  if (names.some((name) => !isFor(leaf, name))) return true;
  const [from, until] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()];
  const lifetime = until - from;
  return until - now <= lifetime / (lifetime <= 10 * day ? 2 : 3);
}

/** What outlives a restart: which certificate came from which CA, and how the last tries went. */
const noteForm = z.object({ directory: z.string(), leaf: z.string(), failures: z.int().min(0), nextAt: z.number(), because: z.string() });
type Note = z.infer<typeof noteForm>;
const nothingYet: Note = { directory: '', leaf: '', failures: 0, nextAt: 0, because: '' };

function readNote(file: string): Note {
  try {
    return noteForm.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    // Lost or damaged: one more try does no harm.
    return nothingYet;
  }
}

function accountKeyOf(file: string): KeyObject {
  // In one step: half a key, after a power cut, would stand in the way of every try.
  if (!existsSync(file)) replacePrivate(file, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }));
  try {
    return createPrivateKey(readPrivate(file));
  } catch (error) {
    throw error instanceof Problem ? error : new Problem('ACME_FAILED', `${file} is no private key: put it back from a copy, or remove it for a new account`);
  }
}

/** Has a certificate made, and made again, by a CA that speaks ACME. What it writes is taken by whoever keeps the listeners' files. */
export function createAcmeRenewal(parts: { paths: FolderPaths; settings: ServerSettings; challenges: Challenges; now: () => number; log: Log }) {
  const { paths, settings, challenges, now, log } = parts;
  const acme = settings.tls.acme;
  if (!acme) throw new Problem('SERVER_BUG', 'no ACME in the settings');
  const folder = dirname(paths.acme.key);
  const noteFile = join(folder, 'note.json');
  const names = acmeNames(settings);
  const stopping = new AbortController();
  // Remembered also where it cannot be written: a full disk must not have the CA make one certificate after another.
  let note = readNote(noteFile);
  const { origin, host } = new URL(acme.directory);
  const trusted = acme.trustedCertificatesFile === null ? [] : [readFileSync(acme.trustedCertificatesFile, 'utf8')];
  const outbound = createOutbound({ origin, trusted, proxy: acme.proxy, log, totalSeconds: 60 });

  function keep(more: Partial<Note>): void {
    note = { ...note, ...more };
    try {
      replacePrivate(noteFile, JSON.stringify(note));
    } catch (error) {
      log.warn('certificate-not-brought', { of: host, because: `its note could not be kept (${(error as NodeJS.ErrnoException).code ?? 'unforeseen'})` });
    }
  }

  function due(): boolean {
    let leaf: X509Certificate;
    try {
      leaf = new X509Certificate(readTlsIdentity(paths.acme).certificate);
    } catch (error) {
      // Whoever damaged them: another pair is what mends it.
      if (error instanceof Problem) return true;
      throw error;
    }
    return note.leaf !== leaf.fingerprint256 || note.directory !== acme?.directory || isAcmeDue(leaf, names, now());
  }

  /** What it has given, looked at before anything is replaced: what cannot be used is a failure of this try, and leaves the files as they are. */
  function check(chain: string, key: string): X509Certificate {
    checkTlsIdentity(Buffer.from(chain), Buffer.from(key), { certificate: `the certificate of ${host}`, key: 'the key that it was asked for' });
    const leaf = new X509Certificate(chain);
    const refuse = (why: string) => new Problem('ACME_FAILED', `the certificate of ${host} ${why}`);
    const other = names.find((name) => !isFor(leaf, name));
    if (other !== undefined) throw refuse(`is not for ${other}`);
    // Taken all the same it would be asked for again a minute later, and so on until the CA gives none for a week.
    if (isAcmeDue(leaf, names, now()))
      throw refuse(
        `(until ${leaf.validToDate.toISOString()}) would have to be replaced at once: the clock of this machine says ${new Date(now()).toISOString()}`,
      );
    try {
      if (chain.length > mostChain || readPem(chain).length === 0) throw new TypeError('chain');
      createSecureContext({ cert: chain, key });
    } catch {
      throw refuse('has a chain that TLS does not take');
    }
    return leaf;
  }

  async function bring(): Promise<Note> {
    // Before the CA makes one: what could not be kept would count against what it gives in a week.
    tryWriting(folder);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const external = acme?.external
      ? { keyId: acme.external.keyId, key: Buffer.from(readPrivate(acme.external.keyFile).toString('utf8').trim(), 'base64url') }
      : null;
    const client = createAcmeClient({
      outbound,
      directory: acme?.directory ?? '',
      accountKey: accountKeyOf(paths.acmeAccountKey),
      email: acme?.email ?? '',
      external,
      signal: stopping.signal,
    });
    const chain = await client.certificate({ names, request: makeServerRequest(privateKey, names), show: challenges.show, hide: challenges.hide });
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const leaf = check(chain, key);
    replacePrivate(paths.acme.key, key);
    replacePrivate(paths.acme.certificate, chain);
    log.info('certificate-brought', { of: host, names: names.join(' ') });
    return { ...nothingYet, directory: acme?.directory ?? '', leaf: leaf.fingerprint256 };
  }

  return {
    /** Tries where it is time. What stands in the way, in words; null where nothing does. `now`: also where it should wait after a failure. */
    async look({ atOnce = false } = {}): Promise<string | null> {
      if (!due()) {
        if (note.failures > 0) keep({ failures: 0, because: '' });
        return null;
      }
      if (!atOnce && note.failures > 0 && now() < note.nextAt) return note.because;
      try {
        keep(await bring());
        return null;
      } catch (error) {
        if (stopping.signal.aborted) return note.because || null;
        const because =
          error instanceof Problem ? (error.detail ?? error.kind.title) : `it could not be kept (${(error as NodeJS.ErrnoException).code ?? 'unforeseen'})`;
        const failures = note.failures + 1;
        // Asked before the time that it has named, a CA gives nothing, and may give nothing for longer.
        const told = error instanceof Problem ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
        keep({ failures, nextAt: now() + Math.max(Math.min(firstWait * 2 ** (failures - 1), longestWait), Math.min(told, longestTold)), because });
        log.warn('certificate-not-brought', { of: host, because, failures });
        return because;
      }
    },
    close(): void {
      stopping.abort();
      outbound.close();
    },
  };
}

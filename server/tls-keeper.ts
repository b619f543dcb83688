import { X509Certificate } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { Problem } from '../protocol/problems.ts';
import { readTlsIdentity, renewTlsCertificate, type TlsIdentity } from './authorities.ts';
import type { CertificateAndKey, FolderPaths } from './data-folder.ts';
import { faultOf, keepLastTls, latest, otherAuthority, startingTls } from './last-tls.ts';
import type { Log } from './log.ts';
import type { ServerSettings } from './settings.ts';

/** A listener with a certificate of its own; those that share one are told together. */
interface Listener {
  /** As alarms and the log call it. */
  name: string;
  files: CertificateAndKey;
  /** The host name that it answers to. */
  host: string;
  use(certificate: Buffer, key: Buffer): void;
  /** How many Macs of the last 90 days do not trust this CA; of a listener of Macs. */
  distrusting?: (authority: X509Certificate) => Promise<number>;
}

/** How long an answer about the Macs counts. */
const answerCounts = 10 * 60 * 1000;

/** A file that came new and is not used: the listener goes on with the one before. */
export interface Refused {
  name: string;
  because: string;
}

/** Where the certificate of the Macs' listener lies. */
export const tlsFilesOf = (paths: FolderPaths, { tls }: Pick<ServerSettings, 'tls'>): CertificateAndKey =>
  tls.files ?? (tls.acme && existsSync(paths.acme.certificate) ? paths.acme : paths.tls);
/** Whether it is ours to renew. */
export const isOwnCertificate = ({ tls }: Pick<ServerSettings, 'tls'>): boolean => tls.ownCertificate && tls.files === null && tls.acme === null;

export function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}

/** What changes when a file is written, replaced, or reached by another link. */
function signatureOf({ certificate, key }: CertificateAndKey): string {
  return [certificate, key]
    .map((path) => {
      try {
        const { ino, size, mtimeMs } = statSync(path);
        return `${ino} ${size} ${mtimeMs}`;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? 'unknown';
      }
    })
    .join(', ');
}

/**
 * The certificates of the listeners while the backend runs: whoever brings them (we, certbot, lego, an admin) writes files,
 * and they are used from the next connection on. A restart would need the passphrase. A file that cannot be used changes nothing.
 */
export function createTlsKeeper(parts: { paths: FolderPaths; settings: ServerSettings; now: () => number; log: Log }) {
  const { paths, settings, now, log } = parts;
  interface Kept {
    listener: Listener;
    leaf: X509Certificate;
    /** PEM, the chain of it. */
    chain: Buffer;
    seen: string;
    refused: Refused | null;
    /** Whether the Macs trust the CA of a new one: asked of the database, which answers later. */
    asked: { authority: X509Certificate; answer: { count: number; at: number } | null } | null;
  }
  const kept: Kept[] = [];

  /** A new one of another CA cuts off the Macs that do not trust it, and they can be told nothing any more: it waits for them. */
  function waitsForMacs(one: Kept, fresh: Buffer): string | null {
    const authority = one.listener.distrusting ? otherAuthority(fresh, one.chain) : null;
    if (!authority || one.leaf.validToDate.getTime() - now() < latest) return null;
    if (!one.asked?.authority.raw.equals(authority.raw)) one.asked = { authority, answer: null };
    const { answer } = one.asked;
    if (answer === null) return 'whether the Macs trust its CA is being looked at';
    if (answer.count === 0) return null;
    const macs = answer.count === 1 ? '1 Mac does' : `${answer.count} Macs do`;
    return `it is of another CA (${authority.issuer.replaceAll('\n', ', ')}), and ${macs} not trust that: \`authority check\` lists them; it is used once they do, or when the one in use has 7 days left`;
  }

  async function askForMacs(): Promise<boolean> {
    let any = false;
    for (const { asked, listener, refused } of kept) {
      if (!asked || !refused || (asked.answer && performance.now() - asked.answer.at < answerCounts)) continue;
      asked.answer = { count: (await listener.distrusting?.(asked.authority)) ?? 0, at: performance.now() };
      any = true;
    }
    return any;
  }

  function lookAt(one: Kept): void {
    const { listener } = one;
    const signature = signatureOf(listener.files);
    if (signature === one.seen && one.refused === null) return;
    try {
      const fresh = readTlsIdentity(listener.files);
      const leaf = new X509Certificate(fresh.certificate);
      const same = leaf.raw.equals(one.leaf.raw);
      const fault = same ? null : (faultOf(fresh, one.leaf, listener.host, now()) ?? waitsForMacs(one, fresh.certificate));
      if (fault !== null) throw new Problem('SERVER_SETTINGS_INVALID', fault);
      one.seen = signature;
      one.refused = null;
      one.asked = null;
      if (same) return;
      listener.use(fresh.certificate, fresh.key);
      one.leaf = leaf;
      one.chain = fresh.certificate;
      keepIt(one, fresh);
      log.info('certificate-taken', { of: listener.name, until: leaf.validToDate.toISOString() });
    } catch (error) {
      const because = error instanceof Problem ? (error.detail ?? error.code) : 'TLS does not take it';
      // Two files are written one after the other: what does not fit together is looked at once more before it is worth a word.
      if (signature === one.seen) {
        // Looked at twice a minute: in other words only.
        if (one.refused?.because !== because) log.warn('certificate-refused', { of: listener.name, because });
        one.refused = { name: listener.name, because };
      }
      one.seen = signature;
      one.refused ??= { name: listener.name, because: '' };
    }
  }

  /** Only that of the Macs' listener: the site for people begins with it where its own is broken. */
  function keepIt({ listener }: Kept, identity: TlsIdentity): void {
    if (listener.files.key === paths.tls.key || !listener.distrusting) return;
    try {
      keepLastTls(paths, identity);
    } catch (error) {
      log.warn('certificate-refused', {
        of: listener.name,
        because: `no copy of it is kept for the next start (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
      });
    }
  }

  function look(): { renewed: boolean; refused: Refused[] } {
    const renewed = renew();
    for (const one of kept) lookAt(one);
    return { renewed, refused: kept.flatMap(({ refused }) => (refused && refused.because !== '' ? [refused] : [])) };
  }

  function renew(): boolean {
    try {
      return isOwnCertificate(settings) && renewTlsCertificate(paths, now()) !== null;
    } catch (error) {
      // The present one goes on until its end, of which an alarm tells.
      log.error('certificate-refused', { of: 'our own CA', because: error instanceof Problem ? (error.detail ?? error.code) : 'it cannot be written' });
      return false;
    }
  }

  return {
    /** A listener that has begun with this: with what lies in its files, or with what was used last, because that is refused. */
    keep(listener: Listener, { identity, refused } = startingTls(paths, listener.files)): void {
      const leaf = new X509Certificate(identity.certificate);
      const seen = signatureOf(listener.files);
      const one: Kept = {
        listener,
        leaf,
        chain: identity.certificate,
        seen,
        refused: refused === null ? null : { name: listener.name, because: refused },
        asked: null,
      };
      kept.push(one);
      if (refused === null) keepIt(one, identity);
      else log.warn('certificate-refused', { of: listener.name, because: refused });
    },
    /** Renews what is ours to renew, and takes what is new. True where it was time for another of ours. */
    look,
    /** The same, and whether the Macs trust a new CA is asked too. */
    async lookAndAsk(): Promise<Refused[]> {
      const { refused } = look();
      return (await askForMacs()) ? look().refused : refused;
    },
  };
}

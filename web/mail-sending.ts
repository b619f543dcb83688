import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { createTransport, type SendMailOptions } from 'nodemailer';
import { afterAct } from '../server/after-act.ts';
import { raise } from '../server/alarms.ts';
import type { Tx } from '../server/parts.ts';
import type { PeopleSettings } from '../server/people-settings.ts';
import { readPrivate } from '../server/private-files.ts';
import type { SitesGround } from '../server/serve.ts';
import { wasShown } from '../server/store/disclosures.ts';
import { viewsOf } from '../server/store/episodes.ts';
import { claimMail, dueMails, type Mail, updateMail } from '../server/store/mails.ts';
import { type MailDetails, type MailKind, mailDetails } from './mail-queue.ts';
import { chooseLanguage, type Language } from './words.ts';

/*
 * A mail is claimed, which is stored, before it is sent, and marked when the mail server has taken it. A crash between the
 * two sends it once more after the time of its next try, with the same Message-ID; it is never lost and never sent twice
 * without a crash. A file takes the place of itself.
 */

/** What a mail says. */
export interface Letter {
  language: Language;
  /** One line. */
  subject: string;
  text: string;
  html: string;
}
export type WriteLetter = (kind: MailKind, language: Language, details: MailDetails) => Letter;

export interface MailRound {
  sent: number;
  failed: number;
  givenUp: number;
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const longestTrying = 24 * hour;
/** Of one round; and after this long it begins no other mail, so that a slow mail server holds up no stop of the backend. */
const mostInRound = 20;
const longestRound = 15 * second;
const limits = { connectionTimeout: 10 * second, greetingTimeout: 10 * second, socketTimeout: 20 * second, dnsTimeout: 10 * second };

/** From one minute, doubled with each try, to one hour. */
export const pauseAfter = (tries: number): number => Math.min(hour, minute * 2 ** Math.min(tries - 1, 10));

const folderOf = (ground: SitesGround): string => join(ground.backend.paths.dir, 'mail');
const nameOf = (mail: Pick<Mail, 'id' | 'created_at'>): string => `${new Date(mail.created_at).toISOString().slice(0, 19).replace(/:/g, '')}-${mail.id}.eml`;

/** Where no mail server is set: the sender of the files. */
function senderOf(settings: PeopleSettings): string {
  if (settings.mail) return settings.mail.from;
  const { hostname } = new URL(settings.url);
  return `no-reply@${/^[0-9.]+$/.test(hostname) ? `[${hostname}]` : hostname}`;
}

/** The whole message, as it is sent or filed. */
async function messageOf(ground: SitesGround, mail: Mail, letter: Letter, at: number): Promise<{ raw: Buffer; from: string }> {
  const { settings, backend } = ground;
  const from = senderOf(settings);
  const { hostname } = new URL(settings.url);
  const options: SendMailOptions = {
    from: { name: backend.settings.organisation, address: from },
    to: { name: '', address: mail.address },
    ...(settings.contact?.email === undefined ? {} : { replyTo: { name: settings.contact.name, address: settings.contact.email } }),
    subject: letter.subject,
    text: letter.text,
    html: letter.html,
    date: new Date(at),
    messageId: `<${mail.id}@${hostname}>`,
    // RFC 3834, and the same for Exchange: nobody's absence notice comes back.
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All', 'Content-Language': letter.language },
    disableFileAccess: true,
    disableUrlAccess: true,
  };
  const made = await createTransport({ streamTransport: true, buffer: true, newline: 'windows' }).sendMail(options);
  if (!Buffer.isBuffer(made.message)) throw new TypeError('a message is no bytes');
  return { raw: made.message, from };
}

/** For each round anew: a password or certificate that was replaced counts at once. */
function openDoor(ground: SitesGround): (mail: Mail, message: { raw: Buffer; from: string }) => Promise<void> {
  const smtp = ground.settings.mail?.smtp ?? null;
  if (smtp === null) {
    return async (mail, { raw }) => {
      mkdirSync(folderOf(ground), { recursive: true, mode: 0o700 });
      writeFileSync(join(folderOf(ground), nameOf(mail)), raw, { mode: 0o600 });
    };
  }
  const pass =
    smtp.passwordFile === null
      ? null
      : readPrivate(smtp.passwordFile)
          .toString('utf8')
          .replace(/\r?\n$/, '');
  const ca = smtp.trustedCertificatesFile === null ? undefined : [...rootCertificates, readFileSync(smtp.trustedCertificatesFile, 'utf8')];
  const transport = createTransport({
    ...limits,
    host: smtp.host,
    port: smtp.port,
    secure: smtp.security === 'tls',
    requireTLS: smtp.security === 'starttls',
    ignoreTLS: smtp.security === 'none',
    name: new URL(ground.settings.url).hostname,
    tls: { minVersion: 'TLSv1.2', rejectUnauthorized: true, ...(ca ? { ca } : {}) },
    ...(smtp.user === null ? {} : { auth: { user: smtp.user, pass: pass ?? '' } }),
  });
  return async (mail, { raw, from }) => {
    await transport.sendMail({ envelope: { from, to: [mail.address] }, raw });
  };
}

interface Failure {
  /** A word of a closed kind and a number: what a server says in its own words may quote anything. */
  words: string;
  /** This address is refused for good. */
  forGood: boolean;
  /** Of the mail server and not of this mail: the rest of the round would fail as well. */
  ofServer: boolean;
}

function failureOf(error: unknown): Failure {
  const { code = 'unknown', responseCode, command } = error as NodeJS.ErrnoException & { responseCode?: number; command?: string };
  const words = `${/^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : 'unknown'}${responseCode === undefined ? '' : ` ${responseCode}`}`;
  const forGood = command === 'RCPT TO' && responseCode !== undefined && responseCode >= 550 && responseCode <= 553;
  return { words, forGood, ofServer: command !== 'RCPT TO' && command !== 'DATA' };
}

/** Sends what is due. Run every 30 s; nothing else waits for it. */
export async function sendMails(ground: SitesGround, write: WriteLetter): Promise<MailRound> {
  const { store, clock } = ground.backend;
  const round: MailRound = { sent: 0, failed: 0, givenUp: 0 };
  const due = await dueMails(store.db, clock.now(), mostInRound);
  let send: ReturnType<typeof openDoor> | null = null;
  const until = performance.now() + longestRound;
  for (const mail of due) {
    if (performance.now() > until) break;
    if (!(await claim(ground, mail))) continue;
    try {
      const details = mailDetails.parse(JSON.parse(mail.details));
      const language = chooseLanguage(mail.language, undefined);
      const message = await messageOf(ground, mail, write(mail.kind as MailKind, language, details), clock.now());
      send ??= openDoor(ground);
      await send(mail, message);
      await store.write(async (tx) => updateMail(tx, mail.id, { sent_at: await clock.persist(tx), last_error: null }));
      ground.log.info('mail-sent', { mailId: mail.id, kind: mail.kind, tries: mail.tries + 1 });
      round.sent += 1;
    } catch (error) {
      const failure = failureOf(error);
      round[(await noteFailure(ground, mail, failure)) ? 'givenUp' : 'failed'] += 1;
      if (failure.ofServer) break;
    }
  }
  return round;
}

/** Stored before it is sent. A key that was not shown after all is told to nobody. */
async function claim(ground: SitesGround, mail: Mail): Promise<boolean> {
  const { store, clock } = ground.backend;
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    if (await wasNothingShown(tx, mail)) {
      const over = at - mail.created_at >= longestTrying;
      await updateMail(tx, mail.id, over ? { given_up_at: at, last_error: 'no key was shown' } : { next_try_at: at + minute });
      return false;
    }
    return claimMail(tx, mail, at + pauseAfter(mail.tries + 1));
  });
}

async function wasNothingShown(tx: Tx, mail: Mail): Promise<boolean> {
  const kind = mail.kind as MailKind;
  if (kind === 'key-shown') return mail.episode_id !== null && (await viewsOf(tx, mail.episode_id)).length === 0;
  const { disclosureId } = kind === 'key-shown-desk' ? mailDetails.parse(JSON.parse(mail.details)) : { disclosureId: undefined };
  return disclosureId !== undefined && !(await wasShown(tx, disclosureId));
}

/** True where it is given up, with an alarm: after a day of trying, or at once where the address is refused for good. */
async function noteFailure(ground: SitesGround, mail: Mail, { words, forGood }: Failure): Promise<boolean> {
  const { store, clock } = ground.backend;
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    const givenUp = forGood || at - mail.created_at >= longestTrying;
    await updateMail(tx, mail.id, { last_error: words, ...(givenUp ? { given_up_at: at } : {}) });
    afterAct(tx, () => ground.log.warn('mail-not-sent', { mailId: mail.id, kind: mail.kind, tries: mail.tries + 1, because: words, givenUp }));
    if (givenUp) await raise(ground, tx, at, null, 'MAIL_FAILED', `mail ${mail.id} (${mail.kind}): ${words}`);
    return givenUp;
  });
}

/** What a mail said goes, and its file with it; that it was sent stays. */
export function forgetFile(ground: SitesGround, mail: Pick<Mail, 'id' | 'created_at'>): void {
  rmSync(join(folderOf(ground), nameOf(mail)), { force: true });
}

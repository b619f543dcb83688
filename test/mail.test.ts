import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { lookedWords } from '../portal/looked-words.ts';
import { lettersOf, nameInMail } from '../portal/mails.ts';
import type { Store } from '../server/parts.ts';
import { openAlarms } from '../server/store/alarms.ts';
import { type MailDetails, mailKinds, queueMail, usableAddress } from '../web/mail-queue.ts';
import { pauseAfter, sendMails } from '../web/mail-sending.ts';
import { languages, say } from '../web/words.ts';
import { type GivenMails, givenMails, givenSmtp, portalUrl } from './mail-parts.ts';
import { day, hour, minute, second } from './server-parts.ts';
import type { Sink } from './smtp-sink.ts';

const sinks: Sink[] = [];
const opened: GivenMails[] = [];
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.stop();
  for (const given of opened.splice(0)) await given.server.close();
});
const filed = async (people?: object): Promise<GivenMails> => {
  const given = await givenMails(people);
  opened.push(given);
  return given;
};
const posted = async (options?: Parameters<typeof givenSmtp>[0]) => {
  const given = await givenSmtp(options);
  opened.push(given);
  sinks.push(given.sink);
  return given;
};
/** The view is a quarter of a minute old. */
const settled = 15 * second;

const files = ({ dir }: GivenMails): string[] => readdirSync(join(dir, 'mail')).map((name) => readFileSync(join(dir, 'mail', name), 'utf8'));
const headerOf = (raw: string, name: string): string | undefined =>
  new RegExp(`^${name}: (.*(?:\r\n[ \t].*)*)`, 'im').exec(raw.split('\r\n\r\n')[0] ?? '')?.[1]?.replace(/\r\n[ \t]/g, ' ');
/** The parts of a message in plain, however they are encoded. */
const partsOf = (raw: string): string[] =>
  raw
    .split(/^--[^\r\n]+$/m)
    .slice(1, -1)
    .map((part) => {
      const [head = '', ...body] = part.trimStart().split('\r\n\r\n');
      const text = body.join('\r\n\r\n');
      if (/base64/i.test(head)) return Buffer.from(text, 'base64').toString('utf8');
      if (!/quoted-printable/i.test(head)) return text;
      return Buffer.from(
        text.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
        'latin1',
      ).toString('utf8');
    });
const mailRows = (given: GivenMails) => given.server.store.db.selectFrom('mail').selectAll().orderBy('created_at').execute();

describe('the mail of the first view', () => {
  test('there is one for an episode, however often its key is shown, and it says what happened, when, and what to do', async () => {
    const given = await filed();
    const mac = await given.newMac({ serial: 'C02XK1ZJJGH5', name: 'Ada’s MacBook' });
    const ada = await given.person();
    const episode = await given.show(mac, ada, { browser: 'Safari, iPhone' });
    given.server.wall.pass(6 * minute);
    expect(await given.show(mac, ada)).toBe(episode);
    expect(await given.send()).toEqual({ sent: 1, failed: 0, givenUp: 0 });
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 0 });

    const [raw = '', ...more] = files(given);
    expect(more).toEqual([]);
    expect(headerOf(raw, 'To')).toBe('ada@example.org');
    expect(headerOf(raw, 'From')).toBe('Example <no-reply@key.example.org>');
    expect(headerOf(raw, 'Reply-To')).toBe('Service desk <desk@example.org>');
    expect(headerOf(raw, 'Date')).toBe('Sun, 22 Nov 2026 08:06:00 +0000');
    expect(headerOf(raw, 'Auto-Submitted')).toBe('auto-generated');
    expect(headerOf(raw, 'Message-ID')).toMatch(/^<[0-9a-f-]{36}@key\.example\.org>$/);
    const [text = '', html = ''] = partsOf(raw);
    expect(text).toContain('shown on Sunday, 22 November 2026 at 08:00 UTC (Safari, iPhone)');
    expect(text).toContain('“Ada’s MacBook” (serial number ending in JGH5)');
    expect(text).toContain(`Was it not you? Open ${portalUrl}/macs/${mac.id}/looked, sign in, and press “This was not me”.`);
    expect(text).toContain('Service desk, +31 20 123 45 67, Mon–Fri 8:00–18:00');
    expect(html).toContain(`<a href="${portalUrl}/macs/${mac.id}/looked">${portalUrl}/macs/${mac.id}/looked</a>`);
    // The whole serial number is on the case, and not in mails.
    expect(raw).not.toContain('C02XK1ZJJGH5');
    const shown = await given.server.custody.disclose({ macId: mac.id, actor: 'a test', reason: 'to compare' });
    for (const group of shown.key.reveal().split('-')) expect(raw).not.toContain(group);
  });

  test('files are private, in a private folder', async () => {
    const given = await filed();
    await given.show(await given.newMac(), await given.person());
    given.server.wall.pass(settled);
    await given.send();
    const folder = join(given.dir, 'mail');
    const [name = ''] = readdirSync(folder);
    expect([statSync(folder).mode & 0o777, statSync(join(folder, name)).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(name).toMatch(/^2026-11-22T080000-[0-9a-f-]{36}\.eml$/);
  });

  test('a key that could not be opened was shown to nobody, and nobody is told; if it opens later, that is told', async () => {
    const given = await filed();
    const mac = await given.newMac();
    const ada = await given.person();
    given.server.escrow.answers = false;
    await expect(given.show(mac, ada)).rejects.toMatchObject({ code: 'CANNOT_OPEN' });
    given.server.wall.pass(settled);
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 0 });
    expect(await mailRows(given)).toMatchObject([{ tries: 0, sent_at: null, given_up_at: null }]);
    given.server.wall.pass(day);
    await given.send();
    expect(await mailRows(given)).toMatchObject([{ sent_at: null, last_error: 'no key was shown' }]);
    expect(await given.server.alarms()).toEqual([]);
  });

  test('an act that does not happen is told to nobody', async () => {
    const given = await filed();
    const mac = await given.newMac();
    const ada = await given.person();
    const act = given.server.store.write(async (tx) => {
      await queueMail(tx, { kind: 'not-me', personId: ada, episodeId: null, details: { macId: mac.id }, at: 1 });
      throw new Error('the act fails');
    });
    await expect(act).rejects.toThrow('the act fails');
    expect(await mailRows(given)).toEqual([]);
  });

  test('no name makes a header: not the organisation’s, the desk’s, the person’s or the Mac’s', async () => {
    const hostile = 'Ex"ample\r\nBcc: eve@example.org\r\n\r\nbody';
    const given = await filed({ contact: { name: hostile, email: 'desk@example.org' } });
    await given.show(await given.newMac({ name: hostile.slice(0, 40) }), await given.person({ name: hostile }), { browser: hostile });
    given.server.wall.pass(settled);
    const settings = { ...given.ground.backend.settings, organisation: hostile };
    const ground = { ...given.ground, backend: { ...given.ground.backend, settings } };
    expect(await sendMails(ground, lettersOf(given.ground.settings, hostile))).toMatchObject({ sent: 1 });
    const [raw = ''] = files(given);
    const [head = ''] = raw.split('\r\n\r\n');
    const names = [...head.replace(/\r\n[ \t]/g, ' ').matchAll(/^([^:\s]+):/gm)].map(([, name = '']) => name.toLowerCase());
    expect(names.toSorted()).toEqual([
      'auto-submitted',
      'content-language',
      'content-type',
      'date',
      'from',
      'message-id',
      'mime-version',
      'reply-to',
      'subject',
      'to',
      'x-auto-response-suppress',
    ]);
    expect(headerOf(raw, 'To')).toBe('ada@example.org');
  });

  test('somebody without an address, or with what is none, gets no mail: an alarm says so, once', async () => {
    const given = await filed();
    const mac = await given.newMac();
    const people = await Promise.all(
      [null, 'nobody', 'a@example.org, b@example.org', 'a@example.org\r\nBcc: b@example.org'].map((email) => given.person({ email })),
    );
    for (const personId of people)
      await given.server.store.write((tx) => queueMail(tx, { kind: 'key-shown', personId, episodeId: null, details: { macId: mac.id }, at: 1 }));
    expect(await mailRows(given)).toEqual([]);
    expect(await given.server.alarms()).toEqual(['NO_MAIL_ADDRESS']);
    expect(await given.server.acts('mail.no-address')).toHaveLength(4);
  });
});

describe('a mail server', () => {
  async function one(given: GivenMails): Promise<void> {
    await given.show(await given.newMac(), await given.person());
    given.server.wall.pass(settled);
  }
  const failures = async (given: GivenMails) => (await mailRows(given)).map(({ last_error }) => last_error);

  test.each(['starttls', 'tls'] as const)('gets it by %s, after its certificate was checked and we have signed in', async (security) => {
    const given = await posted({ security });
    await one(given);
    expect(await given.send()).toEqual({ sent: 1, failed: 0, givenUp: 0 });
    expect(given.sink.mails).toMatchObject([{ from: 'sparekey@example.org', to: ['ada@example.org'], secure: true }]);
    const [{ raw } = { raw: '' }] = given.sink.mails;
    expect([headerOf(raw, 'From'), headerOf(raw, 'To')]).toEqual(['Example <sparekey@example.org>', 'ada@example.org']);
    expect(partsOf(raw)[0]).toContain('Your Mac’s recovery key was shown on');
  });

  test('on this machine may be spoken to in plain, without an account', async () => {
    const given = await posted({ security: 'none', smtp: { user: null, passwordFile: null } });
    await given.sink.stop();
    sinks.push(Object.assign(given.sink, await given.listen({ account: undefined as never })));
    await one(given);
    expect(await given.send()).toEqual({ sent: 1, failed: 0, givenUp: 0 });
    expect(given.sink.mails).toMatchObject([{ secure: false }]);
  });

  test('with a certificate of a CA that nobody has named is told nothing, no password either', async () => {
    for (const security of ['starttls', 'tls'] as const) {
      const given = await posted({ security, smtp: { trustedCertificatesFile: null } });
      await one(given);
      expect(await given.send()).toEqual({ sent: 0, failed: 1, givenUp: 0 });
      expect(given.sink.mails).toEqual([]);
      expect(given.sink.said.filter((line) => !/^(EHLO|STARTTLS)/.test(line))).toEqual([]);
      expect(await failures(given)).toEqual([expect.stringMatching(/^[A-Z_]+$/)]);
    }
  });

  test('that offers no STARTTLS, or refuses it, is told nothing', async () => {
    for (const answer of [
      (line: string) => (/^STARTTLS/.test(line) ? '454 not now' : null),
      (line: string) => (/^EHLO/.test(line) ? '250-sink\r\n250 AUTH PLAIN' : /^STARTTLS/.test(line) ? '502 not here' : null),
    ]) {
      const given = await posted({ answer });
      await one(given);
      expect(await given.send()).toMatchObject({ sent: 0, failed: 1 });
      expect(given.sink.said.filter((line) => /^(AUTH|MAIL)/.test(line))).toEqual([]);
    }
  });

  test('that does not take the password gets the mail once that is mended, and no log or row has the password', async () => {
    const given = await posted({ password: 'the wrong one' });
    await one(given);
    expect(await given.send()).toEqual({ sent: 0, failed: 1, givenUp: 0 });
    expect(await failures(given)).toEqual(['EAUTH 535']);
    expect(given.logged.join()).not.toContain('the wrong one');
    writeFileSync(given.ground.settings.mail?.smtp?.passwordFile ?? '', 'the right one\n');
    given.server.wall.pass(minute);
    expect(await given.send()).toEqual({ sent: 1, failed: 0, givenUp: 0 });
    expect(await failures(given)).toEqual([null]);
  });

  test('is not signed in to with a password that others can read', async () => {
    const given = await posted();
    await one(given);
    chmodSync(given.ground.settings.mail?.smtp?.passwordFile ?? '', 0o644);
    expect(await given.send()).toEqual({ sent: 0, failed: 1, givenUp: 0 });
    expect(await failures(given)).toEqual(['FILE_TOO_OPEN']);
    expect(given.sink.said).toEqual([]);
  });

  test('that is down is tried again after one minute, two, four, up to an hour, and gets each mail once', async () => {
    expect([1, 2, 3, 6, 7, 8, 40].map((tries) => pauseAfter(tries) / minute)).toEqual([1, 2, 4, 32, 60, 60, 60]);
    const given = await posted();
    await given.sink.stop();
    await one(given);
    await one(given);
    // The server is down for both: a round does not go through all of them to find out.
    expect(await given.send()).toEqual({ sent: 0, failed: 1, givenUp: 0 });
    expect(await given.send()).toEqual({ sent: 0, failed: 1, givenUp: 0 });
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 0 });
    given.server.wall.pass(minute);
    expect(await given.send()).toMatchObject({ failed: 1 });
    const sink = await given.listen();
    sinks.push(sink);
    given.server.wall.pass(2 * minute);
    expect(await given.send()).toEqual({ sent: 2, failed: 0, givenUp: 0 });
    given.server.wall.pass(day);
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 0 });
    expect(sink.mails).toHaveLength(2);
    expect(await given.server.alarms()).toEqual([]);
  });

  test('that is down for a day is given up, with one alarm for all, and again one after that was judged', async () => {
    const given = await posted();
    await given.sink.stop();
    await one(given);
    await one(given);
    await given.send();
    await given.send();
    given.server.wall.pass(day);
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 1 });
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 1 });
    expect(await given.server.alarms()).toEqual(['MAIL_FAILED']);
    const [alarm] = await openAlarms(given.server.store.db);
    expect(alarm).toMatchObject({ mac_id: null, detail: expect.stringMatching(/^mail \S+ \(key-shown\): [A-Z]+$/) });
    await given.server.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'admin', judgement: 'the mail server moved' });
    given.server.wall.pass(day);
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 0 });
    await one(given);
    await given.send();
    given.server.wall.pass(day);
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 1 });
    expect(await given.server.alarms()).toEqual(['MAIL_FAILED']);
  });

  test('that refuses an address for good is not asked again; one that says later is', async () => {
    const given = await posted({
      answer: (line) => (!/^RCPT/.test(line) ? null : /gone@/.test(line) ? '550 5.1.1 nobody here' : /later@/.test(line) ? '450 4.2.0 later' : null),
    });
    for (const email of ['gone@example.org', 'later@example.org', 'ada@example.org']) await given.show(await given.newMac(), await given.person({ email }));
    given.server.wall.pass(settled);
    // One address is not the server: the others are sent in the same round.
    expect(await given.send()).toEqual({ sent: 1, failed: 1, givenUp: 1 });
    expect(given.sink.mails.flatMap(({ to }) => to)).toEqual(['ada@example.org']);
    expect(await given.server.alarms()).toEqual(['MAIL_FAILED']);
    expect((await mailRows(given)).map(({ address, given_up_at }) => [address, given_up_at !== null])).toEqual(
      expect.arrayContaining([
        ['gone@example.org', true],
        ['later@example.org', false],
      ]),
    );
  });

  test('may get a mail once more after a crash, and not twice: with the same Message-ID', async () => {
    const given = await posted();
    await one(given);
    // The process dies after the server has taken it and before that is stored.
    let writes = 0;
    const dying: Store = {
      ...given.server.store,
      write: (act) => (++writes === 1 ? given.server.store.write(act) : Promise.reject(new Error('killed'))),
    };
    const write = lettersOf(given.ground.settings, 'Example');
    const ground = { ...given.ground, backend: { ...given.ground.backend, store: dying } };
    await expect(sendMails(ground, write)).rejects.toThrow('killed');
    expect(given.sink.mails).toHaveLength(1);
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 0 });
    given.server.wall.pass(minute);
    expect(await given.send()).toEqual({ sent: 1, failed: 0, givenUp: 0 });
    given.server.wall.pass(day);
    expect(await given.send()).toEqual({ sent: 0, failed: 0, givenUp: 0 });
    const ids = given.sink.mails.map(({ raw }) => headerOf(raw, 'Message-ID'));
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
  });

  test('gets a mail from one of two processes that send at once', async () => {
    const given = await posted();
    await one(given);
    const rounds = await Promise.all([given.send(), given.send()]);
    expect(rounds.map(({ sent }) => sent).toSorted()).toEqual([0, 1]);
    expect(given.sink.mails).toHaveLength(1);
  });
});

describe('what mails say', () => {
  const settings = { url: portalUrl, contact: { name: 'Service desk' } };
  const at = Date.parse('2026-11-22T14:02:00Z');
  const details: MailDetails = {
    macId: '5d0d7e9a-0000-4000-8000-000000000001',
    macName: 'MacBook',
    serialEnd: 'JGH5',
    browser: 'Firefox, Windows',
    shownAt: at,
    replacedAt: at + hour,
    checkedAt: at + 2 * hour,
    saidAt: at + 3 * hour,
    personName: 'Ada',
    code: '7F3A-19',
  };
  const write = lettersOf(settings, 'Example');
  const all = mailKinds.flatMap((kind) => languages.map((language) => ({ kind, language, letter: write(kind, language, details) })));

  test('each is there in each language, and no two say the same', () => {
    expect(new Set(all.map(({ letter }) => letter.text)).size).toBe(mailKinds.length * languages.length);
    expect(new Set(all.map(({ letter }) => letter.subject)).size).toBe(mailKinds.length * languages.length);
    for (const { letter, language } of all) {
      expect([letter.language, letter.subject]).toEqual([language, expect.stringMatching(/^[^\r\n]{20,80}$/)]);
      expect(letter.subject).toContain('…JGH5');
      expect(letter.text + letter.html).not.toMatch(/undefined|null|\bNaN\b|\[object|\bplease\b|\bsuccessfully\b/i);
      expect(letter.html).toContain(`<html lang="${language}">`);
    }
  });

  test('times are written in the reader’s language with their zone', () => {
    const line = (language: (typeof languages)[number]) => /^- (.*)$/m.exec(write('key-replaced', language, details).text)?.[1];
    expect(languages.map(line)).toEqual([
      'Shown: Sunday, 22 November 2026 at 14:02 UTC',
      'Getoond: zondag 22 november 2026 om 14:02 UTC',
      'Angezeigt: Sonntag, 22. November 2026 um 14:02 UTC',
      'Affichée : dimanche 22 novembre 2026 à 14:02 UTC',
    ]);
    expect(write('key-replaced', 'en', { ...details, checkedAt: null }).text).toContain('Checked: not yet; the Mac does that by itself');
  });

  test('they link to nothing but this portal and this Mac, load nothing, and the text says the same as the HTML', () => {
    const strip = (html: string) =>
      html
        .replace(/<title>.*<\/title>/, '')
        .replace(/<\/?a\b[^>]*>/g, '')
        .replace(/<[^>]+>/g, ' ')
        .replace(/&#39;/g, "'")
        .replace(/&amp;/g, '&')
        .replace(/\s+/g, ' ')
        .trim();
    for (const { letter } of all) {
      const links = [...letter.html.matchAll(/href="([^"]*)"/g)].map(([, link]) => link);
      expect(links.filter((link) => !['', `/macs/${details.macId}`, `/macs/${details.macId}/looked`].some((path) => link === portalUrl + path))).toEqual([]);
      expect(letter.html).not.toMatch(/src=|<img|<link|<script|<style|url\(/);
      expect(strip(letter.html)).toBe(letter.text.replace(/^- /gm, '').replace(/\s+/g, ' ').trim());
      const addresses = [...letter.text.matchAll(/[a-z]+:\/\/[^\s,;]+/g)].map(([address]) => address.replace(/\.$/, ''));
      expect(addresses.filter((address) => !address.startsWith(portalUrl))).toEqual([]);
    }
  });

  test.each([
    ['a new line and a header', 'Mac\r\nBcc: eve@example.org', 'Mac Bcc eve example. org'],
    ['an address', 'https://evil.example/key', 'https evil. example key'],
    ['an address without a scheme', 'www.evil.example', 'www. evil. example'],
    ['text that turns around', 'a\u202Egnp.exe', 'a gnp. exe'],
    ['another line', 'a\u2028b', 'a b'],
    ['tags', '<img src=x>', 'img src=x'],
    ['what people are called', 'Zoë’s MacBook Pro (13″), J. Müller', 'Zoë’s MacBook Pro (13″), J. Müller'],
  ])('a name of somebody else’s choice cannot be more than a name: %s', (_, given, becomes) => {
    expect(nameInMail(given)).toBe(becomes);
    const letter = write('not-me-desk', 'en', { ...details, macName: given, personName: given });
    expect(letter.text).toContain(`“${becomes}” (serial number`);
    expect(letter.subject).not.toContain(becomes);
  });

  test('a browser that nobody knows is left out', () => {
    expect(write('key-shown', 'en', { ...details, browser: '–' }).text).toContain('at 14:02 UTC. It is');
    expect(write('key-shown', 'en', details).text).toContain('at 14:02 UTC (Firefox, Windows). It is');
  });

  test('the button is named as it stands on its page, also where that is in another language', () => {
    const named = languages.map((language) => [language, say(lookedWords, language).words.notMe] as const);
    for (const [language, button] of named) expect(write('key-shown', language, details).text).toContain(button);
  });

  test('an address is one address', () => {
    expect(usableAddress('ada@example.org')).toBe('ada@example.org');
    for (const none of ['', 'ada', 'a@b.example, c@d.example', 'Ada <ada@example.org>', 'ada@example.org\n', `${'a'.repeat(300)}@example.org`, null, undefined])
      expect(usableAddress(none)).toBeNull();
  });

  test('the desk’s mail says whose Mac and what has been done, in the words of a service desk', () => {
    const { subject, text } = write('not-me-desk', 'en', details);
    expect(subject).toBe('Incident: a recovery key was seen by somebody else (…JGH5)');
    expect(text).toContain('Ada says that it was not them');
    expect(text).toContain('Code that the person reads out: 7F3A-19');
  });
});

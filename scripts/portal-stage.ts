import { randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { renderUnicodeCompact } from 'uqr';
import { checkSettings } from '../server/settings.ts';
import { portalClient } from '../test/portal-client.ts';
import type { Ended, Stage } from './stage.ts';

/** What a try-out needs so that people can come to the portal. */

/** What people read, in lines that a terminal of 100 columns shows whole; `indent` columns before each but the first. */
export function inLines(text: string, indent: number): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && indent + line.length + 1 + word.length > 100) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.join(`\n${' '.repeat(indent)}`);
}

/** Puts the people's listener, and the one of admins, into the settings of a data folder. */
export function addSites(data: string, url: string, host: string, port: number, console: { url: string; port: number }): void {
  const file = join(data, 'settings.json');
  const settings = {
    ...(JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>),
    people: {
      url,
      listen: { host, port },
      contact: { name: 'Service desk of Example', phone: '+31 20 555 01 23', email: 'desk@example.org', hours: 'Mon–Fri 8:00–18:00' },
      mail: { from: 'sparekey@example.org' },
    },
    // For this machine alone, also where the portal is for the whole network.
    console: { url: console.url, listen: { host: '127.0.0.1', port: console.port } },
  };
  checkSettings(settings);
  writeFileSync(file, JSON.stringify(settings, null, 2));
}

/** This machine's address in its own network, for a phone in the same one. Null: it has none. */
export function lanAddress(): string | null {
  const all = Object.values(networkInterfaces()).flatMap((some) => some ?? []);
  const own = all.filter(({ family, internal }) => family === 'IPv4' && !internal);
  const isPrivate = (address: string) => /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(address);
  return (own.find(({ address }) => isPrivate(address)) ?? own[0])?.address ?? null;
}

/** A code that a phone's camera reads off the terminal, dark on light as cameras want it, whatever the terminal's colours. */
export function qrForTerminal(text: string): string {
  const lines = renderUnicodeCompact(text, { border: 2 }).split('\n');
  return lines.map((line) => `  \u001b[97;40m${line}\u001b[0m`).join('\n');
}

const sounds = (signs: string): string => signs[randomInt(signs.length)] ?? '';
/** For a try-out: easily typed on a phone. Eight syllables of 70: 49 bits, and its backend is thrown away. */
const makePassword = (): string => Array.from({ length: 4 }, () => [0, 1].map(() => sounds('bdfghjklmnprst') + sounds('aeiou')).join('')).join('-');

export interface Account {
  name: string;
  password: string;
}

const done = (ended: Ended, what: string): Ended => {
  if (ended.code !== 0) throw new Error(`${what}: ${ended.stderr}`);
  return ended;
};

/** An account with a password, made as its operator and its person would: by the command and its one-time code. A Mac is theirs, if one is named. */
export async function makeAccount(stage: Stage, name: string, displayName: string, serial: string | null): Promise<Account> {
  const { people } = stage;
  if (!people) throw new Error('this stage has no portal');
  const made = done(await stage.server('account', 'add', name, '--display-name', displayName, '--json'), 'the account was not made');
  const { code } = JSON.parse(made.stdout) as { code: string };
  const password = makePassword();
  const browser = portalClient(people.url, people.trust);
  const chosen = await browser.submit(await browser.get('/set-up'), '/set-up', { name, code });
  const inside = await browser.submit(chosen, '/set-up/password', { password, repeat: password });
  if (inside.status !== 200 || inside.path !== '/macs') throw new Error(`the account was not set up (${inside.status}): ${inside.content}`);
  if (serial !== null) done(await stage.server('assign', serial, name, '--reason', 'handed out', '--json'), 'the Mac was not assigned');
  return { name, password };
}

/** A Mac that is locked, whose it is, and how it is played: what stands on the terminal when somebody tries the portal. */
export async function portalToTry(stage: Stage, withQr: boolean): Promise<string> {
  const { people } = stage;
  if (!people) return '';
  const mac = stage.newMac('finn', { user: 'finn', serial: 'C02FINN00006', escrow: 'ours' });
  done(await stage.runJob(mac), 'the Mac to recover did not enrol');
  const { name, password } = await makeAccount(stage, 'finn@example.org', 'Finn', mac.state.serial);
  mac.boot({});
  const play = `npm run -s fake-mac -- ${mac.root}`;
  const lan = people.host !== '127.0.0.1';
  return `
  The portal
    ${people.url}
    user name  ${name}
    password   ${password}     (made for this try-out, and said here only)
    The browser warns: it does not know the certificate, which is of this try-out.${lan ? '\n    Passkeys want a name, and this is a number: they work without --lan.' : ''}
${withQr ? `\n${qrForTerminal(people.url)}\n` : ''}
  Finn is locked out of his Mac. What happens there is played here; KEY is what the portal shows
    ${play} reset-password-with KEY finn
    ${play} login finn
  Then say “I am back in” on the portal, and run this; once more after ${stage.settleSeconds} s: the key is replaced
    ${play} job
    ${play} show
`;
}

/** The admins' site, an account that may do everything, and the command line: what stands on the terminal beside the portal. */
export async function consoleToTry(stage: Stage): Promise<string> {
  const { people } = stage;
  if (!people) return '';
  const { name, password } = await makeAccount(stage, 'ada@example.org', 'Ada', null);
  done(await stage.server('role', 'give', name, 'owner', '--reason', 'the first owner', '--json'), 'the role was not given');
  return `
  The console, for admins
    ${people.console}
    user name  ${name}
    password   ${password}     (made for this try-out, and said here only)
  The same by command line; it asks you to confirm a code in the console
    npm run -s ctl -- login ${people.console} --ca ${stage.folder}/trust.pem
    npm run -s ctl -- devices
`;
}

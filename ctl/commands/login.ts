import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { loginBegin, loginPoll, me } from '../../console/operations/session.ts';
import { Problem } from '../../protocol/problems.ts';
import { type Api, openApi } from '../asking.ts';
import { ago, type Terminal } from '../output.ts';
import { forgetProfile, readProfile, writeProfile } from '../profile.ts';
import type { Ctl, Result } from '../result.ts';
import type { OutOf } from '../shapes.ts';

/** An address as people write it: with or without https. */
function originOf(text: string): string {
  const url = URL.parse(/^https?:\/\//i.test(text) ? text : `https://${text}`);
  if (url?.protocol !== 'https:' || url.pathname !== '/' || url.search !== '' || url.username !== '')
    throw new Problem('USAGE', `${text} is no address of a console, such as https://console.example.org`);
  return url.origin;
}

function readCa(file: string | undefined): string | null {
  if (file === undefined) return null;
  try {
    const text = readFileSync(file, 'utf8');
    if (text.includes('BEGIN CERTIFICATE')) return text;
  } catch (error) {
    throw new Problem('USAGE', `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  throw new Problem('USAGE', `${file} is no certificate in PEM`);
}

async function meOf(api: Api): Promise<OutOf<typeof me>> {
  return api.ask({ method: 'GET', path: '/v1/me' });
}

interface LoggingIn {
  address: string;
  ca?: string;
  /** A token that somebody made in the console, read from standard input. */
  tokenFrom?: () => Promise<string>;
  folder: string;
  machine: string;
  terminal: Terminal;
  json: boolean;
  now(): number;
  pause?: (milliseconds: number) => Promise<unknown>;
}

/** Lets this machine in: a person confirms a code in the console. Nothing is typed here that could be taken. */
export async function login(given: LoggingIn): Promise<Result> {
  const { folder, pause = sleep } = given;
  const url = originOf(given.address);
  const trusted = readCa(given.ca);
  const got = given.tokenFrom ? { token: (await given.tokenFrom()).trim() } : await byCode(openApi({ url, token: null, trusted }), given, pause);
  if (!/^spk_[\w-]{16,256}$/.test(got.token)) throw new Problem('USAGE', 'that is no token of Sparekey: they begin with spk_');
  const who = await meOf(openApi({ url, token: got.token, trusted }));
  const expiresAt = who.token?.expiresAt ?? '';
  const userName = who.userName ?? who.name;
  writeProfile(folder, { url, token: got.token, userName, expiresAt, trusted });
  return {
    json: { url, userName, expiresAt, tokenId: who.token?.id ?? null },
    text: `signed in at ${new URL(url).host} as ${userName}, until ${expiresAt}\nend it with \`sparekeyctl logout\``,
  };
}

async function byCode(api: Api, { machine, terminal, json, now }: LoggingIn, pause: (milliseconds: number) => Promise<unknown>): Promise<{ token: string }> {
  const begun = await api.ask<OutOf<typeof loginBegin>>({ method: 'POST', path: '/v1/login/begin', input: { machine } });
  const { userCode, verificationUrl } = begun;
  // A program that drives this reads the code from a line of JSON.
  terminal.err(json ? `${JSON.stringify({ userCode, verificationUrl })}\n` : `Open ${verificationUrl}\nand type the code  ${userCode}\n`);
  const end = Date.parse(begun.expiresAt);
  for (;;) {
    await pause(begun.intervalSeconds * 1000);
    const said = await api.ask<OutOf<typeof loginPoll>>({ method: 'POST', path: '/v1/login/poll', input: { deviceCode: begun.deviceCode } });
    if (said.state === 'done') return { token: said.token };
    if (now() > end + 60_000) throw new Problem('USAGE', 'the code was not confirmed in time; run `sparekeyctl login` again');
  }
}

/** Ends the token at the backend, and forgets it here; here also where the backend cannot be reached. */
export async function logout(folder: string): Promise<Result> {
  const profile = readProfile(folder);
  if (!profile) return { json: { signedOut: false }, text: 'nobody is signed in here' };
  const api = openApi({ url: profile.url, token: profile.token, trusted: profile.trusted });
  const notes: string[] = [];
  try {
    await api.ask({ method: 'DELETE', path: '/v1/me/token' });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    notes.push(`the token was not ended at the backend (${error.code}): end it on the console’s page of tokens, or wait until ${profile.expiresAt}`);
  }
  forgetProfile(folder);
  return { json: { signedOut: true, endedAtBackend: notes.length === 0 }, text: `signed out of ${new URL(profile.url).host}`, notes };
}

export async function whoami({ api, now }: Ctl): Promise<Result> {
  const who = await meOf(api);
  const until = who.token ? `\nthis token ends ${ago(who.token.expiresAt, now())}` : '';
  const may = who.may.map(({ says, tags }) => `  ${says}${tags === null ? '' : ` (Macs with the tag ${tags.join(' or ')})`}`);
  return { json: who, text: `${who.name}${until}\nmay\n${may.join('\n')}` };
}

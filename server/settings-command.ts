import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createAccounts } from './accounts.ts';
import { readDeviceCas } from './authorities.ts';
import { type Backend, openBackend } from './backend.ts';
import { type CommandResult, when } from './command.ts';
import { cryptNotes, cryptWarnings } from './crypt/warnings.ts';
import type { PeopleSettings } from './people-settings.ts';
import { readPublic } from './private-files.ts';
import { mistakesOf } from './serve.ts';

const day = 24 * 60 * 60 * 1000;

/** `sparekey-server settings check`: what `serve` would refuse, one line each, and what it would start with all the same. */
export async function settingsCheck({ dir, sealed }: { dir: string; sealed: boolean }): Promise<CommandResult> {
  const found = mistakesOf(dir, !sealed).found.flatMap((problem) =>
    problem.code === 'SERVER_SETTINGS_INVALID' ? (problem.detail ?? '').split('; ') : [problem.message],
  );
  const mistakes = [...new Set(found)];
  if (mistakes.length > 0) {
    const count = mistakes.length === 1 ? 'one mistake' : `${mistakes.length} mistakes`;
    return {
      json: { ok: false, mistakes, notes: [] },
      text: [`${count}; with ${mistakes.length === 1 ? 'it' : 'them'} \`serve\` does not start`, ...mistakes.map((one) => `  ${one}`)].join('\n'),
      exit: 78,
    };
  }
  const backend = await openBackend({ dir, passphrase: null });
  try {
    const { people, coexistence } = backend.settings;
    const notes = [
      ...(people ? await notesOn(people, backend) : ['people: left out, so there is no portal (docs/portal.md)']),
      ...cryptNotes(coexistence, readDeviceCas(backend.paths.deviceCas).length),
    ];
    const red = cryptWarnings(coexistence);
    const said = notes.length === 0 ? 'no mistakes' : `no mistakes; to be thought of:\n${notes.map((note) => `  ${note}`).join('\n')}`;
    return { json: { ok: true, mistakes, notes, ...(red.length > 0 ? { warnings: red } : {}) }, text: said, red };
  } finally {
    await backend.close();
  }
}

/** Each is right for a try-out, and wrong for people who are locked out. */
async function notesOn(people: PeopleSettings, backend: Backend): Promise<string[]> {
  const { paths, clock } = backend;
  const { tls, signIn, selfService, contact, mail } = people;
  const emergency = (await createAccounts(backend).list()).filter((one) => one.kind === 'emergency' && one.passkeys > 0);
  return [
    ...(tls ? [] : ['people.tls: left out: the certificate is of Sparekey’s own CA, which no phone knows']),
    ...notesOnCertificate(tls?.certificate ?? paths.tls.certificate, people.url, clock.now()),
    ...(emergency.length >= 2
      ? []
      : [`emergency accounts with a passkey: ${emergency.length} of two (\`sparekey-server account add NAME --emergency\`, then ${people.url}/set-up)`]),
    ...(contact ? [] : ['people.contact: left out: whom somebody calls whom the portal cannot help is not said']),
    ...(mail?.smtp ? [] : [`people.mail.smtp: left out: mails stay files in ${paths.dir}/mail`]),
    ...(selfService.groups.length > 0 && signIn.providers.length === 0
      ? ['people.selfService.groups: only a provider says who is in a group, and there is none']
      : []),
  ];
}

function notesOnCertificate(file: string, url: string, now: number): string[] {
  const certificate = new X509Certificate(readPublic(file));
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  const [from, until] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  return [
    ...((isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host)) ? [] : [`people.url: ${file} is not a certificate for ${host}`]),
    ...(from > now ? [`people.tls: ${file} is valid from ${when(from)} only`] : []),
    ...(until - now < 10 * day ? [`people.tls: ${file} ${until < now ? 'ended' : 'ends'} on ${when(until)}`] : []),
  ];
}

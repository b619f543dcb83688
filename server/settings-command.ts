import { X509Certificate } from 'node:crypto';
import { createAccounts } from './accounts.ts';
import { readDeviceCas, readTlsIdentity } from './authorities.ts';
import { whoTrustsNot } from './authority-users.ts';
import { type Backend, openBackend } from './backend.ts';
import { endingCertificates, sayEnding } from './certificate-dates.ts';
import { type CommandResult, when } from './command.ts';
import { notesOnConsole } from './console-check.ts';
import { cryptNotes, cryptWarnings } from './crypt/warnings.ts';
import { isFor, knownTls, latest, otherAuthority } from './last-tls.ts';
import { sharesPort } from './one-port.ts';
import type { PeopleSettings } from './people-settings.ts';
import { readPublic } from './private-files.ts';
import { mistakesOf } from './serve-check.ts';
import type { ServerSettings } from './settings.ts';
import { hostOf, tlsFilesOf } from './tls-keeper.ts';

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
    const { people, console, coexistence } = backend.settings;
    const { paths, clock } = backend;
    const notes = [
      ...(people ? await notesOn(people, backend) : ['people: left out, so there is no portal (docs/portal.md)']),
      ...notesOnConsole(backend.settings),
      ...(console ? notesOnCertificate('console', console.tls?.certificate ?? tlsFilesOf(paths, backend.settings).certificate, console.url, clock.now()) : []),
      ...endingCertificates(paths, backend.settings, clock.now()).map(sayEnding),
      ...notesOnProxy(backend.settings),
      ...cryptNotes(coexistence, readDeviceCas(backend.paths.deviceCas).length),
    ];
    const red = [...(await warningsOnAuthority(backend)), ...cryptWarnings(coexistence)];
    const said = notes.length === 0 ? 'no mistakes' : `no mistakes; to be thought of:\n${notes.map((note) => `  ${note}`).join('\n')}`;
    return { json: { ok: true, mistakes, notes, ...(red.length > 0 ? { warnings: red } : {}) }, text: said, red };
  } finally {
    await backend.close();
  }
}

/** Macs that do not trust the CA of what `tls.files` has now could be told nothing any more: said before the restart, not after it. */
async function warningsOnAuthority(backend: Backend): Promise<string[]> {
  const { paths, settings, clock } = backend;
  const files = tlsFilesOf(paths, settings);
  const known = knownTls(paths, files);
  const authority = known && otherAuthority(readTlsIdentity(files).certificate, known.certificate);
  if (!known || !authority) return [];
  const { length } = await whoTrustsNot(backend, authority.raw);
  if (length === 0) return [];
  const left = new X509Certificate(known.certificate).validToDate.getTime() - clock.now();
  return [
    `${settings.tls.files ? 'tls.files' : 'tls.acme'}: ${files.certificate} is of another CA (${authority.issuer.replaceAll('\n', ', ')}), which ${length === 1 ? '1 Mac of the last 90 days does' : `${length} Macs of the last 90 days do`} not trust: it cuts them off, and they can be told nothing any more. ${
      left < latest
        ? 'The one in use has less than 7 days left, so it is used all the same'
        : 'It is not used before they do, or before the one in use has 7 days left'
    }; \`authority check\` lists them`,
  ];
}

/** Each is right for a try-out, and wrong for people who are locked out. */
async function notesOn(people: PeopleSettings, backend: Backend): Promise<string[]> {
  const { paths, clock } = backend;
  const { tls, signIn, selfService, contact, mail } = people;
  const emergency = (await createAccounts(backend).list()).filter((one) => one.kind === 'emergency' && one.passkeys > 0);
  return [
    ...(tls || backend.settings.tls.files || !backend.settings.tls.ownCertificate
      ? []
      : ['people.tls: left out: the certificate is of Sparekey’s own CA, which no phone knows']),
    ...notesOnCertificate('people', tls?.certificate ?? tlsFilesOf(paths, backend.settings).certificate, people.url, clock.now()),
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

function notesOnCertificate(site: 'people' | 'console', file: string, url: string, now: number): string[] {
  const certificate = new X509Certificate(readPublic(file));
  const from = certificate.validFromDate.getTime();
  return [
    ...(isFor(certificate, hostOf(url)) ? [] : [`${site}.url: ${file} is not a certificate for ${hostOf(url)}`]),
    ...(from > now ? [`${site}.tls: ${file} is valid from ${when(from)} only`] : []),
  ];
}

/** What a proxy takes away, so that nobody has it without knowing. */
function notesOnProxy(settings: ServerSettings): string[] {
  const { proxy, people, tls } = settings;
  return [
    ...(proxy && sharesPort(settings)
      ? [
          'proxy: Macs and people share one port, where the name that a client asks for decides: the proxy has to send it on (nginx: `proxy_ssl_server_name on`, `proxy_ssl_name`)',
        ]
      : []),
    ...(proxy?.clientCertificate
      ? [
          `proxy.clientCertificate: that a Mac has the key of its certificate is the word of ${proxy.addresses.join(', ')}; keys.confirmProvedSerials counts as false`,
        ]
      : []),
    ...(proxy?.plain ? ['proxy.plain: nothing is encrypted between the proxy and this backend'] : []),
    ...(tls.files && people && !people.tls ? ['people.tls: left out: the portal shows the certificate of tls.files'] : []),
  ];
}

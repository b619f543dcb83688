import { X509Certificate } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import { readAuthority, useNextTlsCa } from './authorities.ts';
import { notSaid, pemFilesOf, whoIsCutOff, whoTrustsNot } from './authority-users.ts';
import type { Backend } from './backend.ts';
import { makeCa, pem, readPem } from './certificates.ts';
import { type CommandResult, table, when } from './command.ts';
import { sha256 } from './device-identity.ts';
import { readGiven } from './init.ts';
import { makePrivateFolder, replacePrivate, syncFolder, writePrivate } from './private-files.ts';
import { isOwnCertificate } from './tls-keeper.ts';

const caYears = 20;

type Role = 'TLS, in use' | 'TLS, next' | 'agents' | 'device CA';
interface Authority {
  digest: string;
  role: Role;
  subject: string;
  until: number;
}

const authorityOf = (role: Role, der: Buffer): Authority => {
  const certificate = new X509Certificate(der);
  return { digest: sha256(der), role, subject: certificate.subject.replaceAll('\n', ', '), until: certificate.validToDate.getTime() };
};

function authorities({ paths, settings }: Backend): Authority[] {
  const found: Authority[] = [];
  if (isOwnCertificate(settings) && existsSync(paths.tlsCa.certificate)) found.push(authorityOf('TLS, in use', readAuthority(paths.tlsCa).der));
  if (existsSync(paths.nextTlsCa.certificate)) found.push(authorityOf('TLS, next', readAuthority(paths.nextTlsCa).der));
  found.push(authorityOf('agents', readAuthority(paths.agentCa).der));
  for (const { ders } of pemFilesOf(paths.deviceCas)) found.push(...ders.map((der) => authorityOf('device CA', der)));
  return found;
}

/** By its digest, or the first eight signs of it. */
function whichAuthority(backend: Backend, digest: string): Authority {
  const found = authorities(backend).filter((one) => digest.length >= 8 && one.digest.startsWith(digest.toLowerCase()));
  const [one, ...more] = found;
  if (!one || more.some((other) => other.digest !== one.digest))
    throw new Problem('NOT_FOUND', `there is no CA ${digest.slice(0, 64)}; \`authority list\` shows them`);
  return one;
}

export async function authorityList(backend: Backend): Promise<CommandResult> {
  const found = authorities(backend).map((one) => ({ ...one, until: when(one.until) }));
  return {
    json: { authorities: found },
    text: table(
      ['role', 'until', 'digest', 'subject'],
      found.map(({ role, until, digest, subject }) => [role, until, digest.slice(0, 16), subject]),
    ),
  };
}

/** A second TLS CA beside the one in use. Nothing is issued from it before every Mac trusts it. */
export async function authorityNewTls(backend: Backend, { reason, actor }: { reason: string; actor: string }): Promise<CommandResult> {
  const { paths, settings, store, clock } = backend;
  if (!isOwnCertificate(settings)) throw new Problem('USAGE', 'the certificate of the listener is of a CA that is not ours');
  if (existsSync(dirname(paths.nextTlsCa.key))) throw new Problem('USAGE', 'there is a next TLS CA already; `authority list` shows it');
  const made = makeCa({ commonName: `${settings.organisation.slice(0, 40)} Sparekey TLS`, years: caYears, at: new Date(clock.now()) });
  const digest = sha256(made.certificateDer);
  const making = `${dirname(paths.nextTlsCa.key)}.making`;
  rmSync(making, { recursive: true, force: true });
  makePrivateFolder(making);
  writePrivate(join(making, 'certificate.pem'), pem('CERTIFICATE', made.certificateDer));
  writePrivate(join(making, 'key.pem'), made.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  renameSync(making, dirname(paths.nextTlsCa.key));
  syncFolder(paths.dir);
  await store.write(async (tx) => audit(tx, { at: await clock.persist(tx), actor, act: 'authority.made', details: { role: 'tls', digest, reason } }));
  const old = sha256(readAuthority(paths.tlsCa).der);
  return {
    json: { digest, old },
    text: [
      `made ${digest}`,
      'next: `profile-values` has both now: build the settings profile anew and give it to all Macs',
      `then: sparekey-server authority retire ${old.slice(0, 16)} --reason "…"    # refused until every Mac of the last 90 days trusts the new one`,
    ].join('\n'),
  };
}

export interface Retiring {
  digest: string;
  reason: string;
  actor: string;
  /** The sentence of the refusal, by somebody who goes on. */
  although: string | null;
}

/** Refused while a Mac that was seen in the last 90 days would be cut off by it, unless somebody says that in words. */
export async function authorityRetire(backend: Backend, { digest, reason, actor, although }: Retiring): Promise<CommandResult> {
  const one = whichAuthority(backend, digest);
  if (one.role === 'agents') throw new Problem('USAGE', 'the CA of the agents is not retired: `init` makes another with another backend');
  if (one.role === 'TLS, next') throw new Problem('USAGE', 'this is the next CA; it is the one in use that is retired');
  const { paths, store, clock } = backend;
  const isTls = one.role === 'TLS, in use';
  if (isTls && !existsSync(paths.nextTlsCa.certificate)) throw new Problem('USAGE', 'there is no next TLS CA: `sparekey-server authority new-tls` makes one');
  const macs = isTls ? await whoTrustsNot(backend, readAuthority(paths.nextTlsCa).der) : await whoIsCutOff(backend, one.digest);
  const words = cutOff(macs.length);
  const notes = await notSaid(backend);
  if (macs.length > 0 && although !== words) return refusal(macs, `authority retire ${one.digest.slice(0, 16)}`, words, notes);
  if (isTls) useNextTlsCa(paths, one.digest, clock.now());
  else removeDeviceCa(paths.deviceCas, one.digest);
  // What is in the audit has happened.
  await store.write(async (tx) => {
    const details = { role: isTls ? 'tls' : 'device', digest: one.digest, reason, cutOff: macs.map(({ macId }) => macId).slice(0, 1000), although };
    await audit(tx, { at: await clock.persist(tx), actor, act: 'authority.retired', details });
  });
  const now = isTls ? 'the listener has a certificate of the new CA within a minute' : 'restart `serve`: it knows its device CAs from its start';
  return {
    json: { ok: true, retired: one.digest, cutOff: macs, notes },
    warnings: notes,
    text: `${one.digest} is retired${macs.length > 0 ? `; ${words}` : ''}; ${now}`,
  };
}

const cutOff = (count: number): string => (count === 1 ? '1 Mac is cut off' : `${count} Macs are cut off`);

function refusal(macs: Awaited<ReturnType<typeof whoTrustsNot>>, command: string, words: string, notes: string[]): CommandResult {
  const { title, fix, exit } = new Problem('STILL_TRUSTED').kind;
  const rows = macs.slice(0, 50).map(({ serial, lastSeenAt, because }) => [serial, lastSeenAt, because]);
  return {
    json: { ok: false, code: 'STILL_TRUSTED', words, macs, notes },
    warnings: notes,
    text: [
      `refused: ${title}: ${macs.length}`,
      table(['serial', 'last seen', 'because'], rows),
      ...(macs.length > rows.length ? [`and ${macs.length - rows.length} more (--json lists all)`] : []),
      `fix: ${fix}`,
      ...(command === '' ? [] : [`go on all the same: ${command} --reason "…" --although "${words}"`]),
    ].join('\n'),
    exit,
  };
}

/** Whether all Macs trust this certificate: before a listener's certificate comes from another CA that is not ours. */
export async function authorityCheck(backend: Backend, file: string): Promise<CommandResult> {
  const [der] = readPem(readGiven(resolve(file)).toString('utf8')).slice(-1);
  if (!der) throw new Problem('USAGE', `${file} holds no certificate in PEM`);
  const macs = await whoTrustsNot(backend, der);
  const notes = await notSaid(backend);
  if (macs.length > 0) return refusal(macs, '', cutOff(macs.length), notes);
  return { json: { ok: true, digest: sha256(der), macs, notes }, warnings: notes, text: `every Mac that was seen in the last 90 days trusts ${sha256(der)}` };
}

function removeDeviceCa(folder: string, digest: string): void {
  for (const { path, ders } of pemFilesOf(folder)) {
    const rest = ders.filter((der) => sha256(der) !== digest);
    if (rest.length === ders.length) continue;
    if (rest.length > 0) replacePrivate(path, rest.map((der) => pem('CERTIFICATE', der)).join(''));
    else rmSync(path);
  }
  syncFolder(folder);
}

import { createHash, X509Certificate } from 'node:crypto';
import { closeSync, constants, fchmodSync, fsyncSync, openSync, writeFileSync } from 'node:fs';
import { custodyState, deliverySource, recordState, rotationReason } from '../protocol/messages.ts';
import { isProblemCode, Problem } from '../protocol/problems.ts';
import type { Finding } from './doctor.ts';
import type { Signs } from './doctor-job.ts';
import type { Known, Values } from './doctor-values.ts';
import { cleanText, events } from './log.ts';
import { label, paths } from './paths.ts';
import type { SettingsRead } from './settings.ts';
import { type Settings, settingsTable } from './settings-table.ts';
import type { PublicStatus } from './status.ts';
import type { Disk, Runner } from './world.ts';

/*
 * What somebody sends to support: one JSON file of what doctor found, how the agent stands, and its last log lines. Chosen
 * by what may be in it, never by what may not: each field is named here, each word of the log is from a closed list, and
 * whatever could hold what a person or another program wrote is reduced to codes and names of ours.
 */

interface Parts {
  values: Values;
  found: readonly Finding[];
  disk: Disk;
  runner: Runner;
  asRoot: boolean;
}

/** Findings that repeat what somebody else wrote: of these only the codes are given. */
const notOurWords: readonly string[] = [
  'settings-valid',
  'settings-known',
  'last-run',
  'custody',
  'adoption',
  'filevault-on',
  'server-reachable',
  'identity-usable',
  'plain-key-files',
];

export async function makeBundle({ values, found, disk, runner, asRoot }: Parts): Promise<Record<string, unknown>> {
  const read = known(values.settings);
  const bundle = {
    format: 'sparekey-support',
    version: 1,
    madeAt: new Date(values.now).toISOString(),
    asRoot,
    versions: {
      agent: values.version,
      runtime: values.runtimeVersion,
      macos: known(values.macos),
      build: known(values.build),
      machinery: known(values.machinery),
    },
    findings: found.map(({ name, verdict, says, fix }) => ({ name, verdict, says: notOurWords.includes(name) ? codesIn(says) : says, fix })),
    status: values.status && statusOf(values.status),
    settings: read && settingsOf(read),
    launchd: { job: known(values.job), loginItem: known(values.loginItem), print: await launchdView(runner) },
    files: { installed: known(values.installed), state: known(values.stateFolder) },
    log: logOf(disk),
  };
  return withoutSecrets(bundle, read?.settings ?? null) as Record<string, unknown>;
}

const known = <T>(it: Known<T>): T | null => (typeof it === 'object' && 'value' in it ? it.value : null);
const codesIn = (text: string): string[] => [...text.matchAll(/[A-Z][A-Z_]{3,40}/g)].map(([code]) => code).filter(isProblemCode);
const digestOf = (der: Uint8Array): string => createHash('sha256').update(der).digest('hex');

function statusOf(it: PublicStatus): Record<string, unknown> {
  const signs = (one: Signs | null | undefined) => one && { state: one.state, codes: codesIn(one.why ?? '') };
  return {
    at: it.at,
    agentVersion: it.agentVersion,
    serial: it.serial,
    macos: [it.macosVersion, it.macosBuild],
    server: it.server,
    lastRun: it.lastRun.code,
    lastAnswerAt: it.lastAnswerAt,
    fileVault: { state: it.fileVault.state, hasRecoveryKey: it.fileVault.hasRecoveryKey },
    custody: it.custody?.state ?? null,
    keys: it.keys?.map(({ recordId, state, provedAt, last }) => ({ recordId, state, provedAt, answer: last?.answer ?? null, answeredAt: last?.at ?? null })),
    rotation: it.rotation && { because: it.rotation.because, state: it.rotation.state },
    hold: it.hold && { since: it.hold.since, until: it.hold.until },
    escrow: { payload: it.escrow.payload, owner: it.escrow.owner, rotator: it.escrow.rotator },
    identity: it.identity && { way: it.identity.way, notAfter: it.identity.notAfter, enrolmentId: it.identity.enrolmentId },
    custodyMode: it.custodyMode.mode,
    settings: { managed: it.settings.managed, unmanagedSince: it.settings.unmanagedSince },
    capability: it.capability,
    adoption: it.adoption && { code: it.adoption.code, since: it.adoption.since },
    changedByOthers: it.changedByOthers?.times ?? [],
    problems: it.problems.map(({ code }) => code).filter(isProblemCode),
    jobSaw: it.jobSaw && {
      at: it.jobSaw.at,
      keychain: it.jobSaw.keychain,
      accepted: it.jobSaw.accepted === 'yes' || codesIn(it.jobSaw.accepted),
      refused: it.jobSaw.refused.map(({ path, code }) => ({ path, code })),
      identity: it.jobSaw.identity && { way: it.jobSaw.identity.way, own: signs(it.jobSaw.identity.own), profile: signs(it.jobSaw.identity.profile) },
    },
  };
}

/** `value`: as it is, for it is a word, a number, or a name that a certificate carries. `set`: only whether it is set. A new setting has to be decided about here. */
const howSetting: { [Name in keyof Settings]: 'value' | 'set' | 'certificate' | 'certificates' } = {
  serverUrl: 'value',
  escrowCertificate: 'certificate',
  trustedCertificates: 'certificates',
  trust: 'value',
  identityCertificateFile: 'value',
  identityKeyFile: 'value',
  identityPkcs12File: 'value',
  identityPkcs12PasswordFile: 'set',
  identityIssuer: 'value',
  identitySubject: 'value',
  enrolmentTicket: 'set',
  checkInMinutes: 'value',
  waitForOrders: 'value',
  custody: 'value',
  escrowOwner: 'value',
  rotator: 'value',
  settleSeconds: 'value',
  holdDeadlineHours: 'value',
  quietAfterDays: 'value',
  proxy: 'value',
  logLevel: 'value',
  pilot: 'value',
  adoptByPrompt: 'value',
  organisation: 'set',
  adoptWords: 'set',
  adoptContact: 'set',
  assignedTo: 'set',
};

function settingsOf({ state, unmanagedSince, settings, problems, digest }: SettingsRead): Record<string, unknown> {
  const show = (name: keyof Settings): unknown => {
    const value = settings?.[name];
    if (howSetting[name] === 'value') return value;
    if (howSetting[name] === 'set') return value === null || value === false ? 'not set' : 'set';
    return (Array.isArray(value) ? value : [value]).map((one) => certificateOf(one as string | Buffer));
  };
  return {
    state,
    unmanagedSince,
    digest,
    // Names of ours only: whatever else stands in the profile may be anything.
    problems: problems.map(({ name, kind }) => ({ name: Object.hasOwn(settingsTable, name) ? name : 'one that is not known', kind })),
    values: settings && Object.fromEntries((Object.keys(howSetting) as (keyof Settings)[]).map((name) => [name, show(name)])),
  };
}

function certificateOf(value: string | Buffer): Record<string, unknown> {
  try {
    const { raw, validTo, subject, issuer } = new X509Certificate(value);
    return { digest: digestOf(raw), validTo, subject, issuer };
  } catch {
    return { digest: null };
  }
}

const launchdKeys = [
  'active count',
  'path',
  'type',
  'state',
  'pid',
  'runs',
  'last exit code',
  'last terminating signal',
  'run interval',
  'spawn type',
  'job state',
];

/** Some lines of what launchd says; not its environment and arguments. */
async function launchdView(runner: Runner): Promise<Record<string, string>> {
  const ran = await runner.run({ program: '/bin/launchctl', args: ['print', `system/${label}`] });
  const lines = ran.stdout.toString('utf8').matchAll(/^\t([a-z][a-z ]{1,40}) = ([\w(): ./-]{1,100})$/gm);
  return Object.fromEntries([...lines].flatMap(([, name = '', value = '']) => (launchdKeys.includes(name) ? [[name, value]] : [])));
}

const mostLines = 300;
const mostLogBytes = 16 * 1024 * 1024;
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const digest = /^[0-9a-f]{64}$/;
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z$/;
const closedWords = new Set<unknown>([
  ...rotationReason.options,
  ...recordState.options,
  ...custodyState.options,
  ...deliverySource.options,
  ...['check-in', 'rotate', 'adopt', 'look', 'true', 'false', 'unknown', 'files', 'profile', 'ticket', 'given up'],
  ...['other-machine-set-aside', 'unreadable-set-aside', 'other-volume-set-aside'],
]);
/** What a value of a log line may be. Anything else, whatever its name, stays out. */
const isPlain = (value: unknown): boolean =>
  value === null ||
  typeof value === 'boolean' ||
  (typeof value === 'number' && Math.abs(value) < 1e6) ||
  (typeof value === 'string' && (uuid.test(value) || digest.test(value) || time.test(value) || isProblemCode(value) || closedWords.has(value)));

function logOf(disk: Disk): { lines: Record<string, unknown>[]; leftOut: number } | { problem: string } {
  try {
    const text = disk.read(paths.log, mostLogBytes)?.toString('utf8') ?? '';
    const all = text.split('\n').filter((line) => line !== '');
    const lines = all
      .slice(-mostLines)
      .map(plainLine)
      .filter((line) => line !== null);
    return { lines, leftOut: all.length - lines.length };
  } catch (error) {
    return { problem: (error as NodeJS.ErrnoException).code ?? 'it cannot be read' };
  }
}

const logFields = [
  'id',
  'kind',
  'code',
  'because',
  'rotationId',
  'envelopeId',
  'enrolmentId',
  'recordId',
  'digest',
  'custody',
  'state',
  'answer',
  'way',
  'notAfter',
];

function plainLine(line: string): Record<string, unknown> | null {
  try {
    const it = JSON.parse(line) as Record<string, unknown>;
    if (typeof it['event'] !== 'string' || !Object.hasOwn(events, it['event']) || !time.test(String(it['time']))) return null;
    const fields = logFields.filter((name) => it[name] !== undefined && isPlain(it[name])).map((name) => [name, it[name]]);
    return { time: it['time'], event: it['event'], ...Object.fromEntries(fields) };
  } catch {
    return null;
  }
}

/** The last look, by the logger's own rule: should a key, a ticket or a private key stand where nobody thought, it goes. */
function withoutSecrets(value: unknown, settings: Settings | null): unknown {
  const ticket = settings?.enrolmentTicket?.secret.toString('base64url');
  const walk = (it: unknown): unknown => {
    if (typeof it === 'string') {
      if (digest.test(it) || uuid.test(it)) return it;
      if ((ticket && it.includes(ticket)) || /[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])/.test(it)) return '[ticket]';
      return cleanText(it);
    }
    if (Array.isArray(it)) return it.map(walk);
    return it !== null && typeof it === 'object' ? Object.fromEntries(Object.entries(it).map(([name, one]) => [name, walk(one)])) : it;
  };
  return walk(value);
}

/** A new file that its owner alone can read; one that is there already, or a link, is refused. */
export function writeBundle(file: string, bundle: Record<string, unknown>): void {
  let fd: number;
  try {
    fd = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Problem('USAGE', code === 'EEXIST' ? `there is a file ${file} already` : `${file} cannot be written (${code ?? 'no reason given'})`);
  }
  try {
    fchmodSync(fd, 0o600);
    writeFileSync(fd, `${JSON.stringify(bundle, null, 2)}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

import { isProblemCode, Problem, type ProblemCode, problems } from '../protocol/problems.ts';
import type { Finding, Verdict } from './doctor.ts';
import type { FileVault } from './mac/fdesetup.ts';
import type { Result } from './requests.ts';
import { type Clock, localClock, sayStatus, wordsOfDays } from './sentences.ts';
import type { PublicStatus } from './status.ts';

/*
 * What people and programs read: status, doctor, problems. The first line is the answer, the rest is why.
 */

/**
 * What `sparekey status --json` prints. Names are added, never renamed or removed; a time is ISO 8601, UTC. Apart from
 * `fileVault`, which macOS was asked about just now, everything is as the last run of the job left it (`lastRun.at`).
 */
export interface StatusReport {
  /** The answer in one sentence, as the first line for people. */
  says: string;
  /** False when neither macOS nor the job has told anything yet; then the exit status is 75. */
  known: boolean;
  fileVault: {
    /** Asked of macOS just now. */
    state: FileVault['state'];
    /** 0 to 100 while it is encrypting or decrypting, otherwise null. */
    percent: number | null;
    /** The user at whose next logout or login FileVault is turned on. */
    deferredFor: string | null;
    waitingFor: NonNullable<FileVault['waitingFor']> | null;
    /** macOS's own words where they are not plainly on or off. */
    words: string | null;
    /** At the last run; `unknown` is never to be read as `no`. */
    hasRecoveryKey: 'yes' | 'no' | 'unknown';
  };
  /** What the backend holds for this Mac's volume, as it said last; null while it has not said anything. */
  custody: PublicStatus['custody'];
  /** When macOS last said `true` to the held key; null where it never did. */
  provedAt: string | null;
  /** What macOS said last of each key that may be the valid one; `could not check` is never to be read as `false`. */
  keys: { recordId: string; state: string; provedAt: string | null; answer: 'true' | 'false' | 'could not check' | null; answeredAt: string | null }[];
  /** A replacement of the key that is under way or waits, and what for. */
  rotation: PublicStatus['rotation'];
  /** The key was shown at `since`; nothing is replaced before its person is back in, or `until` has come. */
  hold: PublicStatus['hold'];
  /** Whose escrow payload is installed, what the settings say, and what follows from both. */
  escrow: PublicStatus['escrow'] | null;
  /** By which way this Mac is known to the backend, and until when its certificate is valid. */
  identity: PublicStatus['identity'];
  /** Whether this Mac keeps a copy of its key in its keychain. */
  custodyMode: PublicStatus['custodyMode'] | null;
  settings: PublicStatus['settings'] | null;
  /** Whether the key itself authorizes its change on this build of macOS. */
  capability: PublicStatus['capability'];
  /** Why nobody has this Mac's key, since when, and the one thing that somebody can do; null where somebody has it. */
  adoption: (SaidProblem & { since: string }) | null;
  /** Changes of the key by somebody else in the last 14 days, and who was found on this disk; null where there was none. */
  changedByOthers: NonNullable<PublicStatus['changedByOthers']> | null;
  server: string | null;
  serial: string | null;
  macos: { version: string; build: string } | null;
  agentVersion: string | null;
  lastRun: { at: string; did: string; code: string | null } | null;
  /** When the backend last answered, by this Mac's clock. */
  lastAnswerAt: string | null;
  problems: SaidProblem[];
}

interface SaidProblem {
  code: string;
  title: string;
  /** What one named person can do about it. */
  fix: string;
  /** What was found here. */
  detail: string | null;
}

export function reportStatus(fileVault: FileVault, status: PublicStatus | null, now: number, clock: Clock = localClock): StatusReport {
  const found = status?.problems ?? [];
  const ofRun = status?.lastRun.code ?? null;
  const all = ofRun === null || found.some((one) => one.code === ofRun) ? found : [...found, { code: ofRun }];
  return {
    says: sayStatus(fileVault, status, now, clock),
    known: fileVault.state !== 'unknown' || status !== null,
    fileVault: {
      state: fileVault.state,
      percent: fileVault.percent ?? null,
      deferredFor: fileVault.deferredFor ?? null,
      waitingFor: fileVault.waitingFor ?? null,
      words: fileVault.words ?? null,
      hasRecoveryKey: status?.fileVault.hasRecoveryKey ?? 'unknown',
    },
    custody: status?.custody ?? null,
    provedAt: status?.keys?.find((key) => key.state === 'held')?.provedAt ?? null,
    keys: (status?.keys ?? []).map(({ recordId, state, provedAt, last }) => ({
      recordId,
      state,
      provedAt,
      answer: last === null ? null : last.answer === 'unknown' ? 'could not check' : last.answer,
      answeredAt: last?.at ?? null,
    })),
    rotation: status?.rotation ?? null,
    hold: status?.hold ?? null,
    escrow: status?.escrow ?? null,
    identity: status?.identity ?? null,
    custodyMode: status?.custodyMode ?? null,
    settings: status?.settings ?? null,
    capability: status?.capability ?? 'unknown',
    adoption: status?.adoption ? sayAdoption(status.adoption) : null,
    changedByOthers: status?.changedByOthers ?? null,
    server: status?.server ?? null,
    serial: status?.serial ?? null,
    macos: status ? { version: status.macosVersion, build: status.macosBuild } : null,
    agentVersion: status?.agentVersion ?? null,
    lastRun: status ? { at: status.at, ...status.lastRun } : null,
    lastAnswerAt: status?.lastAnswerAt ?? null,
    problems: all.map(sayProblem),
  };
}

const sayProblem = ({ code, detail }: { code: ProblemCode; detail?: string }): SaidProblem => {
  // A status file may be older or newer than this table.
  const kind = isProblemCode(code) ? problems[code] : { title: 'a problem that this version does not know', fix: 'look with the version that wrote it' };
  return { code, title: kind.title, fix: kind.fix, detail: detail ?? null };
};

const sayAdoption = ({ code, detail, since }: NonNullable<PublicStatus['adoption']>): NonNullable<StatusReport['adoption']> => ({
  ...sayProblem({ code, ...(detail === null ? {} : { detail }) }),
  since,
});

const bold = (text: string, colour: boolean): string => (colour ? `\u001b[1m${text}\u001b[0m` : text);
const columns = (rows: readonly (readonly [string, string])[]): string => {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, says]) => `  ${name.padEnd(width)}  ${says}\n`).join('');
};

export function statusInWords(
  report: StatusReport,
  { now, colour, quiet, clock = localClock }: { now: number; colour: boolean; quiet: boolean; clock?: Clock },
): string {
  const first = `${bold(report.says, colour)}\n`;
  if (quiet) return first;
  const { fileVault, custody, rotation, hold, escrow, identity, custodyMode, settings, lastRun, changedByOthers } = report;
  const when = (iso: string): string => clock.when(Date.parse(iso), now);
  const rows: [string, string][] = [
    [
      'FileVault',
      [fileVault.state, fileVault.percent === null ? null : `${fileVault.percent} %`, fileVault.words && `“${fileVault.words}”`]
        .filter((one) => one)
        .join(', '),
    ],
  ];
  if (custody) rows.push(['custody', `${custody.state}: ${custody.because}`]);
  if (report.adoption) {
    const { title, detail, since, fix } = report.adoption;
    rows.push(['no key', `since ${when(since)}: ${title}${detail ? `: ${detail}` : ''}`], ['', `next: ${fix}`]);
  }
  for (const key of report.keys) rows.push([key.state === 'held' ? 'proof' : `proof (${key.state})`, sayProof(key, when)]);
  if (hold) rows.push(['hold', `the key was shown ${when(hold.since)}; nothing is replaced before its person is back in, or ${when(hold.until)}`]);
  if (rotation) rows.push(['rotation', `${rotation.state}, because ${rotation.because}: ${rotation.says}`]);
  if (escrow) rows.push(['escrow', escrow.says]);
  if (changedByOthers) rows.push(['others', sayOthers(changedByOthers, when)]);
  if (custodyMode) rows.push(['kept on Mac', `${custodyMode.mode === 'keychain' ? 'yes, in the System keychain' : 'no'}: ${custodyMode.because}`]);
  if (identity) rows.push(['identity', `${waysOfIdentity[identity.way]}, valid ${wordsOfDays(Date.parse(identity.notAfter), now)}`]);
  if (settings)
    rows.push(['settings', settings.unmanagedSince ? `not managed since ${when(settings.unmanagedSince)}` : settings.managed ? 'managed' : 'not there']);
  for (const one of settings?.problems ?? []) rows.push(['', `${one.name} ${one.says}`]);
  if (report.server) rows.push(['backend', `${report.server}, last answered ${report.lastAnswerAt ? when(report.lastAnswerAt) : 'never'}`]);
  if (lastRun) rows.push(['last run', `${when(lastRun.at)}: ${lastRun.did}`]);
  if (report.serial && report.macos)
    rows.push(['Mac', `${report.serial}, macOS ${report.macos.version} (${report.macos.build}), sparekey ${report.agentVersion}`]);
  const faults = report.problems.map(({ title, detail, fix, code }) => `  ${title}${detail ? `: ${detail}` : ''}\n    fix: ${fix}\n    ${code}\n`);
  return `${first}${columns(rows)}${faults.length > 0 ? `\n${bold('Problems', colour)}\n${faults.join('')}` : ''}`;
}

function sayOthers({ times, suspects }: NonNullable<StatusReport['changedByOthers']>, when: (iso: string) => string): string {
  const last = when(times.at(-1) ?? '');
  const often = times.length === 1 ? `somebody else changed the key ${last}` : `somebody else changed the key ${times.length} times in 14 days, last ${last}`;
  const follows = times.length > 1 ? 'nothing is replaced' : 'nothing is replaced on schedule for a week';
  return `${often}; ${follows}; found on this disk: ${suspects.join(', ') || 'nothing that is known'}`;
}

function sayProof({ answer, answeredAt, provedAt }: StatusReport['keys'][number], when: (iso: string) => string): string {
  if (answer === null || answeredAt === null) return 'macOS was never asked whether the key opens this Mac';
  const before = answer !== 'true' && provedAt !== null ? `; it said true ${when(provedAt)}` : '';
  if (answer === 'could not check') return `it could not be checked ${when(answeredAt)}${before}`;
  return `macOS said ${answer} to the key ${when(answeredAt)}${before}`;
}

const waysOfIdentity: Record<NonNullable<PublicStatus['identity']>['way'], string> = {
  files: 'by certificate files',
  profile: "proved once by the profile's identity",
  ticket: 'by an enrolment ticket, which is weaker',
};

const signs: Record<Verdict, string> = { ok: '[+]', failing: '[-]', warning: '[!]', 'cannot tell': '[?]', 'not checked': '[ ]' };
const colours: Record<Verdict, number> = { ok: 32, failing: 31, warning: 33, 'cannot tell': 36, 'not checked': 0 };

/** The first line counts what the rest lists; `quiet` leaves out what is as it should be. */
export function doctorInWords(found: readonly Finding[], { colour, quiet }: { colour: boolean; quiet: boolean }): string {
  const count = (verdict: Verdict): number => found.filter((one) => one.verdict === verdict).length;
  const many = (number: number, one: string, more: string): string | null => (number === 0 ? null : `${number} ${number === 1 ? one : more}`);
  const failing = count('failing');
  const rest = [
    many(count('warning'), 'warning', 'warnings'),
    many(count('cannot tell'), 'could not be told', 'could not be told'),
    many(count('not checked'), 'not checked', 'not checked'),
  ];
  const answer = failing === 0 ? 'Nothing fails' : `${failing} of ${found.length} checks ${failing === 1 ? 'fails' : 'fail'}`;
  const width = Math.max(...found.map(({ name }) => name.length));
  const lines = found
    .filter(({ verdict }) => !quiet || (verdict !== 'ok' && verdict !== 'not checked'))
    .map(({ name, verdict, says, fix }) => {
      const sign = colour && colours[verdict] ? `\u001b[${colours[verdict]}m${signs[verdict]}\u001b[0m` : signs[verdict];
      return `${sign} ${name.padEnd(width)}  ${says}\n${fix === null ? '' : `    ${' '.repeat(width)}  fix: ${fix}\n`}`;
    });
  return `${bold([answer, ...rest].filter((one) => one !== null).join('; '), colour)}\n${lines.join('')}`;
}

export interface SaidError {
  /** The three lines. */
  said: string;
  exit: number;
  facts: { exit: number; says: string; fix: string | null; code: string | null };
}

const threeLines = (says: string, fix: string | null, code: string | null): string =>
  [`error: ${says}`, ...(fix ? [`fix: ${fix}`] : []), ...(code ? [`${code}; more: docs/errors.md`] : [])]
    .map((line) => `sparekey: ${line.replace(/\s*\n\s*/g, ' ')}\n`)
    .join('');

/** With dashes in any case, or without as macOS's own letters; not a part of a UUID. Whoever mistypes an option must not find the key in a log of the terminal. */
const keyShaped = /(?<![A-Za-z0-9-])(?:[A-Za-z0-9]{4}(?:-[A-Za-z0-9]{4}){5}|[A-Z0-9]{24})(?![A-Za-z0-9-])/g;
const withoutKeys = (text: string): string => text.replace(keyShaped, '[recovery key]');

/** A failure as the terminal shows it. What is no `Problem` is a mistake of ours. */
export function sayError(error: unknown): SaidError {
  const problem =
    error instanceof Problem ? error : new Problem('AGENT_BUG', error instanceof Error ? `${error.name}: ${error.message}`.slice(0, 200) : undefined);
  const { exit, fix } = problem.kind;
  const says = withoutKeys(problem.message);
  return { said: threeLines(says, fix, problem.code), exit, facts: { exit, says, fix, code: problem.code } };
}

/** What the job answered, where that is no success. */
export const sayResult = ({ says, fix, code }: Pick<Result, 'says' | 'fix' | 'code'>): string => threeLines(says, fix, code);

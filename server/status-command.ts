import { type Mode, modeOf, sayMode } from '../protocol/mode.ts';
import { sayAlarm } from './alarms.ts';
import type { Backend } from './backend.ts';
import { backupDates, hasOfflineCopy, noOfflineCopy } from './backup-late.ts';
import { sayBrought } from './brought/commands.ts';
import { sourceNames, sourceOfRecord } from './brought/sources.ts';
import { endingCertificates, sayEnding } from './certificate-dates.ts';
import { type CommandResult, oneLine, table, when } from './command.ts';
import { stoppedConnectors } from './connectors/commands.ts';
import { cryptWarnings } from './crypt/warnings.ts';
import type { FleetLine, MacReport } from './custody-report.ts';
import { lastFacts } from './custody-state.ts';
import { sizeOfDatabase } from './folder-copy.ts';
import { whichMac } from './mac-commands.ts';
import { ringOfMac, sayRings } from './rings/commands.ts';
import { mostSealedBytes } from './sealed-file.ts';
import { peopleOfMac, sayPeople } from './status-people.ts';
import { enrolmentsOf } from './store/enrolments.ts';
import { macById } from './store/macs.ts';

/** The fleet in a few lines, or one Mac in a few sentences. */
export async function status(backend: Backend, name: string | null): Promise<CommandResult> {
  return name === null ? fleetStatus(backend) : macStatus(backend, name);
}

async function fleetStatus(backend: Backend): Promise<CommandResult> {
  const fleet = await backend.custody.fleet();
  const { backup, drill } = await backupDates(backend);
  const lastBackupAt = backup === null ? null : when(backup);
  const lastDrillAt = drill === null ? null : when(drill);
  const endings = endingCertificates(backend.paths, backend.settings, backend.clock.now());
  const brought = await sayBrought(backend);
  const stopped = await stoppedConnectors(backend);
  const counted = Object.entries(fleet.counts)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`);
  const rows = fleet.macs.map((mac) => [
    mac.serialProved ? mac.serial : `${mac.serial} (claimed)`,
    stateOf(mac),
    mac.lastSeenAt ?? 'never',
    mac.alarms.join(' '),
    mac.macId,
  ]);
  const text = [
    `${fleet.macs.length} Mac(s)${counted.length > 0 ? `: ${counted.join(', ')}` : ''}; ${fleet.alarms.length} open alarm(s)`,
    `${lastBackupAt === null ? 'there is no backup yet' : `last backup: ${lastBackupAt}`}; ${lastDrillAt === null ? 'none was tried yet' : `last tried: ${lastDrillAt}`}`,
    ...endings.map(sayEnding),
    ...brought.lines,
    ...stopped.map(({ name, problem }) => `connector ${name} stands still: ${problem}`),
    ...(await sayRings(backend)),
    ...(rows.length > 0 ? ['', table(['serial', 'custody', 'last seen', 'alarms', 'id'], rows)] : []),
    ...sayKeyless(fleet.macs),
  ].join('\n');
  const red = [
    ...cryptWarnings(backend.settings.coexistence),
    ...(await largeWarnings(backend)),
    ...((await hasOfflineCopy(backend.store)) ? [] : [noOfflineCopy]),
  ];
  return {
    json: {
      ...(red.length > 0 ? { warnings: red } : {}),
      serverUrl: backend.settings.serverUrl,
      lastBackupAt,
      lastDrillAt,
      ...(endings.length > 0 ? { certificates: endings.map((one) => ({ ...one, notAfter: when(one.notAfter) })) } : {}),
      ...fleet,
      macs: fleet.macs.map(nested),
      brought: { ...brought.counts, tasks: brought.tasks, oldCopies: brought.oldCopies },
      ...(stopped.length > 0 ? { stoppedConnectors: stopped } : {}),
    },
    text,
    red,
  };
}

/** Half of what can be encrypted as one file: time to think of another way of backup. */
const largeDatabase = mostSealedBytes / 2;

async function largeWarnings(backend: Pick<Backend, 'paths' | 'store'>): Promise<string[]> {
  const size = await sizeOfDatabase(backend);
  const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(1);
  return size < largeDatabase
    ? []
    : [
        `the database has ${gib(size)} GiB; \`backup --encrypt-to\` takes ${gib(mostSealedBytes)} at the most: plan backups that something else encrypts (docs/operating.md)`,
      ];
}

/** Custody as one thing, as the agent's own `status --json` has it. */
function nested<Line extends FleetLine>({ state, because, unopened, heldRecordId, provedAt, candidates, ...rest }: Line) {
  return { ...rest, custody: { state, because, unopened, heldRecordId, provedAt, candidates } };
}

const stateOf = (mac: FleetLine): string => (mac.unopened ? 'held, unopened' : mac.state);

async function macStatus(backend: Backend, name: string): Promise<CommandResult> {
  const mac = await whichMac(backend, name);
  const report = await backend.custody.macReport(mac.id);
  const enrolments = (await enrolmentsOf(backend.store.db, mac.id)).map((enrolment) => ({
    id: enrolment.id,
    way: enrolment.way,
    status: enrolment.status,
    confirmed: enrolment.confirmed === 1,
    hardwareUuid: enrolment.hardware_uuid,
    madeAt: when(enrolment.created_at),
    lastSeenAt: enrolment.last_seen_at === null ? null : when(enrolment.last_seen_at),
    since: enrolment.status_at === null ? null : when(enrolment.status_at),
    because: enrolment.status_because,
  }));
  const people = await peopleOfMac(backend, mac.id);
  const ring = await ringOfMac(backend, mac.id);
  const lived = await livingOf(backend, mac.id);
  const text = [...sentences(report, enrolments), ...(lived ? [`mode ${lived.says}`] : []), ...(ring ? [sayRing(ring)] : []), ...sayPeople(people)]
    .map(oneLine)
    .join('\n');
  return { json: { ...nested(report), enrolments, ...people, mode: lived, ring }, text };
}

/** How this Mac lives beside an MDM, by what it said last; null: it has said nothing. */
async function livingOf(backend: Backend, macId: string): Promise<{ mode: Mode; says: string } | null> {
  const mac = await macById(backend.store.db, macId);
  const facts = mac && lastFacts(mac);
  return facts ? { mode: modeOf(facts), says: sayMode(facts) } : null;
}

const sayRing = ({ ring, state, since, because }: NonNullable<Awaited<ReturnType<typeof ringOfMac>>>): string =>
  `ring ${ring}: ${state} since ${since}: ${because}${state === 'waiting' ? '; nothing is replaced before' : ''}`;

const sayRuntime = ({ runtimeVersion, labOnly }: MacReport): string =>
  runtimeVersion === null ? '' : ` on Node ${runtimeVersion}${labOnly ? ' (lab only: not signed, so it keeps no key and is given none)' : ''}`;

function sentences(
  report: MacReport,
  enrolments: readonly { id: string; way: string; status: string; confirmed: boolean; because: string | null }[],
): string[] {
  const proved = report.provedAt === null ? 'its key was never proved' : `its key opened this Mac on ${report.provedAt}`;
  return [
    `${report.serial}${report.serialProved ? '' : ' (a claim)'}: custody is ${stateOf(report)}: ${report.because}; ${proved}`,
    `last seen ${report.lastSeenAt ?? 'never'}, macOS ${report.macosVersion ?? 'unknown'}, agent ${report.agentVersion ?? 'unknown'}${sayRuntime(report)}, id ${report.macId}`,
    ...enrolments.map(
      (enrolment) =>
        `enrolment ${enrolment.id}: ${enrolment.way}, ${enrolment.status}${enrolment.because ? `: ${enrolment.because}` : ''}${enrolment.confirmed ? '' : ', not confirmed'}`,
    ),
    ...(report.adoption ? [sayAdoption(report.adoption)] : []),
    `replacement: ${report.rotation.because}${report.waits ? `; the Mac says since ${report.waits.since}: ${report.waits.says}` : ''}`,
    ...(report.hold ? [`hold until ${when(report.hold.until)}: ${report.hold.because}`] : []),
    ...(report.openRotation ? [`replacing its key since ${report.openRotation.begunAt}`] : []),
    ...report.openAlarms.map(({ id, code, detail }) => `alarm ${id}: ${code}: ${detail}`),
    ...sayOthers(report),
    ...report.keys.map(
      (key) =>
        `key ${key.recordId}: ${key.state}${key.verified ? '' : ', unverified'}, ${key.because}, received ${key.receivedAt}${sayOrigin(key)}, ${sayAnswer(key)}`,
    ),
    ...report.brought.map((key) => `brought by ${key.source} on ${key.broughtAt}${key.madeAt ? `, made ${key.madeAt}` : ''}: ${key.state}: ${key.because}`),
    ...(report.task ? [`task ${report.task.id}, due ${report.task.dueAt}: ${report.task.because}`] : []),
    ...report.proofOrders.map(
      (order) =>
        `a proof of key ${order.recordId} is due since ${order.since}${order.notBefore > order.since ? `, not before ${order.notBefore}` : ''}: ${order.because}`,
    ),
    ...report.disclosures.map((shown) => `${shown.shown ? 'shown' : 'asked for and not shown'} ${shown.at} by ${shown.actor}: ${shown.reason}`),
  ];
}

/** Whose word it is that it is this Mac's. */
export function sayOrigin({ source }: Pick<MacReport['keys'][number], 'source'>): string {
  const brought = sourceOfRecord(source);
  return brought === null ? '' : ` from ${sourceNames[brought]}`;
}

/** The dated answer of macOS, in its three values. */
export function sayAnswer({ lastAnswer, provedAt }: Pick<MacReport['keys'][number], 'lastAnswer' | 'provedAt'>): string {
  if (lastAnswer === null) return 'macOS was never asked about it';
  const before = provedAt !== null && lastAnswer.answer !== 'true' ? `; it said true on ${provedAt}` : '';
  return lastAnswer.answer === 'unknown'
    ? `on ${lastAnswer.at} it could not be checked${before}`
    : `macOS said ${lastAnswer.answer} on ${lastAnswer.at}${before}`;
}

/** The Macs whose key nobody has, the longest first: what each waits for, and since when. */
function sayKeyless(macs: readonly FleetLine[]): string[] {
  const rows = macs
    .flatMap(({ serial, adoption }) =>
      adoption ? [[serial, adoption.since, adoption.detail ? `${adoption.title}: ${adoption.detail}` : adoption.title, adoption.code]] : [],
    )
    .sort(([, one = ''], [, other = '']) => one.localeCompare(other));
  return rows.length > 0 ? ['', table(['nobody has the key of', 'since', 'because', 'code'], rows)] : [];
}

const sayAdoption = ({ title, detail, since, fix, code }: NonNullable<MacReport['adoption']>): string =>
  `no key since ${since}: ${title}${detail ? `: ${detail}` : ''}; next: ${fix} (${code})`;

export async function alarmList(backend: Backend): Promise<CommandResult> {
  const { alarms, macs } = await backend.custody.fleet();
  const serialOf = (macId: string | null) => macs.find((mac) => mac.macId === macId)?.serial ?? '–';
  const rows = alarms.map((alarm) => [alarm.id, serialOf(alarm.macId), alarm.code, alarm.since, alarm.detail]);
  const words = [...new Set(alarms.map(({ code }) => code))].toSorted().map((code) => `${code}: ${sayAlarm(code)}`);
  return {
    json: { alarms: alarms.map((alarm) => ({ ...alarm, says: sayAlarm(alarm.code) })) },
    text: alarms.length === 0 ? 'no alarm is open' : [table(['alarm', 'serial', 'code', 'since', 'detail'], rows), '', ...words].join('\n'),
  };
}

/** What others did to the key of this Mac, and what became of their own copy. */
function sayOthers({ changedByOthers, mdmCopyOldSince }: MacReport): string[] {
  const { times = [], suspects = [] } = changedByOthers ?? {};
  const found = suspects.join(', ') || 'nothing that is known';
  return [
    ...(times.length > 0 ? [`somebody else changed its key on ${times.join(' and on ')}; found on its disk: ${found}`] : []),
    ...(mdmCopyOldSince === null ? [] : [`the MDM's copy of its key is old since ${mdmCopyOldSince}: send nobody to the MDM for it`]),
  ];
}

import type { Backend } from './backend.ts';
import { type CommandResult, table, when } from './command.ts';
import type { FleetLine, MacReport } from './custody-report.ts';
import { whichMac } from './mac-commands.ts';
import { enrolmentsOf } from './store/enrolments.ts';
import { readMemory } from './store/upkeep.ts';

/** The fleet in a few lines, or one Mac in a few sentences. */
export async function status(backend: Backend, name: string | null): Promise<CommandResult> {
  return name === null ? fleetStatus(backend) : macStatus(backend, name);
}

async function fleetStatus(backend: Backend): Promise<CommandResult> {
  const fleet = await backend.custody.fleet();
  const backup = await readMemory(backend.store.db, 'last-backup');
  const lastBackupAt = backup === null ? null : when(Number(backup));
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
    lastBackupAt === null ? 'there is no backup yet' : `last backup: ${lastBackupAt}`,
    ...(rows.length > 0 ? ['', table(['serial', 'custody', 'last seen', 'alarms', 'id'], rows)] : []),
  ].join('\n');
  return { json: { serverUrl: backend.settings.serverUrl, lastBackupAt, ...fleet, macs: fleet.macs.map(nested) }, text };
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
  return { json: { ...nested(report), enrolments }, text: sentences(report, enrolments).join('\n') };
}

function sentences(
  report: MacReport,
  enrolments: readonly { id: string; way: string; status: string; confirmed: boolean; because: string | null }[],
): string[] {
  const proved = report.provedAt === null ? 'its key was never proved' : `its key opened this Mac on ${report.provedAt}`;
  return [
    `${report.serial}${report.serialProved ? '' : ' (a claim)'}: custody is ${stateOf(report)}: ${report.because}; ${proved}`,
    `last seen ${report.lastSeenAt ?? 'never'}, macOS ${report.macosVersion ?? 'unknown'}, agent ${report.agentVersion ?? 'unknown'}, id ${report.macId}`,
    ...enrolments.map(
      (enrolment) =>
        `enrolment ${enrolment.id}: ${enrolment.way}, ${enrolment.status}${enrolment.because ? `: ${enrolment.because}` : ''}${enrolment.confirmed ? '' : ', not confirmed'}`,
    ),
    `replacement: ${report.rotation.because}`,
    ...(report.hold ? [`hold until ${when(report.hold.until)}: ${report.hold.because}`] : []),
    ...(report.openRotation ? [`replacing its key since ${report.openRotation.begunAt}`] : []),
    ...report.alarms.map((code) => `alarm: ${code}`),
    ...report.keys.map((key) => `key ${key.recordId}: ${key.state}, ${key.because}, received ${key.receivedAt}`),
    ...report.disclosures.map((shown) => `${shown.shown ? 'shown' : 'asked for and not shown'} ${shown.at} by ${shown.actor}: ${shown.reason}`),
  ];
}

export async function alarmList(backend: Backend): Promise<CommandResult> {
  const { alarms, macs } = await backend.custody.fleet();
  const serialOf = (macId: string | null) => macs.find((mac) => mac.macId === macId)?.serial ?? '–';
  const rows = alarms.map((alarm) => [alarm.id, serialOf(alarm.macId), alarm.code, alarm.since, alarm.detail]);
  return { json: { alarms }, text: alarms.length === 0 ? 'no alarm is open' : table(['alarm', 'serial', 'code', 'since', 'detail'], rows) };
}

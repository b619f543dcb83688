import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Problem } from '../../protocol/problems.ts';
import { readDeviceCas } from '../authorities.ts';
import type { Backend } from '../backend.ts';
import { type CommandResult, table, when } from '../command.ts';
import { devicesAfter, listCommands, type MdmDevice } from '../store/mdm.ts';
import { saidOf } from './device.ts';
import { chainOf, readMdmSignature } from './mdm-signature.ts';

/** The commands `mdm …` in words. */
const pageRows = 1000;
/** For a terminal; with --json there are all. */
const mostShown = 200;

function describe(device: MdmDevice) {
  const { facts = {}, key } = saidOf(device);
  return {
    deviceId: device.id,
    server: device.server,
    serial: device.serial,
    udid: device.udid,
    firstSeenAt: when(device.first_seen_at),
    lastSeenAt: device.last_seen_at === 0 ? null : when(device.last_seen_at),
    leftAt: device.checked_out_at === null ? null : when(device.checked_out_at),
    saidAt: device.security_at === null ? null : when(device.security_at),
    fileVault: facts['FDE_Enabled'] ?? null,
    hasRecoveryKey: facts['FDE_HasPersonalRecoveryKey'] ?? null,
    key: key?.answer ?? null,
    recipient: key?.recipient ?? null,
  };
}

export async function mdmDevices(backend: Backend): Promise<CommandResult> {
  const devices: ReturnType<typeof describe>[] = [];
  for (let last = ''; ; ) {
    const page = await devicesAfter(backend.store.db, last, pageRows);
    devices.push(...page.map(describe));
    if (page.length < pageRows) break;
    last = page.at(-1)?.id ?? '';
  }
  const said = (value: boolean | string | null): string => (value === null ? '–' : value === true ? 'on' : value === false ? 'off' : value);
  const rows = devices.map((one) => [
    one.serial ?? '–',
    one.deviceId,
    one.leftAt === null ? (one.lastSeenAt ?? 'never') : `left ${one.leftAt}`,
    said(one.fileVault),
    one.key ?? '–',
    one.saidAt ?? '–',
  ]);
  return {
    json: { devices },
    text: devices.length === 0 ? 'the MDM has told of no Mac' : table(['serial', 'device', 'last heard', 'FileVault', 'its key', 'said on'], rows),
  };
}

/** `all`: for programs, and read in pages; otherwise the newest, as many as a person reads. */
export async function mdmCommands(backend: Backend, mac: string | null, { all }: { all: boolean }): Promise<CommandResult> {
  const of = mac === null ? null : { serial: mac.toUpperCase(), deviceId: mac };
  const found: Awaited<ReturnType<typeof listCommands>> = [];
  const most = all ? pageRows : mostShown + 1;
  for (let last: { at: number; uuid: string } | null = null; ; ) {
    const page: typeof found = await listCommands(backend.store.db, of, last, most);
    found.push(...page);
    const end = page.at(-1);
    if (!all || page.length < most || !end) break;
    last = { at: end.created_at, uuid: end.uuid };
  }
  const shown = all ? found : found.slice(0, mostShown);
  const commands = shown.map((one) => ({
    uuid: one.uuid,
    deviceId: one.device_id,
    serial: one.serial,
    kind: one.kind,
    because: one.because,
    actor: one.actor,
    state: one.state,
    createdAt: when(one.created_at),
    sentAt: one.sent_at === null ? null : when(one.sent_at),
    endedAt: one.ended_at === null ? null : when(one.ended_at),
    error: one.error,
    escrowPayload: one.escrow_payload,
  }));
  const rows = commands.map((one) => [one.serial ?? one.deviceId, one.kind, one.state, one.createdAt, one.actor, one.error ?? one.because]);
  const more = found.length > shown.length ? `\nthese are the newest ${mostShown}; --json has all` : '';
  return {
    json: { commands },
    text: commands.length === 0 ? 'nothing was asked through the MDM' : `${table(['Mac', 'what', 'state', 'asked', 'by', 'why'], rows)}${more}`,
  };
}

function neededApi(backend: Backend): NonNullable<NonNullable<Backend['settings']['coexistence']>['nanomdm']> {
  const nanomdm = backend.settings.coexistence?.nanomdm;
  if (!nanomdm) throw new Problem('SERVER_SETTINGS_INVALID', 'coexistence.nanomdm: is needed to ask a Mac through the MDM');
  return nanomdm;
}

export async function mdmAsk(backend: Backend, act: { mac: string; reason: string; actor: string }): Promise<CommandResult> {
  neededApi(backend);
  const { deviceId, uuid } = await backend.custody.mdm.ask({ device: act.mac, actor: act.actor, reason: act.reason });
  return {
    json: { deviceId, commandUuid: uuid },
    text:
      uuid === null
        ? `${act.mac} was asked before, and has not answered yet`
        : `${act.mac} will be asked for the key that it escrowed; look with: sparekey-server mdm commands ${act.mac}`,
  };
}

export async function mdmRotate(backend: Backend, act: { mac: string; reason: string; actor: string; overrideHold: boolean }): Promise<CommandResult> {
  if (!neededApi(backend).rotate)
    throw new Problem('MDM_ROTATION_REFUSED', 'coexistence.nanomdm.rotate is off: the command would hold the present key, and lie in the database of the MDM');
  const { actor, reason, overrideHold } = act;
  const { deviceId, uuid, from } = await backend.custody.mdm.rotate({ device: act.mac, actor, reason, overrideHold });
  return {
    json: { deviceId, commandUuid: uuid, notBefore: when(from) },
    text: `the MDM will replace the key of ${act.mac}, not before ${when(from)}; look with: sparekey-server mdm commands ${act.mac}`,
    warnings: [
      'until the Mac fetches the command, it lies in the database of the MDM with the present key in it',
      ...(act.mac === deviceId ? ['the device was named: which key is sent goes by the serial number that it says itself, and by your word'] : []),
    ],
  };
}

export async function mdmOpen(backend: Backend, act: { uuid: string; actor: string; reason: string }): Promise<CommandResult> {
  const canAsk = backend.settings.coexistence?.nanomdm != null;
  const opened = await backend.custody.mdm.reopen(act, { canAsk });
  return {
    json: { commandUuid: act.uuid, opened },
    text: opened ? `it opened: the key of ${act.uuid} is here` : `it does not open; it is kept for 90 days from when it came`,
    ...(opened ? {} : { exit: 77 as const }),
  };
}

const given = (file: string): Buffer => {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Problem('USAGE', `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
};

/** For whoever asks whether a message that a proxy kept is what a Mac of theirs sent. */
export async function mdmSigner(backend: Backend, files: { body: string; signature: string }): Promise<CommandResult> {
  const [body, header] = [given(files.body), given(files.signature).toString('utf8')];
  let signer: ReturnType<typeof readMdmSignature>;
  try {
    signer = readMdmSignature(header, body);
  } catch (error) {
    throw new Problem('USAGE', `it is no signature of this body: ${error instanceof Error ? error.message : 'unknown'}`);
  }
  const chain = chainOf(signer, readDeviceCas(backend.paths.deviceCas), new Date(backend.clock.now()));
  const certificate = new X509Certificate(signer.certificate);
  const json = {
    subject: certificate.subject.replaceAll('\n', ', '),
    serialNumber: certificate.serialNumber,
    notAfter: certificate.validToDate.toISOString(),
    digest: signer.digest,
    trusted: chain.ok,
    because: chain.ok ? null : chain.because,
  };
  const text = `signed (${signer.digest}) with the certificate ${certificate.serialNumber} of ${json.subject || 'nobody in particular'}`;
  return { json, text: chain.ok ? `${text}, of a device CA of this backend` : `${text}, which no device CA of this backend vouches for (${chain.because})` };
}

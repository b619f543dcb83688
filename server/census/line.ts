import { z } from 'zod';

/*
 * One line of scripts/assess.sh. What a Mac could not say is `unknown` or null there; a line without some of the fields is of an
 * older script, and they are taken as unknown. A line of a newer form than this backend knows is not read.
 */

/** The form that scripts/assess.sh writes. */
const knownForm = 1;
const marker = '"sparekeyAssess"';
/** A line has about 2 KB; a file of something else may have lines without an end. */
const mostLineLength = 64 * 1024;

const answer = z.enum(['yes', 'no', 'unknown']).nullish();
type Answer = 'yes' | 'no' | 'unknown';
const text = z.string().max(400).nullish();
const count = z.int().min(0).max(1_000_000).nullish();
const recipient = z.object({ issuer: z.string().max(400), serial: z.string().max(128) });
const names = z.array(z.string().max(64)).max(32).nullish();

const form = z.object({
  at: z.iso.datetime(),
  root: z.boolean().nullish(),
  serial: text,
  hardwareUuid: text,
  model: text,
  chip: text,
  processor: z.enum(['apple', 'intel']).nullish(),
  t2: z.boolean().nullish(),
  macos: text,
  build: text,
  fileVault: z.enum(['on', 'off', 'encrypting', 'decrypting', 'unknown']).nullish(),
  deferred: z.boolean().nullish(),
  personalKey: answer,
  institutionalKey: answer,
  payloads: z
    .array(z.object({ location: text, profile: text, payload: text, organisation: text, certificate: text, recipient: recipient.nullish() }))
    .max(16)
    .nullish(),
  payloadHint: text,
  escrowFile: z.object({ bytes: count, ageDays: count, sha256: text, recipients: z.array(recipient).max(8).nullish() }).nullish(),
  bootstrapToken: z.object({ supported: answer, escrowed: answer }).nullish(),
  mdm: z.object({ enrolled: answer, userApproved: answer, dep: answer, server: text }).nullish(),
  users: count,
  secureTokenUsers: count,
  recoveryLock: answer,
  rotators: z.object({ byThemselves: names, byOrder: names }).nullish(),
  sparekey: z.object({ installed: z.boolean().nullish(), version: text, settings: z.boolean().nullish() }).nullish(),
  problems: z.array(z.string().max(400)).max(100).nullish(),
});

export interface Recipient {
  issuer: string;
  serial: string;
}
export interface Payload {
  location: string;
  profile: string;
  payload: string;
  organisation: string;
  /** SHA-256 of the certificate that it names. */
  certificate: string | null;
  recipient: Recipient | null;
}

/** A Mac as it described itself. */
export interface CensusMac {
  at: string;
  root: boolean;
  serial: string;
  hardwareUuid: string | null;
  model: string | null;
  chip: string | null;
  processor: 'apple' | 'intel' | null;
  t2: boolean | null;
  macos: string | null;
  build: string | null;
  fileVault: 'on' | 'off' | 'encrypting' | 'decrypting' | 'unknown';
  deferred: boolean;
  personalKey: Answer;
  institutionalKey: Answer;
  /** Null: the profiles could not be listed. */
  payloads: Payload[] | null;
  payloadHint: string | null;
  escrowFile: { ageDays: number | null; recipients: Recipient[] } | null;
  bootstrapToken: { supported: Answer; escrowed: Answer };
  mdm: { enrolled: Answer; userApproved: Answer; server: string | null };
  secureTokenUsers: number | null;
  recoveryLock: Answer;
  rotators: { byThemselves: string[]; byOrder: string[] };
  sparekey: { installed: boolean; settings: boolean };
  /** What the script could not read, in its words. */
  problems: string[];
  /** Fields that an older script did not write. */
  missing: string[];
}

export type ReadLine = { mac: CensusMac } | { broken: string };

/**
 * The line in whatever an MDM put around it: nothing, `<result>…</result>`, a log, a string within its own JSON. Null where there
 * is none.
 */
export function findLines(around: string): string[] {
  if (!around.includes('sparekeyAssess')) return [];
  const found: string[] = [];
  for (let at = around.indexOf(`{${marker}`); at >= 0; ) {
    const end = endOfObject(around, at);
    found.push(around.slice(at, end));
    at = around.indexOf(`{${marker}`, end);
  }
  if (found.length > 0) return found;
  try {
    return stringsIn(JSON.parse(around) as unknown).flatMap(findLines);
  } catch {
    // Half of an escaped line: whoever reads it says that it is broken.
    return [around];
  }
}

function stringsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  if ('sparekeyAssess' in value) {
    const { sparekeyAssess, ...rest } = value;
    return [JSON.stringify({ sparekeyAssess, ...rest })];
  }
  return Object.values(value).flatMap(stringsIn);
}

/** Behind the brace that closes the one at `at`; the end of the text where none does. */
function endOfObject(line: string, at: number): number {
  let depth = 0;
  let inString = false;
  for (let index = at; index < line.length; index += 1) {
    const sign = line[index];
    if (inString) {
      if (sign === '\\') index += 1;
      else if (sign === '"') inString = false;
    } else if (sign === '"') inString = true;
    else if (sign === '{') depth += 1;
    else if (sign === '}') {
      depth -= 1;
      if (depth === 0) return index + 1;
    }
  }
  return line.length;
}

/** @param ofRow the serial number that stands beside it in an export */
export function readLine(line: string, ofRow: string | null = null): ReadLine {
  if (line.length > mostLineLength) return { broken: `the line has more than ${mostLineLength / 1024} KB` };
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { broken: line.includes('sparekeyAssess') ? 'the line is cut off or damaged' : 'this is no line of assess.sh' };
  }
  if (typeof value !== 'object' || value === null || !('sparekeyAssess' in value)) return { broken: 'this is no line of assess.sh' };
  const version = value.sparekeyAssess;
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 1) return { broken: 'its form has no number' };
  if (version > knownForm) return { broken: `its form is ${version}, and this backend knows ${knownForm}: update the backend` };
  const parsed = form.safeParse(value);
  if (!parsed.success) return { broken: `${parsed.error.issues[0]?.path.join('.') || 'the line'} is not what assess.sh writes` };
  const it = parsed.data;
  const serial = (it.serial ?? ofRow ?? '').trim().toUpperCase();
  if (!isSerial(serial)) return { broken: it.serial ? 'its serial number is none' : 'it has no serial number' };
  return {
    mac: complete(
      it,
      serial,
      Object.keys(form.shape).filter((name) => !(name in value)),
    ),
  };
}

export const isSerial = (serial: string): boolean => /^[A-Z0-9-]{4,64}$/.test(serial);

function complete(it: z.infer<typeof form>, serial: string, missing: string[]): CensusMac {
  return {
    at: it.at,
    root: it.root ?? false,
    serial,
    hardwareUuid: it.hardwareUuid ?? null,
    model: it.model ?? null,
    chip: it.chip ?? null,
    processor: it.processor ?? null,
    t2: it.t2 ?? null,
    macos: it.macos ?? null,
    build: it.build ?? null,
    fileVault: it.fileVault ?? 'unknown',
    deferred: it.deferred ?? false,
    personalKey: it.personalKey ?? 'unknown',
    institutionalKey: it.institutionalKey ?? 'unknown',
    payloads:
      it.payloads?.map((one) => ({
        location: one.location ?? '',
        profile: one.profile ?? '',
        payload: one.payload ?? '',
        organisation: one.organisation ?? '',
        certificate: one.certificate ?? null,
        recipient: one.recipient ?? null,
      })) ?? null,
    payloadHint: it.payloadHint ?? null,
    escrowFile: it.escrowFile ? { ageDays: it.escrowFile.ageDays ?? null, recipients: it.escrowFile.recipients ?? [] } : null,
    bootstrapToken: { supported: it.bootstrapToken?.supported ?? 'unknown', escrowed: it.bootstrapToken?.escrowed ?? 'unknown' },
    mdm: { enrolled: it.mdm?.enrolled ?? 'unknown', userApproved: it.mdm?.userApproved ?? 'unknown', server: it.mdm?.server ?? null },
    secureTokenUsers: it.secureTokenUsers ?? null,
    recoveryLock: it.recoveryLock ?? 'unknown',
    rotators: { byThemselves: it.rotators?.byThemselves ?? [], byOrder: it.rotators?.byOrder ?? [] },
    sparekey: { installed: it.sparekey?.installed ?? false, settings: it.sparekey?.settings ?? false },
    problems: it.problems ?? [],
    missing,
  };
}

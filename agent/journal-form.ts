import type { Journal } from './journal.ts';

/*
 * Whether a journal has the form that the agent works with, down to its last field: what is missing or of another kind
 * would end a later run in the middle, every time again. Set aside it is mended from the outside (R11). By hand, because
 * zod is not loaded by a run that has nothing to do. Fields that nobody here knows are passed over.
 */

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === 'string';
const number: Check = (value) => typeof value === 'number' && Number.isFinite(value);
const yesOrNo: Check = (value) => typeof value === 'boolean';
const time: Check = (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value));
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
/** Written only where there is something to say, or not by older agents of this version. */
const orAbsent =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const named =
  (check: Check): Check =>
  (value) =>
    isObject(value) && Object.values(value).every(check);
const fields =
  (checks: Record<string, Check>): Check =>
  (value) =>
    isObject(value) && Object.entries(checks).every(([name, check]) => check(Object.hasOwn(value, name) ? value[name] : undefined));

const look = fields({ at: number, runId: text, unsure: orAbsent(yesOrNo) });
const kept = fields({
  envelopeId: text,
  envelope: text,
  source: text,
  volume: text,
  madeAt: time,
  validated: text,
  rotationId: orNull(text),
  answered: orAbsent(fields({ boot: text, uptimeSeconds: number })),
  recordId: orNull(text),
  held: yesOrNo,
});
const states = ['intended', 'changing', 'sealed', 'unresolved'];
const rotation = fields({
  id: text,
  because: text,
  state: (value) => states.some((one) => one === value),
  boot: text,
  authorizedBy: text,
  oldItem: orNull(text),
  oldRecordId: orNull(text),
  enrolmentId: orNull(text),
  outputFile: text,
  escrowIdBefore: orNull(text),
  changingUptime: orNull(number),
  looks: named(look),
  refusedIsDelivered: orAbsent(yesOrNo),
  refuted: listOf(text),
});
const session = fields({
  boot: text,
  firstRunUptime: number,
  usedSeen: yesOrNo,
  usedChanged: yesOrNo,
  user: orNull(fields({ name: text, since: number })),
});
const identity = fields({
  keyAccount: orNull(text),
  keyFile: orNull(text),
  enrolmentId: text,
  way: text,
  certificatePem: text,
  notAfter: time,
  enrolledAt: time,
  hardwareUuid: text,
  profileCertificateDigest: orNull(text),
});

const stamp = { at: number, unsure: orAbsent(yesOrNo) };
const pace = fields({
  changes: listOf(fields(stamp)),
  failed: orNull(fields({ ...stamp, build: text, times: number })),
  build: orNull(text),
  proofDue: orNull(text),
  proofDueSince: orAbsent(orNull(number)),
});

const journal = fields({
  hardwareUuid: text,
  serial: text,
  volumeGroup: text,
  current: orNull(kept),
  previous: listOf(kept),
  outbox: listOf(kept),
  rotation: orNull(rotation),
  debts: listOf(fields({ id: text, because: text, envelopeId: orNull(text), boot: text, confirmed: yesOrNo, reason: orAbsent(text) })),
  refusals: listOf(fields({ id: text, at: number, settled: yesOrNo, unsure: orAbsent(yesOrNo) })),
  doubts: listOf(fields({ recordId: text, first: look, refuted: yesOrNo })),
  keptItem: orNull(fields({ account: text, envelopeId: text })),
  session: orNull(session),
  identity: orNull(identity),
  proofs: listOf(fields({ id: text, envelopeId: text, orderId: orNull(text), answer: text, settled: yesOrNo, boot: text, uptimeSeconds: number })),
  endings: listOf(fields({ rotationId: text, as: text, detail: text })),
  capability: orNull(fields({ build: text, state: text })),
  lastProof: orNull(fields({ build: text, at: number })),
  proofRefusedFor: orAbsent(orNull(text)),
  clock: orNull(fields({ serverTime: number, boot: text, uptime: number })),
  escrowSeen: orNull(fields({ size: number, modifiedMs: number, digest: text, recipient: orNull(text), ours: yesOrNo })),
  ownEscrowChangeDue: orAbsent(yesOrNo),
  foreignReported: listOf(text),
  foreignChanges: listOf(number),
  refusalFile: orAbsent(orNull(text)),
  suspects: orAbsent(orNull(fields({ after: number, names: listOf(text) }))),
  payload: orAbsent(orNull(fields({ seen: text, since: orNull(number) }))),
  unmanagedSince: orAbsent(orNull(number)),
  pace: orAbsent(pace),
  notKnown: orNull(fields({ id: text, because: text })),
  exhausted: orAbsent(yesOrNo),
  profileLookedAt: orAbsent(number),
});

export const isJournal = (value: object): value is Journal => journal(value);

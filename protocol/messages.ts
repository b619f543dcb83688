import * as z from 'zod';

/**
 * What the two sides say to each other. One integer names the version; each change has its dated line here.
 * Every version ever released is accepted for check-in and delivery; only `begin` may be refused to an agent that is too old.
 *
 * 1  2026-11-22  the first: nonce, enrol, check-in, begin, deliver, grant
 *    2026-11-22  optional, so still 1: the facts `waitingFor`, `foreignChanges`, `adoption`; in an answer `answers`, `tries`
 *    2026-11-22  optional, so still 1: the facts `assignedTo`, `name`; in an answer `withheld`; since 2026-11-23 the fact `trusted`
 *    2026-11-23  optional, so still 1: in an answer `waits`, and the codes of waits.ts; in an answer `spreadSeconds`, `waitSeconds`; the headers `sparekey-urgent` and `prefer: wait=…`
 */
export const protocolVersion = 1;
/** The oldest version that may begin a rotation. */
export const oldestForBegin = 1;
/* Requests are strict, so that a mistake is told. Replies are not: an older agent passes over what a newer backend adds. */

/** The header that carries the version, in both directions. */
export const protocolHeader = 'sparekey-protocol';

/** Of a check-in that reports a used key or has one to deliver: it is answered while quiet ones are told to come later. */
export const urgentHeader = 'sparekey-urgent';
/** Seconds for which an answer may be kept (`Prefer: wait=…`, RFC 7240): what stands between ends a connection without a word after a minute. */
export const mostWaitSeconds = 55;

export const limits = { envelopeBytes: 16 * 1024, deliveryBodyBytes: 64 * 1024, bodyBytes: 64 * 1024, offers: 12 } as const; // bytes

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const uuid = z.string().regex(/^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/);
const id = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const text = (most: number) => z.string().max(most);
const base64 = z.base64().max(96 * 1024);
/** ISO 8601, UTC. */
const time = z.iso.datetime();
/** Seconds, at most 20 years of 366 days: times are reckoned back from it, and must stay dates. */
const uptime = z.number().min(0).max(632_448_000);

/** macOS answers with three values: `unknown` is never read as `no`. */
export const answer = z.enum(['yes', 'no', 'unknown']);
/** What `fdesetup validaterecovery` said of a key; `unknown` = could not check. */
export const validation = z.enum(['true', 'false', 'unknown']);
export const rotationReason = z.enum(['used', 'ordered', 'disclosed', 'granted', 'aged', 'doubtful', 'never-escrowed', 'interrupted']);
export const deliverySource = z.enum(['rotation', 'escrow-file', 'agent']);
export const recordState = z.enum(['candidate', 'held', 'superseded', 'quarantined', 'destroyed']);
export const custodyState = z.enum(['foreign', 'none', 'lost', 'doubtful', 'held']);

export type Answer = z.infer<typeof answer>;
export type Validation = z.infer<typeof validation>;
export type RotationReason = z.infer<typeof rotationReason>;
export type DeliverySource = z.infer<typeof deliverySource>;
export type RecordState = z.infer<typeof recordState>;
export type CustodyState = z.infer<typeof custodyState>;

// ——— enrolment

export const nonceReply = z.object({ nonce: text(128), expiresInSeconds: z.int() });

export const enrolRequest = z.strictObject({
  /** PKCS #10, DER, base64. Its names are ignored. */
  csr: base64,
  /** The enrolment statement, UTF-8 with LF; see enrolment.ts. */
  statement: text(2048),
  proof: z.discriminatedUnion('kind', [
    /** CMS SignedData over the statement by the profile's identity, DER, base64. */
    z.strictObject({ kind: z.literal('profile'), signedData: base64 }),
    /** The TLS client certificate of this connection is of a device CA. */
    z.strictObject({ kind: z.literal('tls') }),
    /** HMAC-SHA-256 of the statement under an enrolment ticket, base64. */
    z.strictObject({ kind: z.literal('ticket'), ticketId: id, mac: text(64) }),
  ]),
  /** ECDSA P-256 with SHA-256 over the statement by the identity key of the enrolment that goes on, DER, base64. */
  continuation: z.strictObject({ enrolmentId: id, signature: text(256) }).optional(),
});
export const enrolReply = z.object({
  enrolmentId: id,
  /** PEM: the client certificate, then its CA. */
  certificate: text(16 * 1024),
  notAfter: time,
  /** How the Mac was known: a weaker way is said to be weaker. */
  serialProved: z.boolean(),
  confirmed: z.boolean(),
});

// ——— check-in

export const recipient = z.string().regex(/^(issuer-serial:[0-9a-f]{64}:[0-9a-f]{1,64}|key-id:[0-9a-f]{1,128})$/);

export const facts = z.strictObject({
  agentVersion: text(32),
  runtimeVersion: text(32),
  runtimeSigned: z.boolean(),
  serial: text(64),
  hardwareUuid: uuid,
  volume: uuid,
  model: text(64).optional(),
  chip: text(64).optional(),
  macosVersion: text(32),
  macosBuild: text(32),
  fileVault: z.strictObject({
    state: z.enum(['on', 'off', 'encrypting', 'decrypting', 'unknown']),
    percent: z.number().min(0).max(100).optional(),
    deferredFor: text(256).optional(),
    /** What FileVault itself waits for, where it says so. */
    waitingFor: z.enum(['restart', 'power', 'logout']).optional(),
    hasRecoveryKey: answer,
  }),
  usingRecoveryKey: answer,
  unlockedBy: z.enum(['recovery', 'user', 'unknown']),
  /** The boot session: `kern.bootsessionuuid`. */
  boot: uuid,
  /** Seconds of uptime now, and at the job's first run of this boot session. */
  uptimeSeconds: uptime,
  firstRunUptimeSeconds: uptime,
  consoleUser: text(256).nullable(),
  consoleUserHasSecureToken: answer,
  /** The user of a settled session, or null. */
  settledUser: text(256).nullable(),
  secureTokenUsers: z.int().min(0).max(1000).nullable(),
  /** A claim of the Mac's own clock. */
  passwordChangedAt: time.nullable(),
  darkWake: answer,
  power: z.strictObject({ source: z.enum(['mains', 'battery', 'unknown']), percent: z.number().min(0).max(100).nullable() }),
  escrow: z.strictObject({
    payload: z.enum(['ours', 'foreign', 'none', 'several', 'unknown']),
    location: text(512).nullable(),
    /** macOS's own escrow file, as it lies there now. */
    file: z.strictObject({ digest: hex64, recipient: recipient.nullable(), ours: z.boolean() }).nullable(),
  }),
  settings: z.strictObject({ managed: z.boolean(), unmanagedSince: time.nullable(), digest: hex64 }),
  trusted: z.array(hex64).max(20).optional(), // SHA-256 (DER) of what its settings trust beside the public CAs
  /** Only where somebody else changed the key in the last 14 days: when, and who on the Mac's disk could have (C2). */
  foreignChanges: z.strictObject({ times: z.array(time).min(1).max(20), suspects: z.array(text(64)).max(16) }).optional(),
  custodyMode: z.enum(['server', 'keychain']),
  escrowOwner: z.enum(['auto', 'sparekey', 'mdm']),
  rotator: z.enum(['sparekey', 'mdm']),
  /** Where the Mac's settings say another deadline of the hold than the backend's. */
  holdDeadlineHours: z.int().min(1).max(168).optional(),
  /** Whether the key itself authorizes its change on this build of macOS. */
  capability: z.enum(['unknown', 'works', 'refused']),
  identityWay: z.enum(['files', 'profile', 'ticket']),
  /** Why nobody has this Mac's key yet, by code; `since` is the backend's time, as the Mac reckoned it. */
  adoption: z.strictObject({ code: text(64), detail: text(256).nullable(), since: time }).optional(),
  keyboardLayout: text(128).nullable(),
  language: text(64).nullable(),
  /** Whose Mac it is, by its managed settings; null: they name nobody. Not sent where a variable in them was left unfilled. */
  assignedTo: text(256).nullable().optional(),
  /** The computer's name, as its user knows it. */
  name: text(256).optional(),
});
export type Facts = z.infer<typeof facts>;

export const agentDebt = z.strictObject({ id, because: rotationReason, envelopeId: hex64.nullable(), boot: uuid, reason: text(256).optional() });
export const proofAnswer = z.strictObject({
  id,
  /** The key, by one of its envelopes. */
  envelopeId: hex64,
  orderId: id.nullable(),
  answer: validation,
  /** Whether it was given in a settled session; a `false` outside one proves nothing. */
  settled: z.boolean(),
  boot: uuid,
  uptimeSeconds: uptime,
});
export const rotationEnding = z.strictObject({ rotationId: id, as: z.enum(['not-changed', 'not-known', 'exhausted']), detail: text(256) });

export const checkInRequest = z.strictObject({
  facts,
  offers: z.array(hex64).max(limits.offers),
  debts: z.array(agentDebt).max(16),
  proofs: z.array(proofAnswer).max(16),
  endings: z.array(rotationEnding).max(8),
  /** The agent's own open rotation, so that both sides see when they disagree. */
  rotation: z.strictObject({ id, state: z.enum(['intended', 'changing', 'sealed', 'unresolved']), because: rotationReason }).nullable(),
  /** R9: nothing that anybody has opens this Mac. */
  exhausted: z.boolean(),
  /** What the agent could not do, by code; the words come from the table. */
  problems: z.array(z.strictObject({ code: text(64), detail: text(256).optional() })).max(16),
});
export type CheckInRequest = z.infer<typeof checkInRequest>;

export const openDebt = z.strictObject({
  id,
  because: rotationReason,
  since: time,
  orderId: id.nullable(),
  /** An admin's order for a Mac where nobody logs in. */
  withoutLogin: z.boolean(),
});
export type OpenDebt = z.infer<typeof openDebt>;
export const keyNamed = z.strictObject({ recordId: id, envelopeIds: z.array(hex64), state: recordState });

/** A reply's own, so not strict. */
export const keyAnswer = z.object({ recordId: id, state: recordState, provedAt: time.nullable(), last: z.object({ answer: validation, at: time }).nullable() });

export const checkInReply = z.object({
  serverTime: time,
  macId: id,
  /** The enrolment that the client certificate stands for: what a grant request names. */
  enrolmentId: id,
  custody: custodyState,
  /** One sentence. */
  because: text(512),
  /** Those of `offers` for which the server has no row: only these are delivered. */
  wanted: z.array(hex64),
  held: keyNamed.nullable(),
  candidates: z.array(keyNamed),
  confirmed: z.strictObject({ debts: z.array(id), proofs: z.array(id), endings: z.array(id) }),
  /** All open debts of the Mac's present volume, oldest first. */
  debts: z.array(openDebt),
  /** Why no debt is told although some may be open; null or left out: nothing is kept back. */
  withheld: text(512).nullish(),
  waits: text(256).nullish(), // why nothing was done yet, as the backend has it; left out by one that does not ask
  /** While it is there nothing is replaced, for whatever reason. */
  hold: z.strictObject({ since: time, until: time, because: text(256) }).nullable(),
  proofOrders: z.array(z.strictObject({ id, recordId: id, envelopeIds: z.array(hex64) })),
  /** Of each key that may be the valid one: what macOS said of it last, and when it said `true`. `unknown`: it could not be checked. */
  answers: z.array(keyAnswer).optional(),
  /** When this Mac tried a key in the last week that has not answered `true`, as far as the server knows: for a Mac that has lost its count. */
  tries: z.array(time).max(16).optional(),
  /** SHA-256 of the escrow certificates (DER) that the server can answer for. */
  recipients: z.array(hex64),
  rotation: z.strictObject({ id, begunAt: time }).nullable(),
  /** For one grant, five minutes. */
  grantNonce: text(128),
  /** Those that stop rotations and grants of this Mac. Others are for the admin alone: they would tell a Mac what became of its deliveries. */
  alarms: z.array(text(64)),
  /** Another Mac of the fleet has seen that on this Mac's build of macOS the key itself authorizes its change. */
  buildWorks: z.boolean(),
  nextCheckInSeconds: z.int().min(1),
  /** Over how many seconds the fleet spreads its check-ins; left out: each comes when it likes. */
  spreadSeconds: z.int().min(0).optional(),
  /** For how long the backend keeps an answer until there is something new, where a check-in asks for that; left out: it does not. */
  waitSeconds: z.int().min(0).optional(),
});
export type CheckInReply = z.infer<typeof checkInReply>;

// ——— grants

export const grantPurpose = z.enum(['rotate', 'resolve', 'prove']);
export type GrantPurpose = z.infer<typeof grantPurpose>;
/** What the agent signs with its identity key, and what the grant repeats in its protected header; see grant.ts. */
export const grantRequest = z.strictObject({
  purpose: grantPurpose,
  recordId: id,
  /** The rotation (`rotate`, `resolve`) or the proof order (`prove`). */
  forId: id,
  boot: uuid,
  /** P-256, made for this run; x and y base64url. */
  publicKey: z.strictObject({ x: text(64), y: text(64) }),
  grantNonce: text(128),
  enrolmentId: id,
  /** The identity key's signature over `grantStatement(request)`, DER, base64: ECDSA with SHA-256, or RSA PKCS #1 v1.5 with SHA-256. */
  signature: text(1024),
});
export type GrantRequest = z.infer<typeof grantRequest>;
export const grantReply = z.object({ jwe: text(4096) });

// ——— begin (step 2)

export const beginRequest = z.strictObject({
  id,
  because: rotationReason,
  debtIds: z.array(id).max(16),
  hardwareUuid: uuid,
  volume: uuid,
  boot: uuid,
  /** SHA-256 of the escrow certificate (DER) that the new key will be sealed to. */
  recipient: hex64,
  /** The payload under which it happens (C9). */
  escrowPayload: z.enum(['ours', 'foreign', 'none', 'several', 'unknown']),
  /** Asked when no key on the Mac answers `true`. */
  grant: grantRequest.nullable(),
});
export type BeginRequest = z.infer<typeof beginRequest>;
export const beginReply = z.object({ rotationId: id, begunAt: time, grant: grantReply.nullable() });
export type BeginReply = z.infer<typeof beginReply>;

// ——— delivery

export const deliveryRequest = z.strictObject({
  envelope: base64,
  source: deliverySource,
  hardwareUuid: uuid,
  volume: uuid,
  madeAt: time,
  validated: validation,
  rotationId: id.nullable(),
});
export type DeliveryRequest = z.infer<typeof deliveryRequest>;
export const receipt = z.object({
  envelopeId: hex64,
  recordId: id,
  receivedAt: time,
  /** SHA-256 of the certificate (DER) it is sealed to. */
  recipient: hex64,
  readable: z.enum(['yes', 'no', 'not-tried']),
  state: recordState,
  held: keyNamed.nullable(),
  requestId: text(64),
});
export type Receipt = z.infer<typeof receipt>;

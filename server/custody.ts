import type { BeginReply, BeginRequest, CheckInReply, CheckInRequest, DeliveryRequest, GrantRequest } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { type Judgement, judgeAlarm, raise } from './alarms.ts';
import { audit } from './audit.ts';
import { begin } from './begin.ts';
import { bringAll } from './brought/bring.ts';
import type { Bringing, Brought } from './brought/bringing.ts';
import { type Clearing, clearStrangers } from './brought/clear.ts';
import { type BroughtDisclosed, type BroughtDisclosing, discloseBrought } from './brought/disclose.ts';
import { type Imported, type Importing, importExport } from './brought/import.ts';
import { settleBrought } from './brought/settle.ts';
import { closeTaskByPerson } from './brought/tasks.ts';
import { type TakenBack, type Withdrawal, withdrawRun } from './brought/withdraw.ts';
import { type Campaigns, createCampaigns } from './campaigns/campaigns.ts';
import { checkIn } from './check-in.ts';
import type { ServerClock } from './clock.ts';
import { type ConnectorsCustody, createConnectors } from './connectors/connectors.ts';
import { type CryptCustody, createCrypt } from './crypt/crypt.ts';
import type { CustodyParts, NotOpened } from './custody-parts.ts';
import { custodyOf, type Fleet, findMac, fleet, type MacCustody, type MacReport, macReport } from './custody-report.ts';
import { type Delivered, deliver } from './delivery.ts';
import { type Disclosed, type Disclosing, disclose } from './disclosures.ts';
import { keepFleetDays } from './fleet/days.ts';
import { fleetIsFresh, refreshFleet } from './fleet/project.ts';
import { grant } from './grants.ts';
import { endHoldIn, type HoldEnding } from './holds.ts';
import { type Log, silentLog } from './log.ts';
import { createMdm, type MdmCustody } from './mdm/mdm.ts';
import { type OpenedLater, openLater } from './open-later.ts';
import { type OrderedOnce, orderOnce, orderProofs, orderRotation, type ProofOrdered, type RotationOrdered, withdrawOrder } from './orders.ts';
import { backIn, type NotMe, type NotMeDone, notMe, type OwnerSays } from './owner-says.ts';
import type { Caller, CustodySettings, EscrowKeys, ServerSecrets, Store, Tx } from './parts.ts';
import { createPolicies, type Policies } from './policies/policies.ts';
import { noteRefusal, type Refusal } from './refusals.ts';
import { createRings, type Rings } from './rings/rings.ts';
import { isRowWhole } from './row-mac.ts';
import { envelopesOfRecord, recordById } from './store/keys.ts';
import { enrolmentForCustody, updateEnrolment } from './store/sessions.ts';
import { retire, sweepTimers } from './timers.ts';

/**
 * The rules for keys, as acts. Each act is one transaction with its audit; where a key is opened, that comes after the
 * commit which says so. Only this file opens envelopes.
 */
export interface Custody {
  checkIn(caller: Caller, request: CheckInRequest): Promise<CheckInReply>;
  begin(caller: Caller, request: BeginRequest): Promise<BeginReply>;
  deliver(caller: Caller, envelopeId: string, request: DeliveryRequest): Promise<Delivered>;
  grant(caller: Caller, request: GrantRequest): Promise<{ jwe: string }>;

  disclose(disclosing: Disclosing): Promise<Disclosed>;
  /** In the transaction of whoever was told of it. */
  noteRefusal(tx: Tx, at: number, refusal: Refusal): Promise<void>;
  orderRotation(order: RotationOrdered): Promise<{ orderId: string; expiresAt: number }>;
  /** One that waits already is enough. */
  orderOnce(order: RotationOrdered): Promise<OrderedOnce>;
  withdrawOrder(taking: { orderId: string; macId: string; actor: string; reason: string }): Promise<void>;
  /** For each key of the Mac that may be the valid one. */
  orderProofs(order: { macId: string; actor: string; reason: string }): Promise<ProofOrdered[]>;
  /** False where there is no hold. */
  endHold(ending: HoldEnding): Promise<boolean>;
  backIn(said: OwnerSays): Promise<{ holdEnded: boolean }>;
  notMe(said: NotMe): Promise<NotMeDone>;
  judgeAlarm(judgement: Judgement): Promise<void>;
  /** The MDM as a witness of keys and as a hand. */
  mdm: MdmCustody;
  /** What is read out of other products' APIs, and what they are asked to do. */
  connectors: ConnectorsCustody;
  /** What Crypt's clients say. */
  crypt: CryptCustody;
  /** Macs on their way from the MDM's escrow payload to ours. */
  rings: Rings;
  /** Keys of many Macs, replaced in waves. */
  campaigns: Campaigns;
  /** What holds for which Macs. */
  policies: Policies;
  /** Keys that others had, at most 500 in one act: what became of each, in their order. */
  bring(bringing: readonly Bringing[]): Promise<Brought[]>;
  withdrawRun(withdrawal: Withdrawal): Promise<TakenBack>;
  clearStrangers(clearing: Clearing): Promise<TakenBack>;
  /** A key for which there is no record: of a Mac that never enrolled, or has none of its own here. */
  discloseBrought(disclosing: BroughtDisclosing): Promise<BroughtDisclosed>;
  closeTask(closing: { taskId: string; actor: string; reason: string }): Promise<void>;
  confirmEnrolment(confirmation: { enrolmentId: string; actor: string; reason: string }): Promise<void>;
  /** Keys out of an export, some lines in each act. */
  importExport(importing: Importing): Promise<Imported>;

  findMac(serialOrId: string): Promise<string>;
  custodyOf(macId: string): Promise<MacCustody>;
  fleet(): Promise<Fleet>;
  macReport(macId: string): Promise<MacReport>;
  /** Makes lists say what is so: of at most so many Macs, how many it were. */
  refreshFleet(most: number): Promise<number>;
  /** Before lists are read: all Macs are in them, and what has just been done can be seen. */
  fleetIsFresh(): Promise<void>;
  /** Figures of today, and of yesterday once it is over. */
  keepFleetDays(): Promise<void>;

  openLater(): Promise<OpenedLater>;
  retire(): Promise<{ destroyed: number }>;
  sweepTimers(): Promise<void>;
}

export interface CustodyNeeds {
  store: Store;
  clock: ServerClock;
  escrowKeys: EscrowKeys;
  secrets: ServerSecrets;
  settings: CustodySettings;
  log?: Log;
  taskDays?: number;
  ringDays?: number;
  strangerDays?: number;
}

export function createCustody({
  store,
  clock,
  escrowKeys,
  secrets,
  settings,
  log = silentLog,
  taskDays = 3,
  ringDays = 3,
  strangerDays = 180,
}: CustodyNeeds): Custody {
  const parts: CustodyParts = {
    store,
    clock,
    secrets,
    settings,
    log,
    taskDays,
    ringDays,
    strangerDays,
    certificates: escrowKeys.certificates,
    canOpen: escrowKeys.canOpen,
    act: (work) => store.write(async (tx) => work(tx, await clock.persist(tx))),
    async actFor(own, work) {
      if (!store.writeFor) return parts.act(work);
      await clock.keepNear();
      return store.writeFor(own, async (tx, isNarrow) => work(tx, await (isNarrow ? clock.timeOf(tx) : clock.persist(tx))));
    },
    openBytes: (bytes) => openInTime(escrowKeys, bytes),
    openRecord: (recordId) => openRecord(parts, recordId),
  };
  const oneByOne = inTurn();
  return {
    checkIn: (caller, request) => checkIn(parts, caller, request),
    begin: (caller, request) => begin(parts, caller, request),
    deliver: (caller, envelopeId, request) => oneByOne(caller.macId, () => deliver(parts, caller, envelopeId, request)),
    grant: (caller, request) => grant(parts, caller, request),
    disclose: (disclosing) => disclose(parts, disclosing),
    noteRefusal: (tx, at, refusal) => noteRefusal(parts, tx, at, refusal),
    orderRotation: (order) => orderRotation(parts, order),
    orderOnce: (order) => orderOnce(parts, order),
    withdrawOrder: (taking) => withdrawOrder(parts, taking),
    orderProofs: (order) => orderProofs(parts, order),
    endHold: (ending) => parts.act((tx, at) => endHoldIn(parts, tx, at, ending)),
    backIn: (said) => backIn(parts, said),
    notMe: (said) => notMe(parts, said),
    judgeAlarm: (judgement) => judgeAlarm(parts, judgement),
    mdm: createMdm(parts, oneByOne),
    rings: createRings(parts),
    campaigns: createCampaigns(parts),
    policies: createPolicies(parts),
    crypt: createCrypt(parts),
    connectors: createConnectors(parts),
    bring: (bringing) => bringAll(parts, bringing),
    withdrawRun: (withdrawal) => withdrawRun(parts, withdrawal),
    clearStrangers: (clearing) => clearStrangers(parts, clearing),
    discloseBrought: (disclosing) => discloseBrought(parts, disclosing),
    closeTask: (closing) => closeTaskByPerson(parts, closing),
    confirmEnrolment: (confirmation) => confirmEnrolment(parts, confirmation),
    importExport: (importing) => importExport(parts, importing),
    findMac: (serialOrId) => findMac(parts, serialOrId),
    custodyOf: (macId) => custodyOf(parts, macId),
    fleet: () => fleet(parts),
    macReport: (macId) => macReport(parts, macId),
    refreshFleet: (most) => refreshFleet(parts, most),
    fleetIsFresh: () => fleetIsFresh(parts),
    keepFleetDays: () => keepFleetDays(parts),
    openLater: () => openLater(parts),
    retire: () => retire(parts),
    sweepTimers: () => sweepTimers(parts),
  };
}

/** Until an opener counts as one that does not answer. Milliseconds. */
const openerTime = 5000;

async function openInTime(escrowKeys: EscrowKeys, bytes: Uint8Array): Promise<RecoveryKey | 'unreadable' | 'no-opener'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'no-opener'>((resolve) => {
    timer = setTimeout(() => resolve('no-opener'), openerTime);
  });
  // An opener that fails is one that does not answer.
  const answer = escrowKeys.open(bytes).catch((): 'no-opener' => 'no-opener');
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Rows are looked at before anything is opened, and the key afterwards: it has to be the one that the record was made for. */
async function openRecord(parts: CustodyParts, recordId: string): Promise<RecoveryKey | NotOpened> {
  const record = await recordById(parts.store.db, recordId);
  if (!record) return 'unreadable';
  let answer: NotOpened = 'unreadable';
  for (const envelope of await envelopesOfRecord(parts.store.db, recordId)) {
    if (!envelope.bytes || envelope.readable === 'no') continue;
    const whole = isRowWhole(parts.secrets, record, envelope);
    const opened = whole ? await parts.openBytes(envelope.bytes) : 'tampered';
    const key = typeof opened === 'string' ? null : opened;
    const right = key !== null && (record.fingerprint === null || record.fingerprint === key.fingerprint(parts.secrets.fingerprint));
    if (key && right) return key;
    if (opened === 'no-opener') return 'no-opener';
    if (opened !== 'tampered' && !key) continue;
    answer = 'tampered';
    await parts.act((tx, at) => raise(parts, tx, at, record.mac_id, 'ROW_TAMPERED', `envelope ${envelope.id} of record ${record.id}`));
  }
  return answer;
}

/** Runs what is for one Mac one after another, in this process; the database does it between processes. */
function inTurn(): <T>(macId: string, work: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return (macId, work) => {
    const mine = (last.get(macId) ?? Promise.resolve()).then(work, work);
    const settled = mine.catch(() => {}).finally(() => last.get(macId) === settled && last.delete(macId));
    last.set(macId, settled);
    return mine;
  };
}

async function confirmEnrolment(parts: CustodyParts, { enrolmentId, actor, reason }: { enrolmentId: string; actor: string; reason: string }): Promise<void> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  await parts.act(async (tx, at) => {
    const enrolment = await enrolmentForCustody(tx, enrolmentId);
    if (!enrolment) throw new Problem('NOT_FOUND', `there is no enrolment ${enrolmentId}`);
    if (enrolment.status !== 'active') throw new Problem('ENROLMENT_REVOKED', `it is ${enrolment.status}`);
    await updateEnrolment(tx, enrolmentId, { confirmed: 1 });
    await audit(tx, { at, actor, act: 'enrolment.confirmed', macId: enrolment.mac_id, details: { enrolmentId, reason } });
    await settleBrought(parts, tx, at, enrolment.mac_id);
  });
}

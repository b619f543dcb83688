import { createHash, generateKeyPairSync, type KeyObject, randomBytes, randomUUID, sign } from 'node:crypto';
import { join } from 'node:path';
import { certificateDigest, openEnvelope, recipientNames, sealKey } from '../protocol/envelope.ts';
import { grantStatement, makeRunKey, openGrant } from '../protocol/grant.ts';
import type {
  BeginReply,
  CheckInReply,
  CheckInRequest,
  DeliveryRequest,
  Facts,
  GrantPurpose,
  GrantRequest,
  RotationReason,
  Validation,
} from '../protocol/messages.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { makeEscrowCertificate } from '../server/certificates.ts';
import { openClock, type ServerClock } from '../server/clock.ts';
import { type Custody, createCustody } from '../server/custody.ts';
import type { Delivered } from '../server/delivery.ts';
import type { Caller, CustodySettings, EscrowKeys, ServerSecrets, Store } from '../server/parts.ts';
import { calmFacts } from './calm-facts.ts';
import { usualCustodySettings } from './custody-settings.ts';
import { rsaPair } from './key-pairs.ts';
import { giveBack, openNewDatabase } from './new-database.ts';
import { scratch } from './scratch.ts';

/** A backend's custody with a real database, real envelopes and real signatures; only time and the Mac's word are made up. */

export const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;
export const day = 24 * hour;

/** The wall clock, set by hand. */
class Wall {
  at = Date.parse('2026-11-22T08:00:00Z');
  now = (): number => this.at;
  pass(milliseconds: number): void {
    this.at += milliseconds;
  }
}

interface EscrowPair {
  privateKey: KeyObject;
  der: Buffer;
}

const escrowPairs: EscrowPair[] = [];

/** RSA key pairs take their time: each test file makes each of them once. */
function escrowPair(which = 0): EscrowPair {
  while (escrowPairs.length <= which) {
    const { privateKey } = rsaPair();
    const commonName = `Escrow ${escrowPairs.length}`;
    escrowPairs.push({ privateKey, der: makeEscrowCertificate({ commonName, privateKey, years: 20, at: new Date('2026-01-01T00:00:00Z') }) });
  }
  return escrowPairs[which] as EscrowPair;
}

/** Real key pairs, and an opener that can be taken away. */
export class TestEscrowKeys implements EscrowKeys {
  canOpen = true;
  answers = true;
  /** How often something was opened. */
  opened = 0;
  readonly pairs: readonly EscrowPair[] = [escrowPair(0)];
  get certificates() {
    return this.pairs.map(({ der }) => ({ digest: certificateDigest(der), der, names: recipientNames(der), modulusBytes: 256 }));
  }
  async open(envelope: Uint8Array) {
    if (!this.canOpen || !this.answers) return 'no-opener' as const;
    this.opened += 1;
    for (const { privateKey, der } of this.pairs) {
      const key = openEnvelope(envelope, privateKey, der);
      if (key !== 'unreadable') return key;
    }
    return 'unreadable' as const;
  }
}

export const secrets: ServerSecrets = { fingerprint: randomBytes(32), rowMac: randomBytes(32), nonce: randomBytes(32), ticket: randomBytes(32) };

const letters = 'ABCDEFGHJKLMNPQRTUVWXYZ23456789';
export function newKey(): RecoveryKey {
  const text = [...randomBytes(24)].map((byte) => letters[byte % letters.length]).join('');
  return RecoveryKey.normalise(text) as RecoveryKey;
}

export const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
export const newUuid = (): string => randomUUID().toUpperCase();

export interface GivenServer {
  file: string;
  store: Store;
  clock: ServerClock;
  custody: Custody;
  wall: Wall;
  escrow: TestEscrowKeys;
  settings: CustodySettings;
  newMac(wish?: MacWish): Promise<TestMac>;
  /** Acts of the audit, oldest first, with their details. */
  acts(act?: string): Promise<{ act: string; actor: string; details: Record<string, unknown> }[]>;
  alarms(): Promise<string[]>;
  close(): Promise<void>;
}

export async function givenServer(settings: Partial<CustodySettings> = {}, escrow = new TestEscrowKeys()): Promise<GivenServer> {
  const file = join(scratch('custody'), 'server.sqlite');
  const store = await openNewDatabase(file);
  const wall = new Wall();
  const clock = await openClock(store, wall.now);
  const chosen = { ...usualCustodySettings, ...settings };
  const custody = createCustody({ store, clock, escrowKeys: escrow, secrets, settings: chosen });
  const server: GivenServer = {
    file,
    store,
    clock,
    custody,
    wall,
    escrow,
    settings: chosen,
    newMac: async (wish = {}) => {
      const mac = new TestMac(server, wish);
      await mac.enrol(wish);
      return mac;
    },
    acts: async (act) => {
      const rows = await store.db.selectFrom('audit').selectAll().orderBy('seq').execute();
      return rows.filter((row) => act === undefined || row.act === act).map((row) => ({ act: row.act, actor: row.actor, details: JSON.parse(row.details) }));
    },
    alarms: async () =>
      (await store.db.selectFrom('alarm').select('code').where('judged_at', 'is', null).orderBy('opened_at').execute()).map((row) => row.code),
    close: async () => {
      await store.close();
      giveBack(file);
    },
  };
  return server;
}

export interface MacWish {
  serial?: string;
  serialProved?: boolean;
  hardwareUuid?: string;
  confirmed?: boolean;
  way?: Caller['way'];
  profileNotAfter?: number | null;
}

export interface DeliverWish {
  source?: DeliveryRequest['source'];
  validated?: Validation;
  rotationId?: string | null;
  volume?: string;
  hardwareUuid?: string;
}

/** One Mac as the backend sees it: what it says, and the keys that sign for it. */
export class TestMac {
  readonly server: GivenServer;
  readonly id = randomUUID();
  readonly serial: string;
  readonly hardwareUuid: string;
  enrolmentId: string = randomUUID();
  identity = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  callerMore: Partial<Caller> = {};
  volume = newUuid();
  boot = newUuid();
  /** By the wall clock of the server. */
  bootedAt: number;
  settledUser: string | null = 'owner';
  secureTokenUsers = 2;
  escrowFile: Facts['escrow']['file'] = null;
  factsMore: Partial<Facts> = {};
  last: CheckInReply | null = null;

  constructor(server: GivenServer, wish: MacWish) {
    this.server = server;
    this.serial = wish.serial ?? `C02${randomBytes(4).toString('hex').toUpperCase()}`;
    this.hardwareUuid = wish.hardwareUuid ?? newUuid();
    this.bootedAt = server.wall.now() - hour;
  }

  get publicKey(): Buffer {
    return this.identity.publicKey.export({ format: 'der', type: 'spki' });
  }

  /** The rows that enrolling leaves; `again` for another enrolment of the same Mac. */
  async enrol(wish: MacWish = {}, again = false): Promise<void> {
    const at = this.server.clock.now();
    if (again) {
      this.enrolmentId = randomUUID();
      this.identity = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    }
    const { way = 'profile', confirmed = true, serialProved = true, profileNotAfter = null } = wish;
    this.callerMore = { way, confirmed, serialProved, profileNotAfter };
    await this.server.store.write(async (tx) => {
      const mac = {
        id: this.id,
        serial: this.serial,
        serial_proved: serialProved ? 1 : 0,
        created_at: at,
        hardware_uuid: this.hardwareUuid,
        unreadable_count: 0,
      };
      if (!again) await tx.insertInto('mac').values(mac).execute();
      await tx
        .insertInto('enrolment')
        .values({
          id: this.enrolmentId,
          mac_id: this.id,
          way,
          public_key_digest: digestOf(this.publicKey),
          public_key: this.publicKey,
          serial: this.serial,
          hardware_uuid: this.hardwareUuid,
          statement: 'made for a test',
          proof: Buffer.alloc(0),
          status: 'active',
          confirmed: confirmed ? 1 : 0,
          created_at: at,
        })
        .execute();
    });
  }

  caller(more: Partial<Caller> = {}): Caller {
    return {
      macId: this.id,
      serial: this.serial,
      serialProved: true,
      hardwareUuid: this.hardwareUuid,
      enrolmentId: this.enrolmentId,
      way: 'profile',
      standing: 'active',
      confirmed: true,
      publicKey: this.publicKey,
      profileNotAfter: null,
      protocol: 1,
      requestId: randomUUID(),
      ...this.callerMore,
      ...more,
    };
  }

  get uptimeSeconds(): number {
    return (this.server.wall.now() - this.bootedAt) / 1000;
  }

  /** Starts anew: the job first runs a minute after macOS. */
  reboot(): void {
    this.boot = newUuid();
    this.bootedAt = this.server.wall.now();
  }

  facts(): Facts {
    const { serial, hardwareUuid, volume, boot, uptimeSeconds, settledUser, secureTokenUsers } = this;
    return calmFacts(
      { serial, hardwareUuid, volume, boot },
      {
        macosVersion: '26.2',
        macosBuild: '25C56',
        uptimeSeconds,
        firstRunUptimeSeconds: Math.min(60, uptimeSeconds),
        consoleUser: settledUser,
        settledUser,
        secureTokenUsers,
        escrow: { payload: 'ours', location: null, file: this.escrowFile },
        ...this.factsMore,
      },
    );
  }

  async checkIn(more: Partial<CheckInRequest> = {}, caller: Partial<Caller> = {}): Promise<CheckInReply> {
    const request = { facts: this.facts(), offers: [], debts: [], proofs: [], endings: [], rotation: null, exhausted: false, problems: [], ...more };
    this.last = await this.server.custody.checkIn(this.caller(caller), request);
    return this.last;
  }

  seal(key: RecoveryKey): Buffer {
    return sealKey(key, escrowPair(0).der);
  }

  delivery(envelope: Uint8Array, wish: DeliverWish = {}): DeliveryRequest {
    return {
      envelope: Buffer.from(envelope).toString('base64'),
      source: wish.source ?? 'agent',
      hardwareUuid: wish.hardwareUuid ?? this.hardwareUuid,
      volume: wish.volume ?? this.volume,
      madeAt: new Date(this.server.wall.now()).toISOString(),
      validated: wish.validated ?? 'unknown',
      rotationId: wish.rotationId ?? null,
    };
  }

  deliver(sealed: RecoveryKey | Uint8Array, wish: DeliverWish = {}, caller: Partial<Caller> = {}): Promise<Delivered> {
    const envelope = sealed instanceof RecoveryKey ? this.seal(sealed) : sealed;
    return this.server.custody.deliver(this.caller(caller), digestOf(envelope), this.delivery(envelope, wish));
  }

  /** Answers of macOS about one key, at the next check-in. */
  prove(
    envelopeId: string,
    answer: Validation,
    more: { settled?: boolean; orderId?: string | null; agoSeconds?: number; id?: string } = {},
  ): Promise<CheckInReply> {
    const { settled = true, orderId = null, agoSeconds = 0, id = randomUUID() } = more;
    return this.checkIn({ proofs: [{ id, envelopeId, orderId, answer, settled, boot: this.boot, uptimeSeconds: this.uptimeSeconds - agoSeconds }] });
  }

  /** The agent saw a cause; the debt's id. */
  async owe(because: RotationReason = 'used', envelopeId: string | null = null): Promise<string> {
    const id = randomUUID();
    await this.checkIn({ debts: [{ id, because, envelopeId, boot: this.boot }] });
    return id;
  }

  /** Begins with all debts that the last check-in named, after one. */
  async begin(
    more: Partial<{ id: string; because: RotationReason; debtIds: string[]; grant: GrantRequest | null; recipient: string; hardwareUuid: string }> = {},
    caller: Partial<Caller> = {},
  ): Promise<BeginReply> {
    const debtIds = more.debtIds ?? (await this.checkIn()).debts.map((debt) => debt.id);
    return this.server.custody.begin(this.caller(caller), {
      id: randomUUID(),
      because: 'used',
      hardwareUuid: this.hardwareUuid,
      volume: this.volume,
      boot: this.boot,
      recipient: certificateDigest(escrowPair(0).der),
      escrowPayload: 'ours',
      grant: null,
      ...more,
      debtIds,
    });
  }

  /** A signed request for a grant, and how to open what comes. */
  async ask(purpose: GrantPurpose, recordId: string, forId: string, more: Partial<GrantRequest> = {}) {
    const run = await makeRunKey();
    const grantNonce = more.grantNonce ?? (await this.checkIn()).grantNonce;
    const unsigned = { purpose, recordId, forId, boot: this.boot, publicKey: run.publicKey, enrolmentId: this.enrolmentId, ...more, grantNonce };
    const request: GrantRequest = {
      ...unsigned,
      signature: sign('sha256', Buffer.from(grantStatement(unsigned)), this.identity.privateKey).toString('base64'),
    };
    return { request, open: (jwe: string) => openGrant(jwe, run.privateKey, request), give: () => this.server.custody.grant(this.caller(), request) };
  }

  /** A key that is held, as after the first escrow by macOS's file. */
  async escrowed(key = newKey()): Promise<{ key: RecoveryKey; recordId: string; envelopeId: string }> {
    await this.checkIn();
    const { receipt } = await this.deliver(key, { source: 'escrow-file' });
    return { key, recordId: receipt.recordId, envelopeId: receipt.envelopeId };
  }

  /** A whole rotation that goes well. */
  async rotate(key = newKey()): Promise<{ key: RecoveryKey; rotationId: string; recordId: string; envelopeId: string }> {
    const { rotationId } = await this.begin();
    this.server.wall.pass(second);
    const { receipt } = await this.deliver(key, { source: 'rotation', validated: 'true', rotationId });
    return { key, rotationId, recordId: receipt.recordId, envelopeId: receipt.envelopeId };
  }

  async states(): Promise<Record<string, string>> {
    const rows = await this.server.store.db.selectFrom('key_record').select(['id', 'state']).where('mac_id', '=', this.id).execute();
    return Object.fromEntries(rows.map((row) => [row.id, row.state]));
  }

  async debts(): Promise<string[]> {
    return (await this.checkIn()).debts.map((debt) => debt.because);
  }
}

/** The code of the problem that a promise fails with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
  return 'no problem';
}

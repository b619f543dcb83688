import { createHash } from 'node:crypto';
import type { Insertable } from 'kysely';
import type { Facts } from '../protocol/messages.ts';
import type { ServerSecrets } from '../server/parts.ts';
import { rowMac } from '../server/row-mac.ts';
import type { Tables } from '../server/tables.ts';
import { calmFacts } from '../test/calm-facts.ts';
import { type Chance, departments, firstNames, lastNames, models, sites, systems } from './seed-words.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
export type Seeded = { [name in keyof Tables]?: Insertable<Tables[name]>[] };

const kinds = [
  { is: 'held', weight: 9520 },
  { is: 'unproved', weight: 200 },
  { is: 'none', weight: 90 },
  { is: 'doubtful', weight: 60 },
  { is: 'foreign', weight: 100 },
  { is: 'lost', weight: 15 },
  { is: 'never-seen', weight: 15 },
] as const;
const modes = [
  { mode: 'M1', weight: 74 },
  { mode: 'M2', weight: 9 },
  { mode: 'M3', weight: 11 },
  { mode: 'M4', weight: 2 },
  { mode: 'M0', weight: 4 },
] as const;

const serialLetters = 'CDFGHJKLMNPQRTVWXY0123456789';

export interface SeedGround {
  by: Chance;
  /** Server time, milliseconds. */
  now: number;
  secrets: ServerSecrets;
  /** Digest of the escrow certificate. */
  recipient: string;
  /** An envelope of a key that opens nothing. */
  seal(by: Chance): { bytes: Buffer; fingerprint: string };
}

/** What happened to one Mac, by the tables that keep it; `told`: what stands in the audit. */
export interface SeededMac {
  rows: Seeded;
  told: { at: number; actor: string; act: string; macId: string; details: Record<string, unknown> }[];
}

export function seedMac({ by, now, secrets, recipient, seal }: SeedGround, index: number): SeededMac {
  const macId = by.uuid();
  const volume = by.uuid().toUpperCase();
  const hardwareUuid = by.uuid().toUpperCase();
  const kind = by.weighed(kinds).is;
  const { mode } = by.weighed(modes);
  const machine = by.weighed(models);
  const system = by.weighed(systems);
  const [first, last] = [by.pick(firstNames), by.pick(lastNames)];
  const userName = `${first}.${last}${index > 1500 ? index % 997 : ''}@example.org`.toLowerCase().normalize('NFC');
  // The index makes it one that no other has.
  const serial = `${Array.from({ length: 6 }, () => serialLetters[by.whole(serialLetters.length)]).join('')}${index.toString(36).toUpperCase().padStart(5, '0')}`;
  const createdAt = now - day - Math.floor(by.next() ** 1.5 * 400 * day);
  const gone = by.is(0.015);
  const seenAt =
    kind === 'never-seen' ? null : Math.max(createdAt, now - Math.floor(gone ? (8 + by.next() * 60) * day : Math.min(by.around(3 * hour, 1.5), 6 * day)));
  const enrolmentId = by.uuid();
  const enrolment = { id: enrolmentId, mac_id: macId, serial, hardware_uuid: hardwareUuid, created_at: createdAt };
  const told: SeededMac['told'] = [];
  const tell = (at: number, actor: string, act: string, details: Record<string, unknown>) => told.push({ at, actor, act, macId, details });
  const rows: Seeded = {};
  const add = <Name extends keyof Tables>(name: Name, row: Insertable<Tables[Name]>): void => {
    const list = (rows[name] ?? []) as Insertable<Tables[Name]>[];
    list.push(row);
    (rows as Record<string, unknown>)[name] = list;
  };
  tell(createdAt, 'mac', 'enrolment.made', { enrolmentId, way: 'profile', serial });

  const payload = kind === 'foreign' ? 'foreign' : mode === 'M1' || mode === 'M4' ? 'ours' : mode === 'M0' ? 'none' : 'foreign';
  const facts: Partial<Facts> = {
    macosVersion: system.version,
    macosBuild: system.build,
    model: machine.model,
    chip: machine.chip,
    name: `${first}’s ${machine.says}`,
    consoleUser: first.toLowerCase(),
    settledUser: first.toLowerCase(),
    fileVault: { state: by.is(0.98) ? 'on' : 'off', hasRecoveryKey: 'yes' },
    escrow: { payload, location: null, file: null },
    escrowOwner: mode === 'M2' || mode === 'M3' ? 'mdm' : 'auto',
    rotator: mode === 'M3' || mode === 'M4' ? 'mdm' : 'sparekey',
    ...(kind === 'none' ? { adoption: { code: 'ADOPTION_NEEDED', detail: null, since: new Date(createdAt + hour).toISOString() } } : {}),
  };
  const boot = by.uuid().toUpperCase();
  add('mac', {
    id: macId,
    serial,
    serial_proved: by.is(0.96) ? 1 : 0,
    created_at: createdAt,
    last_seen_at: seenAt,
    present_volume: seenAt === null ? null : volume,
    hardware_uuid: hardwareUuid,
    facts: seenAt === null ? null : JSON.stringify(calmFacts({ serial, hardwareUuid, volume, boot }, facts)),
    unreadable_count: 0,
    ...(kind === 'lost' && seenAt !== null ? { exhausted_at: seenAt - hour, exhausted_volume: volume } : {}),
  });
  add('enrolment', {
    ...enrolment,
    way: 'profile',
    public_key_digest: createHash('sha256').update(enrolmentId).digest('hex'),
    public_key: Buffer.alloc(0),
    statement: 'made for a fleet that is none',
    proof: Buffer.alloc(0),
    status: 'active',
    confirmed: 1,
    last_seen_at: seenAt,
  });
  if (seenAt !== null) {
    const bootedAt = Math.max(createdAt, seenAt - Math.floor(by.around(3 * day)));
    add('session', {
      enrolment_id: enrolmentId,
      boot,
      booted_at: bootedAt,
      session_start: bootedAt + minute,
      first_seen_at: bootedAt + minute,
      last_seen_at: seenAt,
    });
  }

  const keyed = seenAt !== null && kind !== 'none' && kind !== 'foreign';
  const keyAt = Math.max(createdAt + minute, now - Math.floor(by.around(70 * day, 1.1)));
  if (keyed && seenAt !== null) seedKey();
  seedPeople();
  return { rows, told };

  function seedKey(): void {
    const recordId = by.uuid();
    const proved = kind === 'held' ? Math.min(seenAt ?? now, now - Math.floor(by.is(0.9) ? by.next() * 29 * day : (30 + by.next() * 60) * day)) : 0;
    const provedAt = proved > keyAt ? proved : kind === 'held' ? keyAt + minute : null;
    const { bytes, fingerprint } = seal(by);
    const id = createHash('sha256').update(bytes).digest('hex');
    const isHeld = kind !== 'doubtful';
    add('key_record', {
      id: recordId,
      mac_id: macId,
      hardware_uuid: hardwareUuid,
      volume,
      fingerprint,
      state: isHeld ? 'held' : 'candidate',
      source: 'rotation',
      enrolment_id: enrolmentId,
      received_at: keyAt,
      opened: 1,
      state_at: keyAt,
      state_because: isHeld ? 'K3: the new key of the open rotation of this Mac' : 'K6: it has to be proved first',
      proved_at: provedAt,
      proved_by: provedAt === null ? null : 'made for a fleet that is none',
      unverified: 0,
      legal_hold: 0,
    });
    add('envelope', {
      id,
      mac_id: macId,
      record_id: recordId,
      bytes,
      recipient,
      source: 'rotation',
      made_at: keyAt,
      received_at: keyAt,
      readable: 'yes',
      enrolment_id: enrolmentId,
      validated: provedAt === null ? 'unknown' : 'true',
      row_mac: rowMac(secrets, { macId, volume, recordId, envelopeId: id, quarantined: false }),
    });
    tell(keyAt, 'mac', 'key.stored', { recordId, source: 'rotation', state: isHeld ? 'held' : 'candidate' });
    if (provedAt !== null) tell(provedAt, 'mac', 'key.proved', { recordId });
    seedOrders(recordId);
  }

  /** Some were ordered a new key, some have waited for days; some keys were shown, and a few of these are out. */
  function seedOrders(recordId: string): void {
    if (by.is(0.25)) {
      const created = keyAt - Math.floor(Math.max(minute, by.around(22 * minute, 1.6)));
      if (created > createdAt) {
        const id = by.uuid();
        const order = { id, mac_id: macId, reason: 'a new key each year', actor: 'grace', created_at: created, expires_at: created + 30 * day };
        add('rotation_order', { ...order, without_login: 0, override_hold: 0, state: 'done', ended_at: keyAt });
        tell(created, 'grace', 'rotation.ordered', { orderId: id, reason: order.reason });
        tell(keyAt, 'mac', 'rotation.ended', { rotationId: id, as: 'done', because: 'K3' });
      }
    }
    if (by.is(0.006)) {
      const created = now - Math.floor(by.next() * 12 * day);
      const id = by.uuid();
      add('rotation_order', {
        id,
        mac_id: macId,
        reason: 'left the company',
        actor: 'alan',
        created_at: created,
        expires_at: created + 30 * day,
        without_login: 0,
        override_hold: 0,
        state: 'waiting',
      });
      add('debt', { id, mac_id: macId, volume, because: 'ordered', record_id: recordId, order_id: id, opened_at: created });
      tell(created, 'alan', 'rotation.ordered', { orderId: id, reason: 'left the company' });
    }
    const isOut = by.is(0.004);
    if (!isOut && !by.is(0.03)) return;
    const at = isOut ? now - Math.floor(by.around(20 * hour, 1)) : keyAt - Math.floor(by.around(9 * hour, 1));
    const shown = isOut ? recordId : by.uuid();
    if (at <= createdAt + hour || at > now) return;
    const id = by.uuid();
    add('disclosure', {
      id,
      mac_id: macId,
      volume,
      record_id: shown,
      actor: userName,
      person: first.toLowerCase(),
      reason: 'locked out',
      at,
      shown: 1,
      ...(isOut && now - at < day ? {} : { hold_ended_at: Math.min(now, at + 2 * hour), hold_ended_because: 'session' }),
    });
    add('debt', {
      id,
      mac_id: macId,
      volume,
      because: 'disclosed',
      record_id: shown,
      opened_at: at,
      ...(isOut ? {} : { closed_at: keyAt, closed_by: `record ${recordId}` }),
    });
    tell(at, userName, 'key.disclosed', { disclosureId: id, recordId: shown, reason: 'locked out' });
  }

  function seedPeople(): void {
    if (by.is(0.93)) {
      const id = by.uuid();
      add('assignment', {
        id,
        mac_id: macId,
        user_name: userName,
        account: first.toLowerCase(),
        source: 'profile',
        rank: 1,
        enrolment_id: enrolmentId,
        created_at: createdAt + minute,
        created_by: 'mac',
      });
      tell(createdAt + minute, 'mac', 'assignment.made', { assignmentId: id, userName, source: 'profile' });
    }
    for (const tag of new Set([by.pick(departments), `site-${by.pick(sites)}`, ...(by.is(0.02) ? ['vip'] : [])]))
      add('mac_tag', { mac_id: macId, tag, source: 'admin' });
    if (by.is(0.02)) {
      const state = by.is(0.3) ? ('lost' as const) : ('retired' as const);
      add('mac_standing', {
        mac_id: macId,
        ownership: 'organisation',
        state,
        local_admin: 0,
        set_at: now - day,
        set_by: 'grace',
        because: state === 'lost' ? 'reported stolen' : 'handed in',
      });
    }
    if (by.is(0.003)) {
      const code = by.pick(['ROTATION_SILENT', 'TWO_ROTATORS', 'NO_MAIL_ADDRESS', 'SERIAL_CONFLICT', 'KEY_REFUSED']);
      const at = now - Math.floor(by.next() * 9 * day);
      const id = by.uuid();
      add('alarm', { id, mac_id: macId, code, detail: 'made for a fleet that is none', opened_at: at });
      tell(at, 'server', 'alarm.raised', { alarmId: id, code, detail: 'made for a fleet that is none' });
    }
  }
}

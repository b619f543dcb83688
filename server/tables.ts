import type { CustodyState, RecordState } from '../protocol/messages.ts';
import type { AdminsTables } from './admins-tables.ts';
import type { ApprovalTables } from './approvals-tables.ts';
import type { AuditingTables } from './auditing-tables.ts';
import type { CampaignTables } from './campaigns-tables.ts';
import type { CoexistenceTables } from './coexistence-tables.ts';
import type { FleetTables } from './fleet-tables.ts';
import type { PeopleTables } from './people-tables.ts';

/** The rows as they lie in the database; the meaning of each column is said in migrations/. Times are server milliseconds; flags are 0 or 1. */
export interface Tables extends PeopleTables, CoexistenceTables, AdminsTables, FleetTables, CampaignTables, ApprovalTables, AuditingTables {
  memory: { name: string; value: string };
  mac: {
    id: string;
    serial: string;
    serial_proved: number;
    subject: string | null;
    created_at: number;
    last_seen_at: number | null;
    present_volume: string | null;
    hardware_uuid: string;
    facts: string | null;
    agent_rotation: string | null;
    waits: string | null;
    exhausted_at: number | null;
    exhausted_volume: string | null;
    escrow_changed_at: number | null;
    unreadable_since: number | null;
    unreadable_count: number;
    merged_into: string | null;
  };
  enrolment: {
    id: string;
    mac_id: string;
    way: 'profile' | 'tls' | 'direct' | 'ticket';
    public_key_digest: string;
    public_key: Uint8Array;
    serial: string;
    hardware_uuid: string;
    statement: string;
    proof: Uint8Array;
    profile_certificate: Uint8Array | null;
    profile_not_after: number | null;
    ticket_id: string | null;
    continues: string | null;
    status: 'active' | 'replaced' | 'revoked';
    status_because: string | null;
    status_at: number | null;
    replaced_after: number | null;
    confirmed: number;
    created_at: number;
    last_seen_at: number | null;
  };
  session: { enrolment_id: string; boot: string; booted_at: number; session_start: number; first_seen_at: number; last_seen_at: number };
  enrolment_proof: {
    public_key_digest: string;
    enrolment_id: string;
    public_key: Uint8Array;
    way: Tables['enrolment']['way'];
    statement: string;
    proof: Uint8Array;
    continuation: string | null;
    accepted_at: number;
  };
  certificate: {
    digest: string;
    enrolment_id: string;
    der: Uint8Array;
    issued_at: number;
    not_after: number;
    first_used_at: number | null;
    status: 'active' | 'replaced';
  };
  revoked_certificate: { digest: string; revoked_at: number; because: string };
  spent_nonce: { digest: string; expires_at: number };
  ticket: { id: string; sealed: Uint8Array; created_at: number; created_by: string; expires_at: number; ended_at: number | null };
  ticket_serial: { ticket_id: string; serial: string; used_at: number | null; hardware_uuid: string | null; allowed_at: number | null };
  key_record: {
    id: string;
    mac_id: string;
    hardware_uuid: string;
    volume: string;
    fingerprint: string | null;
    state: RecordState;
    source: string;
    enrolment_id: string | null;
    rotation_id: string | null;
    received_at: number;
    opened: number;
    state_at: number;
    state_because: string;
    proved_at: number | null;
    proved_by: string | null;
    disclosed_at: number | null;
    first_false_at: number | null;
    first_false_run: string | null;
    refuted_at: number | null;
    legal_hold: number;
    unverified: number;
  };
  envelope: {
    id: string;
    mac_id: string;
    record_id: string;
    bytes: Uint8Array | null;
    recipient: string;
    source: string;
    made_at: number;
    received_at: number;
    readable: 'yes' | 'no' | 'not-tried';
    enrolment_id: string | null;
    rotation_id: string | null;
    validated: 'true' | 'false' | 'unknown';
    row_mac: string;
  };
  key_block: { digest: string; mac_id: string; envelope_id: string };
  foreign_file: { mac_id: string; digest: string; recipient: string | null; first_seen_at: number; last_seen_at: number };
  debt: {
    id: string;
    mac_id: string;
    volume: string;
    because: string;
    record_id: string | null;
    order_id: string | null;
    opened_at: number;
    closed_at: number | null;
    closed_by: string | null;
  };
  rotation_order: {
    id: string;
    mac_id: string;
    reason: string;
    actor: string;
    created_at: number;
    expires_at: number;
    without_login: number;
    override_hold: number;
    state: 'waiting' | 'done' | 'expired' | 'withdrawn';
    ended_at: number | null;
  };
  rotation: {
    id: string;
    mac_id: string;
    volume: string;
    enrolment_id: string;
    because: string;
    boot: string;
    escrow_payload: string;
    recipient: string;
    begun_at: number;
    state: 'begun' | 'done' | 'not-changed' | 'not-known' | 'exhausted';
    ended_at: number | null;
    ended_because: string | null;
  };
  disclosure: {
    id: string;
    mac_id: string;
    volume: string;
    record_id: string;
    actor: string;
    person: string | null;
    reason: string;
    at: number;
    shown: number;
    hold_ended_at: number | null;
    hold_ended_because: string | null;
  };
  proof_order: { id: string; mac_id: string; record_id: string; because: string; created_at: number; not_before: number; ended_at: number | null };
  proof: { id: string; mac_id: string; record_id: string; enrolment_id: string; answer: string; settled: number; boot: string; at: number };
  grant_given: {
    id: string;
    mac_id: string;
    enrolment_id: string;
    purpose: 'rotate' | 'resolve' | 'prove';
    for_id: string;
    record_id: string;
    boot: string;
    key_digest: string;
    at: number;
  };
  alarm: {
    id: string;
    mac_id: string | null;
    code: string;
    detail: string;
    opened_at: number;
    judged_at: number | null;
    judged_by: string | null;
    judgement: string | null;
  };
  audit: {
    seq: number;
    at: number;
    actor: string;
    act: string;
    mac_id: string | null;
    details: string;
    previous: string;
    hash: string;
    request_id: string | null;
    network: string | null;
    token_id: string | null;
  };
}

export interface Custody {
  state: CustodyState;
  /** One sentence. */
  because: string;
}

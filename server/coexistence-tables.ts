/** The rows about living beside an MDM; the meaning of each column is said in migrations/0003-coexistence.ts. */
export interface CoexistenceTables {
  import_run: {
    id: string;
    source: string;
    name: string;
    digest: string | null;
    mapping: string;
    actor: string;
    reason: string;
    started_at: number;
    ended_at: number | null;
    withdrawn_at: number | null;
  };
  import_line: { run_id: string; line: number; serial: string | null; fate: string; because: string; key_id: string | null };
  brought_key: {
    id: string;
    serial: string;
    bytes: Uint8Array | null;
    envelope_id: string;
    recipient: string;
    fingerprint: string | null;
    row_mac: string;
    source: string;
    trust: 'admin' | 'mdm' | 'device' | 'header' | 'none';
    run_id: string | null;
    made_at: number | null;
    brought_at: number;
    brought_by: string;
    state: 'waiting' | 'aside' | 'offered' | 'known' | 'refuted' | 'withdrawn';
    state_at: number;
    state_because: string;
    mac_id: string | null;
    record_id: string | null;
    disclosed_at: number | null;
  };
  mdm_device: {
    id: string;
    server: string;
    udid: string | null;
    serial: string | null;
    first_seen_at: number;
    last_seen_at: number;
    checked_out_at: number | null;
    security: string | null;
    security_at: number | null;
  };
  mdm_event: { digest: string; received_at: number };
  mdm_command: {
    uuid: string;
    device_id: string;
    kind: 'security-info' | 'device-information' | 'rotate';
    because: string;
    actor: string;
    state: 'waiting' | 'sent' | 'not-now' | 'done' | 'failed';
    created_at: number;
    next_at: number;
    tries: number;
    sent_at: number | null;
    ended_at: number | null;
    error: string | null;
    record_id: string | null;
    brought_id: string | null;
    override_hold: number;
    reply_certificate: Uint8Array | null;
    reply_key: Uint8Array | null;
  };
  mdm_copy: { mac_id: string; old_since: number; because: string; refreshed_at: number | null; refreshed_by: string | null };
  mdm_task: {
    id: string;
    serial: string;
    mac_id: string | null;
    kind: 'rotate';
    because: string;
    opened_at: number;
    due_at: number;
    closed_at: number | null;
    closed_by: string | null;
    closed_because: string | null;
  };
  ring: {
    id: string;
    name: string;
    state: 'planned' | 'moving' | 'moved' | 'rolled-back';
    created_at: number;
    created_by: string;
    reason: string;
    started_at: number | null;
    ended_at: number | null;
  };
  ring_mac: {
    ring_id: string;
    mac_id: string;
    state: 'planned' | 'waiting' | 'proving' | 'moved' | 'rolled-back' | 'left';
    state_at: number;
    because: string;
    order_id: string | null;
  };
  connector: {
    name: string;
    cursor: string | null;
    started_at: number | null;
    ended_at: number | null;
    next_at: number;
    figures: string | null;
    problem: string | null;
  };
  connector_mac: {
    connector: string;
    device_id: string;
    serial: string;
    listed_at: number;
    read_at: number | null;
    answer: 'key' | 'none' | 'forbidden' | 'unreadable' | 'failed' | null;
    refresh_asked_at: number | null;
    rotate_asked_at: number | null;
  };
}

/** The rows about the fleet as a whole; the meaning of each column is said in migrations/0006-fleet.ts. */
export interface FleetTables {
  mac_tag: { mac_id: string; tag: string; source: 'admin' | 'group' | 'joined' };
  mac_dirty: { mac_id: string };
  fleet_row: {
    mac_id: string;
    serial: string;
    serial_proved: number;
    name: string;
    name_key: string;
    user_name: string;
    macos: string;
    macos_key: string;
    model: string;
    chip: string;
    mode: string;
    file_vault: string;
    custody: string;
    custody_because: string;
    custody_rank: number;
    unopened: number;
    key_at: number;
    proved_at: number;
    last_seen_at: number;
    order_state: string;
    order_at: number;
    replacing_since: number;
    disclosed_at: number;
    hold_until: number;
    problem: string;
    problem_rank: number;
    problem_at: number;
    state: string;
    ownership: string;
    created_at: number;
    tags: string;
    due_at: number;
    updated_at: number;
  };
  fleet_word: { mac_id: string; word: string };
  fleet_need: { mac_id: string; kind: string; since: number; detail: string };
  fleet_count: { dimension: string; value: string; n: number };
  fleet_day: { day: string; at: number; figures: string };
  alarm_care: {
    alarm_id: string;
    owner: string | null;
    owner_at: number | null;
    muted_until: number | null;
    muted_by: string | null;
    muted_because: string | null;
  };
}

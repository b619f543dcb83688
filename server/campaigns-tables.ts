/** The rows about policies and replacements of many keys; the meaning of each column is said in migrations/0007-campaigns.ts. */
export interface CampaignTables {
  policy: {
    id: string;
    name: string;
    rank: number;
    tags: string | null;
    rules: string;
    version: number;
    created_at: number;
    created_by: string;
    changed_at: number;
    changed_by: string;
    aged_since: number | null;
    ended_at: number | null;
  };
  policy_version: {
    policy_id: string;
    version: number;
    at: number;
    actor: string;
    reason: string;
    name: string;
    rank: number;
    tags: string | null;
    rules: string | null;
  };
  campaign: {
    id: string;
    reason: string;
    state: 'planned' | 'running' | 'paused' | 'done' | 'cancelled';
    state_at: number;
    state_by: string;
    state_because: string | null;
    created_by: string;
    by_kind: 'person' | 'token' | 'operator';
    by_person: string | null;
    by_token: string | null;
    created_at: number;
    chosen: string;
    scope: string | null;
    from_at: number;
    per_hour: number;
    quiet: string | null;
    without_login: number;
    override_hold: number;
    seen_days: number | null;
    gathered_to: string | null;
    gathered_at: number | null;
    round: number;
    next_at: number;
    ended_at: number | null;
  };
  campaign_mac: {
    campaign_id: string;
    mac_id: string;
    place: number;
    state: 'waiting' | 'ordered' | 'done' | 'failed' | 'left';
    state_at: number;
    why: string | null;
    because: string | null;
    order_id: string | null;
    ordered_at: number | null;
    joined: number;
  };
  automatic_rotation: {
    id: string;
    mac_id: string;
    policy_id: string;
    because: 'aged' | 'user-left' | 'mac-lost';
    about: string;
    words: string;
    noticed_at: number;
    state: 'waiting' | 'placed' | 'dropped';
    state_at: number;
    state_because: string | null;
  };
}

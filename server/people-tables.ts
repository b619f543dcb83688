/** The rows about people; the meaning of each column is said in migrations/0002-people.ts, of those about sites in 0005-admins.ts. */
export interface PeopleTables {
  person: {
    id: string;
    provider: string;
    subject: string;
    user_name: string;
    email: string | null;
    display_name: string;
    groups: string;
    language: string | null;
    created_at: number;
    last_seen_at: number | null;
    confirmed_at: number | null;
    disabled_at: number | null;
    disabled_because: string | null;
  };
  local_account: {
    person_id: string;
    password: string | null;
    password_at: number | null;
    setup_digest: string | null;
    setup_expires_at: number | null;
    emergency: number;
  };
  sign_in_throttle: { key: string; failures: number; last_at: number; wait_until: number };
  passkey: {
    id: string;
    person_id: string;
    public_key: Uint8Array;
    counter: number;
    transports: string;
    label: string;
    created_at: number;
    last_used_at: number | null;
    host: string;
  };
  web_session: {
    id: string;
    digest: string;
    person_id: string;
    site: 'portal' | 'console';
    way: string;
    created_at: number;
    last_seen_at: number;
    fresh_at: number;
    network: string;
    browser: string;
    ended_at: number | null;
    ended_because: string | null;
  };
  sign_in_flow: {
    digest: string;
    kind: 'provider' | 'passkey' | 'new-passkey';
    provider: string | null;
    checks: string;
    then_path: string;
    session_id: string | null;
    person_id: string | null;
    created_at: number;
    expires_at: number;
  };
  spent_form: { digest: string; expires_at: number };
  assignment: {
    id: string;
    mac_id: string;
    user_name: string;
    account: string | null;
    source: 'profile' | 'csv' | 'admin';
    rank: number;
    enrolment_id: string | null;
    created_at: number;
    created_by: string;
    ended_at: number | null;
    ended_because: string | null;
  };
  mac_standing: {
    mac_id: string;
    ownership: 'organisation' | 'personal';
    state: 'in-use' | 'lost' | 'retired';
    local_admin: number;
    set_at: number;
    set_by: string;
    because: string;
  };
  key_request: {
    id: string;
    mac_id: string;
    person_id: string;
    reason: string;
    code: string;
    created_at: number;
    expires_at: number;
    state: 'waiting' | 'approved' | 'refused' | 'expired' | 'withdrawn';
    used_at: number | null;
    decided_at: number | null;
    decided_by: string | null;
    words: string | null;
  };
  episode: {
    id: string;
    mac_id: string;
    volume: string;
    person_id: string;
    code: string;
    began_at: number;
    more_time: number;
    back_in_at: number | null;
    not_me_at: number | null;
    unheard_at: number | null;
    closed_at: number | null;
  };
  key_view: {
    id: string;
    episode_id: string;
    disclosure_id: string;
    record_id: string;
    session_id: string;
    network: string;
    because: 'first' | 'again' | 'more-time' | 'other-key';
    shown_at: number;
    ends_at: number;
    hidden_at: number | null;
  };
  refusal: { id: string; episode_id: string; mac_id: string; record_id: string; person_id: string; at: number };
  help_code: {
    code: string;
    page: string;
    mac_id: string | null;
    person_id: string | null;
    network: string;
    language: string;
    created_at: number;
  };
  mail: {
    id: string;
    kind: string;
    address: string;
    language: string;
    details: string;
    episode_id: string | null;
    created_at: number;
    next_try_at: number;
    tries: number;
    sent_at: number | null;
    given_up_at: number | null;
    last_error: string | null;
  };
}

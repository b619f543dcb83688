/** The rows of this part; the meaning of each column is said in migrations/. */
export interface ApprovalTables {
  disclosure_request: {
    id: string;
    mac_id: string;
    volume: string | null;
    record_id: string | null;
    history: number;
    requester: string;
    person_id: string;
    token_id: string | null;
    reason: string;
    ticket: string | null;
    state: 'waiting' | 'approved' | 'declined' | 'expired' | 'withdrawn' | 'used';
    quorum: number;
    grant_minutes: number;
    once: number;
    created_at: number;
    expires_at: number;
    granted_until: number | null;
    decided_at: number | null;
    used_at: number | null;
  };
  disclosure_vote: {
    request_id: string;
    person_id: string;
    name: string;
    vote: 'yes' | 'no';
    words: string;
    at: number;
    way: 'console' | 'mail' | 'token';
  };
  admin_view: {
    disclosure_id: string;
    mac_id: string;
    record_id: string;
    person_id: string;
    token_id: string | null;
    request_id: string | null;
    break_glass: number;
    history: number;
    shown_at: number;
    ends_at: number;
    refused_at: number | null;
  };
  disclosure_review: {
    disclosure_id: string;
    mac_id: string;
    person_id: string;
    due_at: number;
    state: 'waiting' | 'right' | 'wrong';
    told_at: number | null;
    decided_at: number | null;
    decided_by: string | null;
    words: string | null;
  };
  release_code: {
    id: string;
    digest: string;
    mac_id: string;
    person_name: string;
    verified: string;
    made_by: string;
    made_by_person: string;
    created_at: number;
    second: number;
    confirmed_by: string | null;
    confirmed_by_person: string | null;
    confirmed_at: number | null;
    expires_at: number;
    used_at: number | null;
    holder: string | null;
    open_until: number | null;
    ended_at: number | null;
    ended_because: 'withdrawn' | 'done' | 'policy' | null;
    more_time: number;
  };
  release_view: {
    disclosure_id: string;
    release_id: string;
    record_id: string;
    because: 'first' | 'again' | 'more-time' | 'other-key';
    shown_at: number;
    ends_at: number;
    hidden_at: number | null;
    refused_at: number | null;
  };
  emergency: {
    id: string;
    tags: string;
    from_at: number;
    until_at: number;
    reason: string;
    asked_by: string;
    asked_by_person: string;
    asked_at: number;
    agreed_by: string | null;
    agreed_by_person: string | null;
    agreed_at: number | null;
    ended_at: number | null;
    ended_by: string | null;
    told_at: number | null;
  };
  emergency_view: { disclosure_id: string; emergency_id: string; mac_id: string; person_id: string; at: number };
}

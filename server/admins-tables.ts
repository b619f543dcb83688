/** The rows about admins; the meaning of each column is said in migrations/0005-admins.ts. */
export interface AdminsTables {
  role_given: {
    id: string;
    subject_kind: 'person' | 'group';
    subject: string;
    provider: string | null;
    role: string;
    scope: string | null;
    created_at: number;
    created_by: string;
    reason: string;
    ended_at: number | null;
    ended_by: string | null;
    ended_because: string | null;
  };
  api_token: {
    id: string;
    digest: string;
    name: string;
    person_id: string;
    kind: 'personal' | 'service' | 'login';
    grants: string | null;
    fresh_at: number | null;
    created_at: number;
    expires_at: number;
    last_used_at: number | null;
    last_network: string | null;
    ended_at: number | null;
    ended_by: string | null;
  };
  device_login: {
    id: string;
    device_digest: string;
    user_digest: string;
    machine: string;
    network: string;
    state: 'waiting' | 'confirmed' | 'refused' | 'spent';
    person_id: string | null;
    decided_at: number | null;
    created_at: number;
    expires_at: number;
    fresh_at: number | null;
  };
  repeatable: { owner: string; key: string; digest: string; at: number; state: 'begun' | 'done' | 'shown'; reply: string | null };
}

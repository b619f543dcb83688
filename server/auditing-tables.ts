/** The rows of this part; the meaning of each column is said in migrations/. */
export type AuditingTables = {
  audit_checkpoint: {
    number: number;
    kind: 'end' | 'retained';
    seq: number;
    hash: string;
    at: number;
    rows: number;
    key_id: string;
    previous: string;
    signature: string;
  };
  webhook_state: {
    name: string;
    after_seq: number;
    after_checkpoint: number;
    delivery_id: string | null;
    to_seq: number | null;
    to_checkpoint: number | null;
    tries: number;
    first_failed_at: number | null;
    next_try_at: number | null;
    last_error: string | null;
    last_taken_at: number | null;
  };
};

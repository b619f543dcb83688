import { RecoveryKey } from '../protocol/recovery-key.ts';

/** Signs. */
export const mostReason = 500;

/**
 * What somebody wrote of why they need the key, as the audit, the lists and the mails have it: one line, and without the key,
 * which people with the page of the key before them do paste.
 */
export const reasonOf = (text: string | undefined): string => RecoveryKey.cutFrom((text ?? '').replace(/\s+/gu, ' ').trim()).slice(0, mostReason);

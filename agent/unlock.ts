import type { GrantPurpose, GrantRequest } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Run } from './run-of-agent.ts';

/** Seconds of uptime after which a grant is not used any more. */
const grantSeconds = 120;

/** A grant that was asked for: its private key lives in this run's memory and nowhere else. */
export interface AskedGrant {
  request: GrantRequest;
  open(jwe: string): Promise<RecoveryKey>;
}

/** Makes the run's key pair and signs the request with the enrolment's identity key. */
export async function askForGrant(run: Run, what: { purpose: GrantPurpose; recordId: string; forId: string }): Promise<AskedGrant> {
  const { grantStatement, makeRunKey, openGrant } = await import('../protocol/grant.ts');
  const pair = await makeRunKey();
  const unsigned = { ...what, grantNonce: await run.takeNonce(), boot: run.facts.boot, publicKey: pair.publicKey, enrolmentId: run.enrolmentId };
  const request: GrantRequest = { ...unsigned, signature: run.sign(grantStatement(unsigned)) };
  const askedAt = run.uptime();
  return {
    request,
    async open(jwe) {
      const key = await openGrant(jwe, pair.privateKey, request);
      if (key === null) throw new Problem('REPLY_UNREADABLE', 'the grant is not for this run');
      if (run.uptime() - askedAt > grantSeconds) throw new Problem('GRANT_REFUSED', 'the grant came too late to be used');
      return key;
    },
  };
}

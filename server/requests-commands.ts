import { Problem } from '../protocol/problems.ts';
import type { Backend } from './backend.ts';
import { type CommandResult, table, when } from './command.ts';
import { decideRequest, expireRequests } from './key-requests.ts';
import { openRequests } from './store/key-requests.ts';

/** Requests for keys, where self-service is with approval, as an operator sees and decides them. */
export async function requestsCommand({ store, clock }: Backend): Promise<CommandResult> {
  const rows = await store.write(async (tx) => {
    await expireRequests(tx, await clock.persist(tx));
    return openRequests(tx);
  });
  const requests = rows.map((row) => ({
    id: row.id,
    code: row.code,
    serial: row.serial,
    macId: row.mac_id,
    userName: row.user_name,
    name: row.display_name,
    reason: row.reason,
    state: row.state,
    since: when(row.created_at),
    until: when(row.expires_at),
    decidedBy: row.decided_by,
  }));
  const lines = requests.map((one) => [one.code, one.state, one.serial, one.userName, one.since, one.until, one.reason]);
  return {
    json: { requests },
    text: requests.length === 0 ? 'nobody waits for an approval' : table(['code', 'state', 'mac', 'user', 'since', 'until', 'reason'], lines),
  };
}

export async function decideCommand(
  backend: Backend,
  act: { request: string; as: 'approved' | 'refused'; actor: string; reason: string },
): Promise<CommandResult> {
  const { people } = backend.settings;
  if (!people) throw new Problem('USAGE', 'this backend has no sites for people: `people` is not set in settings.json');
  const { approvalHours: hours } = people.selfService;
  const row = await backend.store.write(async (tx) => decideRequest(tx, await backend.clock.persist(tx), { ...act, hours }));
  const { id, code, serial, user_name: userName, expires_at: until } = row;
  return {
    json: { id, code, serial, userName, state: act.as, ...(act.as === 'approved' ? { until: when(until) } : {}) },
    text:
      act.as === 'approved'
        ? `${code}: ${userName} may be shown the key of ${serial} until ${when(until)}, for one time of being locked out`
        : `${code}: refused; ${userName} reads why: ${act.reason}`,
  };
}

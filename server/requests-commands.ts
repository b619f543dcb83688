import { Problem } from '../protocol/problems.ts';
import type { Backend } from './backend.ts';
import { type CommandResult, table, when } from './command.ts';
import { decideRequest, expireRequests } from './key-requests.ts';
import { metUnder } from './store/help-codes.ts';
import { openRequests, requestsNamed } from './store/key-requests.ts';

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

/** What somebody met who reads a code out on the telephone: codes are kept for a week. */
export async function helpCodeCommand({ store }: Backend, asked: string): Promise<CommandResult> {
  const signs = asked.toUpperCase().replace(/[^A-Z0-9]/g, '');
  const known = `${signs.slice(0, 4)}-${signs.slice(4)}`;
  const met = await metUnder(store.db, known);
  if (!met) {
    // Whoever waits for an approval reads out the code of the request.
    const [request] = await requestsNamed(store.db, known);
    if (request) {
      const { code, state, serial, mac_id: macId, user_name: userName, created_at: madeAt } = request;
      return {
        json: { code, at: when(madeAt), page: 'request', macId, serial, userName, state },
        text: `${code}: ${userName} asked for the key of ${serial} on ${when(madeAt)}; the request is ${state}\nlook with: sparekey-server requests`,
      };
    }
  }
  if (!met) throw new Problem('NOT_FOUND', `nobody was given the code ${asked} in the last 7 days`);
  const { code, page, mac_id: macId, serial, user_name: userName, network, language, created_at: at } = met;
  return {
    json: { code, at: when(at), page, macId, serial, userName, network, language },
    text: [
      `${code}: given ${when(at)} on ${page}`,
      `mac       ${serial ?? 'none in particular'}`,
      `person    ${userName ?? 'nobody was signed in'}`,
      `language  ${language}`,
      `network   ${network}`,
    ].join('\n'),
  };
}

import type { askDisclosure, getDisclosure, listDisclosures } from '../../console/operations/disclosures.ts';
import { ago, table } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { ItemOf, OutOf } from '../shapes.ts';

type Request = ItemOf<typeof listDisclosures>;

/** Requests for keys: what waits for whoever asks, what they asked for themselves, and how each stands. */
export async function listRequests({ api, terminal, now }: Ctl, open: boolean): Promise<Result> {
  const { items, more } = await api.pages<Request>({ method: 'GET', path: '/v1/disclosure-requests', input: { open } }, 200);
  const text = table(
    terminal,
    [
      { title: 'REQUEST', of: ({ id }) => id },
      { title: 'MAC', of: ({ device }) => device.serial },
      { title: 'BY', of: ({ requester }) => requester, gives: true },
      { title: 'STATE', of: ({ state, mayDecide }) => (mayDecide ? 'waiting for you' : state), colour: ({ mayDecide }) => (mayDecide ? 'amber' : null) },
      { title: 'ASKED', of: ({ createdAt }) => ago(createdAt, now()) },
      { title: 'REASON', of: ({ reason }) => reason, gives: true },
    ],
    items,
  );
  const none = open ? 'no request is open' : 'there are no requests';
  return { json: { items, more }, text: items.length > 0 ? text : none };
}

export interface Asking {
  mac: string;
  reason: string;
  ticket?: string;
  volume?: string;
}

export async function askFor({ api, now }: Ctl, { mac, ...wish }: Asking): Promise<Result> {
  const said = await api.ask<OutOf<typeof askDisclosure>>({ method: 'POST', path: '/v1/devices/{id}/disclosure-requests', input: { id: mac, ...wish } });
  const words = `asked for the key of ${said.device.serial}: ${said.quorum === 1 ? 'one other person has' : `${said.quorum} others have`} to agree, and it ends ${ago(said.expiresAt, now())}`;
  return { json: said, text: `${words}\nthen: sparekeyctl disclose ${said.device.serial} --request ${said.id} --reason "…"` };
}

/** Agrees to what somebody else asked for, or refuses it. */
export async function decide(ctl: Ctl, { id, yes, words, confirmed }: { id: string; yes: boolean; words: string; confirmed: boolean }): Promise<Result> {
  const { api } = ctl;
  const { request } = await api.ask<OutOf<typeof getDisclosure>>({ method: 'GET', path: '/v1/disclosure-requests/{id}', input: { id } });
  if (yes) await ctl.confirm(`${request.requester} will be shown the key of ${request.device.serial}, because: ${request.reason}.`, confirmed);
  const path = `/v1/disclosure-requests/{id}/${yes ? 'approve' : 'decline'}`;
  const said = await api.ask<Request>({ method: 'POST', path, input: { id, words } });
  const answer =
    said.state === 'approved'
      ? `approved: ${said.requester} may be shown the key until ${said.grantedUntil}`
      : said.state === 'waiting'
        ? 'noted; more have to agree'
        : said.state;
  return { json: said, text: `${said.device.serial}: ${answer}` };
}

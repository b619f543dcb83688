import type { newToken, ownTokens } from '../../console/operations/tokens.ts';
import { Problem } from '../../protocol/problems.ts';
import { ago, table } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { ItemOf, OutOf } from '../shapes.ts';

type Token = ItemOf<typeof ownTokens>;

export async function listTokens({ api, terminal, now }: Ctl, everybody: boolean): Promise<Result> {
  const items = everybody
    ? (await api.pages<Token>({ method: 'GET', path: '/v1/people/tokens' }, 1000)).items
    : (await api.ask<OutOf<typeof ownTokens>>({ method: 'GET', path: '/v1/tokens' })).items;
  const text = table(
    terminal,
    [
      { title: 'TOKEN', of: ({ id }) => id },
      { title: 'NAME', of: ({ name }) => name, gives: true },
      { title: 'OF', of: ({ maker }) => maker, gives: true },
      { title: 'KIND', of: ({ kind, powerless }) => (powerless ? `${kind}, powerless` : kind) },
      {
        title: 'MAY',
        of: ({ roles }) => roles?.map(({ role, tags }) => (tags ? `${role} (${tags.join(', ')})` : role)).join(', ') ?? 'all that its maker may',
        gives: true,
      },
      { title: 'USED', of: ({ lastUsedAt }) => ago(lastUsedAt, now()) },
      { title: 'ENDS', of: ({ expiresAt }) => ago(expiresAt, now()) },
    ],
    items,
  );
  return { json: { items }, text: items.length > 0 ? text : 'there are no tokens' };
}

/** `help-desk`, or `help-desk:berlin,lab` for Macs with one of these tags. */
export function readRole(text: string): { role: string; tags: string[] | null } {
  const [role = '', tags] = text.split(':', 2);
  if (role === '' || tags === '') throw new Problem('USAGE', `${text} is no role: write help-desk, or help-desk:TAG,TAG`);
  return { role, tags: tags === undefined ? null : tags.split(',') };
}

export async function makeToken({ api, now }: Ctl, wish: { name: string; roles: string[]; service: boolean; days?: number }): Promise<Result> {
  const { name, roles, service, days } = wish;
  const input = { name, roles: roles.map(readRole), service, ...(days === undefined ? {} : { days }) };
  const said = await api.ask<OutOf<typeof newToken>>({ method: 'POST', path: '/v1/tokens', input });
  return {
    json: said,
    text: said.token,
    notes: [`${name}: shown this once; it ends ${ago(said.expiresAt, now())}; end it with \`sparekeyctl tokens end ${said.id}\``],
  };
}

export async function endToken(ctl: Ctl, id: string, yes: boolean): Promise<Result> {
  await ctl.confirm(`Whatever uses the token ${id} is let in no more.`, yes);
  const said = await ctl.api.ask({ method: 'DELETE', path: '/v1/tokens/{id}', input: { id } });
  return { json: said, text: `${id}: ended` };
}

import type { deviceGet } from '../../console/operations/devices.ts';
import type { dryRunPolicy, endPolicy, listPolicies, policyHistory, putPolicy } from '../../console/operations/policies.ts';
import type { agreeToTags as agree, agreeToPolicy, listProposals } from '../../console/operations/weaker-disclosure.ts';
import { Problem } from '../../protocol/problems.ts';
import { readJsonFile } from '../files.ts';
import { ago, plain, table } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { ItemOf, OutOf } from '../shapes.ts';

type Listed = ItemOf<typeof listPolicies>;

/** It shows keys more easily than rules that ask for two people. */
const waits = (id: string): string =>
  `proposed: it shows keys more easily, so somebody else agrees first (\`sparekeyctl policies agree ${id}\`); nothing has changed`;

const sayRules = (rules: object): string => Object.keys(rules).join(', ');

export async function list({ api, terminal, now }: Ctl): Promise<Result> {
  const said = await api.ask<OutOf<typeof listPolicies>>({ method: 'GET', path: '/v1/policies' });
  const text = table(
    terminal,
    [
      { title: 'RANK', of: ({ rank }) => rank },
      { title: 'POLICY', of: ({ id }) => id },
      { title: 'NAME', of: ({ name }) => name, gives: true },
      { title: 'FOR', of: ({ tags }) => tags?.join(', ') ?? 'all Macs', gives: true },
      { title: 'SAYS OF', of: ({ rules }) => sayRules(rules) },
      { title: 'CHANGED', of: ({ changedAt }) => ago(changedAt, now()) },
      { title: 'BY', of: ({ changedBy }) => changedBy, gives: true },
    ],
    said.items,
  );
  const none = 'no policy is in force: the built-in rules count (`--json` shows them)';
  return { json: said, text: said.items.length > 0 ? text : none };
}

async function one(ctl: Ctl, id: string): Promise<Listed> {
  const { items } = await ctl.api.ask<OutOf<typeof listPolicies>>({ method: 'GET', path: '/v1/policies' });
  const found = items.find((policy) => policy.id === id || policy.name === id);
  if (!found) throw new Problem('NOT_FOUND', `there is no policy ${id}`);
  return found;
}

/** As a file that `policies put` takes. */
export async function show(ctl: Ctl, id: string): Promise<Result> {
  const said = await one(ctl, id);
  const { name, rank, tags, rules, version } = said;
  return {
    json: said,
    text: JSON.stringify({ name, rank, tags, rules, version }, null, 2),
    notes: [`policy ${said.id}: change this in a file, then \`sparekeyctl policies put ${said.id} FILE\``],
  };
}

export async function put(ctl: Ctl, id: string, file: string, reason: string, yes: boolean): Promise<Result> {
  const draft = readJsonFile(file);
  const known = id === 'new' ? null : await one(ctl, id);
  const { version: _, name: __, ...rules } = draft;
  const tried = await ctl.api.ask<OutOf<typeof dryRunPolicy>>({ method: 'POST', path: '/v1/policies/dry-run', input: { id: known?.id ?? null, ...rules } });
  await ctl.confirm(`${plain(tried.words)}.`, yes);
  const input = { version: known?.version ?? null, ...draft, id: known?.id ?? 'new', reason };
  const said = await ctl.api.ask<OutOf<typeof putPolicy>>({ method: 'PUT', path: '/v1/policies/{id}', input });
  if (said.proposal !== null) return { json: said, text: waits(said.proposal) };
  return { json: said, text: `${known ? 'changed' : 'made'} the policy ${plain(said.name)} (${said.id}), version ${said.version}` };
}

/** What a draft would do. Changes nothing. */
export async function dryRun(ctl: Ctl, id: string, file: string): Promise<Result> {
  const { version: _, name: __, ...rules } = readJsonFile(file);
  const known = id === 'new' ? null : await one(ctl, id);
  const said = await ctl.api.ask<OutOf<typeof dryRunPolicy>>({ method: 'POST', path: '/v1/policies/dry-run', input: { id: known?.id ?? null, ...rules } });
  const days = said.days
    .filter(({ count, present }) => count > 0 || present > 0)
    .map(({ from, count, present }) => `  ${from.slice(0, 10)}  ${count} (now ${present})`);
  return { json: said, text: [plain(said.words), ...days].join('\n') };
}

export async function end(ctl: Ctl, id: string, reason: string, yes: boolean): Promise<Result> {
  const known = await one(ctl, id);
  await ctl.confirm(`End the policy ${plain(known.name)}? For ${known.tags?.join(', ') ?? 'all Macs'} the next one counts then, or the built-in rules.`, yes);
  const said = await ctl.api.ask<OutOf<typeof endPolicy>>({ method: 'POST', path: '/v1/policies/{id}/end', input: { id: known.id, reason } });
  if (said.proposal !== null) return { json: said, text: waits(said.proposal) };
  return { json: said, text: `the policy ${plain(known.name)} has ended` };
}

export async function history(ctl: Ctl, id: string | undefined): Promise<Result> {
  const { api, terminal } = ctl;
  const policyId = id === undefined ? undefined : id;
  const question = { method: 'GET', path: '/v1/policies/history', input: { policyId } } as const;
  const { items } = await api.pages<ItemOf<typeof policyHistory>>(question, 1000);
  const text = table(
    terminal,
    [
      { title: 'WHEN', of: ({ at }) => at },
      { title: 'NAME', of: ({ name }) => name, gives: true },
      { title: 'VERSION', of: ({ version }) => version },
      { title: 'BY', of: ({ actor }) => actor },
      { title: 'SAYS OF', of: ({ rules }) => (rules === null ? 'ended' : sayRules(rules)) },
      { title: 'REASON', of: ({ reason }) => reason, gives: true },
    ],
    items,
  );
  return { json: { items }, text: items.length > 0 ? text : 'no policy was ever made' };
}

type Proposal = ItemOf<typeof listProposals>;

/** With what each would be. */
const sayWeaker = ({ rules, weaker }: Pick<Proposal, 'rules' | 'weaker'>): string => {
  if (rules === null) return 'it ends';
  const would: Readonly<Record<string, unknown>> = rules.disclosure ?? {};
  return weaker.map((name) => (would[name] === undefined ? name : `${name} ${String(would[name])}`)).join(', ');
};

/** What waits for a second person. */
export async function proposals({ api, terminal, now }: Ctl): Promise<Result> {
  const said = await api.ask<OutOf<typeof listProposals>>({ method: 'GET', path: '/v1/policies/proposals', input: { open: true } });
  const text = table<Proposal>(
    terminal,
    [
      { title: 'PROPOSAL', of: ({ id }) => id },
      { title: 'POLICY', of: ({ name }) => name, gives: true },
      { title: 'FOR', of: ({ tags }) => tags?.join(', ') ?? 'all Macs', gives: true },
      { title: 'WEAKER', of: sayWeaker },
      { title: 'BY', of: ({ proposedBy }) => proposedBy, gives: true },
      { title: 'PROPOSED', of: ({ proposedAt }) => ago(proposedAt, now()) },
      { title: 'REASON', of: ({ reason }) => reason, gives: true },
    ],
    said.items,
  );
  return { json: said, text: said.items.length > 0 ? text : 'nothing waits for a second person' };
}

export async function decide(ctl: Ctl, id: string, as: 'agree' | 'decline', words: string, yes: boolean): Promise<Result> {
  if (as === 'agree') {
    const { items } = await ctl.api.ask<OutOf<typeof listProposals>>({ method: 'GET', path: '/v1/policies/proposals', input: { open: true } });
    const found = items.find((one) => one.id === id);
    if (!found) throw new Problem('NOT_FOUND', `no proposal ${id} waits`);
    const what = found.rules === null ? 'it ends' : `weaker: ${sayWeaker(found)}`;
    await ctl.confirm(`Agree to what ${plain(found.proposedBy)} wants of the policy ${plain(found.name)} (${what})? Their reason: ${plain(found.reason)}`, yes);
  }
  const path = as === 'agree' ? '/v1/policies/proposals/{id}/agree' : '/v1/policies/proposals/{id}/decline';
  const said = await ctl.api.ask<OutOf<typeof agreeToPolicy>>({ method: 'POST', path, input: { id, words } });
  return { json: said, text: `the change of the policy ${plain(said.name)} is ${said.state}` };
}

/** That what the tags or the user of a Mac said before need hold on no more. */
export async function agreeToTags(ctl: Ctl, mac: string, words: string, yes: boolean): Promise<Result> {
  const { rulesKept } = await ctl.api.ask<OutOf<typeof deviceGet>>({ method: 'GET', path: '/v1/devices/{id}', input: { id: mac } });
  const kept = rulesKept.map(({ by, tags }) => `${plain(by)} (it had ${plain(tags.join(', ')) || 'no tags'})`);
  if (kept.length === 0) throw new Problem('NOT_FOUND', `nothing waits for a second person at ${mac}`);
  await ctl.confirm(`Agree that the rules of now hold alone for showing the key of ${mac}? Changed by ${kept.join('; ')}`, yes);
  const said = await ctl.api.ask<OutOf<typeof agree>>({ method: 'POST', path: '/v1/devices/{id}/rules/agree', input: { id: mac, words } });
  return { json: said, text: `agreed to ${said.lifted === 1 ? 'one change' : `${said.lifted} changes`} of ${said.serial}: the rules of now hold alone` };
}

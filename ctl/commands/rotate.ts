import { setTimeout as sleep } from 'node:timers/promises';
import type { endHold, orderProofs, orderRotation, withdrawOrder } from '../../console/operations/orders.ts';
import type { getRotations, listRotations, planRotations, rotationDevices, startRotations } from '../../console/operations/rotations.ts';
import { Problem } from '../../protocol/problems.ts';
import { ago, type Column, plain, table } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { ItemOf, OutOf } from '../shapes.ts';

type Campaign = OutOf<typeof getRotations>;
type Plan = OutOf<typeof planRotations>;

type Chosen = { kind: 'macs'; macs: string[] } | { kind: 'filter'; filter: Record<string, unknown> } | { kind: 'all' };

const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

/** `mon-fri 08:00-18:00 Europe/Amsterdam`; several hours are divided by commas. */
export function readQuietHours(text: string): { timeZone: string; hours: { days: string[]; from: string; to: string }[] } {
  const wrong = new Problem('USAGE', `${text} are no quiet hours: write "mon-fri 08:00-18:00 Europe/Amsterdam", several with commas before the time zone`);
  const [, spans = '', timeZone = ''] = /^(.+) ([A-Za-z_]+(?:\/[\w+-]+)*)$/.exec(text.trim()) ?? [];
  const hours = spans.split(',').map((span) => {
    const [, first = '', last = first, from = '', to = ''] = /^([a-z]{3})(?:-([a-z]{3}))? (\d\d:\d\d)-(\d\d:\d\d)$/.exec(span.trim().toLowerCase()) ?? [];
    const [begin, end] = [days.indexOf(first as (typeof days)[number]), days.indexOf(last as (typeof days)[number])];
    if (begin < 0 || end < 0) throw wrong;
    const count = ((end - begin + days.length) % days.length) + 1;
    return { days: Array.from({ length: count }, (_, at) => days[(begin + at) % days.length] ?? first), from, to };
  });
  if (timeZone === '') throw wrong;
  return { timeZone, hours };
}

export interface Rotating {
  chosen: Chosen;
  reason: string;
  withoutLogin: boolean;
  overrideHold: boolean;
  from?: string;
  perHour?: number;
  quietHours?: ReturnType<typeof readQuietHours>;
  dryRun: boolean;
  wait: boolean;
  yes: boolean;
}

/** One Mac is ordered at once; several go in waves, after a look at what that means. */
export async function rotate(ctl: Ctl, given: Rotating): Promise<Result> {
  const { chosen, dryRun, from, perHour, quietHours } = given;
  const [only, ...more] = chosen.kind === 'macs' ? chosen.macs : [];
  const isPlain = from === undefined && perHour === undefined && quietHours === undefined && !dryRun && !given.wait;
  return only !== undefined && more.length === 0 && isPlain ? rotateOne(ctl, only, given) : rotateMany(ctl, given);
}

async function rotateOne(ctl: Ctl, mac: string, { reason, withoutLogin, overrideHold, yes }: Rotating): Promise<Result> {
  if (overrideHold) await ctl.confirm(`Whoever is typing the key of ${mac} now will be locked out.`, yes);
  const input = { id: mac, reason, withoutLogin, overrideHold, ...(overrideHold ? { serial: mac } : {}) };
  const said = await ctl.api.ask<OutOf<typeof orderRotation>>({ method: 'POST', path: '/v1/devices/{id}/rotation', input });
  return { json: said, text: said.says, notes: [`look with \`sparekeyctl device ${said.serial}\``] };
}

const sayPlan = ({ words, leftOut, notes }: Plan): string =>
  [plain(words), ...leftOut.map(({ count, says }) => `  ${count} left out: ${plain(says)}`), ...notes.map((note) => `  ${plain(note)}`)].join('\n');

async function rotateMany(ctl: Ctl, given: Rotating): Promise<Result> {
  const { api, terminal } = ctl;
  const { chosen, reason, withoutLogin, overrideHold, from, perHour, quietHours, dryRun, wait, yes } = given;
  if (overrideHold && chosen.kind !== 'macs') throw new Problem('USAGE', '--override-hold is for Macs that are named, one by one');
  const wish = {
    chosen,
    withoutLogin,
    overrideHold,
    ...(from === undefined ? {} : { from }),
    ...(perHour === undefined ? {} : { perHour }),
    ...(quietHours === undefined ? {} : { quietHours }),
  };
  const plan = await api.ask<Plan>({ method: 'POST', path: '/v1/rotations/plan', input: wish });
  if (dryRun) return { json: plan, text: sayPlan(plan) };
  if (plan.count === 0) return { json: plan, text: `no key would be replaced\n${sayPlan(plan)}` };
  terminal.err(`${sayPlan(plan)}\n`);
  await ctl.confirm(`Replace the keys of ${plan.count} Macs?`, yes);
  const serials = overrideHold && chosen.kind === 'macs' ? chosen.macs : [];
  const input = { ...wish, reason, confirmCount: plan.count, planDigest: plan.planDigest, serials };
  const started = await api.ask<OutOf<typeof startRotations>>({ method: 'POST', path: '/v1/rotations', input });
  if (wait) return waitFor(ctl, started.id);
  const text = `replacing the keys of ${plan.count} Macs: ${started.id}\nlook with \`sparekeyctl orders show ${started.id}\`, stop with \`sparekeyctl orders cancel ${started.id}\``;
  return { json: started, text };
}

const sayCounts = ({ counts }: Campaign): string =>
  `${counts.done} of ${counts.total} done, ${counts.replacing} being replaced, ${counts.notFetched + counts.fetched} ordered, ${counts.waiting} waiting for their wave, ${counts.failed} failed`;

const isOver = ({ state }: Campaign): boolean => state === 'done' || state === 'cancelled';
const lookSeconds = 5;

/** Until it is over; an interruption of this command ends nothing. Failures are a bad end. */
async function waitFor(ctl: Ctl, id: string): Promise<Result> {
  for (;;) {
    const said = await ctl.api.ask<Campaign>({ method: 'GET', path: '/v1/rotations/{id}', input: { id } });
    ctl.progress(sayCounts(said));
    if (isOver(said) || said.state === 'paused') {
      const isBad = said.counts.failed > 0 || said.state === 'paused';
      return { json: said, text: sayCampaign(said), ...(isBad ? { exit: 77 as const } : {}) };
    }
    await sleep(lookSeconds * 1000);
  }
}

function sayCampaign(said: Campaign): string {
  const why = said.stateBecause === null ? '' : `: ${plain(said.stateBecause)}`;
  const reasons = said.reasons.map(({ count, says, state }) => `  ${count} ${state === 'left' ? 'left out' : 'failed'}: ${plain(says)}`);
  return [`${said.state}${why}; ${sayCounts(said)}`, `by ${plain(said.by)}: ${plain(said.reason)}`, ...reasons].join('\n');
}

export async function listOrders({ api, terminal, now }: Ctl, most: number): Promise<Result> {
  const { items, more } = await api.pages<ItemOf<typeof listRotations>>({ method: 'GET', path: '/v1/rotations' }, most);
  const columns: Column<Campaign>[] = [
    { title: 'ORDER', of: ({ id }) => id },
    { title: 'STATE', of: ({ state }) => state, colour: ({ state }) => (state === 'paused' ? 'amber' : null) },
    { title: 'DONE', of: ({ counts }) => counts.done },
    { title: 'OF', of: ({ counts }) => counts.total },
    { title: 'FAILED', of: ({ counts }) => counts.failed, colour: ({ counts }) => (counts.failed > 0 ? 'red' : null) },
    { title: 'STARTED', of: ({ createdAt }) => ago(createdAt, now()) },
    { title: 'BY', of: ({ by }) => by, gives: true },
    { title: 'REASON', of: ({ reason }) => reason, gives: true },
  ];
  const text = items.length > 0 ? table(terminal, columns, items) : 'no keys of many Macs were ordered to be replaced; one Mac: `sparekeyctl device SERIAL`';
  return { json: { items, more }, text };
}

export async function showOrder(ctl: Ctl, id: string, { devices, state, wait }: { devices: boolean; state?: string; wait: boolean }): Promise<Result> {
  const { api, terminal, now } = ctl;
  if (wait) return waitFor(ctl, id);
  const said = await api.ask<Campaign>({ method: 'GET', path: '/v1/rotations/{id}', input: { id } });
  if (!devices) return { json: said, text: sayCampaign(said) };
  const question = { method: 'GET', path: '/v1/rotations/{id}/devices', input: { id, ...(state === undefined ? {} : { state }) } } as const;
  const { items } = await api.pages<ItemOf<typeof rotationDevices>>(question, 1_000_000, (sofar) => ctl.progress(`${sofar} Macs …`));
  const columns: Column<(typeof items)[number]>[] = [
    { title: 'SERIAL', of: ({ serial }) => serial },
    { title: 'STATE', of: ({ state: is }) => is },
    { title: 'SINCE', of: ({ since }) => ago(since, now()) },
    { title: 'SEEN', of: ({ lastSeenAt }) => ago(lastSeenAt, now()) },
    { title: 'WHY', of: ({ because }) => because, gives: true, colour: ({ needsHelp }) => (needsHelp ? 'amber' : null) },
  ];
  return {
    json: { ...said, devices: items },
    text: `${sayCampaign(said)}\n\n${items.length > 0 ? table(terminal, columns, items) : 'no Mac is in that state'}`,
  };
}

export async function changeOrder(
  ctl: Ctl,
  what: 'pause' | 'resume' | 'cancel',
  { id, reason, keep, yes }: { id: string; reason: string; keep: boolean; yes: boolean },
): Promise<Result> {
  if (what === 'cancel')
    await ctl.confirm(`End the order ${id}? What waits for its wave is not ordered${keep ? '' : ', and orders that wait for their Mac are taken back'}.`, yes);
  const input = { id, reason, ...(what === 'cancel' ? { orders: keep ? 'keep' : 'withdraw' } : {}) };
  const said = await ctl.api.ask<Campaign>({ method: 'POST', path: `/v1/rotations/{id}/${what}`, input });
  return { json: said, text: sayCampaign(said) };
}

export async function withdraw({ api }: Ctl, mac: string, orderId: string, reason: string): Promise<Result> {
  const input = { id: mac, orderId, reason };
  const said = await api.ask<OutOf<typeof withdrawOrder>>({ method: 'POST', path: '/v1/devices/{id}/rotation/withdraw', input });
  return { json: said, text: said.says };
}

export async function prove({ api, now }: Ctl, mac: string, reason: string): Promise<Result> {
  const said = await api.ask<OutOf<typeof orderProofs>>({ method: 'POST', path: '/v1/devices/{id}/proofs', input: { id: mac, reason } });
  const first = said.orders.map(({ notBefore }) => notBefore).toSorted()[0];
  return {
    json: said,
    text: `${said.serial}: ${said.orders.length} ${said.orders.length === 1 ? 'key is' : 'keys are'} asked about${first === undefined ? '' : `, ${ago(first, now())} at the earliest`}`,
  };
}

export async function releaseHold(ctl: Ctl, mac: string, because: 'back-in' | 'not-me', reason: string, yes: boolean): Promise<Result> {
  if (because === 'not-me') await ctl.confirm(`The key of ${mac} is replaced at once: whoever is typing it now will be locked out.`, yes);
  const input = { id: mac, because, reason, serial: mac };
  const said = await ctl.api.ask<OutOf<typeof endHold>>({ method: 'POST', path: '/v1/devices/{id}/hold/end', input });
  return { json: said, text: said.says };
}

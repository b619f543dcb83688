import type { DeviceDetail } from '../server/fleet/detail.ts';
import type { TimelineEntry } from '../server/fleet/timeline.ts';
import { scopeOf } from '../server/permissions.ts';
import { type Html, html } from '../web/html.ts';
import { broughtPath } from './brought-page.ts';
import { custodyWords, devicePath, inWords, middle, sentence, since } from './fleet-parts.ts';
import { keyPagePath } from './key-page.ts';
import type { ConsoleVisit } from './visit.ts';

/* The parts of a Mac's page. */

/** By the clock of this machine, as the heads of the days are: their zone is named once. */
const zone = (): string =>
  Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' })
    .formatToParts()
    .find(({ type }) => type === 'timeZoneName')?.value ?? '';
const dayWords = new Intl.DateTimeFormat('en-GB', { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const clockWords = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });

const kindWords: Readonly<Record<TimelineEntry['kind'], string>> = {
  'check-in': 'Check-in',
  key: 'Key',
  order: 'Order',
  replacement: 'Replacement',
  hold: 'Hold',
  shown: 'Shown',
  proof: 'Proof',
  problem: 'Problem',
  alarm: 'Alarm',
  person: 'Person',
  enrolment: 'Enrolment',
  mdm: 'MDM',
  admin: 'Admin',
};

/** One line an event, newest first, under its day. */
export function timeline(items: readonly TimelineEntry[]): Html {
  const days = new Map<string, TimelineEntry[]>();
  for (const entry of items) {
    const name = dayWords.format(Date.parse(entry.at));
    days.set(name, [...(days.get(name) ?? []), entry]);
  }
  return html`<p class="soft">Newest first. Times are ${zone()}.</p>${[...days].map(
    ([name, entries]) =>
      html`<h3>${name}</h3><ol class="events">${entries.map(
        ({ at, kind, says, actor }) =>
          html`<li><time datetime="${at}">${clockWords.format(Date.parse(at))}</time> <span class="kind">${kindWords[kind]}</span> <span>${inWords(sentence(says), 'ours')}${actor === null || actor === 'mac' || actor === 'server' || says.includes(actor) ? null : html` <span class="soft">by <bdi>${actor}</bdi></span>`}</span></li>`,
      )}</ol>`,
  )}`;
}

const list = (items: readonly (Html | string)[], otherwise: string): Html =>
  items.length === 0 ? html`<p class="soft">${otherwise}</p>` : html`<ul class="plain">${items.map((item) => html`<li>${item}</li>`)}</ul>`;

const fact = (name: string, value: Html | string | number | null | undefined): Html | null =>
  value === null || value === undefined || value === '' ? null : html`<dt>${name}</dt><dd>${value}</dd>`;

export function facts({ device, facts: said, hardwareUuid, standing }: DeviceDetail, now: number): Html {
  const percent = said?.fileVaultPercent ?? null;
  return html`<h2>Facts</h2><dl class="facts">
${fact('Custody', html`<span class="${custodyWords[device.custody].class}">${custodyWords[device.custody].says}</span>`)}
${fact('Serial number', html`<code>${middle(device.serial, 24)}</code>${device.serialProved ? null : html` <span class="soft">(claimed, no certificate proves it)</span>`}`)}
${fact('Model', device.model)}${fact('Chip', device.chip)}${fact('macOS', device.macos === null ? null : `${device.macos}${said === null ? '' : ` (${said.macosBuild})`}`)}
${fact('FileVault', device.fileVault === null ? null : `${device.fileVault}${percent === null ? '' : `, ${percent} %`}`)}
${fact('Last check-in', since(device.lastSeenAt, now))}${fact('Key here', since(device.keySince, now, 'no'))}${fact('Last proved', since(device.provedAt, now))}
${fact('Mode', said?.mode)}${fact('Signed in', said?.consoleUser ? html`<bdi>${said.consoleUser}</bdi>` : null)}${fact('Secure token users', said?.secureTokenUsers)}
${fact('Power', said === null ? null : `${said.power}${said.powerPercent === null ? '' : `, ${said.powerPercent} %`}`)}
${fact('Agent', said === null ? null : `${said.agentVersion}${said.labOnly ? ' (its runtime is not signed: for trying out only)' : ''}`)}
${fact('Owned by', standing.ownership === 'personal' ? 'its user' : 'the organisation')}${fact('State', standing.state === 'in-use' ? 'in use' : standing.state)}
${fact('Enrolled', since(device.enrolledAt, now))}${fact('Hardware UUID', html`<code>${middle(hardwareUuid, 22)}</code>`)}</dl>`;
}

/** Why it is held, what is owed and ordered; each order that waits can be taken back. */
export function openWork(visit: ConsoleVisit, { device, hold, debts, orders, proofOrders, task, changedByOthers, unreadableDeliveries }: DeviceDetail): Html {
  const path = devicePath(device.id);
  const items: (Html | string)[] = [
    ...(hold === null
      ? []
      : [
          html`Held: nothing is replaced until ${inWords(hold.until)}, for ${inWords(hold.because)}.${visit.may('rotation.override') ? html` <a href="${path}/hold">End the hold</a>` : null}`,
        ]),
    ...orders
      .filter(({ state }) => state === 'waiting')
      .map(
        (order) =>
          html`Ordered ${since(order.createdAt, visit.at)} by <bdi>${order.actor}</bdi>: ${order.reason}.${visit.may('rotation.order') ? html` <a href="${path}/withdraw?order=${order.id}">Take it back</a>` : null}`,
      ),
    ...debts.map((debt) => html`A new key is owed: ${debt.because}, ${since(debt.since, visit.at)}.`),
    ...proofOrders.map((order) => html`It is asked whether a key opens it: ${order.because}, ${since(order.since, visit.at)}.`),
    ...(task === null ? [] : [html`At the MDM: ${inWords(task.because)}`]),
    ...(changedByOthers === null
      ? []
      : [html`Somebody else replaced its key${changedByOthers.suspects.length > 0 ? `, perhaps ${changedByOthers.suspects.join(' or ')}` : null}.`]),
    ...(unreadableDeliveries === 0 ? [] : [`Deliveries that could not be read: ${unreadableDeliveries}.`]),
  ];
  return html`<h2>Open</h2>${list(items, 'Nothing is ordered, owed or held.')}`;
}

const keyStates: Readonly<Record<string, string>> = {
  candidate: 'may be the valid one',
  held: 'valid',
  superseded: 'replaced',
  quarantined: 'set aside',
  destroyed: 'destroyed',
};

/** Keys without the keys. */
export function keys(visit: ConsoleVisit, detail: DeviceDetail): Html {
  const { device } = detail;
  const items = detail.keys.slice(0, 12).map((key) => {
    const isOld = key.state === 'superseded' && visit.may('key.history');
    return html`<strong>${keyStates[key.state] ?? key.state}</strong>, here ${since(key.receivedAt, visit.at)}; proved ${since(key.provedAt, visit.at)}${key.disclosedAt === null ? null : html`; shown ${since(key.disclosedAt, visit.at)}`}${key.refutedAt === null ? null : html`; refused ${since(key.refutedAt, visit.at)}`}${key.verified ? null : '; came without a device identity'}${key.present ? null : '; of another volume'}.${isOld ? html` <a href="${keyPagePath(device.id)}?record=${key.recordId}">Ask for this key</a>` : null}`;
  });
  const more = detail.keys.length - items.length;
  return html`<h2>Keys</h2>${list(items, 'No key of this Mac was ever here.')}${more > 0 ? html`<p class="soft">${more} older ones are in its history.</p>` : null}
${
  detail.brought.length === 0
    ? null
    : html`<h3>Brought by others</h3>${list(
        detail.brought.map((one) => html`${one.source}: ${one.state}, ${one.because}; brought ${since(one.broughtAt, visit.at)}.`),
        '',
      )}${visit.may('key.disclose') && html`<p class="row"><a href="${broughtPath(device.id)}">Ask for a key that others brought</a></p>`}`
}`;
}

export function volumes({ volumes: all }: DeviceDetail): Html {
  return html`<h2>Volumes</h2>${list(
    all.map(
      (one) => html`<code>${middle(one.volume, 22)}</code>${one.present ? ' (started from this one)' : ''}, ${one.keys === 1 ? '1 key' : `${one.keys} keys`}`,
    ),
    'It has named no volume yet.',
  )}`;
}

const sources = { profile: 'by its profile', csv: 'by a file', admin: 'by an admin' } as const;

export function people(visit: ConsoleVisit, { users, device }: DeviceDetail): Html {
  const now = visit.at;
  const path = devicePath(device.id);
  const [open, before] = [users.filter((one) => one.endedAt === null), users.filter((one) => one.endedAt !== null)];
  const entry = (one: DeviceDetail['users'][number]): Html =>
    html`<bdi>${one.userName}</bdi>, ${sources[one.source]}, ${since(one.since, now)}${one.endedAt === null ? null : html`, until ${since(one.endedAt, now)}: ${one.endedBecause}`}`;
  return html`<h2>User</h2>${list(open.map(entry), 'It is said to be nobody’s.')}${before.length === 0 ? null : html`<details><summary>Before</summary>${list(before.map(entry), '')}</details>`}${visit.may('device.edit') ? html`<p class="row"><a href="${path}/user">Say whose it is</a>${open.length === 0 ? null : html`<a href="${path}/nobody">It is nobody’s any more</a>`}</p>` : null}`;
}

/** Of admins, each with the button that takes it; those of groups come and go with the person. */
export function tags(visit: ConsoleVisit, { device }: DeviceDetail): Html {
  const path = `${devicePath(device.id)}/tags`;
  const scope = scopeOf(visit.admin, 'device.edit');
  const mayTake = (tag: string): boolean => !tag.startsWith('group:') && (scope === null || (scope !== false && scope.includes(tag)));
  return html`<h2>Tags</h2>${list(
    device.tags.map((tag) =>
      !mayTake(tag)
        ? html`<bdi>${tag}</bdi>`
        : html`<form method="post" action="${path}" class="row"><bdi>${tag}</bdi>${visit.token(path)}<input type="hidden" name="remove" value="${tag}"><button class="quiet">Take away<span class="hidden-words"> the tag ${tag}</span></button></form>`,
    ),
    'It has none.',
  )}${scope !== false ? html`<form method="post" action="${path}" class="row">${visit.token(path)}<label class="hidden-words" for="add">New tag</label><input id="add" name="add" required maxlength="64" autocomplete="off" spellcheck="false" placeholder="new tag"><button class="second">Add the tag</button></form>` : null}`;
}

/** What can be done with it: whoever may not is shown no button. */
export function acts(visit: ConsoleVisit, { device, hold, keys: all }: DeviceDetail): Html | null {
  const path = devicePath(device.id);
  const may = visit.may('rotation.order');
  const items = [
    visit.may('key.disclose') ? html`<a class="button" href="${keyPagePath(device.id)}">Get the recovery key</a>` : null,
    may ? html`<a class="button second" href="${path}/replace">Replace its key</a>` : null,
    may && all.some((key) => key.state === 'held' || key.state === 'candidate') ? html`<a class="button second" href="${path}/prove">Prove its key</a>` : null,
    may && hold !== null ? html`<a class="button second" href="${path}/hold">End the hold</a>` : null,
    visit.may('release.assist') ? html`<a class="button second" href="/disclosures/releases?device=${device.serial}">Make a release code</a>` : null,
    visit.may('device.edit') ? html`<a href="${path}/standing">Lost or retired?</a>` : null,
    visit.may('device.merge') ? html`<a href="${path}/merge">Join with an older record</a>` : null,
  ].filter((item) => item !== null);
  return items.length === 0 ? null : html`<p class="row acts">${items}</p>`;
}

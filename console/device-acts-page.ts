import { Problem } from '../protocol/problems.ts';
import { type Html, html } from '../web/html.ts';
import type { Answer, Page } from '../web/visit.ts';
import { devicePath, sentence, since } from './fleet-parts.ts';
import { deviceAssign, deviceStanding, deviceUnassign } from './operations/device-edit.ts';
import { deviceGet, deviceMerge, deviceMergePreview, devicePart } from './operations/devices.ts';
import { endHold, orderProofs, orderRotation, withdrawOrder } from './operations/orders.ts';
import { orProblem, problemBox } from './people-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

/* What is done with one Mac: what it means, the reason, and a button that names the Mac. */

type Detail = Awaited<ReturnType<typeof deviceGet.run>>;
type Line = Detail['device'];

const named = ({ name, serial }: Line): string => (name.includes(serial.slice(-4)) ? name : `${name}, ${serial}`);

const reasonField = (visit: ConsoleVisit): Html =>
  html`<label for="reason">Reason</label><p class="hint" id="reason-hint">The person of this Mac and the auditors can read it.</p><input id="reason" name="reason" required maxlength="500" autocomplete="off" aria-describedby="reason-hint" value="${visit.form['reason'] ?? visit.query['reason']}">`;

/** One act: its page, its form, and where it leads. */
interface DeviceAct {
  name: 'replace' | 'prove' | 'hold' | 'withdraw' | 'standing' | 'user' | 'nobody' | 'part';
  /** Where it is not `rotation.order`. */
  needs?: Parameters<ConsoleSite['page']>[1];
  head(mac: string): string;
  button(mac: string): string;
  isDanger?: true;
  body(visit: ConsoleVisit, detail: Detail): Html | null;
  /** The word of what was done, for the page of the Mac. */
  run(visit: ConsoleVisit, id: string): Promise<string>;
}

const choices = (visit: ConsoleVisit, words: string, name: string, now: string, options: Readonly<Record<string, string>>): Html =>
  html`<fieldset><legend>${words}</legend>${Object.entries(options).map(
    ([value, says]) =>
      html`<label class="choice"><input type="radio" name="${name}" value="${value}" required${(visit.form[name] ?? now) === value ? html` checked` : null}> ${says}</label>`,
  )}</fieldset>`;

const deviceActs: readonly DeviceAct[] = [
  {
    name: 'replace',
    head: (mac) => `Replace the key of ${mac}?`,
    button: (mac) => `Replace the key of ${mac}`,
    isDanger: true,
    body: (
      visit,
      { device, hold, orders },
    ) => html`<p>The Mac makes a new key when it is next online and somebody is signed in; last check-in ${since(device.lastSeenAt, visit.at)}. The old key stays here for its backups.</p>
${orders.filter(({ state }) => state === 'waiting').map(({ reason }) => html`<p class="note">An order waits already: ${reason}. A second one is not made.</p>`)}
<p><label><input type="checkbox" name="withoutLogin" value="1"${visit.form['withoutLogin'] ? html` checked` : null}> Nobody logs in on this Mac: an hour of uptime is enough</label></p>
${
  hold !== null && visit.may('rotation.override')
    ? html`<details${visit.form['overrideHold'] ? html` open` : null}><summary>Somebody may be typing its key</summary><p>It was shown a short time ago, so nothing is replaced before the hold ends. Replaced now, the key in their hands opens nothing.</p>
<p><label><input type="checkbox" name="overrideHold" value="1"${visit.form['overrideHold'] ? html` checked` : null}> Replace it all the same</label></p><label for="serial">Type the serial number of this Mac</label><input id="serial" name="serial" maxlength="64" autocomplete="off" autocapitalize="characters" spellcheck="false" value="${visit.form['serial']}"></details>`
    : hold === null
      ? null
      : html`<p class="note">Its key was shown a short time ago: it is replaced once the hold ends.</p>`
}`,
    async run(visit, id) {
      const { reason, withoutLogin, overrideHold, serial } = visit.form;
      const isOver = overrideHold === '1';
      const done = await visit.perform(orderRotation, {
        id,
        reason,
        withoutLogin: withoutLogin === '1',
        overrideHold: isOver,
        ...(isOver ? { serial: serial ?? '' } : {}),
      });
      return done.waited ? 'waits' : 'ordered';
    },
  },
  {
    name: 'prove',
    head: (mac) => `Ask ${mac} whether its keys open it?`,
    button: (mac) => `Ask ${mac}`,
    body: () =>
      html`<p>The Mac asks macOS at its next check-in, for each key that may be the valid one. It takes seconds, nobody has to do anything, and no key is shown or replaced.</p>`,
    async run(visit, id) {
      await visit.perform(orderProofs, { id, reason: visit.form['reason'] });
      return 'asked';
    },
  },
  {
    name: 'hold',
    needs: 'rotation.override',
    head: (mac) => `End the hold of ${mac}?`,
    button: (mac) => `End the hold of ${mac}`,
    body: (visit, { hold }) => html`<p>${hold === null ? 'There is no hold.' : 'Its key was shown, and it is not replaced while somebody may be typing it.'}</p>
<fieldset><legend>What its person says</legend><label class="choice"><input type="radio" name="because" value="back-in" required${visit.form['because'] === 'back-in' ? html` checked` : null}> I am back in</label><label class="choice"><input type="radio" name="because" value="not-me" required${visit.form['because'] === 'not-me' ? html` checked` : null}> It was not I who was shown the key: it is replaced at once, and an alarm is raised</label></fieldset>
<label for="serial">Serial number</label><p class="hint" id="serial-hint">Typed once more: whoever is typing the key of this Mac is locked out.</p><input id="serial" name="serial" required maxlength="64" autocomplete="off" autocapitalize="characters" spellcheck="false" aria-describedby="serial-hint" value="${visit.form['serial']}">`,
    async run(visit, id) {
      const { because, reason, serial } = visit.form;
      const done = await visit.perform(endHold, { id, because, reason, serial: serial ?? '' });
      return done.ended ? 'ended' : because === 'not-me' ? 'ordered' : 'no-hold';
    },
  },
  {
    name: 'withdraw',
    head: (mac) => `Take back the order for ${mac}?`,
    button: (mac) => `Take back the order for ${mac}`,
    body: (visit, { orders }) => {
      const wanted = visit.form['order'] ?? visit.query['order'] ?? '';
      const order = orders.find(({ id, state }) => id === wanted && state === 'waiting');
      return html`<p>${order ? html`It was ordered ${since(order.createdAt, visit.at)} by <bdi>${order.actor}</bdi>: ${order.reason}.` : 'This order does not wait any more.'} What is owed for another reason stays owed.</p><input type="hidden" name="order" value="${wanted}">`;
    },
    async run(visit, id) {
      await visit.perform(withdrawOrder, { id, orderId: visit.form['order'] ?? '', reason: visit.form['reason'] });
      return 'withdrawn';
    },
  },
  {
    name: 'standing',
    needs: 'device.edit',
    head: (mac) => `Is ${mac} in use, lost or retired?`,
    button: (mac) => `Say so of ${mac}`,
    body: (visit, { standing }) =>
      html`<p>A lost Mac has its key replaced by the policies that say so, and nobody is shown it in the portal. A retired one is asked for no more, and counts in no figure.</p>
${choices(visit, 'State', 'state', standing.state, { 'in-use': 'In use', lost: 'Lost or stolen', retired: 'Retired: nobody works with it any more' })}
${choices(visit, 'Owned by', 'ownership', standing.ownership, { organisation: 'The organisation', personal: 'Its user' })}`,
    async run(visit, id) {
      const { state, ownership, reason } = visit.form;
      await visit.perform(deviceStanding, { id, state, ownership, reason });
      return 'standing';
    },
  },
  {
    name: 'user',
    needs: { permission: 'device.edit', fresh: true },
    head: (mac) => `Whose Mac is ${mac}?`,
    button: (mac) => `Say whose ${mac} is`,
    body: (visit, { device }) =>
      html`<p>${device.user === null ? 'It is said to be nobody’s.' : html`It is said to be <bdi>${device.user}</bdi>’s.`} Whoever has a Mac sees its key in the portal. What you say here goes before what the Mac’s profile says.</p>
<label for="userName">User name</label><p class="hint" id="userName-hint">As the sign-in provider says it.</p><input id="userName" name="userName" required maxlength="256" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="userName-hint" value="${visit.form['userName']}">
<label for="account">Their account on the Mac</label><p class="hint" id="account-hint">Its short name. Empty: not known.</p><input id="account" name="account" maxlength="255" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="account-hint" value="${visit.form['account']}">`,
    async run(visit, id) {
      const { userName, account = '', reason } = visit.form;
      await visit.perform(deviceAssign, { id, userName, account: account.trim() === '' ? null : account, reason });
      return 'user';
    },
  },
  {
    name: 'nobody',
    needs: 'device.edit',
    head: (mac) => `Is ${mac} nobody’s any more?`,
    button: (mac) => `Say that ${mac} is nobody’s`,
    isDanger: true,
    body: (_visit, { device }) =>
      html`<p>${device.user === null ? 'It is said to be nobody’s already.' : html`<bdi>${device.user}</bdi> sees its key in the portal no more.`}</p>`,
    async run(visit, id) {
      await visit.perform(deviceUnassign, { id, reason: visit.form['reason'] });
      return 'nobody';
    },
  },
  {
    name: 'part',
    needs: { permission: 'device.merge', fresh: true },
    head: (mac) => `Take back what was joined with ${mac}?`,
    button: (mac) => `Take it from ${mac} again`,
    body: (visit, { merged }) => {
      const wanted = visit.form['other'] ?? visit.query['other'] ?? '';
      const other = merged.find(({ id }) => id === wanted);
      return html`<p>${other ? html`The record <code>${other.serial}</code>, enrolled ${since(other.enrolledAt, visit.at)}, is listed by itself again, with its own tags.` : 'This record is not joined with it any more.'}</p><input type="hidden" name="other" value="${wanted}">`;
    },
    async run(visit, id) {
      const { merged } = await visit.perform(deviceGet, { id });
      const other = merged.find((one) => one.id === visit.form['other']);
      if (!other) throw new Problem('MESSAGE_INVALID', 'this record is not joined with it any more');
      await visit.perform(devicePart, { id: other.id, reason: visit.form['reason'] });
      return 'parted';
    },
  },
];

async function actPage(visit: ConsoleVisit, it: DeviceAct, problem: Problem | null = null): Promise<Page> {
  const detail = await visit.perform(deviceGet, { id: visit.params['id'] ?? '' });
  const mac = named(detail.device);
  const path = devicePath(detail.device.id);
  const here = `${path}/${it.name}`;
  return {
    title: it.head(mac),
    status: problem ? problem.kind.status : 200,
    scripts: ['times'],
    body: html`<h1>${it.head(mac)}</h1>${problemBox(problem)}
<form method="post" action="${here}">${visit.token(here)}${it.body(visit, detail)}${reasonField(visit)}<button${it.isDanger ? html` class="danger"` : null}>${it.button(mac)}</button></form>
<p class="ways"><a href="${path}">Leave it</a></p>`,
  };
}

type Preview = Awaited<ReturnType<typeof deviceMergePreview.run>>;

const mergeForm = (path: string, other: string | undefined): Html =>
  html`<form method="get" action="${path}/merge"><label for="other">Serial number or id of the older record</label><p class="hint" id="other-hint">The record of this Mac from before its logic board was replaced.</p><input id="other" name="other" required maxlength="128" autocomplete="off" spellcheck="false" aria-describedby="other-hint" value="${other}"><button class="second">See what would happen</button></form>`;

function mergeTable({ into, from }: Preview, now: number): Html {
  const line = (name: string, of: (one: Preview['into']) => Html | string | number): Html =>
    html`<tr><th scope="row">${name}</th><td>${of(into)}</td><td>${of(from)}</td></tr>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Both records"><table><thead><tr><th scope="col">Record</th><th scope="col">Stays</th><th scope="col">Is told under it</th></tr></thead><tbody>
${line('Serial number', ({ serial }) => html`<code>${serial}</code>`)}${line('Hardware UUID', ({ hardwareUuid }) => html`<code>${hardwareUuid}</code>`)}${line('Enrolled', (one) => since(one.enrolledAt, now))}${line('Last check-in', (one) => since(one.lastSeenAt, now))}${line('Keys', ({ keys }) => keys)}${line('Shown', ({ disclosures }) => disclosures)}${line('User', ({ users }) => users.join(', ') || '–')}${line('Tags', (one) => one.tags.join(', ') || '–')}</tbody></table></div>`;
}

async function mergePage(visit: ConsoleVisit, problem: Problem | null = null): Promise<Page> {
  const { device } = await visit.perform(deviceGet, { id: visit.params['id'] ?? '' });
  const mac = named(device);
  const path = devicePath(device.id);
  const other = (visit.form['other'] ?? visit.query['other'])?.trim();
  const seen = other === undefined || other === '' ? null : await orProblem(visit.perform(deviceMergePreview, { id: device.id, other }));
  const said = problem ?? (seen instanceof Problem ? seen : null);
  const preview = seen === null || seen instanceof Problem ? null : seen;
  return {
    title: `Join ${mac} with an older record`,
    status: said ? said.kind.status : 200,
    scripts: ['times'],
    body: html`<h1>Join ${mac} with an older record</h1>${problemBox(said)}${mergeForm(path, other)}
${preview && mergeTable(preview, visit.at)}
${preview?.refused && html`<p class="error">They cannot be joined: ${sentence(preview.refused)}</p>`}
${
  preview && preview.refused === null
    ? html`<ul>${preview.ordersTakenBack > 0 && html`<li>Orders that wait for the older record are taken back: ${preview.ordersTakenBack}.</li>`}${preview.userMoves !== null && html`<li>It becomes the Mac of <bdi>${preview.userMoves}</bdi>.</li>`}${preview.tagsMove.length > 0 && html`<li>It gets the tags ${preview.tagsMove.join(', ')}.</li>`}<li>Keys stay with their volumes. It can be taken back.</li></ul>
<form method="post" action="${path}/merge">${visit.token(`${path}/merge`)}<input type="hidden" name="other" value="${preview.from.id}">${reasonField(visit)}<button class="danger">Join ${preview.from.serial} into ${preview.into.serial}</button></form>`
    : null
}
<p class="ways"><a href="${path}">Leave it</a></p>`,
  };
}

export function addDeviceActsPages({ page, act }: ConsoleSite): void {
  for (const it of deviceActs) {
    const needs = it.needs ?? 'rotation.order';
    page(`/fleet/:id/${it.name}`, needs, (visit) => actPage(visit, it));
    act(`/fleet/:id/${it.name}`, needs, async (visit): Promise<Answer> => {
      const id = visit.params['id'] ?? '';
      const done = await orProblem(it.run(visit, id));
      return done instanceof Problem ? actPage(visit, it, done) : { to: `${devicePath(id)}?done=${done}` };
    });
  }
  page('/fleet/:id/merge', 'device.merge', (visit) => mergePage(visit));
  act('/fleet/:id/merge', { permission: 'device.merge', fresh: true }, async (visit): Promise<Answer> => {
    const id = visit.params['id'] ?? '';
    const done = await orProblem(visit.perform(deviceMerge, { id, other: visit.form['other'] ?? '', reason: visit.form['reason'] }));
    return done instanceof Problem ? mergePage(visit, done) : { to: `${devicePath(id)}?done=joined` };
  });
}

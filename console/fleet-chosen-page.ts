import { Problem } from '../protocol/problems.ts';
import { type DeviceFilter, filterFromUrl } from '../server/fleet/filter.ts';
import { type Html, html } from '../web/html.ts';
import type { Page } from '../web/visit.ts';
import { forOthers, queryOf, readAddress, tidied } from './fleet-address.ts';
import { macsInWords } from './fleet-parts.ts';
import { deviceCount, deviceList } from './operations/devices.ts';
import { tagAdd, tagRemove } from './operations/tags.ts';
import { orProblem, problemBox } from './people-parts.ts';
import { sayFilter } from './rotations-parts.ts';
import type { ConsoleSite, ConsoleVisit } from './visit.ts';

/** By name in one form. More are better meant by a filter. */
const mostNamed = 500;
/** Tags are changed at once, five hundred Macs in one act: of more than these nobody waits for the answer. */
const mostTagged = 5000;
const inOneAct = 500;

/** Which Macs an act is for: by serial number, or all that a filter means. */
type Chosen = { macs: readonly string[] } | { filter: DeviceFilter };

const namesOf = (text: string | undefined): string[] => (text ?? '').split(/\s+/).filter((name) => name !== '');

function chosenFrom(form: Readonly<Record<string, string>>): Chosen {
  const here = Object.entries(form).flatMap(([name, value]) => (name.startsWith('mac-') ? [value] : []));
  const macs = [...new Set([...here, ...namesOf(form['others']), ...namesOf(form['macs'])])];
  if (macs.length > mostNamed) throw new Problem('MESSAGE_INVALID', `at most ${mostNamed} Macs by name; choose more by a filter`);
  if (macs.length > 0) return { macs };
  if (form['filter'] === undefined) throw new Problem('MESSAGE_INVALID', 'no Mac is chosen');
  return { filter: filterFromUrl(new URLSearchParams(form['filter'])) };
}

const countOf = async (visit: ConsoleVisit, chosen: Chosen): Promise<number> =>
  'macs' in chosen ? chosen.macs.length : (await visit.perform(deviceCount, chosen.filter)).count;

const fieldsOf = (chosen: Chosen): Html =>
  'macs' in chosen
    ? html`<input type="hidden" name="macs" value="${chosen.macs.join(' ')}">`
    : html`<input type="hidden" name="filter" value="${forOthers(chosen)}">`;

/** How many they are, and what can be done with them: each button names how many it is for. */
async function chosenPage(visit: ConsoleVisit, chosen: Chosen, problem: Problem | null = null, note: string | null = null): Promise<Page> {
  const count = await countOf(visit, chosen);
  const path = '/fleet/tags';
  return {
    title: `${macsInWords(count)} chosen`,
    status: problem ? problem.kind.status : 200,
    scripts: note === null ? [] : ['console-selection'],
    body: html`<h1>${macsInWords(count)} chosen</h1>
${problemBox(problem)}${note && html`<p class="note" role="status" data-done>${note}</p>`}
<p>${'macs' in chosen ? html`By name: ${chosen.macs.slice(0, 20).map((name, at) => html`${at > 0 ? ', ' : null}<code>${name}</code>`)}${chosen.macs.length > 20 ? ` and ${chosen.macs.length - 20} more` : null}.` : `${sayFilter(chosen.filter)}. Which they are is looked up once more when something is done.`}</p>
${
  count > 0 && visit.may('rotation.order')
    ? html`<h2>Keys</h2><form method="post" action="/rotations/edit">${visit.token('/rotations/edit')}${fieldsOf(chosen)}<input type="hidden" name="notSeenDays" value="30"><button>Replace the ${count === 1 ? 'key' : 'keys'} of ${macsInWords(count)}…</button><p class="soft">Next you say when and why, and are shown what would happen. Nothing is replaced before that.</p></form>`
    : null
}
${
  count > 0 && visit.may('device.edit')
    ? html`<h2>Tags</h2><form method="post" action="${path}">${visit.token(path)}${fieldsOf(chosen)}<input type="hidden" name="count" value="${count}">
<label for="tags">Tags</label><p class="hint" id="tags-hint">Separated by commas: letters, digits, dots and dashes. Tags of groups come and go with the person.</p><input id="tags" name="tags" required maxlength="1300" autocomplete="off" spellcheck="false" aria-describedby="tags-hint" value="${visit.form['tags']}">
<p class="row"><button name="do" value="add">Add the tags to ${macsInWords(count)}</button><button name="do" value="remove" class="second">Take the tags from ${macsInWords(count)}</button></p></form>`
    : null
}
<p class="ways"><a href="/fleet${'filter' in chosen && forOthers(chosen) !== '' ? `?${forOthers(chosen)}` : ''}">Back to the fleet</a></p>`,
  };
}

/** All of them, by id: a serial number may be said of two. */
async function idsOf(visit: ConsoleVisit, chosen: Chosen): Promise<string[]> {
  if ('macs' in chosen) return [...chosen.macs];
  const ids: string[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof deviceList.run>> = await visit.perform(deviceList, {
      ...chosen.filter,
      sort: 'serial',
      limit: 200,
      ...(cursor === null ? {} : { cursor }),
    });
    ids.push(...page.items.map(({ id }) => id));
    cursor = page.next;
  } while (cursor !== null && ids.length <= mostTagged);
  return ids;
}

async function changeTags(visit: ConsoleVisit, chosen: Chosen): Promise<{ changed: number; tags: string[] }> {
  const tags = (visit.form['tags'] ?? '')
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  const count = await countOf(visit, chosen);
  if (count !== Number(visit.form['count'])) throw new Problem('MESSAGE_INVALID', `they are ${macsInWords(count)} by now; look again, then press`);
  if (count > mostTagged) throw new Problem('MESSAGE_INVALID', `at most ${mostTagged} Macs at once; choose fewer by a filter`);
  const ids = await idsOf(visit, chosen);
  let changed = 0;
  for (let at = 0; at < ids.length; at += inOneAct) {
    const done = await visit.perform(visit.form['do'] === 'remove' ? tagRemove : tagAdd, { devices: ids.slice(at, at + inOneAct), tags });
    changed += done.changed;
  }
  return { changed, tags };
}

/** What is done with many Macs at once. */
export function addFleetChosenPage({ page, act }: ConsoleSite): void {
  page('/fleet/chosen', 'fleet.read', async (visit) => chosenPage(visit, { filter: readAddress(tidied(queryOf(visit.path)), visit.at).filter }));

  act('/fleet/chosen', 'fleet.read', async (visit) => {
    const chosen = await orProblem((async () => chosenFrom(visit.form))());
    if (chosen instanceof Problem)
      return {
        title: 'No Mac is chosen',
        status: chosen.kind.status,
        body: html`<h1>No Mac is chosen</h1>${problemBox(chosen)}<p><a class="button second" href="/fleet">Back to the fleet</a></p>`,
      };
    return chosenPage(visit, chosen);
  });

  act('/fleet/tags', 'device.edit', async (visit) => {
    const chosen = chosenFrom(visit.form);
    const done = await orProblem(changeTags(visit, chosen));
    if (done instanceof Problem) return chosenPage(visit, chosen, done);
    const said = `${macsInWords(done.changed)} ${done.changed === 1 ? 'has' : 'have'} other tags now. ${visit.form['do'] === 'remove' ? 'Taken' : 'Added'}: ${done.tags.join(', ')}.`;
    return chosenPage(visit, chosen, null, said);
  });
}

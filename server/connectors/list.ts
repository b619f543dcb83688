import type { CustodyParts } from '../custody-parts.ts';
import { forgetUnlisted, listConnectorMacs, macsOfConnector } from '../store/connectors.ts';
import { End, type KeySource, type Listed, type Unusable } from './source.ts';
import { type Run, save } from './state.ts';

/** More are no fleet but a list without an end. */
const mostPages = 5000;
const mostMacs = 300_000;
/** Of serial numbers and entries that are named one by one: they are written down with each batch. */
const mostNamed = 200;

/** The whole list, page by page; no key is in it. What is not in it any more is forgotten after its last page alone. */
export async function listMacs(parts: CustodyParts, source: KeySource, run: Run, say?: (words: string) => void): Promise<Listed[]> {
  const byId = new Map<string, Listed>();
  const seen = new Set<string | null>();
  const marks = new Set<string>();
  let unusable = 0;
  const unusableNamed: Unusable[] = [];
  let at = 0;
  for (let position: string | null = null; ; ) {
    if (seen.has(position)) throw new End('its list comes round again: a page names one that was before');
    if (seen.size >= mostPages || byId.size > mostMacs) throw new End(`its list has no end: more than ${byId.size} Macs on ${seen.size} pages`);
    seen.add(position);
    const page = await source.page(position);
    if (page.mark !== undefined && marks.has(page.mark)) throw new End('its list repeats itself: a page has nothing but machines of before');
    if (page.mark !== undefined) marks.add(page.mark);
    const fresh = page.macs.filter((mac) => !byId.has(mac.id));
    if (page.macs.length > 0 && fresh.length === 0) throw new End('its list repeats itself: a page has nothing but Macs of before');
    if (page.unusable.length > 0 && page.macs.length === 0 && byId.size === 0)
      throw new End(`no entry of its list is as it is documented (${page.unusable.length} on the first page)`);
    for (const mac of fresh) byId.set(mac.id, mac);
    unusable += page.unusable.length;
    unusableNamed.push(...page.unusable.slice(0, mostNamed - unusableNamed.length));
    at = await parts.act(async (tx, now) => {
      await listConnectorMacs(tx, source.name, fresh, run.startedAt);
      await save(tx, now, run);
      return now;
    });
    say?.(`Macs in its list: ${byId.size}`);
    if (page.next === null) break;
    position = page.next;
  }
  if (byId.size === 0 && (await macsOfConnector(parts.store.db, source.name)).length > 0)
    throw new End('its list has no Mac in it any more: nothing was forgotten; look at the rights of this client');
  const { chosen, twice } = once([...byId.values()]);
  run.figures = { ...run.figures, listed: byId.size, unusable, unusableNamed, twice: twice.slice(0, mostNamed) };
  await parts.act(async (tx) => {
    await forgetUnlisted(tx, source.name, run.startedAt);
    await save(tx, at, run);
  });
  return chosen;
}

/** A Mac that was enrolled again may be in a list twice: the entry that the product heard of last is that Mac. */
function once(macs: readonly Listed[]): { chosen: Listed[]; twice: string[] } {
  const bySerial = Map.groupBy(macs, ({ serial }) => serial);
  const chosen = [...bySerial.values()].map((same) => same.toSorted((a, b) => (b.heardAt ?? 0) - (a.heardAt ?? 0) || (a.id < b.id ? 1 : -1))[0]);
  return {
    chosen: chosen.filter((one) => one !== undefined),
    twice: [...bySerial].filter(([, same]) => same.length > 1).map(([serial]) => serial),
  };
}

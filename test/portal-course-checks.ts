import { hour, minute, viewsPerPerson, type World } from './portal-course-world.ts';

/*
 * What has to be true after every step, of the rows and of what was seen. Reckoned here from the rules, and not by the
 * product's own functions.
 */

const holdHours = 24;
const leastAfterLast = 20 * minute;

async function rowsOf(world: World) {
  const { db } = world.store;
  const { id } = world;
  const disclosures = await db.selectFrom('disclosure').selectAll().where('mac_id', '=', id).execute();
  const debts = await db.selectFrom('debt').selectAll().where('mac_id', '=', id).execute();
  const rotations = await db.selectFrom('rotation').selectAll().where('mac_id', '=', id).execute();
  const episodes = await db.selectFrom('episode').selectAll().where('mac_id', '=', id).execute();
  const refusals = await db.selectFrom('refusal').selectAll().where('mac_id', '=', id).execute();
  const records = await db.selectFrom('key_record').selectAll().where('mac_id', '=', id).execute();
  const ids = episodes.map((episode) => episode.id);
  const views = ids.length === 0 ? [] : await db.selectFrom('key_view').selectAll().where('episode_id', 'in', ids).orderBy('shown_at').execute();
  const mails = ids.length === 0 ? [] : await db.selectFrom('mail').selectAll().where('episode_id', 'in', ids).execute();
  const audited = await db
    .selectFrom('audit')
    .selectAll()
    .where('mac_id', '=', id)
    .where('act', 'in', ['key.disclosed', 'key.not-shown', 'key.refused'])
    .orderBy('seq')
    .execute();
  return { disclosures, debts, rotations, episodes, refusals, records, views, mails, audited };
}
type Rows = Awaited<ReturnType<typeof rowsOf>>;

/** Until when the hold stands that these disclosures make, at that moment; null: there is none. */
function holdAt(all: Rows['disclosures'], at: number): number | null {
  const on = all.filter((one) => one.shown === 1 && one.at <= at && (one.hold_ended_at === null || one.hold_ended_at > at)).toSorted((a, b) => a.at - b.at);
  const [first] = on;
  const last = on.at(-1);
  return first && last ? Math.max(first.at + holdHours * hour, last.at + leastAfterLast) : null;
}

type Say = (what: string) => void;

/** Each key that anybody saw is a disclosure with who, when and why, in the audit too; and a debt until another key is held. */
function seenKeys(world: World, rows: Rows, say: Say): void {
  const shown = rows.disclosures.filter((one) => one.shown === 1);
  if (shown.length !== world.seen.length + world.unseen)
    say(`${world.seen.length} keys were seen, ${shown.length} disclosures are stored (${world.unseen} of a dead backend)`);
  const left = [...shown];
  for (const seen of world.seen) {
    const at = left.findIndex((one) => one.at === seen.at && (seen.by === 'operator' ? one.actor === 'an operator' : one.actor === seen.by));
    if (at < 0) say(`what ${seen.by} saw at ${seen.at} is no disclosure: ${left.map((one) => `${one.actor} ${one.at}`).join(', ')}`);
    else left.splice(at, 1);
  }
  for (const one of rows.disclosures) {
    if (one.reason.trim() === '' || one.actor === '') say('a disclosure without actor or reason');
    const entry = rows.audited.find((row) => row.act === 'key.disclosed' && (JSON.parse(row.details) as { disclosureId?: string }).disclosureId === one.id);
    if (!entry || entry.actor !== one.actor || entry.at !== one.at) say('a disclosure that is not in the audit');
    const debt = rows.debts.find((row) => row.id === one.id);
    if (debt?.because !== 'disclosed' || debt.record_id !== one.record_id) say('a disclosure that owes nothing');
    else if (debt.closed_at !== null) {
      const by = /^record (\S+)$/.exec(debt.closed_by ?? '')?.[1];
      const record = rows.records.find((row) => row.id === by);
      if (!record || by === one.record_id || !['held', 'superseded', 'destroyed'].includes(record.state))
        say(`a debt was closed by ${debt.closed_by}, ${record?.state}`);
    }
    const record = rows.records.find((row) => row.id === one.record_id);
    if (record?.state === 'quarantined' || (record?.state === 'destroyed' && record.state_at < one.at)) say(`a ${record.state} key was shown`);
  }
}

/** No key is replaced while somebody may be typing it, and each hold ends by what may end it. */
function holds(world: World, rows: Rows, say: Say): void {
  for (const rotation of rows.rotations) {
    const until = holdAt(
      rows.disclosures.filter((one) => one.at < rotation.begun_at),
      rotation.begun_at,
    );
    if (until !== null && rotation.begun_at < until) say(`a rotation began ${(until - rotation.begun_at) / 1000} s before the end of a hold`);
  }
  const { said } = world;
  for (const one of rows.disclosures) {
    if (one.shown !== 1 || one.hold_ended_at === null) continue;
    const ended = one.hold_ended_at;
    const because = one.hold_ended_because;
    const together = rows.disclosures
      .filter((other) => other.shown === 1 && other.hold_ended_at === ended && other.volume === one.volume)
      .toSorted((a, b) => a.at - b.at);
    const [first, last] = [together[0] ?? one, together.at(-1) ?? one];
    const right: Record<string, boolean> = {
      deadline: ended >= Math.max(first.at + holdHours * hour, last.at + leastAfterLast),
      'back-in': said.backInAt.includes(ended),
      'not-me': said.notMeAt.includes(ended),
      override: said.overriddenAt.includes(ended),
      session: said.ranAt.some((at) => at > last.at && at <= ended),
    };
    if (!right[because ?? '']) say(`a hold was ended by ${because} without one`);
  }
}

function episodes(world: World, rows: Rows, say: Say): void {
  const shown = new Map(rows.disclosures.map((one) => [one.id, one]));
  const going = new Map<string, number>();
  for (const episode of rows.episodes) {
    const views = rows.views.filter((view) => view.episode_id === episode.id);
    const seen = views.filter((view) => shown.get(view.disclosure_id)?.shown === 1);
    const last = seen.at(-1);
    const isOn = last !== undefined && shown.get(last.disclosure_id)?.hold_ended_at === null && episode.closed_at === null;
    if (isOn) going.set(episode.person_id, (going.get(episode.person_id) ?? 0) + 1);
    const debts = views.map((view) => rows.debts.find((debt) => debt.id === view.disclosure_id));
    if (episode.closed_at !== null && debts.some((debt) => debt?.closed_at == null || debt.closed_at > (episode.closed_at ?? 0)))
      say('an episode was closed before its key was replaced');
    for (const kind of new Set(rows.mails.map((mail) => mail.kind))) {
      const count = rows.mails.filter((mail) => mail.episode_id === episode.id && mail.kind === kind).length;
      if (count > 1) say(`${count} mails ${kind} for one episode`);
      if (kind === 'key-replaced' && count > 0 && episode.closed_at === null) say('a mail says replaced of an episode that is open');
    }
    if (seen.length > 0 && !rows.mails.some((mail) => mail.episode_id === episode.id && mail.kind === 'key-shown')) say('nobody is written to of a view');
    // What was offered as another key ends at three; a key that came in between may be looked at again.
    const different = new Set<string>();
    for (const view of views) {
      different.add(view.record_id);
      if (view.because === 'other-key' && different.size > 3) say(`${different.size} different keys in one episode`);
      if (view.ends_at - view.shown_at > 5 * minute) say('a view of more than five minutes');
    }
    const firsts = views.filter((view) => view.because === 'first');
    if (firsts.length !== 1 || views[0]?.because !== 'first') say('an episode that does not begin with its first view');
    for (const refusal of rows.refusals.filter((one) => one.episode_id === episode.id)) {
      if (refusal.person_id !== episode.person_id || !seen.some((view) => view.record_id === refusal.record_id && view.shown_at <= refusal.at))
        say('a refusal of a key that was not shown');
    }
  }
  for (const count of going.values()) if (count > 1) say(`${count} episodes of one person go on at once`);
  for (const person of Object.values(world.ids)) {
    const mine = rows.views.filter((view) => rows.episodes.some((episode) => episode.id === view.episode_id && episode.person_id === person));
    for (const view of mine.filter(({ because }) => because !== 'more-time'))
      if (mine.filter((other) => other.shown_at > view.shown_at - 24 * hour && other.shown_at <= view.shown_at).length > viewsPerPerson)
        say('more views than the limit');
  }
}

/** Everything that is wrong now, in words. */
export async function wrongNow(world: World): Promise<string[]> {
  const wrong = [...world.wrong];
  const say: Say = (what) => void wrong.push(what);
  const rows = await rowsOf(world);
  seenKeys(world, rows, say);
  holds(world, rows, say);
  episodes(world, rows, say);
  if (rows.refusals.length !== rows.audited.filter((row) => row.act === 'key.refused').length) say('a refusal that is not in the audit');
  return [...new Set(wrong)];
}

/** At the end of a course, after some days of use: each time of being locked out is closed, unless somebody else got at the key. */
export async function settled(world: World): Promise<string[]> {
  if (world.said.keyInDoubt) return [];
  const open = await world.store.db.selectFrom('episode').select('id').where('mac_id', '=', world.id).where('closed_at', 'is', null).execute();
  return open.length === 0 ? [] : [`${open.length} episodes are open although the Mac was used and heard of for days`];
}

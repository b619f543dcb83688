import { type Given, givenPortal } from './given-portal.ts';
import type { Shown } from './portal-client.ts';

/** The settings for people of the tests about the page of the key. */
export const people = { contact: { name: 'The service desk', phone: '+31 20 555 0100', hours: 'Mon–Fri 8–18' }, mail: { from: 'keys@example.org' } };

/** The key as it stands on a page, or null. */
export function keyOn(page: Shown): string | null {
  const groups = [...page.text.matchAll(/<p class="signs"[^>]*>(.*?)<\/p>/gs)].map(([, signs = '']) => signs.replace(/<[^>]*>/g, '').trim());
  return groups.length === 0 ? null : groups.join('-');
}

let account: Promise<string> | null = null;

interface Looking {
  looks?: Parameters<Awaited<ReturnType<typeof givenPortal>>['portal']['client']>[0];
  /** A person of this test alone; otherwise one person of the file, with all its Macs. */
  alone?: boolean;
}

/** A Mac with a key in custody, of somebody who is signed in. */
export async function lockedOut(options: Parameters<typeof givenPortal>[0] = {}, { looks = {}, alone = false }: Looking = {}) {
  const it = await givenPortal({ people, ...options });
  const somebody = async (): Promise<Given> => {
    account ??= it.portal.account('locked-out');
    const client = it.portal.client(looks);
    await account;
    await it.portal.signIn(client, 'locked-out');
    return { id: await account, userName: 'locked-out', client };
  };
  await it.checkIn();
  const person = alone ? await it.portal.person(undefined, { looks }) : await somebody();
  await it.assign(person);
  const macId = await it.macId();
  const key = `/macs/${macId}/key`;
  const { db } = it.store;
  return Object.assign(Object.create(Object.prototype, Object.getOwnPropertyDescriptors(it)) as typeof it, {
    person,
    id: macId,
    key,
    refused: `/macs/${macId}/refused`,
    /** From the page before to the key, by the button. */
    async getKey(who: Given = person, fields: Record<string, string> = {}): Promise<Shown> {
      return who.client.submit(await who.client.get(key), key, fields);
    },
    disclosures: () => db.selectFrom('disclosure').selectAll().where('mac_id', '=', macId).orderBy('at').execute(),
    views: () =>
      db
        .selectFrom('key_view')
        .innerJoin('episode', 'episode.id', 'key_view.episode_id')
        .selectAll('key_view')
        .where('mac_id', '=', macId)
        .orderBy('shown_at')
        .execute(),
    episodes: () => db.selectFrom('episode').selectAll().where('mac_id', '=', macId).orderBy('began_at').execute(),
    mails: async () => (await db.selectFrom('mail').selectAll().execute()).filter(({ details }) => details.includes(macId)),
    acts: async (act: string) =>
      (await db.selectFrom('audit').selectAll().where('mac_id', '=', macId).where('act', '=', act).orderBy('seq').execute()).map(
        (row): Record<string, unknown> => ({
          actor: row.actor,
          ...(JSON.parse(row.details) as Record<string, unknown>),
        }),
      ),
    alarms: async () => (await db.selectFrom('alarm').selectAll().where('mac_id', '=', macId).where('judged_at', 'is', null).execute()).map(({ code }) => code),

    wait: (seconds: number) => it.pass(seconds),
  });
}

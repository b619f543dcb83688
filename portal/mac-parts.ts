import { Problem } from '../protocol/problems.ts';
import type { SitesGround } from '../server/serve.ts';
import { helpCode } from '../web/help-codes.ts';
import { type Html, html } from '../web/html.ts';
import { ago, clockTime, monthOf } from '../web/times.ts';
import type { SignedIn } from '../web/visit.ts';
import { type Language, say } from '../web/words.ts';
import { contactCard } from './contact-card.ts';
import { devicesWords } from './devices-words.ts';
import { type KeyFacts, type KeyState, keyNextOf, keyStateOf } from './key-state.ts';
import { macWords } from './mac-words.ts';
import { type OwnMac, ownMac } from './own-mac.ts';

/* What the pages about a Mac have in common. */

/** Its own name, else what it is. People name their Macs at length: the page breaks such a name, and never cuts it. */
export const nameOf = (mac: Pick<OwnMac, 'name' | 'modelName'>, language: Language): string =>
  mac.name?.trim() || (mac.modelName ?? say(devicesWords, language).words.someMac);

/** Whoever asks for a Mac that is not theirs, or that there is not, gets one answer. */
export async function theirMac(ground: SitesGround, visit: SignedIn): Promise<OwnMac> {
  const mac = await ownMac(ground, visit.session.person, visit.params['mac'] ?? '', visit.at);
  if (!mac) throw new Problem('NOT_FOUND', 'no such Mac of this person');
  return mac;
}

/** For what only its one person may see or say. Whoever only claims it could end somebody else's hold while they type. */
export async function certainMac(ground: SitesGround, visit: SignedIn): Promise<OwnMac> {
  const mac = await theirMac(ground, visit);
  if (!mac.certain) throw new Problem('NOT_FOUND', 'a Mac that is not certainly theirs');
  return mac;
}

export const keyFactsOf = (mac: OwnMac): KeyFacts => ({
  seen: mac.lastSeenAt !== null,
  custody: mac.custody.state,
  unopened: mac.custody.unopened,
  provedAt: mac.provedAt,
  refuted: mac.keys.refuted,
  rotationBegunAt: mac.rotation.open?.begunAt ?? null,
  owed: mac.rotation.owed,
  holdUntil: mac.rotation.hold?.until ?? null,
});

/** A date that says enough: an hour for what is fresh, a month for what is old. */
function timeOf(state: KeyState, now: number, language: Language): (at: number) => Html {
  return (at) => (state.is === 'checked-long-ago' ? monthOf(at, now, language) : ago(at, now, language));
}

export function keyInWords(mac: OwnMac, now: number, language: Language): Html {
  const { words, language: said } = say(macWords, language);
  const state = keyStateOf(keyFactsOf(mac), now);
  return words.key(state, timeOf(state, now, said));
}

/** What will become of it; nothing to say where nothing will. */
export function nextInWords(mac: OwnMac, now: number, language: Language): Html | null {
  const { words, language: said } = say(devicesWords, language);
  const next = keyNextOf(keyFactsOf(mac));
  if (next.is === 'nothing') return null;
  return html`<p>${next.is === 'waits' ? words.hold(clockTime(next.until, now, said)) : words.owed}</p>`;
}

export function diskInWords(mac: OwnMac, language: Language): string {
  const { fileVault } = say(macWords, language).words;
  return mac.fileVaultDeferred ? fileVault.deferred : fileVault[mac.fileVault];
}

/** The card, with a code under which the service desk finds this page and this Mac. */
export async function cardFor(ground: SitesGround, visit: SignedIn, mac: OwnMac | null, page: string): Promise<Html> {
  const { store, clock } = ground.backend;
  const macId = mac?.macId ?? null;
  const code = await store.write(async (tx) => helpCode(tx, { page, visit, macId, at: await clock.persist(tx) }));
  return contactCard(ground.settings, visit.session.person, { ...(mac ? { serialEnd: mac.serialEnd } : {}), code }, visit.language);
}

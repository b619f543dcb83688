import { Problem } from '../protocol/problems.ts';
import type { Tx } from '../server/parts.ts';
import type { SitesGround } from '../server/serve.ts';
import { helpCodeOf } from '../web/help-codes.ts';
import { type Html, html } from '../web/html.ts';
import { stillSignedIn } from '../web/sessions.ts';
import { ago, clockTime, monthOf } from '../web/times.ts';
import type { SignedIn } from '../web/visit.ts';
import { type Language, say } from '../web/words.ts';
import { contactCard } from './contact-card.ts';
import { devicesWords } from './devices-words.ts';
import type { Delay } from './episode-state.ts';
import { type KeyFacts, type KeyState, keyNextOf, keyStateOf } from './key-state.ts';
import { laterWords } from './later-words.ts';
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

/** The same within an act, by its `before`: the session, the assignment and who it is trusted from may have changed since the page was asked. */
export async function stillCertain(ground: SitesGround, tx: Tx, visit: SignedIn, at: number): Promise<void> {
  const person = await stillSignedIn(ground, tx, visit, at, 'person');
  const mac = await ownMac(ground, person, visit.params['mac'] ?? '', at, tx);
  if (!mac?.certain) throw new Problem('NOT_FOUND', 'a Mac that is not certainly theirs');
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
  const later = laterInWords(mac.rotation.delay, { at: now, language: said });
  const what = next.is === 'waits' ? words.hold(clockTime(next.until, now, said)) : later ? words.owedLater : words.owed;
  return html`<p>${what}${later && html` ${later}`}</p>`;
}

/** Why a replacement comes later than when the Mac is next online, where that is known. */
export function laterInWords(delay: Delay | null, { at: now, language }: { at: number; language: Language }): Html | null {
  if (delay === null) return null;
  const [before, after] = laterWords[language][delay.for];
  return delay.for === 'grant' ? html`${before}${clockTime(delay.from, now, language)}${after}` : html`${before}`;
}

export function diskInWords(mac: OwnMac, language: Language): string {
  const { fileVault } = say(macWords, language).words;
  return mac.fileVaultDeferred ? fileVault.deferred : fileVault[mac.fileVault];
}

/** The card, with a code under which the service desk finds this page and this Mac. */
export async function cardFor(ground: SitesGround, visit: SignedIn, mac: OwnMac | null, page: string): Promise<Html> {
  const code = await helpCodeOf(ground, visit, { page, macId: mac?.macId ?? null });
  return contactCard(ground.settings, visit.session.person, { ...(mac ? { serialEnd: mac.serialEnd } : {}), code }, visit.language);
}

import { describe, expect, test } from '@jest/globals';
import { type KeyFacts, keyNextOf, keyStateOf } from '../portal/key-state.ts';
import { macWords } from '../portal/mac-words.ts';
import { reasonsNot } from '../portal/may-show.ts';
import { html } from '../web/html.ts';

const now = Date.parse('2026-11-22T14:00:00Z');
const minute = 60_000;
const day = 24 * 60 * minute;

const facts = (more: Partial<KeyFacts> = {}): KeyFacts => ({
  seen: true,
  custody: 'held',
  unopened: false,
  provedAt: now - day,
  refuted: false,
  rotationBegunAt: null,
  owed: false,
  holdUntil: null,
  ...more,
});

describe('the state of a key', () => {
  const rows: [name: string, facts: Partial<KeyFacts>, is: object, en: string, nl: string][] = [
    ['checked a short time ago', {}, { is: 'checked', at: now - day }, 'The key was checked on this Mac T.', 'De sleutel is T op deze Mac gecontroleerd.'],
    ['checked in its month', { provedAt: now - 34 * day }, { is: 'checked' }, 'checked on this Mac', 'op deze Mac gecontroleerd'],
    ['checked long ago', { provedAt: now - 36 * day }, { is: 'checked-long-ago' }, 'not been checked since T', 'sinds T niet meer gecontroleerd'],
    ['held and never checked', { provedAt: null }, { is: 'not-checked' }, 'not been checked on this Mac yet', 'op deze Mac nog niet gecontroleerd'],
    ['held, unopened', { unopened: true, provedAt: null }, { is: 'unopened' }, 'a sealed key', 'een verzegelde sleutel'],
    ['a rotation that has just begun', { rotationBegunAt: now - minute }, { is: 'replacing' }, 'just replacing its key. Wait a minute', 'Wacht een minuut'],
    ['at the end of the five minutes', { rotationBegunAt: now - 5 * minute }, { is: 'replacing' }, 'Wait a minute', 'Wacht een minuut'],
    ['one that does not end', { custody: 'doubtful', rotationBegunAt: now - 6 * minute }, { is: 'replacing-long' }, 'has not finished', 'nog niet klaar'],
    ['in doubt', { custody: 'doubtful' }, { is: 'doubtful' }, 'not certain', 'niet zeker'],
    ['refuted', { custody: 'doubtful', refuted: true }, { is: 'refuted' }, 'twice that it does not fit', 'twee keer gezegd'],
    ['none', { custody: 'none', provedAt: null }, { is: 'none' }, 'no key of this Mac', 'geen sleutel van deze Mac'],
    ['none, and a first one is being made', { custody: 'none', rotationBegunAt: now }, { is: 'none' }, 'no key', 'geen sleutel'],
    ['foreign', { custody: 'foreign' }, { is: 'foreign' }, 'somewhere else', 'ergens anders'],
    ['lost', { custody: 'lost' }, { is: 'lost' }, 'no key that we know', 'geen enkele sleutel'],
    ['never checked in', { seen: false, custody: 'none' }, { is: 'never-seen' }, 'not reported yet', 'nog niet gemeld'],
  ];
  test.each(rows)('%s is said in words, in both languages', (_, more, is, en, nl) => {
    const state = keyStateOf(facts(more), now);
    expect(state).toMatchObject(is);
    const time = () => html`T`;
    expect(macWords.en.key(state, time).toString()).toContain(en);
    expect(macWords.nl.key(state, time).toString()).toContain(nl);
  });

  test('what comes next is said only where something comes: the end of the hold, or the Mac’s next word', () => {
    expect(keyNextOf(facts())).toEqual({ is: 'nothing' });
    expect(keyNextOf(facts({ owed: true }))).toEqual({ is: 'owed' });
    expect(keyNextOf(facts({ owed: true, holdUntil: now + day }))).toEqual({ is: 'waits', until: now + day });
    expect(keyNextOf(facts({ owed: true, rotationBegunAt: now }))).toEqual({ is: 'nothing' });
  });
});

test('each reason why a key is not shown says what is so, what it means and what to do, and says it differently in each language', () => {
  for (const because of reasonsNot) {
    const [en, nl] = [macWords.en.because[because], macWords.nl.because[because]];
    for (const part of ['says', 'means', 'fix'] as const) {
      expect(en[part]).toMatch(/\.$/);
      expect(nl[part]).toMatch(/\.$/);
      expect(nl[part]).not.toBe(en[part]);
    }
  }
  const all = reasonsNot.map((because) => macWords.en.because[because].says);
  expect(new Set(all).size).toBe(reasonsNot.length);
});

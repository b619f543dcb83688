import { describe, expect, test } from '@jest/globals';
import { type Place, placeOf } from '../server/brought/place.ts';
import { broughtSources, isBroughtRecord, isBroughtSource, recordSource, sourceNames, sourceOfRecord } from '../server/brought/sources.ts';

describe('the place of a brought key', () => {
  const calm: Place = {
    unopened: false,
    unverified: false,
    same: null,
    held: 'none',
    changedSince: false,
    exhausted: false,
    otherProvedAt: null,
    anotherAsked: false,
    strangerAsked: false,
  };
  const at = Date.parse('2026-11-22T08:00:00Z');
  test.each<[string, Partial<Place>, string, RegExp]>([
    ['nothing is here: it is asked about', {}, 'offered', /asked about it/],
    ['another key is held that was never proved: it is asked about (K6)', { held: 'unproved' }, 'offered', /asked/],
    ['another key is held and proved: C8, it is laid aside', { held: 'proved' }, 'aside', /held and proved/],
    ['… and somebody else changed the key since: it is asked about', { held: 'proved', changedSince: true }, 'offered', /asked/],
    ['… and no key opens the Mac any more: it is asked about', { held: 'proved', exhausted: true }, 'offered', /asked/],
    ['another key is held and refuted: it is asked about', { held: 'refuted' }, 'offered', /asked/],
    ['macOS said true to another key since it was brought: it is older than that', { held: 'refuted', otherProvedAt: at }, 'aside', /2026-11-22/],
    ['… and no key opens the Mac any more: even that is asked about', { held: 'refuted', otherProvedAt: at, exhausted: true }, 'offered', /asked/],
    ['another brought key waits for its proof: one at a time', { anotherAsked: true }, 'waiting', /first/],
    ['it is the held key', { same: { state: 'held', refuted: false }, held: 'proved' }, 'known', /held/],
    ['it is a candidate already', { same: { state: 'candidate', refuted: false } }, 'known', /proof is due/],
    ['it was superseded: it stays so', { same: { state: 'superseded', refuted: false } }, 'known', /superseded/],
    ['retention destroyed it', { same: { state: 'destroyed', refuted: false } }, 'known', /superseded/],
    ['the Mac refuted it: it is asked about no more', { same: { state: 'superseded', refuted: true }, exhausted: true }, 'refuted', /twice/],
    ['nobody has opened it', { unopened: true }, 'waiting', /opened/],
    ['a stranger brought it: it is asked about, once', { unverified: true }, 'offered', /asked/],
    ['a stranger brought one within the week: it waits', { unverified: true, strangerAsked: true }, 'waiting', /7 days/],
    ['a stranger’s key takes no other’s place', { unverified: true, held: 'proved' }, 'aside', /held and proved/],
  ])('%s', (_, more, state, because) => {
    const placed = placeOf({ ...calm, ...more });
    expect(placed.state).toBe(state);
    expect(placed.because).toMatch(because);
  });
});

test('each source has a name for people, and a record that was made of it says so', () => {
  for (const source of broughtSources) {
    expect(sourceNames[source]).not.toBe('');
    expect(sourceOfRecord(recordSource(source))).toBe(source);
    expect(isBroughtRecord(recordSource(source))).toBe(true);
  }
  expect([sourceOfRecord('agent'), sourceOfRecord('brought-somebody'), isBroughtSource('somebody')]).toEqual([null, null, false]);
});

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isQuiet, lastOf, nextOpen, nextQuiet, type QuietHours, quietHours } from '../server/policies/quiet-hours.ts';

const minute = 60_000;
const hour = 60 * minute;
const at = Date.parse;
const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

const office: QuietHours = { timeZone: 'Europe/Amsterdam', hours: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri'], from: '08:00', to: '18:00' }] };
const night: QuietHours = { timeZone: 'Europe/Amsterdam', hours: [{ days: [...weekdays], from: '23:00', to: '06:00' }] };

describe('quiet hours', () => {
  test.each([
    ['2026-11-23T06:59:00Z', false],
    ['2026-11-23T07:00:00Z', true],
    ['2026-11-23T16:59:59Z', true],
    ['2026-11-23T17:00:00Z', false],
    // A Saturday, and the summer's clock.
    ['2026-11-28T10:00:00Z', false],
    ['2026-07-06T06:00:00Z', true],
    ['2026-07-06T16:00:00Z', false],
  ])('are by the clock on the wall: %s', (time, quiet) => {
    expect(isQuiet(office, at(time))).toBe(quiet);
  });

  test('that go past midnight belong to the day on which they begin', () => {
    const friday: QuietHours = { timeZone: 'UTC', hours: [{ days: ['fri'], from: '22:00', to: '04:00' }] };
    expect(isQuiet(friday, at('2026-11-28T03:59:00Z'))).toBe(true);
    expect(isQuiet(friday, at('2026-11-27T03:59:00Z'))).toBe(false);
    expect(nextOpen(friday, at('2026-11-27T23:00:00Z'))).toBe(at('2026-11-28T04:00:00Z'));
    const sunday: QuietHours = { timeZone: 'UTC', hours: [{ days: ['sun'], from: '22:00', to: '04:00' }] };
    expect(isQuiet(sunday, at('2026-11-23T03:00:00Z'))).toBe(true);
    expect(nextOpen(sunday, at('2026-11-22T23:00:00Z'))).toBe(at('2026-11-23T04:00:00Z'));
  });

  test('of the night in which the clocks go forward are an hour shorter', () => {
    // 2026-03-29, 02:00 becomes 03:00.
    expect(nextOpen(night, at('2026-03-28T22:30:00Z'))).toBe(at('2026-03-29T04:00:00Z'));
    expect(nextOpen(night, at('2026-03-27T22:30:00Z'))).toBe(at('2026-03-28T05:00:00Z'));
    // What begins in the hour that there is not begins when it is over.
    const gap: QuietHours = { timeZone: 'Europe/Amsterdam', hours: [{ days: ['sun'], from: '02:30', to: '05:00' }] };
    expect(nextQuiet(gap, at('2026-03-29T00:00:00Z'))).toBe(at('2026-03-29T01:00:00Z'));
    expect(nextOpen(gap, at('2026-03-29T01:00:00Z'))).toBe(at('2026-03-29T03:00:00Z'));
  });

  test('of the night in which the clocks go back are an hour longer, and what comes twice is quiet both times', () => {
    // 2026-10-25, 03:00 becomes 02:00.
    expect(nextOpen(night, at('2026-10-24T21:30:00Z'))).toBe(at('2026-10-25T05:00:00Z'));
    const twice: QuietHours = { timeZone: 'Europe/Amsterdam', hours: [{ days: ['sun'], from: '02:00', to: '03:00' }] };
    expect([isQuiet(twice, at('2026-10-25T00:30:00Z')), isQuiet(twice, at('2026-10-25T01:30:00Z'))]).toEqual([true, true]);
    expect(nextOpen(twice, at('2026-10-25T00:00:00Z'))).toBe(at('2026-10-25T02:00:00Z'));
  });

  test('hold in zones with other halves of an hour, and where the clocks change by half an hour', () => {
    const lordHowe: QuietHours = { timeZone: 'Australia/Lord_Howe', hours: [{ days: [...weekdays], from: '22:00', to: '06:00' }] };
    expect(nextOpen(lordHowe, at('2026-04-04T12:00:00Z'))).toBe(at('2026-04-04T19:30:00Z'));
    const kathmandu: QuietHours = { timeZone: 'Asia/Kathmandu', hours: [{ days: [...weekdays], from: '09:00', to: '17:00' }] };
    expect(nextOpen(kathmandu, at('2026-11-23T05:00:00Z'))).toBe(at('2026-11-23T11:15:00Z'));
  });

  test.each([
    ['a zone that there is not', { timeZone: 'Europe/Atlantis', hours: office.hours }],
    ['an offset in place of a zone', { timeZone: '+02:00', hours: office.hours }],
    ['hours that end when they begin', { timeZone: 'UTC', hours: [{ days: ['mon'], from: '08:00', to: '08:00' }] }],
    ['a time that no clock shows', { timeZone: 'UTC', hours: [{ days: ['mon'], from: '8:00', to: '25:00' }] }],
    ['no hours at all', { timeZone: 'UTC', hours: [] }],
    [
      'the whole week',
      {
        timeZone: 'UTC',
        hours: [
          { days: [...weekdays], from: '12:00', to: '24:00' },
          { days: [...weekdays], from: '00:00', to: '12:00' },
        ],
      },
    ],
  ])('are refused: %s', (_, given) => {
    expect(quietHours.safeParse(given).success).toBe(false);
  });

  test('the next edge is the first minute that differs, whatever the hours, the zone and the season', () => {
    const clock = fc.tuple(fc.integer({ min: 0, max: 23 }), fc.constantFrom('00', '15', '30')).map(([h, m]) => `${String(h).padStart(2, '0')}:${m}`);
    const hours = fc.record({ days: fc.subarray([...weekdays], { minLength: 1 }), from: clock, to: clock }).filter(({ from, to }) => from !== to);
    const zone = fc.constantFrom('Europe/Amsterdam', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'UTC');
    const near = fc.constantFrom(at('2026-03-29T01:00:00Z'), at('2026-10-25T01:00:00Z'), at('2026-11-01T06:00:00Z'), at('2026-04-04T15:00:00Z'));
    const property = fc.property(
      zone,
      fc.array(hours, { minLength: 1, maxLength: 3 }),
      near,
      fc.integer({ min: -1500, max: 1500 }),
      (timeZone, list, start, shift) => {
        const quiet = { timeZone, hours: list };
        fc.pre(quietHours.safeParse(quiet).success);
        const from = start + shift * minute;
        const wanted = !isQuiet(quiet, from);
        const edge = wanted ? nextQuiet(quiet, from) : nextOpen(quiet, from);
        if (edge === null) return;
        expect(isQuiet(quiet, edge)).toBe(wanted);
        for (let time = from; time < Math.min(edge, from + 26 * hour); time += 5 * minute) expect(isQuiet(quiet, time)).toBe(!wanted);
        expect(isQuiet(quiet, edge - minute)).toBe(!wanted);
      },
    );
    fc.assert(property, { numRuns: 60 });
  });

  test('the last of many is reckoned over open hours alone', () => {
    const from = at('2026-11-23T16:00:00Z');
    expect(lastOf(null, from, 13, 5 * minute)).toBe(from + hour);
    expect(lastOf(null, from, 0, hour)).toBe(from);
    // From 18:00 on the wall until 08:00: fourteen hours a night.
    expect(lastOf(office, from, 1, hour)).toBe(at('2026-11-23T17:00:00Z'));
    expect(lastOf(office, from, 21, hour)).toBe(at('2026-11-24T23:00:00Z'));
  });

  test('that leave a minute a day: when the last of thousands begins is reckoned in proportion, and not day by day', () => {
    const narrow: QuietHours = { timeZone: 'Europe/Amsterdam', hours: [{ days: [...weekdays], from: '08:01', to: '08:00' }] };
    const from = at('2026-11-23T09:00:00Z');
    const { formatToParts } = Intl.DateTimeFormat.prototype;
    let asked = 0;
    Intl.DateTimeFormat.prototype.formatToParts = function (...given) {
      asked += 1;
      return formatToParts.apply(this, given);
    };
    try {
      const last = lastOf(narrow, from, 1000, hour);
      // 999 hours at a minute a day.
      expect(Math.abs(last - (from + 999 * 60 * 24 * hour))).toBeLessThan(48 * hour);
      expect(asked).toBeLessThan(60_000);
    } finally {
      Intl.DateTimeFormat.prototype.formatToParts = formatToParts;
    }
  });
});

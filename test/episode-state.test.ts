import { describe, expect, test } from '@jest/globals';
import { afterwardsWords } from '../portal/afterwards-words.ts';
import { type EpisodeFacts, episodeStateOf, type Waiting } from '../portal/episode-state.ts';
import { html } from '../web/html.ts';

const shown = Date.parse('2026-11-22T14:02:00Z');
const minute = 60_000;
const hour = 60 * minute;

const facts = (more: Partial<EpisodeFacts> = {}): EpisodeFacts => ({
  shownAt: [shown],
  backInAt: null,
  notMeAt: null,
  lastSeenAt: shown - hour,
  passwordChangedAt: null,
  unlockedAt: null,
  usedRecoveryKey: false,
  holdUntil: shown + 24 * hour,
  replacingSince: null,
  replacedAt: null,
  checkedAt: null,
  elsewhere: false,
  stopped: false,
  grantFrom: null,
  rotator: 'sparekey',
  ...more,
});
const stepsOf = (more: Partial<EpisodeFacts>, now = shown + 10 * minute) => episodeStateOf(facts(more), now).steps;
const noHold = { holdUntil: null };

describe('shown, new password, replaced, checked', () => {
  test('each waits in words until it is true', () => {
    expect(episodeStateOf(facts(), shown + minute)).toEqual({
      steps: [
        { name: 'shown', at: shown },
        { name: 'in-again', at: null, waits: { for: 'the-mac', lastSeenAt: shown - hour } },
        { name: 'replaced', at: null, waits: { for: 'hold', until: shown + 24 * hour } },
        { name: 'checked', at: null, waits: { for: 'step-before' } },
      ],
      awaits: true,
      overdue: null,
    });
    const seen = shown + 13 * minute;
    const all = { passwordChangedAt: seen, lastSeenAt: seen, ...noHold, replacedAt: shown + 88 * minute, checkedAt: shown + 88 * minute };
    expect(episodeStateOf(facts(all), shown + 2 * hour)).toEqual({
      steps: [
        { name: 'shown', at: shown },
        { name: 'in-again', at: seen, by: 'new-password' },
        { name: 'replaced', at: shown + 88 * minute },
        { name: 'checked', at: shown + 88 * minute },
      ],
      awaits: false,
      overdue: null,
    });
  });

  const inAgain: [name: string, facts: Partial<EpisodeFacts>, step: object][] = [
    ['a new password', { passwordChangedAt: shown + minute, lastSeenAt: shown + hour }, { at: shown + minute, by: 'new-password' }],
    ['a password changed before the key was shown', { passwordChangedAt: shown - minute, lastSeenAt: shown + hour }, { at: null, waits: { for: 'somebody' } }],
    ['a clock of the Mac that is ahead', { passwordChangedAt: shown + 9 * hour, lastSeenAt: shown + hour }, { at: shown + hour, by: 'new-password' }],
    ['a clock that is far ahead, and no word since', { passwordChangedAt: shown + 9 * hour }, { at: null, waits: { for: 'the-mac' } }],
    ['the key used', { unlockedAt: shown + minute, usedRecoveryKey: true, lastSeenAt: shown + hour }, { at: shown + minute, by: 'used' }],
    ['unlocked in another way', { unlockedAt: shown + minute, lastSeenAt: shown + hour }, { at: shown + minute, by: 'unlocked' }],
    ['said, and nothing heard', { backInAt: shown + minute }, { at: shown + minute, by: 'said' }],
    ['said, and the Mac tells of a new password', { backInAt: shown, passwordChangedAt: shown, lastSeenAt: shown + 1 }, { by: 'new-password' }],
    ['heard of, and nobody in', { lastSeenAt: shown + minute }, { at: null, waits: { for: 'somebody', lastSeenAt: shown + minute } }],
    ['never heard of', { lastSeenAt: null }, { at: null, waits: { for: 'the-mac', lastSeenAt: null } }],
  ];
  test.each(inAgain)('somebody is in again: %s', (_, more, step) => expect(stepsOf(more)[1]).toMatchObject(step));

  const replaced: [name: string, facts: Partial<EpisodeFacts>, waits: Waiting][] = [
    ['the hold', {}, { for: 'hold', until: shown + 24 * hour }],
    ['a rotation that is under way', { ...noHold, replacingSince: shown + minute }, { for: 'rotation', since: shown + minute }],
    ['the Mac, of which nothing was heard', noHold, { for: 'the-mac', lastSeenAt: shown - hour }],
    ['its turn', { ...noHold, lastSeenAt: shown + minute }, { for: 'its-turn', lastSeenAt: shown + minute }],
    ['the start from the right disk', { ...noHold, elsewhere: true }, { for: 'other-volume' }],
    ['the next day, for it was given a key today', { ...noHold, grantFrom: shown + hour }, { for: 'grant', from: shown + hour }],
    ['its turn, for that day is over', { ...noHold, grantFrom: shown, lastSeenAt: shown + 1 }, { for: 'its-turn', lastSeenAt: shown + 1 }],
    ['an admin, who judges an alarm', { ...noHold, stopped: true }, { for: 'service-desk' }],
    ['the device management that replaces keys there', { ...noHold, rotator: 'mdm' }, { for: 'mdm' }],
  ];
  test.each(replaced)('the replacement waits for %s', (_, more, waits) => {
    expect(stepsOf(more)[2]).toEqual({ name: 'replaced', at: null, waits });
    const time = { ago: () => html`T`, clock: () => html`T` };
    const said = [afterwardsWords.en.waits(waits, time).toString(), afterwardsWords.nl.waits(waits, time).toString()];
    expect(said[0]).toMatch(/[.]$/);
    expect(said[1]).not.toBe(said[0]);
  });

  test('a successor that was proved before it took over is checked from then on, and one that was not is waited for', () => {
    const at = shown + hour;
    expect(stepsOf({ ...noHold, replacedAt: at, checkedAt: at - minute })[3]).toEqual({ name: 'checked', at });
    expect(stepsOf({ ...noHold, replacedAt: at })[3]).toEqual({ name: 'checked', at: null, waits: { for: 'check' } });
    // What was said of a key before it replaced anything counts for nothing.
    expect(stepsOf({ checkedAt: at })[3]).toMatchObject({ waits: { for: 'step-before' } });
  });
});

describe('nothing heard', () => {
  const day = 24 * hour;
  const rows: [name: string, facts: Partial<EpisodeFacts>, now: number, overdue: string | null][] = [
    ['a minute before the day is over', noHold, shown + day - minute, null],
    ['after a day', noHold, shown + day, 'unheard'],
    ['while a hold of another length stands', { holdUntil: shown + 3 * day }, shown + day, 'unheard'],
    ['a day after the last view, not the first', { ...noHold, shownAt: [shown, shown + hour] }, shown + day, null],
    ['seen between two views', { ...noHold, shownAt: [shown, shown + hour], lastSeenAt: shown + minute }, shown + day + hour, 'unheard'],
    ['heard of, and not replaced', { ...noHold, lastSeenAt: shown + hour }, shown + day, 'not-replaced'],
    ['heard of, and the hold stands', { lastSeenAt: shown + hour, holdUntil: shown + 3 * day }, shown + day, null],
    ['heard of, and others replace its keys', { ...noHold, lastSeenAt: shown + hour, rotator: 'mdm' }, shown + day, null],
    ['a rotation that does not end', { ...noHold, lastSeenAt: shown + hour, replacingSince: shown + hour }, shown + day, 'not-replaced'],
    ['replaced', { ...noHold, replacedAt: shown + hour }, shown + 9 * day, null],
  ];
  test.each(rows)('%s', (_, more, now, overdue) => expect(episodeStateOf(facts(more), now).overdue).toBe(overdue));
});

import { describe, expect, test } from '@jest/globals';
import type { Facts } from '../protocol/messages.ts';
import { modeOf, sayMode } from '../protocol/mode.ts';
import { judgeMove, type MoveSituation } from '../server/rings/judge.ts';
import { readSerials, readWhere } from '../server/rings/serials.ts';
import { calmFacts } from './calm-facts.ts';

const day = 24 * 3600 * 1000;
const now = Date.parse('2026-11-23T12:00:00Z');
const file = { digest: 'b'.repeat(64), recipient: 'CN=Some MDM', ours: false };
const foreign = { payload: 'foreign' as const, location: 'Some MDM', file };
const uuid = (n: number) => `5B0E6D0A-0000-4000-8000-00000000000${n}`;
const factsOf = (more: Partial<Facts> = {}): Facts =>
  calmFacts({ serial: 'C02TEST00001', hardwareUuid: uuid(1), volume: uuid(2), boot: uuid(3) }, { macosVersion: '15.7.3', escrow: foreign, ...more });
const situation = (more: Partial<MoveSituation> = {}): MoveSituation => ({
  now,
  facts: factsOf(),
  lastSeenAt: now - 3600_000,
  fileOurs: false,
  held: { provedAt: now - day, refuted: false },
  doubt: null,
  rotationOpen: false,
  hold: null,
  alarm: null,
  buildWorks: true,
  otherRing: null,
  ...more,
});

describe('which Macs can be moved', () => {
  test.each<[string, Partial<MoveSituation>, string, RegExp]>([
    ['macOS 15', {}, 'ready', /one ordered rotation, authorised by it/],
    ['macOS 26', { facts: factsOf({ macosVersion: '26.6.2' }) }, 'ready', /macOS makes a new key as soon as our payload is there/],
    ['ours already', { facts: factsOf({ escrow: { payload: 'ours', location: null, file: { ...file, ours: true } } }), fileOurs: true }, 'ours', /one proof/],
    ['no payload at all', { facts: factsOf({ escrow: { payload: 'none', location: null, file } }) }, 'ready', /ordered rotation/],
    ['never heard', { facts: null }, 'later', /has not checked in yet/],
    ['silent', { lastSeenAt: now - 15 * day }, 'later', /last heard on 2026-11-08/],
    ['an alarm', { alarm: 'IDENTITY_CLONED' }, 'later', /IDENTITY_CLONED/],
    ['FileVault off', { facts: factsOf({ fileVault: { state: 'off', hasRecoveryKey: 'no' } }) }, 'later', /FileVault is off/],
    ['two payloads', { facts: factsOf({ escrow: { payload: 'several', location: null, file } }) }, 'later', /more than one escrow payload/],
    ['a payload that could not be read', { facts: factsOf({ escrow: { payload: 'unknown', location: null, file } }) }, 'later', /could not be read/],
    ['a rotation', { rotationOpen: true }, 'later', /being replaced at this moment/],
    ['a key that was shown', { hold: 'the key was shown' }, 'later', /somebody may be typing/],
    ['no key', { held: null }, 'later', /import it from the MDM/],
    ['a refuted key', { held: { provedAt: now, refuted: true } }, 'later', /answered twice/],
    ['a key that was never proved', { held: { provedAt: null, refuted: false } }, 'later', /never proved/],
    ['doubt', { doubt: 'custody is doubtful: another key' }, 'later', /custody is doubtful/],
    [
      'two rotators',
      { facts: factsOf({ foreignChanges: { times: ['2026-11-20T00:00:00Z', '2026-11-22T00:00:00Z'], suspects: [] } }) },
      'later',
      /part the two/,
    ],
    ['a build that refuses the key', { facts: factsOf({ capability: 'refused' }) }, 'later', /does not take the key itself/],
    ['the same on 26, where no order is needed', { facts: factsOf({ macosVersion: '26.1', capability: 'refused' }) }, 'ready', /macOS makes/],
    ['another ring', { otherRing: 'pilot' }, 'later', /in the ring pilot/],
  ])('%s', (_, more, verdict, because) => {
    const move = judgeMove(situation(more));
    expect([move.verdict, move.because]).toEqual([verdict, expect.stringMatching(because)]);
  });

  test('what has to be seen to with it is a note', () => {
    expect(judgeMove(situation({ buildWorks: false, facts: factsOf({ escrowOwner: 'mdm' }) })).notes).toEqual([
      expect.stringMatching(/escrowOwner mdm: set it to auto or sparekey/),
      expect.stringMatching(/waits unless this Mac is a pilot/),
    ]);
  });
});

describe('modes', () => {
  const ours = { payload: 'ours' as const, location: null, file: { ...file, ours: true } };
  const of = (payload: Facts['escrow']['payload']) => ({ payload, location: null, file: null });
  test.each<[string, Partial<Facts>, RegExp]>([
    ['M1', { escrow: ours }, /Sparekey’s; escrowOwner is auto, rotator is sparekey; so keys are replaced here when they are owed/],
    ['M1', { escrow: ours, escrowOwner: 'sparekey' }, /replaced here/],
    ['M0', { escrow: ours, escrowOwner: 'mdm' }, /the MDM owns escrow, and the payload is ours/],
    ['M4', { escrow: ours, rotator: 'mdm' }, /observed and not replaced here, because the settings say that the MDM replaces the keys/],
    ['M0', { escrow: foreign }, /observed and not replaced here, because the escrow payload is somebody else’s/],
    ['M0', { escrow: foreign, escrowOwner: 'sparekey' }, /somebody else’s/],
    ['M2', { escrow: foreign, escrowOwner: 'mdm' }, /replaced here when they are owed/],
    ['M3', { escrow: foreign, escrowOwner: 'mdm', rotator: 'mdm' }, /the MDM replaces the keys/],
    ['M3', { escrow: foreign, rotator: 'mdm' }, /the MDM replaces the keys/],
    ['M0', { escrow: of('none') }, /new keys would go nowhere/],
    ['M0', { escrow: of('several'), escrowOwner: 'mdm' }, /more than one/],
    ['M0', { escrow: of('unknown'), rotator: 'mdm' }, /not known whose/],
  ])('%s: %o', (mode, more, says) => {
    const facts = factsOf(more);
    expect(modeOf(facts)).toBe(mode);
    expect(sayMode(facts)).toMatch(new RegExp(`^${mode}: .*${says.source}`));
  });
});

describe('a list of Macs', () => {
  const read = (text: string, where: string | null = null) => readSerials(Buffer.from(text), where === null ? null : readWhere(where));
  test('one a line, a column of a table, some rows of it, in whatever a spreadsheet writes', () => {
    expect(read('C02A\r\nc02b\n\nC02A\n')).toEqual(['C02A', 'C02B']);
    expect(read('﻿"Serial Number";Name\nC02A;Ada\n')).toEqual(['C02A']);
    expect(read('serial,ring\nC02A,pilot\nC02B,one\n"C02C","pilot"\n', 'ring=pilot')).toEqual(['C02A', 'C02C']);
    expect(readSerials(Buffer.from('﻿serial\nC02A\n', 'utf16le'), null)).toEqual(['C02A']);
  });

  test.each<[string, string, string | null, RegExp]>([
    ['nothing', '\n \n', null, /nothing is in the list/],
    ['no names', 'a b,C02A\n', null, /name the columns/],
    ['no such column', 'serial\nC02A\n', 'ring=pilot', /no column ring/],
    ['no such row', 'serial,ring\nC02A,one\n', 'ring=pilot', /no row has ring pilot/],
    ['no serial numbers, each by its line', 'serial\nC02A\n=cmd()\n\nC02 B\n', null, /line 3: .*; line 5: /],
    ['a stray quotation mark', 'serial,name\nC02A,"x\nC02B,y\n', null, /line 2: a quotation mark/],
  ])('refused whole: %s', (_, text, where, says) => {
    expect(() => read(text, where)).toThrow(says);
  });
  test('--where needs a column and a value', () => {
    expect(() => readWhere('pilot')).toThrow(/COLUMN=VALUE/);
  });
});

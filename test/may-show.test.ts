import { describe, expect, test } from '@jest/globals';
import { type BecauseNot, decide, encryptedBy, reasonsNot, type ShowFacts, selfServiceFor } from '../portal/may-show.ts';
import type { Facts } from '../protocol/messages.ts';
import type { KeyRequest } from '../server/key-requests.ts';
import { peopleSettings } from '../server/people-settings.ts';
import { modelName } from '../web/models.ts';

const shown: ShowFacts = {
  assigned: 'you',
  standing: { ownership: 'organisation', state: 'in-use', localAdmin: false },
  selfService: 'on',
  managedLocalAdmin: 'show',
  stoppedByAlarm: false,
  checkedIn: true,
  trusted: true,
  fileVault: 'on',
  encryptedBy: 'organisation',
  custody: 'held',
  request: null,
};
const standing = (more: Partial<ShowFacts['standing']>): Partial<ShowFacts> => ({ standing: { ...shown.standing, ...more } });
const request = (state: KeyRequest['state']): KeyRequest => ({
  id: 'r',
  code: '7F3A-29',
  state,
  reason: 'forgot it',
  createdAt: 1,
  expiresAt: 2,
  decidedAt: null,
  goesOn: false,
  words: null,
});

/** Why not, from the reason that outweighs all others to the one that outweighs none. */
const table: readonly [BecauseNot, string, Partial<ShowFacts>][] = [
  ['not-yours', 'somebody else’s Mac', { assigned: 'not-you' }],
  ['two-claims', 'two people are named for it', { assigned: 'two-claims' }],
  ['retired', 'an admin retired it', standing({ state: 'retired' })],
  ['lost', 'an admin said it is lost', standing({ state: 'lost' })],
  ['personal', 'it is its user’s own', standing({ ownership: 'personal' })],
  ['off', 'self-service is off for this person', { selfService: 'off' }],
  ['managed-local-admin', 'it has a managed local admin, and policy says so', { ...standing({ localAdmin: true }), managedLocalAdmin: 'refuse' }],
  ['alarm', 'an alarm stops it until an admin has judged it', { stoppedByAlarm: true }],
  ['not-checked-in', 'it enrolled and never checked in', { checkedIn: false }],
  ['not-confirmed', 'only an enrolment that nobody has confirmed names this person', { trusted: false }],
  ['file-vault-off', 'its disk is not encrypted', { fileVault: 'off' }],
  ['encrypted-by-user', 'its user encrypted it, and we have no key', { custody: 'none', encryptedBy: 'person' }],
  ['no-key', 'the organisation encrypted it, and we have no key', { custody: 'none' }],
  ['key-lost', 'the Mac says that no known key opens it', { custody: 'lost' }],
];

describe('who may be shown a key', () => {
  test('whoever has the Mac, where nothing speaks against it', () => {
    expect(decide(shown)).toEqual({ may: 'show' });
  });

  test.each(table)('not (%s) where %s', (because, _, facts) => {
    expect(decide({ ...shown, ...facts })).toEqual({ may: 'not', because });
  });

  test('every reason of the table is one that there is, and the table has them all', () => {
    expect(table.map(([because]) => because)).toEqual(reasonsNot);
  });

  test('of two reasons the first of the table is said, and with approval a reason against it comes before asking', () => {
    const both: BecauseNot[] = [];
    const expected: BecauseNot[] = [];
    for (const [at, [first, , one]] of table.entries())
      for (const [, , other] of table.slice(at + 1)) {
        // Two standings are one row: the later one of them would be the only one.
        if ((one.standing && other.standing) || (one.custody && other.custody) || (one.assigned && other.assigned)) continue;
        const decision = decide({ ...shown, selfService: 'with-approval', ...other, ...one });
        both.push(decision.may === 'not' ? decision.because : 'not-yours');
        expected.push(first);
      }
    expect(both).toEqual(expected);
    expect(both.length).toBeGreaterThan(70);
  });

  test('nobody is told anything of a Mac that is not theirs: whatever else is so, the answer is the same', () => {
    for (const [, , facts] of table.slice(1)) expect(decide({ ...shown, ...facts, assigned: 'not-you' })).toEqual({ may: 'not', because: 'not-yours' });
  });

  test('in doubt a key is offered: one of those that are here may be the right one', () => {
    expect(decide({ ...shown, custody: 'doubtful' })).toEqual({ may: 'show' });
    expect(decide({ ...shown, custody: 'foreign' })).toEqual({ may: 'not', because: 'no-key' });
  });

  test('a managed local admin is no reason where policy shows keys all the same', () => {
    expect(decide({ ...shown, ...standing({ localAdmin: true }) })).toEqual({ may: 'show' });
  });

  test.each([
    ['nobody asked', null],
    ['it waits', 'waiting'],
    ['it was refused', 'refused'],
    ['it has expired', 'expired'],
    ['it was taken back', 'withdrawn'],
    ['it was for an episode that is over', 'used'],
  ] as const)('with approval it is asked for first where %s', (_, state) => {
    const asked = state === null ? null : request(state);
    expect(decide({ ...shown, selfService: 'with-approval', request: asked })).toEqual({ may: 'ask-first', request: asked });
  });

  test('an approved request shows the key, and is looked at only where self-service is with approval', () => {
    expect(decide({ ...shown, selfService: 'with-approval', request: request('approved') })).toEqual({ may: 'show' });
    expect(decide({ ...shown, selfService: 'on', request: request('refused') })).toEqual({ may: 'show' });
    expect(decide({ ...shown, selfService: 'off', request: request('approved') })).toEqual({ may: 'not', because: 'off' });
  });
});

describe('the switch', () => {
  const settings = (everybody: string, groups: object[]) =>
    peopleSettings.parse({ url: 'https://key.example.org', listen: { port: 443 }, selfService: { everybody, groups } });

  test('is everybody’s, unless a group says otherwise: the first in the settings that has one', () => {
    const some = settings('off', [
      { group: 'staff', contact: { name: 'Desk' } },
      { group: 'pilots', selfService: 'on' },
      { group: 'interns', selfService: 'with-approval' },
    ]);
    expect(selfServiceFor(some, [])).toBe('off');
    expect(selfServiceFor(some, ['staff'])).toBe('off');
    expect(selfServiceFor(some, ['interns', 'pilots'])).toBe('on');
    expect(selfServiceFor(some, ['staff', 'interns'])).toBe('with-approval');
    expect(selfServiceFor(some, ['Interns'])).toBe('off');
  });

  test('of somebody whose groups nobody can say is the strictest that there is', () => {
    expect(
      selfServiceFor(
        settings('on', [
          { group: 'a', selfService: 'off' },
          { group: 'b', selfService: 'on' },
        ]),
        null,
      ),
    ).toBe('off');
    expect(selfServiceFor(settings('on', [{ group: 'a', selfService: 'with-approval' }]), null)).toBe('with-approval');
    expect(selfServiceFor(settings('off', [{ group: 'a', selfService: 'on' }]), null)).toBe('off');
    expect(selfServiceFor(settings('on', [{ group: 'a' }]), null)).toBe('on');
  });
});

describe('who encrypted the disk', () => {
  const facts = (fileVault: Partial<Facts['fileVault']>, payload: Facts['escrow']['payload'], file: Facts['escrow']['file'] = null): Facts =>
    ({ fileVault: { state: 'on', hasRecoveryKey: 'yes', ...fileVault }, escrow: { payload, location: null, file } }) as Facts;
  const escrowFile = { digest: '0'.repeat(64), recipient: null, ours: false };

  test.each([
    ['nothing is known of it', null, false, 'unknown'],
    ['FileVault is off', facts({ state: 'off' }, 'ours'), false, 'nobody'],
    ['a key of it is here', facts({}, 'none'), true, 'organisation'],
    ['an escrow payload is there', facts({}, 'ours'), false, 'organisation'],
    ['the MDM’s escrow payload is there', facts({}, 'foreign'), false, 'organisation'],
    ['macOS has sealed a key for somebody', facts({}, 'none', escrowFile), false, 'organisation'],
    ['a profile asked for it', facts({ deferredFor: 'ada' }, 'none'), false, 'organisation'],
    ['nothing of the organisation is there', facts({}, 'none'), false, 'person'],
    ['the payload could not be looked at', facts({}, 'unknown'), false, 'unknown'],
    ['FileVault could not be looked at', facts({ state: 'unknown' }, 'none'), false, 'unknown'],
  ] as const)('where %s', (_, seen, hasKeys, by) => {
    expect(encryptedBy(seen, hasKeys)).toBe(by);
  });
});

test('models are called as on their box, and an identifier that is not known is just a Mac', () => {
  expect(['Mac15,6', 'MacBookPro18,3', 'Mac16,12', 'Macmini9,1', 'iMac21,1', 'iMacPro1,1', 'Mac16,9', 'VirtualMac2,1'].map(modelName)).toEqual([
    ...['MacBook Pro', 'MacBook Pro', 'MacBook Air', 'Mac mini', 'iMac', 'iMac Pro', 'Mac Studio', 'virtual Mac'],
  ]);
  expect([modelName('Mac99,1'), modelName(null)]).toEqual([null, null]);
});

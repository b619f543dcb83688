import { describe, expect, test } from '@jest/globals';
import { type Decision, decide, type Situation, whyNotByPassword } from '../agent/decide.ts';
import type { CheckInReply, Facts, OpenDebt, RotationReason } from '../protocol/messages.ts';
import { calmFacts } from './calm-facts.ts';

const day = 24 * 60 * 60 * 1000;
const now = Date.parse('2026-11-22T12:00:00Z');
const recipient = 'a'.repeat(64);

const facts: Facts = calmFacts(
  {
    serial: 'C02TEST00001',
    hardwareUuid: '5B0E6D0A-0000-4000-8000-000000000001',
    volume: '5B0E6D0A-0000-4000-8000-000000000002',
    boot: '5B0E6D0A-0000-4000-8000-000000000003',
  },
  { escrow: { payload: 'ours', location: 'Example IT', file: { digest: 'b'.repeat(64), recipient: null, ours: true } } },
);

const debt = (because: RotationReason, more: Partial<OpenDebt> = {}): OpenDebt => ({
  id: `debt-${because}`,
  because,
  since: new Date(now - day).toISOString(),
  orderId: null,
  withoutLogin: false,
  ...more,
});

type Reply = NonNullable<Situation['reply']>;
const reply = (more: Partial<Reply> = {}): Reply => ({
  debts: [],
  hold: null,
  proofOrders: [],
  recipients: [recipient],
  rotation: null,
  alarms: [],
  held: { recordId: 'r1', envelopeIds: ['b'.repeat(64)], state: 'held' },
  candidates: [],
  buildWorks: false,
  ...more,
});
const owing = (because: RotationReason, more: Partial<OpenDebt> = {}) => reply({ debts: [debt(because, more)] });

const situation = (more: Partial<Situation> = {}, factsMore: Partial<Facts> = {}): Situation => ({
  facts: { ...facts, ...factsMore },
  settled: true,
  reply: reply(),
  recipient,
  rotationOpen: false,
  exhausted: false,
  outboxEmpty: true,
  mayTry: true,
  usedChanged: false,
  mayChange: true,
  retryAt: null,
  now,
  payloadChangedAt: null,
  payloadUnproved: false,
  foreignChanges: [],
  capability: 'unknown',
  pilot: true,
  provedOnThisBuild: true,
  proofFirst: false,
  changeRunning: 'no',
  updateBeingPrepared: 'no',
  freeBytes: 1e9,
  certificateDays: 300,
  stopping: false,
  ...more,
});

const says = (decision: Decision): string => (decision.do === 'rotate' ? `rotate: ${decision.because}` : decision.because);
const hold: CheckInReply['hold'] = { since: new Date(now).toISOString(), until: new Date(now + day).toISOString(), because: 'shown to ada' };
const escrow = (more: Partial<Facts['escrow']>): Partial<Facts> => ({ escrow: { ...facts.escrow, ...more } });
const foreignFile = { digest: 'd'.repeat(64), recipient: null, ours: false };

describe('what rotates', () => {
  const reasons: RotationReason[] = ['disclosed', 'used', 'ordered', 'interrupted', 'granted', 'doubtful', 'never-escrowed', 'aged'];
  test.each(reasons)('a Mac that owes a rotation because %s rotates when every gate is open', (because) => {
    const decision = decide(situation({ reply: owing(because) }));
    expect(decision).toEqual({ do: 'rotate', because, debts: [debt(because)] });
  });

  test('of several debts, the weightiest names the rotation, and all of them go with it', () => {
    const debts = [debt('aged'), debt('ordered'), debt('disclosed'), debt('used')];
    expect(decide(situation({ reply: reply({ debts }) }))).toEqual({ do: 'rotate', because: 'disclosed', debts });
  });

  test('no debt, no rotation', () => {
    expect(decide(situation())).toEqual({ do: 'nothing', because: 'nothing is owed' });
  });

  test('used changes the key at most once in a boot session', () => {
    expect(says(decide(situation({ reply: owing('used'), usedChanged: true })))).toBe('nothing is owed');
    expect(decide(situation({ reply: reply({ debts: [debt('used'), debt('ordered')] }), usedChanged: true }))).toMatchObject({
      do: 'rotate',
      because: 'ordered',
    });
  });
});

describe('what stops every rotation', () => {
  const disclosed = owing('disclosed');
  test.each<[string, Partial<Situation>, Partial<Facts>, RegExp]>([
    ['the backend was not reached', { reply: null }, {}, /not reached/],
    ['gate 1: an earlier rotation is open', { rotationOpen: true }, {}, /not resolved/],
    ['gate 1: the hold', { reply: { ...disclosed, hold } }, {}, /may be typing it/],
    ['gate 1: FileVault is off', {}, { fileVault: { state: 'off', hasRecoveryKey: 'no' } }, /FileVault is off/],
    ['gate 1: encrypting', {}, { fileVault: { state: 'encrypting', hasRecoveryKey: 'yes' } }, /encrypting/],
    ['gate 1: decrypting', {}, { fileVault: { state: 'decrypting', hasRecoveryKey: 'yes' } }, /decrypting/],
    ['gate 1: FileVault is not known', {}, { fileVault: { state: 'unknown', hasRecoveryKey: 'yes' } }, /unknown/],
    ['gate 1: Setup Assistant', {}, { consoleUser: '_mbsetupuser' }, /Setup Assistant/],
    ['gate 1: dark wake', {}, { darkWake: 'yes' }, /dark wake/],
    ['gate 1: an update is being prepared', { updateBeingPrepared: 'yes' }, {}, /update/],
    ['gate 1: the battery is low', {}, { power: { source: 'battery', percent: 19 } }, /19 percent/],
    ['gate 1: power is not known', {}, { power: { source: 'unknown', percent: null } }, /not known whether/],
    ['gate 1: SIGTERM was seen', { stopping: true }, {}, /told to stop/],
    ['gate 1: fdesetup is changing the key', { changeRunning: 'yes' }, {}, /is running/],
    ['gate 1: it is not known whether fdesetup is at it', { changeRunning: 'unknown' }, {}, /not known/],
    ['gate 1: a sealed key is undelivered', { outboxEmpty: false }, {}, /still to be delivered/],
    ['gate 1: the certificate ends within a week', { certificateDays: 6.9 }, {}, /within a week/],
    ['gate 3: the budget of wrong keys is spent', { mayTry: false }, {}, /as is safe/],
    ['gate 4: the disk is nearly full', { freeBytes: 63 * 1024 * 1024 }, {}, /64 MB/],
    ['gate 5: the MDM is the rotator', {}, { rotator: 'mdm' }, /MDM replaces/],
    ['gate 5: the settings are unmanaged', {}, { settings: { managed: false, unmanagedSince: null, digest: 'c'.repeat(64) } }, /not managed/],
    ['gate 5, C3: no escrow payload', {}, escrow({ payload: 'none' }), /go nowhere/],
    ['gate 5, C3: two escrow payloads', {}, escrow({ payload: 'several' }), /more than one/],
    ['gate 5: a payload of unknown owner', {}, escrow({ payload: 'unknown' }), /whose escrow payload/],
    ['gate 5: a foreign payload with escrowOwner auto (M0)', {}, escrow({ payload: 'foreign', file: foreignFile }), /somebody else/],
    ['gate 5: our payload, but the last file is for somebody else', {}, escrow({ file: foreignFile }), /sealed for somebody else/],
    ['gate 5, C3: the settings say MDM, and the payload is ours', {}, { escrowOwner: 'mdm' }, /payload is ours/],
    ['gate 5: the backend does not take the recipient', { reply: { ...disclosed, recipients: [] } }, {}, /does not accept/],
    ['C2: two changes by somebody else in 14 days', { foreignChanges: [now - 2 * day, now - 10 * day] }, {}, /two rotators/],
    ['an alarm', { reply: { ...disclosed, alarms: ['SERIAL_CONFLICT'] } }, {}, /SERIAL_CONFLICT/],
    ['an open rotation at the backend', { reply: { ...disclosed, rotation: { id: 'x', begunAt: new Date(now).toISOString() } } }, {}, /open rotation/],
  ])('%s', (_name, more, factsMore, words) => {
    const decision = decide(situation({ reply: disclosed, ...more }, factsMore));
    expect(decision.do).toBe('nothing');
    expect(says(decision)).toMatch(words);
  });

  test('gate 6: a build of macOS that refuses the key as authority asks for help', () => {
    expect(decide(situation({ reply: disclosed, capability: 'refused' }))).toMatchObject({ do: 'ask for help', code: 'UNLOCK_REFUSED' });
  });

  test('gate 5: on a build that nobody has tried, a Mac that is no pilot waits for one that is', () => {
    expect(says(decide(situation({ reply: disclosed, pilot: false })))).toMatch(/this one is no pilot/);
    expect(decide(situation({ reply: disclosed, pilot: false, capability: 'works' })).do).toBe('rotate');
    expect(decide(situation({ reply: { ...disclosed, buildWorks: true }, pilot: false })).do).toBe('rotate');
  });

  test('the battery is enough at 20 percent, and mains always', () => {
    expect(decide(situation({ reply: disclosed }, { power: { source: 'battery', percent: 20 } })).do).toBe('rotate');
    expect(decide(situation({ reply: disclosed }, { power: { source: 'mains', percent: 3 } })).do).toBe('rotate');
  });

  test('under the payload of the MDM we rotate where the settings name the MDM as escrow owner and us as rotator (M2)', () => {
    const m2 = { ...escrow({ payload: 'foreign', file: foreignFile }), escrowOwner: 'mdm' as const };
    expect(decide(situation({ reply: disclosed }, m2)).do).toBe('rotate');
  });
});

describe('the first change under our payload', () => {
  const came = { payloadChangedAt: now - 2 * day };
  const old = escrow({ file: foreignFile });
  test('macOS 15, gate 5: an order is that change: macOS’s file is still sealed to the payload before ours', () => {
    expect(decide(situation({ reply: owing('ordered'), ...came }, old)).do).toBe('rotate');
    // Agent and payload came together: there was no other that this Mac has seen.
    expect(decide(situation({ reply: owing('ordered') }, old)).do).toBe('rotate');
  });

  test.each<[string, Partial<Situation>, Partial<Facts>]>([
    ['nobody ordered it', { reply: owing('disclosed') }, old],
    ['somebody has ever changed it, and our payload is the one that was first seen', { payloadChangedAt: null, foreignChanges: [now - 300 * day] }, old],
    ['somebody has changed the key since our payload came', { foreignChanges: [now - day] }, old],
    ['the settings name the MDM as owner', {}, { ...old, escrowOwner: 'mdm' }],
    ['the settings name the MDM as rotator', {}, { ...old, rotator: 'mdm' }],
    ['the payload is somebody else’s', {}, escrow({ payload: 'foreign', file: foreignFile })],
    ['there are two payloads', {}, escrow({ payload: 'several', file: foreignFile })],
  ])('gate 5, C3: is not made where %s', (_, more, factsMore) => {
    expect(decide(situation({ reply: owing('ordered'), ...came, ...more }, factsMore)).do).toBe('nothing');
  });

  test('what the backend keeps back is said, and proofs go on', () => {
    const withheld = 'ring pilot: its payload is still somebody else’s';
    expect(says(decide(situation({ reply: reply({ withheld }) })))).toBe(withheld);
    const proofOrders = [{ id: 'p', recordId: 'r1', envelopeIds: ['b'.repeat(64)] }];
    expect(decide(situation({ reply: reply({ withheld, proofOrders }) })).do).toBe('prove');
    // Nobody is asked for a password that `begin` would refuse.
    expect(whyNotByPassword(situation(), reply({ withheld })).other).toBe(withheld);
  });
});

describe('gate 2: the session', () => {
  const nobody = { settled: false };
  test.each<[string, RotationReason, Partial<Facts>, string]>([
    ['used needs a settled session, whatever macOS says', 'used', { usingRecoveryKey: 'no', unlockedBy: 'user' }, 'nobody has been logged in long enough yet'],
    ['another reason needs none after an ordinary unlock', 'ordered', { usingRecoveryKey: 'no', unlockedBy: 'user' }, 'rotate: ordered'],
    [
      'an unlock with the recovery key waits for a login',
      'ordered',
      { usingRecoveryKey: 'yes', unlockedBy: 'user' },
      'nobody has been logged in long enough yet',
    ],
    ['the recovery user waits for a login', 'ordered', { usingRecoveryKey: 'no', unlockedBy: 'recovery' }, 'nobody has been logged in long enough yet'],
    ['what macOS does not say counts as used', 'ordered', { usingRecoveryKey: 'unknown', unlockedBy: 'user' }, 'nobody has been logged in long enough yet'],
    [
      'an unlock identity that is not known counts as the recovery user',
      'ordered',
      { usingRecoveryKey: 'no', unlockedBy: 'unknown' },
      'nobody has been logged in long enough yet',
    ],
  ])('%s', (_name, because, factsMore, expected) => {
    expect(says(decide(situation({ reply: owing(because), ...nobody }, factsMore)))).toBe(expected);
  });

  test('an order without login goes ahead after an hour of uptime, and not before', () => {
    const order = { reply: owing('ordered', { withoutLogin: true }), ...nobody };
    expect(says(decide(situation(order, { usingRecoveryKey: 'unknown', uptimeSeconds: 3599 })))).toMatch(/less than an hour/);
    expect(decide(situation(order, { usingRecoveryKey: 'unknown', uptimeSeconds: 3600 })).do).toBe('rotate');
  });
});

describe('changes by somebody else', () => {
  test('C2: no scheduled rotation for 7 days', () => {
    expect(says(decide(situation({ reply: owing('aged'), foreignChanges: [now - 6 * day] })))).toMatch(/within 7 days/);
    expect(decide(situation({ reply: owing('aged'), foreignChanges: [now - 8 * day] })).do).toBe('rotate');
  });

  test('R13: a key that was shown is replaced all the same', () => {
    expect(decide(situation({ reply: owing('disclosed'), foreignChanges: [now - 6 * day] })).do).toBe('rotate');
  });
});

describe('proofs', () => {
  const order = { id: 'p1', recordId: 'r1', envelopeIds: ['b'.repeat(64)] };
  test('a proof that is due is given in a settled session', () => {
    expect(decide(situation({ reply: reply({ proofOrders: [order] }) }))).toMatchObject({ do: 'prove', orderId: 'p1', recordId: 'r1' });
  });
  test.each<[string, Partial<Situation>, Partial<Facts>]>([
    ['with nobody settled', { settled: false }, {}],
    ['with the budget spent', { mayTry: false }, {}],
    ['in dark wake', {}, { darkWake: 'yes' }],
    ['in Setup Assistant', {}, { consoleUser: '_mbsetupuser' }],
  ])('no key is tried %s', (_name, more, factsMore) => {
    expect(decide(situation({ reply: reply({ proofOrders: [order] }), ...more }, factsMore)).do).toBe('nothing');
  });
  test('during a hold no key is tried at all', () => {
    expect(decide(situation({ reply: reply({ proofOrders: [order], hold }) })).do).toBe('nothing');
  });
  test('what is owed comes before a proof, because a day has one grant', () => {
    expect(decide(situation({ reply: reply({ debts: [debt('disclosed')], proofOrders: [order] }) })).do).toBe('rotate');
  });
  test.each<[string, Partial<Situation>, Partial<Facts>]>([
    ['the MDM replaces the keys', {}, { rotator: 'mdm' }],
    ['this build takes no key as authority', { capability: 'refused' }, {}],
    ['no known key opens this Mac, and another one has come', { exhausted: true }, {}],
    ['another Mac has to try this build first', { pilot: false }, {}],
    ['somebody else changed the key twice', { foreignChanges: [now - day, now - 2 * day] }, {}],
  ])('what is owed keeps no proof back for days: %s', (_name, more, factsMore) => {
    const owed = { reply: reply({ debts: [debt('disclosed')], proofOrders: [order] }) };
    expect(decide(situation({ ...owed, ...more }, factsMore)).do).toBe('prove');
    expect(decide(situation({ ...owed, ...more, settled: false }, factsMore)).do).not.toBe('prove');
  });
  test('R9: where no known key opens this Mac, nothing is begun and a person is asked', () => {
    expect(decide(situation({ reply: owing('ordered'), exhausted: true }))).toMatchObject({ do: 'ask for help', code: 'KEY_EXHAUSTED' });
  });
  test('gate 5: a new build proves before it rotates', () => {
    const fresh = { proofFirst: true, provedOnThisBuild: false };
    expect(decide(situation({ reply: reply({ debts: [debt('ordered')], proofOrders: [order] }), ...fresh })).do).toBe('prove');
    expect(says(decide(situation({ reply: owing('ordered'), ...fresh })))).toMatch(/a proof comes first/);
  });
  test('gates 2 and 5: where nobody logs in, and the order says so, a proof that comes first needs no login either', () => {
    const owed = (more: Partial<OpenDebt>) => ({ reply: reply({ debts: [debt('ordered', more)], proofOrders: [order] }), settled: false });
    const locked: Partial<Facts> = { usingRecoveryKey: 'unknown', uptimeSeconds: 3600 };
    for (const first of [{ proofFirst: true, provedOnThisBuild: false }, { payloadUnproved: true }]) {
      expect(decide(situation({ ...owed({ withoutLogin: true }), ...first }, locked)).do).toBe('prove');
      expect(decide(situation({ ...owed({ withoutLogin: true }), ...first }, { ...locked, uptimeSeconds: 3599 })).do).toBe('nothing');
      expect(decide(situation({ ...owed({}), ...first }, locked)).do).toBe('nothing');
    }
  });
  test('a change that is not tried again for days keeps no proof back; one that is tried within a day has the one grant of that day', () => {
    const owed = { reply: reply({ debts: [debt('used')], proofOrders: [order] }) };
    expect(decide(situation({ ...owed, retryAt: now + 2 * day })).do).toBe('prove');
    expect(says(decide(situation({ ...owed, retryAt: now + day })))).toMatch(/the last change of the key failed/);
  });
});

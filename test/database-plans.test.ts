import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from '@jest/globals';
import { openDatabase } from '../server/database.ts';
import { grantedDebtsOpenSince, openDebtsOf, ordersToExpire } from '../server/store/debts.ts';
import { certificateByDigest } from '../server/store/enrolments.ts';
import { recordsOfVolume } from '../server/store/keys.ts';
import { macById, macsLike } from '../server/store/macs.ts';
import { lastProofOf, openProofOrdersOf, openProofTimes, triesSince } from '../server/store/proofs.ts';
import { openRotationOf, rotationDoneSince, silentRotations } from '../server/store/rotations.ts';
import { activeEnrolmentsOf, enrolmentsToConfirm, enrolmentsToReplace, latestSessionOf } from '../server/store/sessions.ts';
import { scratch } from './scratch.ts';

test('what every check-in and the round of each half minute ask reads some rows by an index, and no whole table', async () => {
  const file = join(scratch('plans'), 'server.sqlite');
  const store = await openDatabase(file);
  const { db } = store;
  const asked = new Set<string>();
  const { prepare } = DatabaseSync.prototype;
  DatabaseSync.prototype.prepare = function noted(...given: Parameters<typeof prepare>) {
    asked.add(given[0]);
    return prepare.apply(this, given);
  };
  try {
    await Promise.all([openDebtsOf(db, 'mac', 'volume'), ordersToExpire(db, 1), recordsOfVolume(db, 'mac', 'volume'), macById(db, 'mac')]);
    await Promise.all([macsLike(db, { id: 'mac', serial: 'C02', hardware_uuid: 'A' }), certificateByDigest(db, 'digest'), lastProofOf(db, 'mac', 'record')]);
    await Promise.all([
      openProofOrdersOf(db, 'mac'),
      openProofTimes(db, 1, 2),
      triesSince(db, 'mac', 1),
      openRotationOf(db, 'mac'),
      rotationDoneSince(db, 'mac', 1),
    ]);
    await Promise.all([activeEnrolmentsOf(db, 'mac'), latestSessionOf(db, 'enrolment'), silentRotations(db, 1), grantedDebtsOpenSince(db, 1)]);
    await Promise.all([enrolmentsToConfirm(db), enrolmentsToReplace(db, 1)]);
  } finally {
    DatabaseSync.prototype.prepare = prepare;
  }
  const other = new DatabaseSync(file);
  const plans = [...asked].map((text) => {
    const values = Array.from(text.match(/\?/g) ?? [], () => 1);
    const steps = other.prepare(`explain query plan ${text}`).all(...values);
    return { text, steps: steps.map(({ detail }) => String(detail)) };
  });
  other.close();
  await store.close();
  expect(plans.length).toBeGreaterThan(17);
  // Of the enrolments that nobody has confirmed all are read: there are few.
  const isFew = (step: string): boolean => step === 'SCAN enrolment USING INDEX enrolment_unconfirmed';
  expect(plans.filter(({ steps }) => steps.some((step) => step.startsWith('SCAN ') && !isFew(step)))).toEqual([]);
  const byIndex = plans.flatMap(({ steps }) => steps).join('\n');
  for (const name of ['enrolment_leaving', 'debt_granted', 'rotation_begun', 'rotation_one_open', 'proof_order_due']) expect(byIndex).toContain(name);
});

import type { CustodySettings } from '../server/parts.ts';

/** What a backend has whose settings say nothing. */
export const usualCustodySettings: CustodySettings = {
  holdDeadlineHours: 24,
  checkInMinutes: 15,
  spreadSeconds: 0,
  waitSeconds: 0,
  retainSupersededDays: 90,
  orderExpiresDays: 30,
  grants: 'automatic',
  grantsPerHour: 200,
  confirmProvedSerials: true,
  proveEveryDays: 30,
};

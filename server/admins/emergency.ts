import type { Backend } from '../backend.ts';
import { when } from '../command.ts';
import { sayAnew } from '../operator-alarms.ts';
import { firstRoleAt, openRolesOf } from '../store/admins.ts';
import { passkeysOf } from '../store/passkeys.ts';
import { emergencyPeople } from '../store/people.ts';
import { rolesOf } from './grants.ts';

const day = 24 * 60 * 60 * 1000;
/** A console of today is being set up. */
const settleMs = day;
/** One may be ill, or have lost the passkey. */
const needed = 2;
const testEveryDays = 30;

interface Found {
  userName: string;
  /** What stands in the way, or null. */
  lacks: string | null;
  /** When it was last shown to work at the console, or made. */
  provedAt: number;
}

async function look({ store }: Pick<Backend, 'store'>, host: string): Promise<Found[]> {
  const found: Found[] = [];
  for (const person of await emergencyPeople(store.db)) {
    const passkeys = (await passkeysOf(store.db, person.id)).filter((one) => one.host === host);
    const roles = rolesOf(await openRolesOf(store.db, person.id, []));
    const isAdmin = roles.some(({ role, scope }) => (role === 'owner' || role === 'admin') && scope === null);
    const lacks = passkeys.length === 0 ? `has no passkey for ${host}` : isAdmin ? null : 'is neither owner nor admin';
    const provedAt = Math.max(0, ...passkeys.map((one) => one.last_used_at ?? one.created_at));
    found.push({ userName: person.user_name, lacks, provedAt });
  }
  return found;
}

/**
 * The accounts for the day when nobody else can sign in: two of them work at the console, and each shows once a month that it
 * does. What is so no more ends its alarm by itself. Of a console at which nobody has a role yet nothing is said.
 */
export async function tellOfEmergencyAccounts(backend: Pick<Backend, 'store' | 'clock' | 'log' | 'settings'>): Promise<void> {
  const { store, clock, settings } = backend;
  const now = clock.now();
  const begun = settings.console ? await firstRoleAt(store.db) : null;
  const inUse = settings.console !== null && begun !== null && now - begun >= settleMs;
  const accounts = settings.console && inUse ? await look(backend, new URL(settings.console.url).hostname) : [];
  const ready = accounts.filter(({ lacks }) => lacks === null);
  const short = [
    `${ready.length} of ${needed} emergency accounts can sign in at the console`,
    ...accounts.flatMap(({ userName, lacks }) => (lacks === null ? [] : [`${userName} ${lacks}`])),
  ];
  await sayAnew(backend, 'EMERGENCY_ACCOUNTS', inUse && ready.length < needed ? short : []);
  const due = ready.flatMap(({ userName, provedAt }) => {
    // Counted in months, so that it is said anew each month.
    const months = Math.floor((now - provedAt) / (testEveryDays * day));
    return months < 1 ? [] : [`${userName} last signed in at the console on ${when(provedAt)}, ${months === 1 ? 'over a month' : `${months} months`} ago`];
  });
  await sayAnew(backend, 'EMERGENCY_TEST_DUE', due);
}

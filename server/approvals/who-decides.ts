import { readRole } from '../admins/grants.ts';
import { tagsOf } from '../fleet/in-scope.ts';
import type { Tx } from '../parts.ts';
import { type Permission, roles } from '../permissions.ts';
import { openRoles } from '../store/admins.ts';
import type { DisclosureRequest } from '../store/disclosure-requests.ts';
import { type KnownPerson, peopleInGroups, personById } from '../store/people.ts';
import { isSamePerson, personMay } from './admin-now.ts';

/** More are not written to: whoever gives a role to everybody wants no mail to everybody. */
const most = 50;

/** People who may do this now for a Mac with these tags, by name or by a group of theirs; with no tags: for all Macs. */
export async function peopleWhoMay(
  tx: Tx,
  at: number,
  wanted: Permission,
  tags: readonly string[],
  counts: (person: KnownPerson) => boolean | Promise<boolean>,
): Promise<KnownPerson[]> {
  const rows = (await openRoles(tx)).filter((row) => {
    const role = readRole(row)?.role;
    return role !== undefined && (roles[role].may as readonly Permission[]).includes(wanted);
  });
  const named = await Promise.all(rows.filter((row) => row.subject_kind === 'person').map((row) => personById(tx, row.subject)));
  const groups = [...new Set(rows.filter((row) => row.subject_kind === 'group').map((row) => row.subject))];
  const grouped = await peopleInGroups(tx, groups);
  const people = new Map([...named, ...grouped].flatMap((person) => (person ? [[person.id, person] as const] : [])));
  const found: KnownPerson[] = [];
  for (const person of people.values()) {
    if (found.length >= most) break;
    if ((await counts(person)) && (await personMay(tx, at, person.id, wanted, tags))) found.push(person);
  }
  return found;
}

/** People who may agree to this request now: for this Mac, and not who asked. */
export async function whoDecides(tx: Tx, at: number, request: Pick<DisclosureRequest, 'mac_id' | 'person_id'>): Promise<KnownPerson[]> {
  return peopleWhoMay(tx, at, 'request.decide', await tagsOf(tx, request.mac_id), async ({ id }) => !(await isSamePerson(tx, id, request.person_id)));
}

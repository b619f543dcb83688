import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { agreeEmergency, askEmergency, emergencyState, endEmergency } from '../../server/approvals/emergencies.ts';
import { isoTime } from '../../server/custody-parts.ts';
import { scopeOf } from '../../server/permissions.ts';
import { type Emergency, emergenciesGoingOn, emergenciesSince, emergencyById, emergencyCounts, macsSeenIn } from '../../server/store/emergencies.ts';
import { type Acting, type AnyOperation, operation } from '../operation.ts';
import { write } from './disclosures.ts';

const time = z.string().describe('ISO 8601');
const orNull = (at: number | null): string | null => (at === null ? null : isoTime(at));
const emergencyId = z.string().max(64);
const words = z.string().trim().min(1).max(500);
const year = 365 * 24 * 60 * 60 * 1000;

const emergencyOut = z.strictObject({
  id: z.string(),
  state: z.enum(['asked', 'agreed', 'open', 'over', 'ended']).describe('agreed: its time has not come; over: its time is; ended: by hand'),
  tags: z.array(z.string()),
  from: time,
  until: time,
  reason: z.string(),
  askedBy: z.string(),
  isMine: z.boolean(),
  askedAt: time,
  agreedBy: z.string().nullable(),
  agreedAt: time.nullable(),
  endedBy: z.string().nullable(),
  endedAt: time.nullable(),
  views: z.int().describe('keys that were shown to people because of it'),
  macs: z.int(),
  people: z.int(),
});
export type EmergencyOut = z.infer<typeof emergencyOut>;

const tagsOf = (row: Emergency): string[] => JSON.parse(row.tags) as string[];

async function sayEmergency({ backend, admin, at }: Pick<Acting, 'backend' | 'admin' | 'at'>, row: Emergency): Promise<EmergencyOut> {
  return {
    id: row.id,
    state: emergencyState(row, at),
    tags: tagsOf(row),
    from: isoTime(row.from_at),
    until: isoTime(row.until_at),
    reason: row.reason,
    askedBy: row.asked_by,
    isMine: row.asked_by_person === admin.personId,
    askedAt: isoTime(row.asked_at),
    agreedBy: row.agreed_by,
    agreedAt: orNull(row.agreed_at),
    endedBy: row.ended_by,
    endedAt: orNull(row.ended_at),
    ...(await emergencyCounts(backend.store.db, row.id)),
  };
}

/** Whoever sees all its tags: a part of it would say how large the rest is. */
const maySee = ({ admin }: Pick<Acting, 'admin'>, row: Emergency): boolean =>
  (['fleet.read', 'audit.read'] as const).some((permission) => {
    const scope = scopeOf(admin, permission);
    return scope === null || (scope !== false && tagsOf(row).every((tag) => scope.includes(tag)));
  });

async function seen(acting: Acting, id: string): Promise<Emergency> {
  const row = await emergencyById(acting.backend.store.db, id);
  if (!row || !maySee(acting, row)) throw new Problem('NOT_FOUND', 'no such emergency');
  return row;
}

export const askForEmergency = operation({
  name: 'emergency.ask',
  method: 'POST',
  path: '/v1/emergencies',
  says: 'Asks to open self-service for many at once: whatever the settings say, people of these tags see the keys of their own Macs.',
  permission: 'emergency.open',
  fresh: true,
  input: z.strictObject({
    tags: z.array(z.string().trim().min(1).max(128)).min(1).max(20).describe('Macs that have one of these, and people of these groups (`group:NAME`)'),
    from: z.iso.datetime({ offset: true }).optional().describe('left out: as soon as somebody agrees'),
    until: z.iso.datetime({ offset: true }).describe('at most seven days from now'),
    reason: z.string().trim().min(10).max(500),
  }),
  output: emergencyOut,
  async run(acting, { tags, from, until, reason }) {
    const times = { from: from === undefined ? acting.at : Date.parse(from), until: Date.parse(until) };
    return sayEmergency(acting, await write(acting, (tx, at) => askEmergency(tx, at, acting.admin, { tags, reason, ...times })));
  },
});

export const agreeToEmergency = operation({
  name: 'emergency.agree',
  method: 'POST',
  path: '/v1/emergencies/{id}/agree',
  says: 'Agrees, as a second person, to self-service for many at once.',
  permission: 'emergency.agree',
  fresh: true,
  input: z.strictObject({ id: emergencyId, words }),
  output: emergencyOut,
  async run(acting, { id, words: said }) {
    return sayEmergency(acting, await write(acting, (tx, at) => agreeEmergency(tx, at, acting.admin, { id, words: said })));
  },
});

export const endAnEmergency = operation({
  name: 'emergency.end',
  method: 'POST',
  path: '/v1/emergencies/{id}/end',
  says: 'Ends it at once, or takes back what was asked. One person is enough.',
  permission: 'signed-in',
  input: z.strictObject({ id: emergencyId, words }),
  output: emergencyOut,
  async run(acting, { id, words: said }) {
    return sayEmergency(acting, await write(acting, (tx, at) => endEmergency(tx, at, acting.admin, { id, words: said })));
  },
});

export const listEmergencies = operation({
  name: 'emergency.list',
  method: 'GET',
  path: '/v1/emergencies',
  says: 'Self-service for many: what is open, what was asked, and what came of those of the last year; what goes on first, then the newest.',
  permission: 'signed-in',
  input: z.strictObject({}),
  output: z.strictObject({ items: z.array(emergencyOut) }),
  async run(acting) {
    const { db } = acting.backend.store;
    const all = [...(await emergenciesGoingOn(db, acting.at)), ...(await emergenciesSince(db, acting.at - year))];
    const rows = [...new Map(all.map((row) => [row.id, row])).values()].filter((row) => maySee(acting, row));
    return { items: await Promise.all(rows.map((row) => sayEmergency(acting, row))) };
  },
});

export const getEmergency = operation({
  name: 'emergency.get',
  method: 'GET',
  path: '/v1/emergencies/{id}',
  says: 'One of them, with the Macs whose keys were shown: what a rotation in waves is for afterwards.',
  permission: 'signed-in',
  input: z.strictObject({ id: emergencyId }),
  output: z.strictObject({ emergency: emergencyOut, deviceIds: z.array(z.string()) }),
  async run(acting, { id }) {
    const row = await seen(acting, id);
    return { emergency: await sayEmergency(acting, row), deviceIds: await macsSeenIn(acting.backend.store.db, id) };
  },
});

export const emergencyOperations: readonly AnyOperation[] = [askForEmergency, agreeToEmergency, endAnEmergency, listEmergencies, getEmergency];

import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { tellUnusual } from '../../server/approvals/disclose.ts';
import { confirmRelease, makeRelease, releaseState, withdrawRelease } from '../../server/approvals/releases.ts';
import { isoTime } from '../../server/custody-parts.ts';
import { recordNamed } from '../../server/fleet/in-scope.ts';
import { macById } from '../../server/store/macs.ts';
import { type Release, releaseById, releasesPage, releaseViews } from '../../server/store/releases.ts';
import { pageInput, pageOf } from '../cursor.ts';
import { type Acting, type AnyOperation, operation } from '../operation.ts';
import { deviceId, ofDevice, write } from './disclosures.ts';
import { evidence, evidenceOf } from './evidence.ts';
import { mayAny, scopeOfAny, visiblePage } from './visible.ts';

const time = z.string().describe('ISO 8601');
const orNull = (at: number | null): string | null => (at === null ? null : isoTime(at));
const releaseId = z.string().max(64).describe('of the code');

const releaseOut = z.strictObject({
  id: z.string(),
  device: ofDevice,
  state: z
    .enum(['unconfirmed', 'ready', 'open', 'over', 'expired', 'withdrawn', 'done'])
    .describe('unconfirmed: a second person has to; ready: it may be typed; open: it was, and the key may be seen there'),
  personName: z.string(),
  verified: z.string().describe('how the desk knew who called'),
  madeBy: z.string(),
  isMine: z.boolean(),
  confirmedBy: z.string().nullable(),
  createdAt: time,
  expiresAt: time,
  usedAt: time.nullable().describe('when it was typed'),
  openUntil: time.nullable(),
  keysShown: z.int(),
  lastShownAt: time.nullable(),
  refusals: z.int().describe('how often the person said that the Mac refused the key'),
});
export type ReleaseOut = z.infer<typeof releaseOut>;

async function sayRelease({ backend, admin, at }: Pick<Acting, 'backend' | 'admin' | 'at'>, row: Release, serial?: string): Promise<ReleaseOut> {
  const { db } = backend.store;
  const views = await releaseViews(db, row.id);
  return {
    id: row.id,
    device: { id: row.mac_id, serial: serial ?? (await macById(db, row.mac_id))?.serial ?? '' },
    state: releaseState(row, at),
    personName: row.person_name,
    verified: row.verified,
    madeBy: row.made_by,
    isMine: row.made_by_person === admin.personId,
    confirmedBy: row.confirmed_by,
    createdAt: isoTime(row.created_at),
    expiresAt: isoTime(row.expires_at),
    usedAt: orNull(row.used_at),
    openUntil: orNull(row.open_until),
    keysShown: views.length,
    lastShownAt: orNull(views.at(-1)?.shown_at ?? null),
    refusals: views.filter((view) => view.refused_at !== null).length,
  };
}

const sees = ['release.assist', 'audit.read'] as const;
const maySee = (acting: Pick<Acting, 'backend' | 'admin'>, row: Release): Promise<boolean> => mayAny(acting, acting.admin, sees, row.mac_id);

export const makeReleaseCode = operation({
  name: 'releases.make',
  method: 'POST',
  path: '/v1/devices/{id}/releases',
  says: 'Makes a code with which somebody who cannot sign in sees the key of this one Mac on any device. Who makes it never sees the key.',
  permission: 'release.assist',
  fresh: true,
  shownOnce: true,
  input: z.strictObject({
    id: deviceId,
    personName: z.string().trim().min(1).max(120).describe('who calls'),
    verified: z.string().trim().min(10).max(500).describe('how the desk knows that it is them'),
  }),
  output: z.strictObject({ release: releaseOut, code: z.string().describe('three groups of four signs; it is in this reply and nowhere else') }),
  async run(acting, { id, ...wanted }) {
    const { backend, admin, scope } = acting;
    const macId = await recordNamed(backend, scope, id);
    const making = write(acting, (tx, at) => makeRelease(tx, at, backend.secrets, admin, { macId, ...wanted }));
    const { release, code } = await making.catch(async (error: unknown) => {
      if (error instanceof Problem && error.code === 'VIEWS_LIMIT') await tellUnusual(backend, admin, macId);
      throw error;
    });
    return { release: await sayRelease(acting, release), code };
  },
});

export const listReleases = operation({
  name: 'releases.list',
  method: 'GET',
  path: '/v1/releases',
  says: 'Codes of the desk and what became of them, newest first. No code and no key is in it.',
  permission: 'signed-in',
  input: z.strictObject(pageInput),
  output: pageOf(releaseOut),
  run: (acting, page) =>
    visiblePage(
      page,
      (after, most) => releasesPage(acting.backend.store.db, after, most, { scope: scopeOfAny(acting.admin, sees), own: null }),
      (row) => ({ at: row.created_at, id: row.id }),
      async (row) => ((await maySee(acting, row)) ? sayRelease(acting, row, row.serial) : null),
    ),
});

export const getRelease = operation({
  name: 'releases.get',
  method: 'GET',
  path: '/v1/releases/{id}',
  says: 'One code of the desk: whether it was typed, whether the key was refused, and what is known of the keys of the Mac.',
  permission: 'signed-in',
  input: z.strictObject({ id: releaseId }),
  output: z.strictObject({ release: releaseOut, evidence }),
  async run(acting, { id }) {
    const row = await releaseById(acting.backend.store.db, id);
    if (!row || !(await maySee(acting, row))) throw new Problem('NOT_FOUND', 'no such code');
    return { release: await sayRelease(acting, row), evidence: await evidenceOf(acting.backend, row.mac_id) };
  },
});

export const confirmReleaseCode = operation({
  name: 'releases.confirm',
  method: 'POST',
  path: '/v1/releases/{id}/confirm',
  says: 'Says, as a second person of the desk, that a code is right; from then on it is good for ten minutes.',
  permission: 'release.assist',
  fresh: true,
  input: z.strictObject({ id: releaseId, words: z.string().trim().min(1).max(500).describe('how one knows that it is right') }),
  output: releaseOut,
  async run(acting, { id, words }) {
    return sayRelease(acting, await write(acting, (tx, at) => confirmRelease(tx, at, acting.admin, { releaseId: id, words })));
  },
});

export const withdrawReleaseCode = operation({
  name: 'releases.withdraw',
  method: 'POST',
  path: '/v1/releases/{id}/withdraw',
  says: 'Ends a code at once, also where it was typed.',
  permission: 'release.assist',
  input: z.strictObject({ id: releaseId }),
  output: releaseOut,
  async run(acting, { id }) {
    return sayRelease(acting, await write(acting, (tx, at) => withdrawRelease(tx, at, acting.admin, id)));
  },
});

export const releaseOperations: readonly AnyOperation[] = [makeReleaseCode, listReleases, getRelease, confirmReleaseCode, withdrawReleaseCode];

import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { isSamePerson } from '../../server/approvals/admin-now.ts';
import { askToDisclose, stateNow, voteOn, withdrawRequest } from '../../server/approvals/requests.ts';
import { judgeDisclosure } from '../../server/approvals/reviews.ts';
import { isoTime } from '../../server/custody-parts.ts';
import { recordNamed } from '../../server/fleet/in-scope.ts';
import type { Tx } from '../../server/parts.ts';
import type { Admin } from '../../server/permissions.ts';
import { type DisclosureRequest, type Review, requestById, requestsPage, reviewsPage, viewsUnder, votesOn } from '../../server/store/disclosure-requests.ts';
import type { Reach } from '../../server/store/fleet-scope.ts';
import { macById } from '../../server/store/macs.ts';
import { isOfMail, tellApprovers, tellRequester } from '../../web/admin-mails.ts';
import { pageInput, pageOf } from '../cursor.ts';
import { type Acting, type AnyOperation, operation } from '../operation.ts';
import { evidence, evidenceOf } from './evidence.ts';
import { mayAny, scopeOfAny, visiblePage } from './visible.ts';

const time = z.string().describe('ISO 8601');
const words = z.string().trim().min(1).max(500);
export const deviceId = z.string().min(1).max(64).describe('serial number or id');
export const ofDevice = z.strictObject({ id: z.string(), serial: z.string() });
const orNull = (at: number | null): string | null => (at === null ? null : isoTime(at));

/** The act, and what the page that asks has to check in it. */
export const write = <T>({ backend, before }: Pick<Acting, 'backend' | 'before'>, act: (tx: Tx, at: number) => Promise<T>): Promise<T> =>
  backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await before?.(tx, at);
    return act(tx, at);
  });

// Requests.

const requestOut = z.strictObject({
  id: z.string(),
  device: ofDevice,
  state: z.enum(['waiting', 'approved', 'declined', 'expired', 'withdrawn', 'used']),
  isMine: z.boolean(),
  mayDecide: z.boolean().describe('it waits for somebody like whoever asks now'),
  requester: z.string(),
  reason: z.string(),
  ticket: z.string().nullable(),
  history: z.boolean().describe('a key that was replaced'),
  recordId: z.string().nullable(),
  volume: z.string().nullable(),
  quorum: z.int().describe('how many have to agree'),
  votes: z.array(z.strictObject({ name: z.string(), vote: z.enum(['yes', 'no']), words: z.string(), at: time, way: z.enum(['console', 'mail', 'token']) })),
  createdAt: time,
  expiresAt: time.describe('when it ends if nobody decides'),
  grantedUntil: time.nullable(),
  keysShown: z.int(),
});
export type RequestOut = z.infer<typeof requestOut>;

async function sayRequest({ backend, admin, at }: Pick<Acting, 'backend' | 'admin' | 'at'>, row: DisclosureRequest, serial?: string): Promise<RequestOut> {
  const { db } = backend.store;
  const votes = await votesOn(db, row.id);
  const isMine = row.person_id === admin.personId;
  const state = stateNow(row, at);
  const isTheirs = async (personId: string): Promise<boolean> => admin.personId === null || isSamePerson(db, personId, admin.personId);
  const hasPart = (await Promise.all([row.person_id, ...votes.map((vote) => vote.person_id)].map(isTheirs))).includes(true);
  return {
    id: row.id,
    device: { id: row.mac_id, serial: serial ?? (await macById(db, row.mac_id))?.serial ?? '' },
    state,
    isMine,
    mayDecide: state === 'waiting' && !hasPart && !admin.service && (await mayAny({ backend }, admin, ['request.decide'], row.mac_id)),
    requester: row.requester,
    reason: row.reason,
    ticket: row.ticket,
    history: row.history === 1,
    recordId: row.record_id,
    volume: row.volume,
    quorum: row.quorum,
    votes: votes.map(({ name, vote, words: said, at: votedAt, way }) => ({ name, vote, words: said, at: isoTime(votedAt), way })),
    createdAt: isoTime(row.created_at),
    expiresAt: isoTime(row.expires_at),
    grantedUntil: orNull(row.granted_until),
    keysShown: (await viewsUnder(db, row.id)).length,
  };
}

const decides = ['request.decide', 'review.decide', 'audit.read'] as const;

/** Whoever asked and still sees that Mac, whoever may decide for it, and whoever reads the audit. */
const maySee = async (acting: Pick<Acting, 'backend' | 'admin'>, row: { mac_id: string; person_id: string }): Promise<boolean> =>
  mayAny(acting, acting.admin, row.person_id === acting.admin.personId ? ['fleet.read', ...decides] : decides, row.mac_id);

/** The same, where the rows are read. */
const reachOf = (admin: Admin): Reach => ({
  scope: scopeOfAny(admin, decides),
  own: admin.personId === null ? null : { personId: admin.personId, scope: scopeOfAny(admin, ['fleet.read', ...decides]) },
});

export const askDisclosure = operation({
  name: 'disclosures.ask',
  method: 'POST',
  path: '/v1/devices/{id}/disclosure-requests',
  says: 'Asks others to agree that a key of one Mac is shown to whoever asks.',
  permission: 'key.disclose',
  input: z.strictObject({
    id: deviceId,
    reason: words,
    ticket: z.string().trim().min(1).max(120).optional().describe('where the reason is written down'),
    volume: z.string().min(1).max(64).optional().describe('another volume than the one that the Mac started from last'),
    recordId: z.string().max(64).optional(),
    history: z.boolean().default(false).describe('`recordId` is a key that was replaced'),
  }),
  output: requestOut,
  async run(acting, { id, reason, ticket, volume, recordId, history }) {
    const { backend, admin, scope } = acting;
    const macId = await recordNamed(backend, scope, id, { recordId, volume });
    const row = await write(acting, async (tx, at) => {
      const wish = { macId, reason, ticket: ticket ?? null, volume: volume?.toUpperCase() ?? null, recordId: recordId ?? null, history };
      const { request, isNew } = await askToDisclose(tx, at, admin, wish);
      if (isNew) await tellApprovers(backend, tx, at, request);
      return request;
    });
    return sayRequest(acting, row);
  },
});

export const listDisclosures = operation({
  name: 'disclosures.list',
  method: 'GET',
  path: '/v1/disclosure-requests',
  says: 'Requests for keys: one’s own, and those for Macs for which one decides or reads the audit; newest first.',
  permission: 'signed-in',
  input: z.strictObject({ ...pageInput, open: z.boolean().default(false).describe('only those that wait, or may be used') }),
  output: pageOf(requestOut),
  run: (acting, { cursor, limit, open }) =>
    visiblePage(
      { cursor, limit },
      (after, most) => requestsPage(acting.backend.store.db, after, most, open, reachOf(acting.admin)),
      (row) => ({ at: row.created_at, id: row.id }),
      async (row) => {
        if (!(await maySee(acting, row))) return null;
        const said = await sayRequest(acting, row, row.serial);
        return open && said.state !== 'waiting' && said.state !== 'approved' ? null : said;
      },
    ),
});

async function requestSeen(acting: Acting, requestId: string): Promise<DisclosureRequest> {
  const row = await requestById(acting.backend.store.db, requestId);
  if (!row || !(await maySee(acting, row))) throw new Problem('NOT_FOUND', 'no such request');
  return row;
}
const named = z.strictObject({ id: z.string().max(64).describe('of the request') });

export const getDisclosure = operation({
  name: 'disclosures.get',
  method: 'GET',
  path: '/v1/disclosure-requests/{id}',
  says: 'One request, with what is known of the keys of its Mac.',
  permission: 'signed-in',
  input: named,
  output: z.strictObject({ request: requestOut, evidence }),
  async run(acting, { id }) {
    const row = await requestSeen(acting, id);
    return { request: await sayRequest(acting, row), evidence: await evidenceOf(acting.backend, row.mac_id) };
  },
});

export const withdrawDisclosure = operation({
  name: 'disclosures.withdraw',
  method: 'POST',
  path: '/v1/disclosure-requests/{id}/withdraw',
  says: 'Takes back what one has asked, or an agreement that one does not need.',
  permission: 'signed-in',
  input: named,
  output: requestOut,
  async run(acting, { id }) {
    return sayRequest(acting, await write(acting, (tx, at) => withdrawRequest(tx, at, acting.admin, id)));
  },
});

const voting = z.strictObject({
  ...named.shape,
  words: words.describe('why: whoever asked reads it'),
  from: z.string().max(64).optional().describe('what stood in the link of the mail, where one came by it'),
});

async function vote(acting: Acting, { id, words: said, from }: z.infer<typeof voting>, as: 'yes' | 'no'): Promise<RequestOut> {
  const { backend, admin } = acting;
  const byMail = admin.kind === 'person' && admin.personId !== null && isOfMail(backend.secrets.nonce, id, admin.personId, from);
  const way = admin.kind === 'token' ? 'token' : byMail ? 'mail' : 'console';
  const row = await write(acting, async (tx, at) => {
    const request = await voteOn(tx, at, admin, { requestId: id, vote: as, words: said, way });
    if (request.state !== 'waiting') await tellRequester(backend, tx, at, request, { by: admin.name, words: said });
    return request;
  });
  return sayRequest(acting, row);
}

export const approveDisclosure = operation({
  name: 'disclosures.approve',
  method: 'POST',
  path: '/v1/disclosure-requests/{id}/approve',
  says: 'Agrees that a key is shown to whoever asked. Nobody agrees to what they asked themselves, by no account and no token.',
  permission: 'request.decide',
  fresh: true,
  input: voting,
  output: requestOut,
  run: (acting, input) => vote(acting, input, 'yes'),
});

export const declineDisclosure = operation({
  name: 'disclosures.decline',
  method: 'POST',
  path: '/v1/disclosure-requests/{id}/decline',
  says: 'Declines a request, with words; one is enough.',
  permission: 'request.decide',
  input: voting,
  output: requestOut,
  run: (acting, input) => vote(acting, input, 'no'),
});

// Reviews.

const reviewOut = z.strictObject({
  disclosureId: z.string(),
  device: ofDevice,
  state: z.enum(['waiting', 'right', 'wrong']),
  isMine: z.boolean().describe('the key was shown to whoever asks now'),
  by: z.string(),
  reason: z.string(),
  at: time,
  shown: z.boolean().describe('false: its envelope did not open'),
  dueAt: time,
  isOverdue: z.boolean(),
  decidedAt: time.nullable(),
  decidedBy: z.string().nullable(),
  words: z.string().nullable(),
});
export type ReviewOut = z.infer<typeof reviewOut>;

const sayReview = (admin: Admin, now: number, row: Review & { serial: string; actor: string; reason: string; at: number; shown: number }): ReviewOut => ({
  disclosureId: row.disclosure_id,
  device: { id: row.mac_id, serial: row.serial },
  state: row.state,
  isMine: row.person_id === admin.personId,
  by: row.actor,
  reason: row.reason,
  at: isoTime(row.at),
  shown: row.shown === 1,
  dueAt: isoTime(row.due_at),
  isOverdue: row.state === 'waiting' && row.due_at <= now,
  decidedAt: orNull(row.decided_at),
  decidedBy: row.decided_by,
  words: row.words,
});

export const listReviews = operation({
  name: 'reviews.list',
  method: 'GET',
  path: '/v1/disclosure-reviews',
  says: 'Disclosures by break glass that somebody else looks at afterwards; newest first.',
  permission: 'signed-in',
  input: z.strictObject({ ...pageInput, open: z.boolean().default(false).describe('only those that nobody has looked at') }),
  output: pageOf(reviewOut),
  run: (acting, { cursor, limit, open }) =>
    visiblePage(
      { cursor, limit },
      (after, most) => reviewsPage(acting.backend.store.db, after, most, open, reachOf(acting.admin)),
      (row) => ({ at: row.at, id: row.disclosure_id }),
      async (row) => ((await maySee(acting, row)) ? sayReview(acting.admin, acting.at, row) : null),
    ),
});

export const decideReview = operation({
  name: 'reviews.decide',
  method: 'POST',
  path: '/v1/disclosure-reviews/{id}/decide',
  says: 'Says whether a disclosure by break glass was right. Not by whom it was shown to.',
  permission: 'review.decide',
  input: z.strictObject({ id: z.string().max(64).describe('of the disclosure'), state: z.enum(['right', 'wrong']), words }),
  output: z.strictObject({ disclosureId: z.string(), state: z.enum(['right', 'wrong']), words: z.string() }),
  async run(acting, { id, state, words: said }) {
    const { disclosure_id: disclosureId } = await write(acting, (tx, at) => judgeDisclosure(tx, at, acting.admin, { disclosureId: id, state, words: said }));
    return { disclosureId, state, words: said };
  },
});

export const disclosureOperations: readonly AnyOperation[] = [
  askDisclosure,
  listDisclosures,
  getDisclosure,
  withdrawDisclosure,
  approveDisclosure,
  declineDisclosure,
  listReviews,
  decideReview,
];

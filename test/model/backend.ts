// The backend's rules for keys: K2 to K8, custody, begin, grants, the answer to a check-in.
import {
  day,
  type Envelope,
  held,
  isLiving,
  type Journal,
  type KeyRecord,
  minute,
  openDebts,
  openRotation,
  type Purpose,
  type Server,
  type State,
  type Validation,
} from './state.ts';

/** What the backend says no to. */
export class Refused extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

const withRecord = (server: Server, id: string, change: Partial<KeyRecord>): Server => ({
  ...server,
  records: server.records.map((record) => (record.id === id ? { ...record, ...change } : record)),
});
/** Those that were given until then: an older answer is none to a newer question. */
const endOrders = (server: Server, record: string, until: number): Server => ({
  ...server,
  orders: server.orders.map((order) => (order.record === record && order.at <= until ? { ...order, ended: true } : order)),
});
const endRotation = (server: Server, id: string, as: Server['rotations'][number]['state'], at: number): Server => ({
  ...server,
  rotations: server.rotations.map((rotation) => (rotation.id === id ? { ...rotation, state: as, endedAt: at } : rotation)),
});
const orderProof = (server: Server, record: string, at: number): Server =>
  server.orders.some((order) => order.record === record && !order.ended)
    ? server
    : { ...server, orders: [...server.orders, { id: `proof-${server.orders.length}`, record, at, ended: false }] };

const supersede = (server: Server, id: string, at: number): Server => endOrders(withRecord(server, id, { state: 'superseded', stateAt: at }), id, at);

// ——— a key comes

export interface Delivery {
  readonly enrolment: number;
  readonly envelope: Envelope;
  readonly validated: Validation;
  readonly rotation: string | null;
}
export interface Receipt {
  readonly record: string;
  readonly state: KeyRecord['state'];
}

export function deliver(s: State, it: Delivery): readonly [Server, Receipt] {
  const receipt = (server: Server): readonly [Server, Receipt] => {
    const record = server.records.find((one) => one.envelopes.some((envelope) => envelope.id === it.envelope.id));
    if (!record) throw new Error('an envelope that was just stored is not there');
    return [server, { record: record.id, state: record.state }];
  };
  // Known: nothing is written, and what came with it this time is ignored.
  if (s.server.records.some((record) => record.envelopes.some((envelope) => envelope.id === it.envelope.id))) return receipt(s.server);
  const stored = { id: it.envelope.id, rotation: it.rotation, enrolment: it.enrolment };
  const same = s.server.records.find((record) => record.key === it.envelope.key);
  if (same) {
    const server = withRecord(s.server, same.id, { envelopes: [...same.envelopes, stored] });
    return receipt(witness(s, server, same.id, it)); // K2
  }
  const record: KeyRecord = {
    // What was restored has forgotten it: then it gets another.
    id: `record-${s.server.records.length}-${s.made}-${s.now}`,
    key: it.envelope.key,
    state: 'candidate',
    source: it.envelope.source,
    rotation: it.rotation,
    enrolment: it.enrolment,
    receivedAt: s.now,
    stateAt: s.now,
    provedAt: null,
    firstFalse: null,
    refutedAt: null,
    envelopes: [stored],
    provedBy: [],
  };
  return receipt(newKey(s, { ...s.server, records: [...s.server.records, record] }, record, it));
}

/** K2: the state stays; `true` is a proof, of now only in the open rotation. */
function witness(s: State, server: Server, id: string, it: Delivery): Server {
  const record = server.records.find((one) => one.id === id);
  if (!record) return server;
  if (s.without.has('a witness changes no state') && record.state === 'superseded') return withRecord(server, id, { state: 'candidate', stateAt: s.now });
  if (it.validated !== 'true') return server;
  const open = openRotation(server);
  const at = open?.id === it.rotation && open?.enrolment === it.enrolment ? s.now : record.receivedAt;
  return proof(s, server, { id: `delivery-${it.envelope.id}`, record: id, enrolment: it.enrolment, answer: 'true', settled: false, at, run: '' });
}

/** K3 to K6. */
function newKey(s: State, before: Server, record: KeyRecord, it: Delivery): Server {
  const open = openRotation(before);
  const others = before.records.filter((one) => one.id !== record.id && isLiving(one));
  const heldNow = others.find((one) => one.state === 'held');
  const ofOpen = open !== undefined && it.envelope.source === 'rotation' && it.rotation === open.id && it.enrolment === open.enrolment;
  let server = before;
  if (s.without.has('arrival order decides nothing')) {
    for (const one of others) server = supersede(server, one.id, s.now);
    return becameHeld(s, withRecord(server, record.id, { state: 'held' }), record.id);
  }
  const believed = it.validated === 'true';
  if (ofOpen && believed) {
    const replaced = others.filter((one) => one.receivedAt <= open.begunAt);
    for (const one of replaced) server = supersede(server, one.id, s.now);
    if (!heldNow || replaced.includes(heldNow)) return becameHeld(s, withRecord(server, record.id, { state: 'held', provedAt: s.now }), record.id); // K3
  } else if (!ofOpen && it.envelope.source === 'escrow-file' && !heldNow) return orderProof(withRecord(server, record.id, { state: 'held' }), record.id, s.now); // K5
  // K4, K6. R4: where macOS said false to the new key, a proof of the old one tells.
  return orderProof(server, ofOpen && it.validated === 'false' && heldNow ? heldNow.id : record.id, s.now);
}

/** What was owed for other keys is paid, and the rotation that it came from is done. */
function becameHeld(s: State, before: Server, id: string): Server {
  const record = before.records.find((one) => one.id === id);
  if (!record) return before;
  const its = record.rotation ?? record.envelopes.find((one) => one.rotation !== null)?.rotation ?? null;
  const rotation = before.rotations.find((one) => one.id === its);
  const pays = (debt: Server['debts'][number]): boolean =>
    debt.record === null ? rotation !== undefined && rotation.begunAt >= debt.openedAt : debt.record !== id;
  const server = { ...before, debts: before.debts.map((debt) => (debt.closedBy === null && pays(debt) ? { ...debt, closedBy: `key ${record.key}` } : debt)) };
  const open = openRotation(server);
  const isIts = open && (record.rotation === open.id || record.envelopes.some((one) => one.rotation === open.id));
  return isIts ? endRotation(server, open.id, 'done', s.now) : server;
}

// ——— a proof comes

interface Answer {
  readonly id: string;
  readonly record: string;
  readonly enrolment: number;
  readonly answer: Validation;
  readonly settled: boolean;
  readonly at: number;
  readonly run: string;
}

function proof(s: State, before: Server, it: Answer): Server {
  if (before.proofsTaken.includes(it.id)) return before;
  let server: Server = { ...before, proofsTaken: [...before.proofsTaken, it.id], notTrue: it.answer === 'true' ? before.notTrue : [...before.notTrue, it.at] };
  const record = server.records.find((one) => one.id === it.record);
  if (!record) return server;
  if (it.answer === 'true') {
    server = withRecord(server, record.id, { provedBy: [...record.provedBy, it.enrolment] });
    return provedTrue(s, server, it);
  }
  return it.answer === 'false' && it.settled && isLiving(record) ? provedFalse(s, server, it) : server;
}

/** K7. It judges only what was here when macOS answered. */
function provedTrue(s: State, before: Server, it: Answer): Server {
  const record = before.records.find((one) => one.id === it.record);
  if (!record) return before;
  if (record.state === 'superseded') {
    if (it.at < record.stateAt) return before;
    return orderProof(withRecord(before, record.id, { state: 'candidate', stateAt: s.now, provedAt: it.at }), record.id, s.now);
  }
  if (record.firstFalse && it.at < record.firstFalse.at) return before;
  const others = before.records.filter((one) => one.id !== record.id && isLiving(one));
  if (others.some((one) => one.state === 'held' && one.receivedAt > it.at)) return before;
  let server = before;
  for (const one of others.filter((other) => other.receivedAt <= it.at)) server = supersede(server, one.id, s.now);
  const at = it.at >= (record.provedAt ?? 0) ? it.at : record.provedAt;
  server = withRecord(server, record.id, {
    state: 'held',
    ...(record.state === 'held' ? {} : { stateAt: s.now }),
    provedAt: at,
    firstFalse: null,
    refutedAt: null,
  });
  return becameHeld(s, endOrders(server, record.id, it.at), record.id);
}

/** K8. */
function provedFalse(s: State, before: Server, it: Answer): Server {
  const record = before.records.find((one) => one.id === it.record);
  if (!record || record.refutedAt !== null || (record.provedAt !== null && it.at < record.provedAt)) return before;
  if (record.firstFalse === null && !s.without.has('K8: one false refutes nothing'))
    return withRecord(before, record.id, { firstFalse: { at: it.at, run: it.run } });
  if (record.firstFalse && (Math.abs(it.at - record.firstFalse.at) < 10 * minute || it.run === record.firstFalse.run)) return before;
  const server = endOrders(withRecord(before, record.id, { refutedAt: s.now }), record.id, s.now);
  const other = server.records.find((one) => one.state === 'held' && one.id !== record.id);
  return other && other.refutedAt === null ? orderProof(server, other.id, s.now) : server;
}

// ——— 2.2

export type Custody = 'foreign' | 'none' | 'lost' | 'doubtful' | 'held';

export function custody(s: State): Custody {
  const { server } = s;
  const living = server.records.filter(isLiving);
  const isForeign = s.configuration.payload === 'foreign' || server.lastFile?.ours === false;
  if (living.length === 0) return isForeign ? 'foreign' : 'none';
  const { exhaustedAt, fileChangedAt, lastFile, agentRotation } = server;
  const since = (at: number): boolean => living.some((one) => one.receivedAt > at || (one.provedAt ?? -1) > at);
  if (exhaustedAt !== null && !since(exhaustedAt)) {
    // What macOS sealed at that change is somebody else's: they have the key.
    const isTheirs = lastFile?.ours === false && fileChangedAt !== null && living.every((one) => (one.provedAt ?? -1) < fileChangedAt);
    return isTheirs ? 'foreign' : 'lost';
  }
  const heldNow = held(server);
  const open = openRotation(server);
  const unresolved = agentRotation?.state === 'unresolved' ? server.rotations.find((one) => one.id === agentRotation.id) : null;
  const fileIsHere = server.records.some((one) => one.envelopes.some((envelope) => envelope.id === lastFile?.id));
  if (living.some((one) => one.state === 'candidate')) return 'doubtful';
  if (heldNow?.refutedAt != null) return 'doubtful';
  if (open && s.now - open.begunAt > 5 * minute) return 'doubtful';
  if (unresolved !== null && (unresolved === undefined || unresolved.state === 'begun' || unresolved.state === 'not-known')) return 'doubtful';
  if (lastFile && !fileIsHere && fileChangedAt !== null && !living.some((one) => (one.provedAt ?? -1) >= fileChangedAt)) return 'doubtful';
  return 'held';
}

// ——— the Mac asks

export interface Report {
  readonly enrolment: number;
  readonly journal: Journal;
  readonly offers: readonly string[];
  /** macOS's escrow file as it lies on the disk, whatever the journal has forgotten of it. */
  readonly file: Journal['escrowSeen'];
  /** A settled session, and since when this boot session has been seen unlocked. */
  readonly settled: boolean;
  readonly sessionStart: number;
}
export interface Named {
  readonly id: string;
  readonly state: KeyRecord['state'];
  readonly envelopes: readonly string[];
}
export interface Reply {
  readonly at: number;
  readonly wanted: readonly string[];
  readonly held: Named | null;
  readonly candidates: readonly Named[];
  readonly debts: readonly { readonly id: string; readonly because: string }[];
  readonly hold: boolean;
  readonly proofOrders: readonly { readonly id: string; readonly record: string; readonly envelopes: readonly string[] }[];
  readonly rotation: string | null;
  /** When a key was tried that was not, or not yet, said to be valid: for an agent that has lost its count. */
  readonly tries: readonly number[];
}

/** Until somebody is back in after the last disclosure, or 24 h after the first, but not within 20 minutes of the last. */
function isOnHold(s: State): boolean {
  const { episode } = s.server;
  const [first, last] = [episode[0], episode.at(-1)];
  if (first === undefined || last === undefined || s.without.has('the hold')) return false;
  return s.now < Math.max(first + day, last + 20 * minute);
}

export function checkIn(s: State, it: Report): readonly [Server, Reply] {
  let server = s.server;
  if (!server.enrolments.some((one) => one.id === it.enrolment)) throw new Refused('CERTIFICATE_UNKNOWN');
  const { journal } = it;
  const { lastSeen, lastFile } = server;
  const { file } = it;
  const changed = lastSeen !== null && file !== null && file.id !== lastFile?.id;
  // Our own rotation makes macOS write a file: the one that is open on both sides, or one that ended since.
  const own = openRotation(server);
  const done = server.rotations.find((one) => one.state === 'done' && (one.endedAt ?? 0) >= (lastSeen ?? 0));
  const explained = own && own.id === (journal.rotation?.id ?? journal.notKnown) ? own : done;
  const last = server.episode.at(-1);
  server = {
    ...server,
    lastSeen: s.now,
    lastFile: file,
    agentRotation: journal.rotation
      ? { id: journal.rotation.id, state: journal.rotation.state }
      : journal.notKnown === null
        ? null
        : { id: journal.notKnown, state: 'unresolved' },
    ...(changed ? { fileChangedAt: explained ? explained.begunAt : s.now } : {}),
    episode: last !== undefined && it.settled && it.sessionStart > last ? [] : server.episode,
  };
  for (const given of journal.proofs) server = takeProof(s, server, it.enrolment, given);
  for (const ending of journal.endings) server = takeEnding(s, server, ending);
  if (journal.exhausted) server = takeExhausted(s, server);
  server = orderDueProof(s, server, { lastSeen, lastFile, file });
  const now: State = { ...s, server };
  const name = (record: KeyRecord): Named => ({ id: record.id, state: record.state, envelopes: record.envelopes.map((one) => one.id) });
  const known = new Set(server.records.flatMap((record) => record.envelopes.map((one) => one.id)));
  const heldNow = held(server);
  return [
    server,
    {
      at: s.now,
      wanted: it.offers.filter((id) => !known.has(id)),
      held: heldNow ? name(heldNow) : null,
      candidates: server.records
        .filter((one) => one.state === 'candidate')
        .toReversed()
        .map(name),
      debts: openDebts(server),
      hold: isOnHold(now),
      proofOrders: server.orders
        .filter((order) => !order.ended)
        .flatMap((order) => {
          const record = server.records.find((one) => one.id === order.record && isLiving(one));
          return record ? [{ id: order.id, record: record.id, envelopes: name(record).envelopes }] : [];
        }),
      rotation: openRotation(server)?.id ?? null,
      tries: [
        ...server.notTrue,
        ...server.grants.filter((grant) => server.debts.some((debt) => debt.id === grant.id && debt.closedBy === null)).map((grant) => grant.at),
      ].filter((at) => at > s.now - 7 * day),
    },
  ];
}

function takeProof(s: State, before: Server, enrolment: number, given: Journal['proofs'][number]): Server {
  const record = before.records.find((one) => one.envelopes.some((envelope) => envelope.id === given.envelope));
  if (!record) return before;
  // Reckoned back from the arrival of a report that was on its way for a second.
  const at = given.at + 1;
  const server = proof(s, before, { ...given, at, id: `proof ${given.id}`, record: record.id, enrolment, run: `${given.boot}@${given.at}` });
  // The key that was given for this proof was used for it.
  const used = server.grants.filter(
    (grant) => grant.purpose === 'prove' && grant.forId === given.order && grant.record === record.id && grant.at >= given.at - 10 * minute,
  );
  return {
    ...server,
    debts: server.debts.map((debt) => (debt.closedBy === null && used.some((grant) => grant.id === debt.id) ? { ...debt, closedBy: 'proof' } : debt)),
  };
}

function takeEnding(s: State, before: Server, ending: Journal['endings'][number]): Server {
  const heldNow = held(before);
  let server = ending.as === 'not-known' && heldNow && heldNow.refutedAt === null ? orderProof(before, heldNow.id, s.now) : before;
  const rotation = server.rotations.find((one) => one.id === ending.rotation);
  if (rotation?.state !== 'begun') return server;
  server = endRotation(server, rotation.id, ending.as, s.now);
  if (ending.as === 'exhausted') server = { ...server, exhaustedAt: s.now, fileChangedAt: null };
  const proved = held(server);
  if (ending.as !== 'not-changed' || !proved || proved.provedAt === null || proved.provedAt < rotation.begunAt) return server;
  for (const one of server.records.filter((record) => record.state === 'candidate' && record.rotation === rotation.id))
    server = supersede(server, one.id, s.now);
  return server;
}

/** A key that came since it was first said is not covered by repeating it, unless that is refuted too. */
function takeExhausted(s: State, server: Server): Server {
  if (server.exhaustedAt !== null && !server.records.filter(isLiving).every((one) => one.refutedAt !== null)) return server;
  return { ...server, exhaustedAt: s.now };
}

function orderDueProof(s: State, server: Server, before: { lastSeen: number | null; lastFile: Server['lastFile']; file: Server['lastFile'] }): Server {
  const heldNow = held(server);
  if (!heldNow || heldNow.refutedAt !== null) return server;
  const { lastSeen, lastFile, file } = before;
  const isWitness = heldNow.envelopes.some((one) => one.id === file?.id);
  const fileChanged = lastSeen !== null && file !== null && file.id !== lastFile?.id && !isWitness;
  const provedSince = lastSeen !== null && (heldNow.provedAt ?? 0) >= lastSeen;
  const { fileChangedAt } = server;
  const isHere = server.records.some((one) => one.envelopes.some((envelope) => envelope.id === file?.id));
  // What puts custody in doubt until a `true` comes is asked about now.
  const isUnexplained = file !== null && fileChangedAt !== null && (heldNow.provedAt ?? 0) < fileChangedAt && !isHere && !openRotation(server);
  const due = (fileChanged && !provedSince) || isUnexplained || s.now - (heldNow.provedAt ?? heldNow.receivedAt) >= 30 * day;
  return due ? orderProof(server, heldNow.id, s.now) : server;
}

/** Nothing is begun unless the grant that is asked for is given with it. */
export function begin(s: State, it: { id: string; enrolment: number; grantFor: string | null }): Server {
  const before = s.server.rotations.find((one) => one.id === it.id);
  if (before) throw new Refused('ROTATION_NOT_OWED');
  const open = openRotation(s.server);
  if (open) throw new Refused('ROTATION_OPEN');
  if (isOnHold(s)) throw new Refused('ROTATION_WAIT');
  if (openDebts(s.server).length === 0) throw new Refused('ROTATION_NOT_OWED');
  if (s.server.rotations.filter((one) => one.begunAt > s.now - day).length >= 3) throw new Refused('ROTATION_LIMIT');
  const rotation: Server['rotations'][number] = { id: it.id, enrolment: it.enrolment, begunAt: s.now, state: 'begun', endedAt: null };
  const given = it.grantFor === null ? s.server : grant(s, { purpose: 'rotate', forId: it.id, record: it.grantFor, enrolment: it.enrolment })[0];
  return { ...given, rotations: [...given.rotations, rotation] };
}

/** What is given is the key itself, for this run. */
export function grant(s: State, it: { purpose: Purpose; forId: string; record: string; enrolment: number }): readonly [Server, number] {
  const { server } = s;
  const record = server.records.find((one) => one.id === it.record && isLiving(one));
  if (!record) throw new Refused('GRANT_REFUSED');
  const enrolment = server.enrolments.find((one) => one.id === it.enrolment);
  // A later enrolment is confirmed when nothing was heard of the others for a day.
  const confirmed = enrolment && (enrolment === server.enrolments[0] || s.now >= enrolment.madeAt + day);
  const brought =
    record.enrolment === it.enrolment || (record.provedBy.includes(it.enrolment) && record.envelopes.some((one) => one.enrolment === it.enrolment));
  if (!confirmed && !brought) throw new Refused('GRANT_REFUSED');
  if (it.purpose !== 'resolve' && isOnHold(s)) throw new Refused('ROTATION_WAIT');
  if (it.purpose === 'prove' && !server.orders.some((order) => order.id === it.forId && !order.ended && order.record === record.id))
    throw new Refused('GRANT_REFUSED');
  if (it.purpose === 'rotate' && openDebts(server).length === 0) throw new Refused('ROTATION_NOT_OWED');
  const begun = openRotation(server);
  if (it.purpose === 'resolve' && !(begun?.id === it.forId && begun.enrolment === it.enrolment)) throw new Refused('GRANT_REFUSED');
  const today = server.grants.filter((one) => one.at > s.now - day);
  const reason = (one: { purpose: Purpose; forId: string }): string => `${one.purpose === 'prove' ? 'prove' : 'rotation'} ${one.forId}`;
  if (today.some((one) => reason(one) !== reason(it))) throw new Refused('GRANT_LIMIT');
  if (today.filter((one) => one.purpose === it.purpose).length >= (it.purpose === 'resolve' ? 2 : 1)) throw new Refused('GRANT_LIMIT');
  const id = `grant-${server.grants.length}-${it.forId}`;
  return [
    {
      ...server,
      grants: [...server.grants, { id, purpose: it.purpose, forId: it.forId, record: it.record, at: s.now }],
      debts: [...server.debts, { id, because: 'granted', record: it.record, openedAt: s.now, closedBy: null }],
    },
    record.key,
  ];
}

import type { CustodyState, Facts } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { stopsSelfService } from '../server/alarms.ts';
import { emergencyFor, emergencyJustOver } from '../server/approvals/emergencies.ts';
import { disclosureRules } from '../server/approvals/rules.ts';
import { isTrusted, sameName, whose } from '../server/assignments.ts';
import type { Backend } from '../server/backend.ts';
import { day } from '../server/custody-parts.ts';
import { custodyFrom, lastFacts, rowsOf } from '../server/custody-state.ts';
import { tagsOf } from '../server/fleet/in-scope.ts';
import { deadlineHours } from '../server/holds.ts';
import { presentRequest, useApproval } from '../server/key-requests.ts';
import { type Standing, standingOf } from '../server/mac-standing.ts';
import type { Tx } from '../server/parts.ts';
import { type Hold, rotationDue } from '../server/rotation-due.ts';
import type { SitesGround } from '../server/serve.ts';
import { type Claim, claimsOf, macsClaimedFor } from '../server/store/assignments.ts';
import { openDebtsOf } from '../server/store/debts.ts';
import { episodeOf } from '../server/store/disclosures.ts';
import { type Mac, macById } from '../server/store/macs.ts';
import { type MacToType, macToType } from '../web/mac-facts.ts';
import type { Person } from '../web/visit.ts';
import { delayOf } from './episode-facts.ts';
import type { Delay } from './episode-state.ts';
import { type Decision, decide, type EncryptedBy, encryptedBy, inEmergency, mayGoOn, selfServiceFor } from './may-show.ts';

type Db = Backend['store']['db'];
type Ground = Pick<SitesGround, 'backend' | 'settings'>;

/** All that pages need of a Mac of whoever is signed in. Times: server, milliseconds. What the Mac has not said is null. */
export interface OwnMac extends MacToType {
  serial: string;
  /** Apple's identifier, such as `Mac15,6`. */
  model: string | null;
  /** As macOS says it: “Apple M3 Pro”. */
  chip: string | null;
  lastSeenAt: number | null;
  fileVault: Facts['fileVault']['state'];
  /** It is asked for at the next login or logout. */
  fileVaultDeferred: boolean;
  encryptedBy: EncryptedBy;
  custody: { state: CustodyState /** Counted apart: nobody here has opened it yet. */; unopened: boolean };
  /** When macOS last said `true` to the held key. */
  provedAt: number | null;
  /** Of the volume that it started from last. */
  keys: {
    held: boolean /** macOS said twice that it does not open this Mac. */;
    refuted: boolean;
    heldSince: number | null;
    candidates: number;
    shownAt: number | null;
  };
  rotation: {
    /** Begun and not ended: the key may be replaced at any moment. */
    open: { id: string; begunAt: number } | null;
    owed: boolean;
    /** While it is there nothing is replaced. */
    hold: Hold | null;
    /** Why the replacement that is owed comes later than when the Mac is next online. */
    delay: Delay | null;
  };
  standing: Standing;
  /** The account on the Mac whose return ends the hold, where it is known. */
  account: string | null;
  secureTokenUsers: number | null;
  /** By the Mac's own clock: of whoever was logged in when it reported last. */
  passwordChangedAt: number | null;
  /** Null for two claims. */
  assignment: { source: Claim['source']; since: number; by: string } | null;
  /**
   * It is this one person's for certain, by somebody who may say so: only then what happened with it is shown to them, and what
   * they say of it counts. Not so with two claims, nor by the word of an enrolment that has to be confirmed first.
   */
  certain: boolean;
  /** The id of what two admins have opened for many at once, and this Mac or person is among them. */
  emergencyId: string | null;
  /** With approval, but for an emergency. */
  asksFirst: boolean;
  decision: Decision;
  /** Whether somebody who is being shown the key may have more time, also because of an emergency whose time is just over: its id. */
  goesOn: { may: boolean; emergencyId: string | null };
}

/**
 * One admin can say whose a Mac is, and might name an account of their own, or a friend's. Where nobody is shown its key alone,
 * whom an admin has just named asks first for a day: meanwhile the person of before has heard of it by mail.
 */
const isNamedAlone = async (db: Db, { source, mac_id: macId, created_at: since }: Claim, at: number): Promise<boolean> =>
  source === 'admin' && at - since < day && (await disclosureRules(db, macId, { at, personId: null })).needs === 'second-person';

interface Seen {
  mac: Mac;
  claims: readonly Claim[];
}

/** Null where it is not this person's: then nothing else of it is looked at. */
async function seenBy(db: Db, person: Pick<Person, 'userName'>, macId: string): Promise<Seen | null> {
  const mac = await macById(db, macId);
  const claims = await claimsOf(db, macId);
  const owner = whose(claims);
  const name = sameName(person.userName);
  const isTheirs = owner.kind === 'one' ? owner.userName === name : owner.kind === 'two-claims' && owner.userNames.includes(name);
  return mac && isTheirs ? { mac, claims } : null;
}

async function describe({ backend, settings }: Ground, db: Db, person: Person, { mac, claims }: Seen, at: number): Promise<OwnMac> {
  const owner = whose(claims);
  const mine = owner.kind === 'one' ? owner.claims : [];
  const facts = lastFacts(mac);
  const rows = await rowsOf(db, mac);
  const custody = custodyFrom(custodyParts(backend), mac, rows, at);
  const held = rows.living.find((record) => record.state === 'held');
  const volume = mac.present_volume;
  const debts = volume === null ? [] : await openDebtsOf(db, mac.id, volume);
  const episode = volume === null ? [] : await episodeOf(db, mac.id, volume);
  const due = rotationDue(debts, episode, deadlineHours({ settings: backend.settings.keys }, mac), at);
  const standing = await standingOf(db, mac.id);
  const trust = await Promise.all(mine.map((claim) => isTrusted(db, mac, claim)));
  const by = encryptedBy(facts, rows.living.length > 0);
  const shown = rows.living.flatMap((record) => record.disclosed_at ?? []);
  const emergency = await emergencyFor(db, at, await tagsOf(db, mac.id), person.groups);
  const finishing = emergency ?? (await emergencyJustOver(db, at, mac.id, person.id));
  const [claim] = mine;
  const usual = selfServiceFor(settings, person.groups);
  const normally = usual === 'on' && claim && (await isNamedAlone(db, claim, at)) ? 'with-approval' : usual;
  const request = normally === 'with-approval' ? await presentRequest(db, mac.id, person.id, at) : null;
  const decideAs = (open: boolean): Decision =>
    decide({
      assigned: owner.kind === 'two-claims' ? 'two-claims' : 'you',
      standing,
      selfService: inEmergency(open, normally),
      managedLocalAdmin: settings.selfService.managedLocalAdmin,
      stoppedByAlarm: stopsSelfService(rows.alarms),
      checkedIn: mac.last_seen_at !== null && volume !== null,
      trusted: trust.includes(true),
      fileVault: facts?.fileVault.state ?? 'unknown',
      encryptedBy: by,
      custody: custody.state,
      request,
    });
  return {
    ...macToType(mac, facts),
    serial: mac.serial,
    model: facts?.model ?? null,
    chip: facts?.chip ?? null,
    lastSeenAt: mac.last_seen_at,
    fileVault: facts?.fileVault.state ?? 'unknown',
    fileVaultDeferred: facts?.fileVault.state === 'off' && facts.fileVault.deferredFor !== undefined,
    encryptedBy: by,
    custody: { state: custody.state, unopened: custody.unopened },
    provedAt: held?.proved_at ?? null,
    keys: {
      held: held !== undefined,
      refuted: (held?.refuted_at ?? null) !== null,
      heldSince: held?.received_at ?? null,
      candidates: rows.living.filter((record) => record.state === 'candidate').length,
      shownAt: shown.length === 0 ? null : Math.max(...shown),
    },
    rotation: {
      open: rows.open ? { id: rows.open.id, begunAt: rows.open.begun_at } : null,
      owed: due.owed,
      hold: due.hold,
      delay: due.owed ? await delayOf(db, mac.id, volume, at) : null,
    },
    standing,
    // Whoever says whose it is need not know the account: a list of lower rank may.
    account: claims.find((one) => one.user_name === claim?.user_name && one.account !== null)?.account ?? null,
    secureTokenUsers: facts?.secureTokenUsers ?? null,
    passwordChangedAt: facts?.passwordChangedAt ? Date.parse(facts.passwordChangedAt) : null,
    assignment: claim ? { source: claim.source, since: claim.created_at, by: claim.created_by } : null,
    certain: trust.includes(true),
    emergencyId: emergency?.id ?? null,
    asksFirst: normally === 'with-approval',
    decision: decideAs(emergency !== null),
    goesOn: { may: mayGoOn(decideAs(finishing !== null)), emergencyId: finishing?.id ?? null },
  };
}

const custodyParts = (backend: Backend) => ({ certificates: backend.escrowKeys.certificates, secrets: backend.secrets });

/** The Macs of this person, the one that was seen last first; those with two claims, this person's being one, are among them. */
export async function ownMacs(ground: Ground, person: Person, at: number): Promise<OwnMac[]> {
  const { db } = ground.backend.store;
  const macs: OwnMac[] = [];
  for (const macId of await macsClaimedFor(db, sameName(person.userName))) {
    const seen = await seenBy(db, person, macId);
    if (seen) macs.push(await describe(ground, db, person, seen, at));
  }
  return macs.toSorted((a, b) => (b.lastSeenAt ?? 0) - (a.lastSeenAt ?? 0) || (a.serial < b.serial ? -1 : 1));
}

/** Null for one that is not this person's, and for one that there is not. */
export async function ownMac(ground: Ground, person: Person, macId: string, at: number, db: Db = ground.backend.store.db): Promise<OwnMac | null> {
  const seen = await seenBy(db, person, macId);
  return seen ? describe(ground, db, person, seen, at) : null;
}

/**
 * The same question within the transaction of a disclosure (`Disclosing.before`): the world may have gone on since the page
 * was made. Throws where the answer is no longer *show*; an approval is spent on the episode that begins with this view.
 */
export async function checkAgain(ground: Ground, tx: Tx, person: Person, macId: string, at: number, wants: 'view' | 'more-time' = 'view'): Promise<OwnMac> {
  const seen = await seenBy(tx, person, macId);
  if (!seen) throw new Problem('NOT_FOUND', 'no such Mac of this person');
  const mac = await describe(ground, tx, person, seen, at);
  if (wants === 'more-time' && mac.goesOn.may) {
    const { emergencyId } = mac.goesOn;
    if (emergencyId === null && mac.asksFirst) await useApproval(tx, at, macId, person.id);
    return { ...mac, emergencyId };
  }
  if (mac.decision.may === 'not') throw new Problem('NOT_SHOWN', mac.decision.because);
  if (mac.decision.may === 'ask-first') throw new Problem('NOT_SHOWN', 'not approved');
  if (mac.emergencyId === null && mac.asksFirst) await useApproval(tx, at, macId, person.id);
  return mac;
}

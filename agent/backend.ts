import { Problem, type ProblemCode } from '../protocol/problems.ts';
import type { Connecting, World } from './check-in.ts';
import { type Enrolled, type EnrolOptions, enrol, type Identity, type JournalIdentity, loadIdentity, presentProfileDigest, renewalDue } from './identity.ts';
import { forgetOtherKeys } from './identity-keys.ts';
import { reckonServerTime } from './journal.ts';
import { openServer, type Server } from './server.ts';
import type { Ask } from './world.ts';

/** The backend, asked as this Mac. */
export interface Backend {
  ask: Ask;
  way: Identity['way'];
  enrolmentId: string | null;
  /** ISO 8601: the end of the certificate. */
  notAfter: string;
  sign(text: string): string;
  /** This identity was made in this run. */
  anew: boolean;
  /** After the first check-in with a renewed identity: only now the journal names it, and the old key goes. */
  confirm(): Promise<void>;
  close(): void;
}

const day = 24 * 60 * 60 * 1000;
/** With these the enrolment still stands, so the new key goes on with it. */
const goesOn: readonly ProblemCode[] = ['CERTIFICATE_EXPIRED', 'CERTIFICATE_REPLACED'];

/** Loads this Mac's identity; enrols where there is none that can be used; renews it in good time. */
export async function connect(world: World, it: Connecting): Promise<Backend> {
  const { settings, journal, standing, anew } = it;
  const journalIdentity = journal.value.identity;
  const load = { settings, disk: world.disk, secrets: world.secrets, journalIdentity, hardwareUuid: standing.hardwareUuid };
  const identity = await loadIdentity(load);
  if (identity?.way === 'files') {
    if (anew) throw new Problem('IDENTITY_FILE_INVALID', `the backend says ${anew}`);
    return backendOf(world, it, identity, false);
  }
  const continues = identity?.enrolmentId && (anew === null || goesOn.includes(anew)) ? { enrolmentId: identity.enrolmentId, identity } : null;
  if (!identity || anew) return enrolNow(world, it, continues);
  if (journalIdentity && !journal.value.rotation && it.managed && (await isRenewalDue(world, it, identity, journalIdentity))) {
    const renewed = await renewIfPossible(world, it, continues);
    if (renewed) return renewed;
  }
  return backendOf(world, it, identity, false);
}

async function isRenewalDue(world: World, it: Connecting, identity: Identity, journalIdentity: JournalIdentity): Promise<boolean> {
  // By the server's time where it is known: a Mac whose clock is wrong by a year would renew in every run.
  const now = reckonServerTime(it.journal.value, it.standing.boot, it.standing.uptimeSeconds) ?? world.now();
  if (renewalDue(identity, journalIdentity, now)) return true;
  // Looking into the keychain takes a command; once a day is soon enough for a certificate that MDM renews weeks ahead.
  const looked = it.journal.value.profileLookedAt ?? 0;
  if (journalIdentity.way !== 'profile' || Math.abs(world.now() - looked) < day) return false;
  it.journal.write({ profileLookedAt: world.now() });
  return renewalDue(identity, journalIdentity, now, await presentProfileDigest(world.runner, it.settings, world.now()).catch(() => null));
}

const enrolOptions = (world: World, it: Connecting, server: Server, continues: EnrolOptions['continues']): EnrolOptions => ({
  settings: it.settings,
  runner: world.runner,
  disk: world.disk,
  secrets: world.secrets,
  server,
  machine: it.standing,
  continues,
  present: it.journal.value.identity,
  now: world.now(),
});

async function enrolNow(world: World, it: Connecting, continues: EnrolOptions['continues']): Promise<Backend> {
  if (!it.managed) throw new Problem('IDENTITY_MISSING', 'and without managed settings nobody enrols anew');
  world.progress('enrolling with the backend');
  const enrolled = await enrolWith(world, it, continues).catch((cause: unknown) => {
    // An enrolment that cannot go on (ended, or unknown after a restore) begins anew.
    if (!continues || !(cause instanceof Problem) || cause.kind.status >= 500) throw cause;
    return enrolWith(world, it, null);
  });
  it.journal.write({ identity: enrolled.journal, profileLookedAt: world.now() });
  await forgetOtherKeys(world.disk, world.secrets, it.standing.hardwareUuid, enrolled.journal);
  world.log('enrolled', { enrolmentId: enrolled.journal.enrolmentId, way: enrolled.journal.way });
  return backendOf(world, it, enrolled.identity, true);
}

async function enrolWith(world: World, it: Connecting, continues: EnrolOptions['continues']): Promise<Enrolled> {
  const server = openServer({ settings: it.settings, identity: null, runner: world.runner, agentVersion: world.versions.agent, retries: { wait: world.wait } });
  try {
    return await enrol(enrolOptions(world, it, server, continues));
  } finally {
    server.close();
  }
}

/** A renewal that fails is tried again in the next run; the certificate has a third of its lifetime left for that. */
async function renewIfPossible(world: World, it: Connecting, continues: EnrolOptions['continues']): Promise<Backend | null> {
  try {
    const enrolled = await enrolWith(world, it, continues);
    return backendOf(world, it, enrolled.identity, true, async () => {
      it.journal.write({ identity: enrolled.journal, profileLookedAt: world.now() });
      await forgetOtherKeys(world.disk, world.secrets, it.standing.hardwareUuid, enrolled.journal);
      world.log('renewed', { enrolmentId: enrolled.journal.enrolmentId, notAfter: enrolled.journal.notAfter });
    });
  } catch (cause) {
    if (!(cause instanceof Problem)) throw cause;
    world.log('enrolment-failed', { code: cause.code, detail: cause.detail });
    return null;
  }
}

function backendOf(world: World, it: Connecting, identity: Identity, anew: boolean, confirm?: () => Promise<void>): Backend {
  const server = openServer({ settings: it.settings, identity, runner: world.runner, agentVersion: world.versions.agent, retries: { wait: world.wait } });
  let waiting = confirm;
  return {
    ask: server,
    way: identity.way,
    enrolmentId: identity.enrolmentId,
    notAfter: identity.notAfter.toISOString(),
    sign: identity.sign,
    anew,
    async confirm() {
      const act = waiting;
      waiting = undefined;
      await act?.();
    },
    close: () => server.close(),
  };
}

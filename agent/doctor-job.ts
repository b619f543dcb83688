import { verify, X509Certificate } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import type { Finished, World } from './check-in.ts';
import { type Identity, loadIdentity, trialText, trySigning, wayOf } from './identity.ts';
import { paths } from './paths.ts';
import type { Taken } from './requests.ts';
import type { Settings } from './settings.ts';
import type { Disk } from './world.ts';

/*
 * What only the job can tell: a Terminal has another keychain context and other privacy permissions than a daemon. Doctor
 * asks by a request of the kind `look`; the answer goes into the status file, free of secrets, so that it can be read later
 * and without sudo. Nothing is replaced, delivered or asked of a person for it.
 */

/** Whether a private key signs: tried with a text that proves nothing. */
export interface Signs {
  state: 'yes' | 'no' | 'not there' | 'not tried';
  why: string | null;
}

export interface JobSaw {
  /** ISO 8601, the Mac's clock. */
  at: string;
  /** An item of no value was written, read back and removed again; `asleep`: macOS answers nobody in dark wake. */
  keychain: 'works' | 'fails' | 'asleep';
  /** The key by which the backend knows this Mac, and the profile's, which renews it. Null where the settings name no way. */
  identity: { way: Identity['way']; own: Signs; profile: Signs | null } | null;
  /** `yes`: the backend took this Mac for the one that it is. Otherwise the code of what came between. */
  accepted: string;
  /** What macOS refused to this job, and how. What is not there is not in it. */
  refused: { path: string; code: 'EPERM' | 'EACCES' }[];
}

/** A run for doctor alone asks, and acts on nothing. */
export const onlyLooks = (requests: readonly Pick<Taken, 'kind'>[]): boolean => requests.length > 0 && requests.every(({ kind }) => kind === 'look');

export async function lookFromJob(world: World, finished: Finished): Promise<JobSaw> {
  const asleep = finished.observed?.facts.darkWake === 'yes';
  const works = !asleep && (await world.keys.roundTrip(`doctor:${finished.standing?.hardwareUuid ?? 'unknown'}`));
  return {
    at: new Date(world.now()).toISOString(),
    keychain: asleep ? 'asleep' : works ? 'works' : 'fails',
    identity: await seeIdentity(world, finished, asleep),
    accepted: finished.reply ? 'yes' : asleep ? 'asleep' : (finished.code ?? 'not asked'),
    refused: seeRefused(world.disk),
  };
}

async function seeIdentity(world: World, finished: Finished, asleep: boolean): Promise<JobSaw['identity']> {
  const settings = finished.read?.settings;
  if (!settings) return null;
  const byProfile = wayOf(settings) === 'profile';
  // Settings that are not managed have no ticket any more; who has enrolled needs none.
  const way = wayOf(settings) ?? finished.journal?.value.identity?.way ?? null;
  if (way === null) return null;
  if (asleep) return { way, own: notTried('the Mac is in dark wake'), profile: byProfile ? notTried('the Mac is in dark wake') : null };
  const own = finished.journal ? await signs(() => tryOwn(world, finished, settings)) : notTried('the journal cannot be used');
  // Every call of `security` has its time limit, and a dialog that comes up in a daemon is waited for no longer than that.
  const profile = byProfile ? await signs(() => trySigning(world.runner, settings, world.now())) : null;
  return { way, own, profile };
}

const notTried = (why: string): Signs => ({ state: 'not tried', why });
class NotThere extends Error {}

async function tryOwn(world: World, { journal, standing }: Finished, settings: Settings): Promise<void> {
  const load = { settings, disk: world.disk, secrets: world.secrets, journalIdentity: journal?.value.identity ?? null };
  const identity = await loadIdentity({ ...load, hardwareUuid: standing?.hardwareUuid ?? '' });
  if (!identity) throw new NotThere(load.journalIdentity ? 'its private key is gone' : 'this Mac has not enrolled yet');
  const fits = verify(
    'sha256',
    Buffer.from(trialText),
    new X509Certificate(identity.certificatePem).publicKey,
    Buffer.from(identity.sign(trialText), 'base64'),
  );
  if (!fits) throw new Problem('IDENTITY_NOT_USABLE', 'what it signs does not fit its certificate');
}

async function signs(attempt: () => Promise<void>): Promise<Signs> {
  try {
    await attempt();
    return { state: 'yes', why: null };
  } catch (cause) {
    if (cause instanceof NotThere) return { state: 'not there', why: cause.message };
    if (!(cause instanceof Problem)) return { state: 'no', why: 'an unforeseen error' };
    return { state: cause.code === 'IDENTITY_MISSING' ? 'not there' : 'no', why: `${cause.message} (${cause.code})`.slice(0, 300) };
  }
}

/** Root is refused nothing by ownership and mode, so EPERM is macOS's privacy protection (TCC); EACCES would be a network volume, or a sandbox. */
function seeRefused(disk: Disk): JobSaw['refused'] {
  return [paths.escrowFile, paths.settings, paths.state, paths.journal].flatMap((path) => {
    try {
      if (disk.facts(path)?.regular) disk.read(path, mostBytes);
      return [];
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      return code === 'EPERM' || code === 'EACCES' ? [{ path, code }] : [];
    }
  });
}

const mostBytes = 4 * 1024 * 1024;

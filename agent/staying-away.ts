import type { Problem, ProblemCode } from '../protocol/problems.ts';
import type { Finished, World } from './check-in.ts';
import { afterRefusal, heldBack, keepComing, placeOf, readComing, spreadWait, urgencyOf } from './coming.ts';
import type { Journal } from './journal.ts';
import { queueHasMore, type Taken } from './requests.ts';

/** What the backend says to a Mac that it knows; whatever stands in its place is another matter. */
const refusals: readonly ProblemCode[] = ['SERVER_BUSY', 'TOO_MANY_REQUESTS', 'SERVER_STOPPING', 'STORE_FAILED', 'SERVER_UNREACHABLE'];

/** The run ended because the backend wants to be left alone: the next ones know until when. */
export function noteRefusal(world: World, { code, retryAfterSeconds }: Problem): void {
  if (retryAfterSeconds === undefined || !refusals.includes(code)) return;
  const before = readComing(world.disk);
  keepComing(world.disk, before, afterRefusal(before, world.now(), retryAfterSeconds, world.random()));
}

interface Staying {
  hardwareUuid: string;
  journal: Readonly<Journal>;
  requests: readonly Taken[];
  finished: Finished;
  /** It has waited for its place already. */
  waited: boolean;
}

/** Seconds after which what was observed is old: power, who is logged in, whether the Mac is awake. */
const old = 60;

/**
 * `yes`: this run leaves the backend alone, because it was told so, or to stop. Otherwise it waits for its own place in the fleet
 * first, and for no longer than until somebody asks something of the job. `later`: that took so long, or the Mac slept meanwhile,
 * that everything has to be observed anew before anything is decided.
 */
export async function staysAway(world: World, { hardwareUuid, journal, requests, finished, waited }: Staying): Promise<'yes' | 'no' | 'later'> {
  const urgency = urgencyOf(journal, requests.length > 0);
  const coming = readComing(world.disk);
  const seconds = heldBack(coming, urgency, world.now());
  if (seconds > 0) {
    finished.did = `nothing, because the backend asked to be left alone for ${Math.ceil(seconds / 60)} more min`;
    world.log('nothing-to-do', { because: 'told to come later', seconds });
    return 'yes';
  }
  if (waited) return 'no';
  const began = world.monotonic();
  await rest(world, spreadWait(coming, urgency, placeOf(hardwareUuid), world.random()));
  if (!world.stopping()) return world.monotonic() - began < old ? 'no' : 'later';
  finished.did = 'nothing, because the agent was told to stop';
  return 'yes';
}

/** In steps of a second: a request or a SIGTERM ends it. */
async function rest(world: Pick<World, 'wait' | 'stopping' | 'disk'>, seconds: number): Promise<void> {
  for (let left = seconds; left > 0 && !world.stopping() && !queueHasMore(world.disk); left -= 1) await world.wait(1000);
}

import type { CheckInReply } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { Finished, World } from './check-in.ts';
import type { OpenRun } from './conversation.ts';
import { paths } from './paths.ts';
import { queueHasMore, type Taken } from './requests.ts';
import { noteRefusal } from './staying-away.ts';

/*
 * The end of a run that has nothing left to do: where the backend keeps answers and this Mac is set to stay, or somebody at its
 * terminal waits for something that only the backend can let go, a check-in waits for news. Whatever comes is done by a run of
 * its own, which observes everything anew: facts of before a wait decide nothing.
 */

/** Seconds from the start of the process: launchd starts the next run at the end of its own 900. */
const longestStay = 14 * 60;
/** Seconds for which somebody at the terminal waits, beside the run itself. */
const longestForPerson = 55;

/** Whether the next run is due at once. */
export async function waitForNews(world: World, run: OpenRun, finished: Finished, requests: readonly Taken[]): Promise<boolean> {
  const began = world.monotonic();
  const file = escrowFileNow(world);
  const asks = requests.some(({ kind }) => kind === 'rotate') && !finished.rotated;
  for (;;) {
    const { reply } = finished;
    const seconds = reply === null ? 0 : secondsToWait(reply, asks, run.settings.waitForOrders);
    const most = asks ? began + longestForPerson : longestStay;
    const left = Math.floor(most - world.monotonic());
    if (seconds < 1 || left < 1 || finished.decision?.do !== 'nothing' || world.stopping() || queueHasMore(world.disk)) return false;
    if (requests.length === 0) world.staying(finished);
    else world.progress('waiting for the backend to let it go on');
    const cut = cutShort(() => world.stopping() || queueHasMore(world.disk) || escrowFileNow(world) !== file);
    try {
      const next = await run.again(Math.min(seconds, left), cut.signal);
      // launchd starts no second job because of a file while this one stays.
      if (isNews(next) || escrowFileNow(world) !== file) return true;
    } catch (cause) {
      // A request is taken by the next run, which launchd starts for it.
      if (cut.signal.aborted) return escrowFileNow(world) !== file && !world.stopping();
      // The run itself ended well, and the next one says what is wrong.
      if (!(cause instanceof Problem)) throw cause;
      world.log('offline', { code: cause.code, detail: cause.detail });
      noteRefusal(world, cause);
      return false;
    } finally {
      cut.end();
    }
  }
}

/** Milliseconds between two looks at whether somebody at this Mac has something for the job. */
const lookEvery = 1000;

/** The answer is the backend's, and may come in a minute: what happens on this Mac meanwhile does not wait for it. */
function cutShort(isDue: () => boolean): { signal: AbortSignal; end(): void } {
  const cutting = new AbortController();
  const look = setInterval(() => isDue() && cutting.abort(), lookEvery);
  return { signal: cutting.signal, end: () => clearInterval(look) };
}

function escrowFileNow({ disk }: World): string {
  const facts = disk.facts(paths.escrowFile);
  return facts ? `${facts.size} ${facts.modifiedMs}` : 'none';
}

function secondsToWait(reply: CheckInReply, asks: boolean, stays: boolean): number {
  const { waitSeconds = 0, nextCheckInSeconds, withheld, hold } = reply;
  // What is there already waits for this Mac, and not for the backend.
  if (hasSomething(reply)) return 0;
  const isKeptBack = asks && ((withheld ?? null) !== null || hold !== null);
  // A policy or an order whose time comes within this wait, and not a quarter of an hour later.
  return stays || isKeptBack || nextCheckInSeconds <= waitSeconds ? waitSeconds : 0;
}

const hasSomething = ({ debts, hold, proofOrders, wanted }: CheckInReply): boolean =>
  (debts.length > 0 && hold === null) || proofOrders.length > 0 || wanted.length > 0;

/** One second: there is something, and asking again brings it. */
const isNews = (reply: CheckInReply): boolean => hasSomething(reply) || reply.nextCheckInSeconds <= 1;

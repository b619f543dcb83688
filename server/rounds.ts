import { Problem } from '../protocol/problems.ts';
import type { Log } from './log.ts';
import type { Store } from './parts.ts';

/** Work that comes round, as whoever watches the backend sees it. */
export interface Round {
  name: string;
  /** Milliseconds between the end of one turn and the next. */
  every: number;
  /** When its last turn ended well, by `performance.now()`; null before the first one. */
  doneAt: number | null;
  beganAt: number;
}

export interface Rounds {
  every(milliseconds: number, name: string, work: () => Promise<void>): void;
  all(): readonly Readonly<Round>[];
  stop(): Promise<void>;
}

/** What each backend looks after by itself, however many there are: its own files, and what it does with those who ask it. */
const ofEachBackend: readonly string[] = ['tls', 'acme', 'shedding', 'fleet-size', 'clock'];

/** One of a kind at a time, in all backends on one database; a failure is logged and tried again at its next turn. */
export function createRounds(log: Log, alone: Store['alone'] | null = null): Rounds {
  const running = new Set<Promise<void>>();
  const handles = new Map<string, NodeJS.Timeout>();
  const rounds = new Map<string, Round>();
  let stopped = false;

  function turn(round: Round, work: () => Promise<void>): void {
    if (stopped) return;
    const { name, every } = round;
    // What another backend is doing is done.
    const run = (alone && !ofEachBackend.includes(name) ? alone(name, work) : work())
      .then(() => {
        round.doneAt = performance.now();
      })
      .catch((error: unknown) =>
        log.error('timers-failed', { timer: name, code: error instanceof Problem ? error.code : error instanceof Error ? error.name : 'unknown' }),
      )
      .then(() => {
        running.delete(run);
        if (!stopped)
          handles.set(
            name,
            setTimeout(() => turn(round, work), every),
          );
      });
    running.add(run);
  }
  return {
    every(milliseconds, name, work) {
      const round = { name, every: milliseconds, doneAt: null, beganAt: performance.now() };
      rounds.set(name, round);
      turn(round, work);
    },
    all: () => [...rounds.values()],
    async stop() {
      stopped = true;
      for (const handle of handles.values()) clearTimeout(handle);
      await Promise.all(running);
    },
  };
}

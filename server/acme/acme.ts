import { hostname } from 'node:os';
import type { FolderPaths } from '../data-folder.ts';
import type { Log } from '../log.ts';
import { type Ground, sayAnew } from '../operator-alarms.ts';
import type { ServerSettings } from '../settings.ts';
import { type Challenges, createChallenges } from './challenges.ts';
import { createAcmeRenewal } from './renewal.ts';

/** The certificate by ACME, while a backend runs. `tried`: what is to look at its files then. */
export interface Acme {
  challenges: Challenges;
  /** Tries where it is time, and tells of what stands in the way. `atOnce`: although a failure said to wait. */
  look(atOnce?: boolean): Promise<void>;
  close(): void;
}

export function createAcme(parts: { paths: FolderPaths; settings: ServerSettings; ground: Ground; log: Log; tried: () => Promise<unknown> }): Acme {
  const { paths, settings, ground, log, tried } = parts;
  const { now } = ground.clock;
  const challenges = createChallenges(log, now);
  const renewal = createAcmeRenewal({ paths, settings, challenges, now, log });
  let looking: Promise<void> | null = null;
  function look(atOnce = false): Promise<void> {
    // One at a time: whoever asks while one is under way gets its end, and is not put off by what that one was told to wait for.
    if (looking) return atOnce ? looking.catch(() => undefined).then(() => look(true)) : looking;
    looking = renewal
      .look({ atOnce })
      .then(async (because) => {
        await sayAnew(ground, 'ACME_FAILS', because === null ? [] : [because], hostname());
        await tried();
      })
      .finally(() => {
        looking = null;
      });
    return looking;
  }
  return {
    challenges,
    look,
    close: renewal.close,
  };
}

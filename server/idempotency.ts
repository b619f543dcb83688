import { createHash } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { canonicalJson } from './audit.ts';
import type { Backend } from './backend.ts';
import { forgetOldRepeatables, forgetRepeatable, insertRepeatable, type RepeatableRow, repeatableOf, settleRepeatable } from './store/idempotency.ts';

/**
 * A request that may come twice, because its sender did not hear the answer: done once, and answered twice with the same words. Its
 * key is noted before it is done and its reply after it. Between the two the process may die: then nobody knows whether it was
 * done, and that is what a repeat is told.
 */
export interface Repeatable {
  /** Whose key it is: two admins may choose the same. */
  owner: string;
  key: string;
  /** What was asked: operation and input. */
  request: unknown;
  /** What it answers is shown once and never kept. */
  shownOnce: boolean;
}

export interface Repeated<T> {
  reply: T;
  repeated: boolean;
}

const keepMs = 24 * 60 * 60 * 1000;
const pattern = /^[!-~]{1,255}$/;

export function createIdempotency({ store, clock }: Pick<Backend, 'store' | 'clock'>) {
  /** What an earlier request with the same key says about this one. */
  function settled<T>(before: RepeatableRow, digest: string): Repeated<T> {
    if (before.digest !== digest) throw new Problem('IDEMPOTENCY_KEY_REUSED');
    if (before.state === 'shown') throw new Problem('ALREADY_SHOWN');
    if (before.state !== 'done' || before.reply === null) throw new Problem('IDEMPOTENCY_UNSETTLED');
    return { reply: JSON.parse(before.reply) as T, repeated: true };
  }

  return {
    async once<T>({ owner, key, request, shownOnce }: Repeatable, act: () => Promise<T>): Promise<Repeated<T>> {
      if (!pattern.test(key)) throw new Problem('MESSAGE_INVALID', 'Idempotency-Key: 1 to 255 signs without spaces');
      const digest = createHash('sha256').update(canonicalJson(request)).digest('hex');
      const begun = await store.write(async (tx) => {
        const at = await clock.persist(tx);
        const before = await repeatableOf(tx, owner, key);
        if (before && before.at > at - keepMs) return before;
        if (before) await forgetRepeatable(tx, owner, key);
        await insertRepeatable(tx, { owner, key, digest, at, state: 'begun', reply: null });
        return null;
      });
      if (begun) return settled<T>(begun, digest);
      let reply: T;
      try {
        reply = await act();
      } catch (error) {
        // What was refused changed nothing, and may be tried again. Of any other end nobody knows.
        if (error instanceof Problem && error.kind.status < 500) await store.write((tx) => forgetRepeatable(tx, owner, key));
        throw error;
      }
      const kept = shownOnce ? ({ state: 'shown', reply: null } as const) : ({ state: 'done', reply: JSON.stringify(reply ?? null) } as const);
      await store.write((tx) => settleRepeatable(tx, owner, key, kept));
      return { reply, repeated: false };
    },
    forgetOld: () => store.write(async (tx) => forgetOldRepeatables(tx, (await clock.persist(tx)) - keepMs)),
  };
}

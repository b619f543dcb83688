import type { Problem } from '../protocol/problems.ts';

export interface Retries {
  tries: number;
  /** Seconds before the second try, doubled before each further one; the wait is a random part of it (full jitter). */
  firstSeconds: number;
  /** A `Retry-After` that is longer than this is left to the next check-in. */
  mostSeconds: number;
  /** For what must not wait for another run: a longer `Retry-After` is cut to `mostSeconds`. */
  patient?: boolean;
  wait(milliseconds: number): Promise<void>;
  /** 0 to 1. */
  random(): number;
}

export const usualRetries: Retries = {
  tries: 3,
  firstSeconds: 1,
  mostSeconds: 60,
  wait: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  random: Math.random,
};

/** For a key that only this Mac has, and for the report of a used one: within nine minutes six tries, then the next run. */
export const patientRetries = { tries: 6, patient: true } as const;

/** What a reset instead of a handshake counts as: a backend that can say nothing more than that. */
export const resetAtDoorSeconds = 300;

/** A failure that may be gone in a moment. Everything else is not repeated. */
export class Passing extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** Every call to the backend may be repeated with the same bytes: it is known again by its id. */
export async function retry<T>(act: () => Promise<T>, retries: Retries): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof Passing)) throw error;
      const after = error.problem.retryAfterSeconds;
      if (tried >= retries.tries || ((after ?? 0) > retries.mostSeconds && !retries.patient)) throw error.problem;
      // At least what the backend asks for, and spread: 20,000 Macs have all been told the same.
      const spread = retries.random() * retries.firstSeconds * 2 ** (tried - 1);
      await retries.wait((Math.min(after ?? 0, retries.mostSeconds) + spread) * 1000);
    }
  }
}

/** Seconds of a `Retry-After` header, as a number or as a date by the backend's own clock. */
export function readRetryAfter(value: string | undefined, date: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,6}$/.test(value.trim())) return Number(value);
  const seconds = (Date.parse(value) - Date.parse(date ?? '')) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : undefined;
}

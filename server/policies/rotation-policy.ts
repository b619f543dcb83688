import { createHash } from 'node:crypto';
import { z } from 'zod';
import { day } from '../custody-parts.ts';
import { whole } from '../people-settings.ts';
import { quietHours } from './quiet-hours.ts';

/** What may have a key replaced without anybody asking. */
export const rotationEvents = ['user-left', 'mac-lost'] as const;

/**
 * The section `rotation` of a policy. That a key which was shown or used is replaced is no choice: a policy may only have that
 * wait. By age nothing is replaced unless a policy says so.
 */
export const rotationPolicy = z.strictObject({
  afterDisclosureMinutes: whole(0, 10_080)
    .default(0)
    .describe('minutes from the first time that a key is shown until it is replaced, at least; looking again does not put it off, and a hold may last longer'),
  everyDays: whole(30, 3650).nullable().default(null).describe('days that a key may be in use; null: age is no reason'),
  spreadDays: whole(1, 365)
    .nullable()
    .default(null)
    .describe('days over which those that are due are spread, each Mac always on the same part of them; null: a quarter of everyDays'),
  perHour: whole(1, 5000).default(60).describe('keys that are replaced without anybody asking in an hour, at most'),
  quietHours: quietHours
    .nullable()
    .default(null)
    .describe('when nothing is replaced by age or for an event; what is owed because a key was shown does not wait for it'),
  onEvents: z
    .array(z.enum(rotationEvents))
    .max(rotationEvents.length)
    .default([])
    .describe('user-left: the account of the Mac’s user was disabled, or a list no longer names them; mac-lost: an admin said so'),
});
export type RotationPolicy = z.infer<typeof rotationPolicy>;

/** Where no policy says anything. */
export const plainRotation: RotationPolicy = rotationPolicy.parse({});

/** Between 0 and 1, always the same for one Mac. */
export const shareOf = (macId: string): number => createHash('sha256').update(macId).digest().readUInt32BE(0) / 2 ** 32;

/**
 * When the key of a Mac is due by its age, or null where age is no reason. No key is in use for longer than `everyDays`; those of
 * one day are not due on one day, and those that are older already when the rule begins are spread over the days after it.
 */
export function dueByAge(rules: Pick<RotationPolicy, 'everyDays' | 'spreadDays'>, since: number, key: { macId: string; from: number }): number | null {
  if (rules.everyDays === null) return null;
  const spread = Math.min(rules.spreadDays ?? Math.ceil(rules.everyDays / 4), rules.everyDays - 1) * day;
  const share = shareOf(key.macId) * spread;
  return Math.round(Math.max(key.from + rules.everyDays * day - share, since + share));
}

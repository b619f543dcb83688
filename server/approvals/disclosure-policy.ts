import { z } from 'zod';
import { whole } from '../people-settings.ts';

const needs = z.enum(['none', 'reason', 'second-person']);

/**
 * The section `disclosure` of a policy: what an admin needs to be shown the key of a Mac. Whatever it says, every disclosure by
 * an admin has a reason in the record: `none` only asks for no more than one word.
 */
export const disclosurePolicy = z.strictObject({
  needs: needs
    .default('reason')
    .describe('none: a reason of any length; reason: one that says something (ten signs or more); second-person: others have to agree first'),
  quorum: whole(1, 3).default(1).describe('how many others have to agree, where somebody has to'),
  grantMinutes: whole(5, 1440).default(30).describe('minutes for which an agreement is good, from the last vote'),
  views: z.enum(['once', 'within-time']).default('within-time').describe('how often an agreement may be used while it is good'),
  requestHours: whole(1, 72).default(4).describe('hours until a request ends that nobody decided'),
  service: z.enum(['never', 'allowed']).default('never').describe('whether tokens that stand for a program may be shown a key'),
  breakGlass: z.boolean().default(false).describe('whether an admin may go first where others would have to agree; they look at it afterwards'),
  reviewHours: whole(1, 168).default(24).describe('hours in which a disclosure by break glass has to be looked at'),
  assisted: z
    .enum(['off', 'on', 'two-people'])
    .default('on')
    .describe('codes that the desk makes for somebody who cannot sign in; two-people: a second one confirms each, as always where needs is second-person'),
  historyNeeds: needs.default('reason').describe('the same for keys that were replaced; where needs asks for more, that counts'),
  viewsPerHour: whole(1, 200).default(20).describe('keys that one admin is shown in an hour; beyond it an alarm, and none'),
});
export type DisclosurePolicy = z.infer<typeof disclosurePolicy>;

/** Where no policy says anything. */
export const plainDisclosure: DisclosurePolicy = disclosurePolicy.parse({});

/** A code is a way to the key like any other: where nobody is shown one alone, nobody makes a code alone. */
export const assistedOf = ({ assisted, needs: asked }: DisclosurePolicy): DisclosurePolicy['assisted'] =>
  assisted === 'on' && asked === 'second-person' ? 'two-people' : assisted;

const strictness = needs.options;

/** What has to be asked for this key: of the history at least what the present one needs, for an old one may yet open the Mac. */
export const needsOf = ({ needs: asked, historyNeeds }: DisclosurePolicy, history: boolean): DisclosurePolicy['needs'] =>
  history && strictness.indexOf(historyNeeds) > strictness.indexOf(asked) ? historyNeeds : asked;

/** Signs of a reason that says something. */
const leastReason = 10;

/** Whether the words are a reason, for what has to be asked. */
export const isReason = (wanted: DisclosurePolicy['needs'], words: string): boolean => words.trim().length >= (wanted === 'none' ? 1 : leastReason);

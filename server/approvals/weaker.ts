import { assistedOf, type DisclosurePolicy, needsOf } from './disclosure-policy.ts';

/*
 * Which rules of disclosing are weaker than others, and what is the stricter of two. Only rules that ask for a second person are
 * kept from one person alone: where nobody asks for two, one may change them as they like.
 */

/** Whether these rules want two people for anything. */
export const asksTwo = (rules: DisclosurePolicy): boolean => needsOf(rules, true) === 'second-person' || assistedOf(rules) === 'two-people';

const assisting = ['on', 'two-people', 'off'] as const;
const needing = ['none', 'reason', 'second-person'] as const;
/** Of each setting a number: the larger, the stricter. How long a request may wait for an answer lets nobody in. */
const strictness: Readonly<Record<string, (rules: DisclosurePolicy) => number>> = {
  needs: ({ needs }) => needing.indexOf(needs),
  quorum: ({ quorum }) => quorum,
  grantMinutes: ({ grantMinutes }) => -grantMinutes,
  views: ({ views }) => (views === 'once' ? 1 : 0),
  service: ({ service }) => (service === 'never' ? 1 : 0),
  breakGlass: ({ breakGlass }) => (breakGlass ? 0 : 1),
  reviewHours: ({ reviewHours, breakGlass }) => (breakGlass ? -reviewHours : 0),
  assisted: (rules) => assisting.indexOf(assistedOf(rules)),
  historyNeeds: (rules) => needing.indexOf(needsOf(rules, true)),
  viewsPerHour: ({ viewsPerHour }) => -viewsPerHour,
};

/** What of it shows keys more easily than before, by name. `no second person`: these rules ask for none at all any more. */
export function weakerIn(now: DisclosurePolicy, before: DisclosurePolicy): string[] {
  const fields = Object.entries(strictness).flatMap(([name, of]) => (of(now) < of(before) ? [name] : []));
  return fields.length === 0 && asksTwo(before) && !asksTwo(now) ? ['no second person'] : fields;
}

/** Whether two people have to want it that `now` takes the place of `before`. */
export const needsTwoToBecome = (now: DisclosurePolicy, before: DisclosurePolicy): boolean => asksTwo(before) && weakerIn(now, before).length > 0;

const least = (values: readonly number[]): number => Math.min(...values);
const strictestOf = <T extends string>(order: readonly T[], values: readonly T[]): T =>
  order[Math.max(...values.map((value) => order.indexOf(value)))] ?? (order[0] as T);

/** All of them hold. What only says how two people agree is of those that ask for two. */
export function strictest(all: readonly [DisclosurePolicy, ...DisclosurePolicy[]]): DisclosurePolicy {
  const [first] = all;
  if (all.length === 1) return first;
  const two = all.filter(asksTwo);
  const asking = two.length > 0 ? two : all;
  return {
    needs: strictestOf(
      needing,
      all.map(({ needs }) => needs),
    ),
    quorum: Math.max(...asking.map(({ quorum }) => quorum)),
    grantMinutes: least(asking.map(({ grantMinutes }) => grantMinutes)),
    views: asking.some(({ views }) => views === 'once') ? 'once' : 'within-time',
    requestHours: least(asking.map(({ requestHours }) => requestHours)),
    service: all.every(({ service }) => service === 'allowed') ? 'allowed' : 'never',
    breakGlass: asking.every(({ breakGlass }) => breakGlass),
    reviewHours: least(asking.map(({ reviewHours }) => reviewHours)),
    assisted: strictestOf(assisting, all.map(assistedOf)),
    historyNeeds: strictestOf(
      needing,
      all.map((rules) => needsOf(rules, true)),
    ),
    viewsPerHour: least(all.map(({ viewsPerHour }) => viewsPerHour)),
  };
}

/** A policy as far as it says something of disclosing; in order of rank in a list. */
export interface Saying {
  tags: readonly string[] | null;
  rules: DisclosurePolicy;
}

/** For each policy: the tags of those that count before it; null where one of them is for all, and it is never reached. */
function before(policies: readonly Saying[]): (readonly string[] | null)[] {
  const taken: string[] = [];
  let isOver = false;
  return policies.map(({ tags }) => {
    const here = isOver ? null : [...taken];
    if (tags === null) isOver = true;
    else taken.push(...tags);
    return here;
  });
}

/**
 * Whether there may be a Mac, with whichever tags, for which policies as they would be are weaker than those in force where they
 * ask for two. Exactly: some set of tags has the one policy now and would have the other. `plain`: where none says anything.
 */
export function whereWeaker(inForce: readonly Saying[], drafted: readonly Saying[], plain: DisclosurePolicy): string[] {
  const [now, then] = [
    [...inForce, { tags: null, rules: plain }],
    [...drafted, { tags: null, rules: plain }],
  ];
  const [beforeNow, beforeThen] = [before(now), before(then)];
  const found = new Set<string>();
  for (const [i, old] of now.entries()) {
    if (!asksTwo(old.rules)) continue;
    for (const [j, other] of then.entries()) {
      const [first, second] = [beforeNow[i], beforeThen[j]];
      if (!first || !second) continue;
      const isReached = ({ tags }: Saying): boolean => tags === null || tags.some((tag) => !first.includes(tag) && !second.includes(tag));
      if (isReached(old) && isReached(other)) for (const name of weakerIn(other.rules, old.rules)) found.add(name);
    }
  }
  return [...found];
}

import type { Mutation } from './mutations.ts';

/* What the courses through the portal have to notice, each broken once. `npm run mutations` does it in a copy of the tree. */

const file = 'test/portal-courses.test.ts';

export const portalMutations: readonly Mutation[] = [
  {
    breaks: 'portal: a form is not spent by the view that it asks for',
    file: 'portal/key-page.ts',
    from: '    await spendForm(tx, visit, at);\n',
    to: '',
    test: { file, name: 'a form shows a key once, however often it is sent' },
  },
  {
    breaks: 'portal: a view makes no hold',
    file: 'server/rotation-due.ts',
    from: 'return now < until ?',
    to: 'return now < 0 ?',
    test: { file, name: 'no key is replaced during the hold, and the next one is there after it' },
  },
  {
    breaks: 'portal: a view owes no replacement',
    file: 'server/disclosures.ts',
    from: "  await oweRotation(tx, at, { id, macId: mac.id, volume, because: 'disclosed', recordId: record.id, actor: 'server' });\n",
    to: '',
    test: { file, name: 'no key is replaced during the hold, and the next one is there after it' },
  },
  {
    breaks: 'portal: not me leaves the sessions',
    file: 'portal/not-me.ts',
    from: "await endSessionsOf(tx, person.id, 'not-me', at)",
    to: "await endSessionsOf(tx, 'nobody', 'not-me', at)",
    test: { file, name: 'not me ends every session, ends the hold, orders, and no key is shown until it was judged' },
  },
  {
    breaks: 'portal: an alarm does not keep the key',
    file: 'portal/may-show.ts',
    from: "  if (facts.stoppedByAlarm) return 'alarm';\n",
    to: '',
    test: { file, name: 'not me ends every session, ends the hold, orders, and no key is shown until it was judged' },
  },
  {
    breaks: 'portal: an approval is good for ever',
    file: 'server/key-requests.ts',
    from: "const isUsed = row.state === 'approved' &&",
    to: "const isUsed = row.state === 'refused' &&",
    test: { file, name: 'an approval is for one time of being locked out' },
  },
  {
    breaks: 'portal: more time at any time',
    file: 'portal/episodes.ts',
    from: 'const moreTimeGrace = minute;',
    to: 'const moreTimeGrace = hour;',
    test: { file, name: 'more time is not given long after the end of a view' },
  },
  {
    breaks: 'portal: one view more than the limit',
    file: 'portal/episodes.ts',
    from: 'at - 24 * hour)) >= viewsPerPerson',
    to: 'at - 24 * hour)) > viewsPerPerson',
    test: { file, name: 'beyond the limit of a person nothing is shown' },
  },
  {
    breaks: 'portal: a Mac is everybody’s',
    file: 'portal/own-mac.ts',
    from: 'owner.userName === name',
    to: "owner.userName !== ''",
    test: { file, name: 'a Mac goes to somebody else, and with it whatever its first person could see' },
  },
  {
    breaks: 'portal: a key that did not open counts as shown',
    file: 'server/disclosures.ts',
    from: '      await markNotShown(tx, shown.disclosureId);\n',
    to: '',
    test: { file, name: 'an approval is not spent by a key that did not open' },
  },
];

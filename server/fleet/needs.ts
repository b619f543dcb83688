/**
 * What needs a person, the worst first: in words for whoever looks at the first page in the morning. `next` says what to do.
 * A Mac may need several; its row in a list shows the worst.
 */
export const needs = {
  lost: {
    says: 'no key that is here opens this Mac',
    next: 'sign in as a user with a secure token and let the agent make a new key: `sudo sparekey adopt` on the Mac',
  },
  identity: { says: 'its identity is in question', next: 'compare both machines, then judge the alarm' },
  refused: {
    says: 'a person says that its key was refused',
    next: 'help them with the other keys of this Mac, then order a proof once they are back in',
  },
  doubtful: { says: 'nobody knows which key opens it', next: 'wait for its proof, or order one; the page of the Mac says what stands in the way' },
  disclosed: { says: 'its key was shown and has not been replaced', next: 'order the replacement, and see that the Mac comes online' },
  replacing: { says: 'a replacement takes too long', next: 'see on its page what it waits for; it has to be on, online and signed in' },
  foreign: { says: 'its new keys go to somebody else', next: 'give it our escrow profile, or take the other one away' },
  'no-key': { says: 'nobody has its key', next: 'do what its page says: most often somebody has to sign in there once' },
  fight: { says: 'two programs replace its key', next: 'decide which one does, and switch off the other' },
  alarm: { says: 'an alarm waits', next: 'read it, then judge it' },
  unseen: { says: 'the MDM sees it, and we do not', next: 'see whether the agent is installed and running: `sparekey status` on the Mac' },
} as const satisfies Record<string, { says: string; next: string }>;

export type NeedKind = keyof typeof needs;
export const needKinds = Object.keys(needs) as [NeedKind, ...NeedKind[]];
/** 1 is the worst; 99 where nothing is needed. */
export const needRank = (kind: string): number => (Object.hasOwn(needs, kind) ? needKinds.indexOf(kind as NeedKind) + 1 : 99);

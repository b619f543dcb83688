// In which order Macs go over: first a few of every kind, then where nothing can go wrong, last where something has to be done.

import type { Judgement } from './judge.ts';
import type { CensusMac } from './line.ts';

export type RingName = 'pilot' | 'ours-already' | 'new-key-at-once' | 'one-ordered-rotation' | 'after-repair' | 'later';

export const ringOrder: readonly { name: RingName; title: string; why: string }[] = [
  { name: 'pilot', title: 'Pilot', why: 'one Mac of each build of macOS and kind of processor: what a build does is learned here' },
  { name: 'ours-already', title: 'Ours already', why: 'our payload is there; only the agent is missing' },
  { name: 'new-key-at-once', title: 'macOS makes the key', why: 'macOS 26 or newer with a Bootstrap Token: a new key comes with the payload' },
  { name: 'one-ordered-rotation', title: 'One ordered rotation', why: 'the imported and proved key authorizes one rotation after the payload came' },
  { name: 'after-repair', title: 'After something was settled', why: 'each has a next step of its own' },
  { name: 'later', title: 'Cannot come yet', why: 'nothing of ours works there before its next step is done' },
];

const mostPilots = 20;

/** The ring of each, in their order. */
export function ringsOf(macs: readonly { mac: CensusMac; judgement: Judgement }[]): RingName[] {
  const rings = macs.map(({ judgement }) => ringOf(judgement));
  const seen = new Set<string>();
  for (const [at, ring] of rings.entries()) {
    const mac = macs[at]?.mac;
    const kind = `${mac?.build ?? mac?.macos} ${mac?.processor}`;
    if (seen.size >= mostPilots || !mac || ring === 'later' || ring === 'after-repair' || seen.has(kind)) continue;
    seen.add(kind);
    rings[at] = 'pilot';
  }
  return rings;
}

function ringOf({ obstacles, owner, payload }: Judgement): RingName {
  const [worst] = obstacles;
  if (worst?.weight === 'stops') return 'later';
  if (worst?.weight === 'first') return 'after-repair';
  if (owner === 'ours') return 'ours-already';
  return payload === 'new-key-at-once' ? 'new-key-at-once' : payload === 'one-ordered-rotation' ? 'one-ordered-rotation' : 'after-repair';
}

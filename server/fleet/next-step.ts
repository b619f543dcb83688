import { isoTime } from '../custody-parts.ts';
import type { MacReport } from '../custody-report.ts';
import type { NeedKind } from './needs.ts';
import { needs } from './needs.ts';

const states: Readonly<Record<MacReport['state'], string>> = {
  held: 'A key of this Mac is here',
  doubtful: 'It is in doubt which key opens this Mac',
  lost: 'No key that is here opens this Mac',
  none: 'No key of this Mac is here',
  foreign: 'The keys of this Mac go to somebody else',
};

/** What is so, and why: one sentence. */
export function sayState({ state, because, unopened }: Pick<MacReport, 'state' | 'because' | 'unopened'>): string {
  return `${states[state]}${unopened ? ', and nobody here has opened it' : ''}: ${because}.`;
}

/** What to do now, the first thing that helps; null where nothing has to be done. */
export function nextStep(report: MacReport, worst: NeedKind | null): string | null {
  if (report.state === 'none' && report.adoption) return `${report.adoption.title}: ${report.adoption.fix}.`;
  if (report.hold && report.rotation.owed) return `Wait: its key is replaced after ${isoTime(report.hold.until)}, or as soon as its user is back in.`;
  if (worst) return `${upper(needs[worst].next)}.`;
  if (report.openRotation) return 'Wait: the Mac is replacing its key at this moment.';
  if (report.rotation.owed && report.waits) {
    const { says, needsHelp } = report.waits;
    return needsHelp ? `See to the Mac. It does not replace its key, because ${says}.` : `Wait for the Mac. It has not replaced its key yet, because ${says}.`;
  }
  if (report.rotation.owed) return 'Wait for the Mac: it replaces its key when it is next online and somebody is signed in.';
  if (report.state === 'held' && report.provedAt === null)
    return report.proofOrders.length > 0
      ? 'Wait for the Mac: it is asked whether the key opens it.'
      : 'Order a proof: nobody has asked the Mac yet whether the key opens it.';
  return null;
}

const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

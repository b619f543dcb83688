/** What stands in one line of a timeline: of which kind it is, and in words what happened. */
export interface Told {
  kind: TimelineKind;
  says: string;
}
export const timelineKinds = [
  'check-in',
  'key',
  'order',
  'replacement',
  'hold',
  'shown',
  'proof',
  'problem',
  'alarm',
  'person',
  'enrolment',
  'mdm',
  'admin',
] as const;
type TimelineKind = (typeof timelineKinds)[number];

type Details = Readonly<Record<string, unknown>>;
const text = (details: Details, name: string): string => (typeof details[name] === 'string' ? details[name] : '');
const because = (details: Details, name = 'because'): string => (text(details, name) === '' ? '' : `: ${text(details, name)}`);
const reason = (details: Details): string => because(details, 'reason');

const reasons: Readonly<Record<string, string>> = {
  used: 'the key was used to start it',
  ordered: 'it was ordered',
  disclosed: 'the key was shown',
  granted: 'the Mac was given its key',
  aged: 'the key is old',
  doubtful: 'it is not known which key is valid',
  'never-escrowed': 'nobody has its key',
  interrupted: 'a replacement was interrupted',
};
const sayReason = (details: Details): string => reasons[text(details, 'because')] ?? text(details, 'because');

const endings: Readonly<Record<string, string>> = {
  done: 'The key was replaced',
  'not-changed': 'A replacement ended, and the key is the one of before',
  'not-known': 'A replacement ended, and it is not known whether it changed the key',
  exhausted: 'A replacement ended, and no known key opens the Mac any more',
};

/** Acts of the audit that have words of their own here; others are told by their name. */
const words: Readonly<Record<string, (details: Details, actor: string) => Told>> = {
  'enrolment.made': (_, actor) => ({ kind: 'enrolment', says: `Enrolled${actor === 'mac' ? '' : ` by ${actor}`}.` }),
  'enrolment.renewed': () => ({ kind: 'enrolment', says: 'Went on with a new certificate.' }),
  'enrolment.kept': (d) => ({ kind: 'enrolment', says: `An older enrolment is still in use${because(d)}.` }),
  'enrolment.replaced': (d) => ({ kind: 'enrolment', says: `An enrolment was replaced${because(d)}.` }),
  'enrolment.revoked': (d, actor) => ({ kind: 'enrolment', says: `${actor} revoked an enrolment${reason(d)}.` }),
  'enrolment.confirmed': (d, actor) => ({ kind: 'enrolment', says: `An enrolment was confirmed by ${actor}${because(d)}${reason(d)}.` }),
  'key.stored': (d) => ({ kind: 'key', says: `A key came${text(d, 'source') === '' ? '' : ` (${text(d, 'source')})`}, and is ${text(d, 'state') || 'kept'}.` }),
  'key.opened': () => ({ kind: 'key', says: 'A key that had come before was opened.' }),
  'key.quarantined': (d) => ({ kind: 'key', says: `Something came that is no readable key${because(d)}.` }),
  'key.foreign': () => ({ kind: 'problem', says: 'macOS sealed its key for somebody else.' }),
  'key.changed-by-other': () => ({ kind: 'problem', says: 'Somebody else changed the key.' }),
  'key.exhausted': () => ({ kind: 'problem', says: 'No known key opens the Mac any more.' }),
  'key.destroyed': () => ({ kind: 'key', says: 'An old key was destroyed: its time to be kept is over.' }),
  'key.proved': () => ({ kind: 'proof', says: 'The key is proved: macOS took it.' }),
  'key.refuted': () => ({ kind: 'proof', says: 'macOS said for the second time that the key does not open this Mac.' }),
  'key.doubted': () => ({ kind: 'proof', says: 'macOS said that the key does not open this Mac; it is asked once more.' }),
  'key.disclosed': (d, actor) => ({ kind: 'shown', says: `The key was shown to ${actor}${reason(d)}.` }),
  'key.not-shown': (d) => ({ kind: 'shown', says: `The key could not be shown${because(d)}.` }),
  'key.hidden': () => ({ kind: 'shown', says: 'The key was hidden again.' }),
  'key.refused': (_, actor) => ({ kind: 'problem', says: `${actor} says that the key was refused.` }),
  'key.not-me': (_, actor) => ({ kind: 'problem', says: `${actor} says that somebody else was shown the key.` }),
  'proof.ordered': (d) => ({ kind: 'order', says: `A proof of the key was ordered${because(d)}${reason(d)}.` }),
  'rotation.ordered': (d, actor) => ({ kind: 'order', says: `${actor} ordered a new key${reason(d)}.` }),
  'rotation.order-expired': (d) => ({
    kind: 'order',
    says: `The order for a new key expired: the Mac did not carry it out in time${text(d, 'waited') === '' ? '' : `, and said last: ${text(d, 'waited')}`}.`,
  }),
  'rotation.order-joined': (d, actor) => ({ kind: 'order', says: `${actor} asked for the new key too that was ordered already${reason(d)}.` }),
  'rotation.order-withdrawn': (d, actor) => ({ kind: 'order', says: `${actor} took the order for a new key back${reason(d)}.` }),
  'rotation.begun': (d) => ({ kind: 'replacement', says: `The Mac began to replace its key: ${sayReason(d)}.` }),
  'rotation.ended': (d) => ({ kind: 'replacement', says: `${endings[text(d, 'as')] ?? 'A replacement ended'}.` }),
  'debt.opened': (d) => ({ kind: 'order', says: `A new key is owed: ${sayReason(d)}.` }),
  'grant.given': (d) => ({ kind: 'shown', says: `The Mac was given its own key${text(d, 'purpose') === '' ? '' : ` to ${text(d, 'purpose')}`}.` }),
  'grant.repeated': () => ({ kind: 'shown', says: 'The Mac was given the same answer once more.' }),
  'hold.ended': (d) => ({ kind: 'hold', says: `The hold ended${because(d, 'reason')}.` }),
  'episode.back-in': (_, actor) => ({ kind: 'hold', says: `${actor} is back in.` }),
  'episode.unheard': () => ({ kind: 'hold', says: 'Nothing was heard of the Mac for a day after its key was shown.' }),
  'alarm.raised': (d) => ({ kind: 'alarm', says: `Alarm ${text(d, 'code')}${because(d, 'detail')}.` }),
  'alarm.judged': (d, actor) => ({ kind: 'alarm', says: `${actor} judged ${text(d, 'code')}${because(d, 'judgement')}.` }),
  'alarm.settled': (d) => ({ kind: 'alarm', says: `${text(d, 'code')} has come to its end${because(d, 'judgement')}.` }),
  'alarm.assigned': (d, actor) => ({
    kind: 'alarm',
    says: text(d, 'owner') === '' ? `${actor} gave ${text(d, 'code')} back.` : `${text(d, 'owner')} looks after ${text(d, 'code')}.`,
  }),
  'alarm.muted': (d, actor) => ({ kind: 'alarm', says: `${actor} muted ${text(d, 'code')} until ${text(d, 'until')}${reason(d)}.` }),
  'alarm.unmuted': (d, actor) => ({ kind: 'alarm', says: `${actor} wants to hear of ${text(d, 'code')} again.` }),
  'assignment.made': (d) => ({ kind: 'person', says: `It is ${text(d, 'userName')}’s, says ${sayings[text(d, 'source')] ?? text(d, 'source')}${reason(d)}.` }),
  'assignment.ended': (d) => ({ kind: 'person', says: `It is not ${text(d, 'userName')}’s any more${because(d)}${reason(d)}.` }),
  'mac.standing': (d, actor) => ({ kind: 'admin', says: `${actor} said: ${text(d, 'ownership')}, ${text(d, 'state')}${reason(d)}.` }),
  'mac.tagged': (d, actor) => ({ kind: 'admin', says: `${actor} changed its tags${tagWords(d)}.` }),
  'mac.joined': (d, actor) => ({ kind: 'admin', says: `${actor} joined this record and ${text(d, 'other')}${reason(d)}.` }),
  'mac.parted': (d) => ({ kind: 'admin', says: `This record stands alone again${because(d)}.` }),
  'mac.rules-agreed': (d, actor) => ({
    kind: 'admin',
    says: `${actor} agreed that its tags and user of before need ask for no second person: ${text(d, 'words')}.`,
  }),
  'mdm.enrolled': () => ({ kind: 'mdm', says: 'Enrolled in the MDM.' }),
  'mdm.checked-out': () => ({ kind: 'mdm', says: 'Left the MDM.' }),
  'mdm.copy-old': () => ({ kind: 'mdm', says: 'The MDM’s copy of the key is old.' }),
  'mdm.copy-fresh': () => ({ kind: 'mdm', says: 'The MDM has asked for its key again.' }),
  'mdm.rotation-asked': (d, actor) => ({ kind: 'mdm', says: `${actor} asked the MDM for a new key${reason(d)}.` }),
  'mdm.rotated-by-others': () => ({ kind: 'mdm', says: 'Somebody else had the MDM replace the key.' }),
  'request.made': (d, actor) => ({ kind: 'shown', says: `${actor} asked to be shown the key${reason(d)}.` }),
  'request.approved': (_, actor) => ({ kind: 'shown', says: `${actor} agreed that the key may be shown.` }),
  'request.refused': (_, actor) => ({ kind: 'shown', says: `${actor} did not agree that the key is shown.` }),
  'brought.disclosed': (d, actor) => ({ kind: 'shown', says: `A key that others brought was shown to ${actor}${reason(d)}.` }),
  'task.opened': (d) => ({ kind: 'mdm', says: `Somebody has to do something at the MDM${because(d)}.` }),
  'task.closed': (_, actor) => ({ kind: 'mdm', says: `${actor} said that it was done at the MDM.` }),
};

const sayings: Readonly<Record<string, string>> = { profile: 'the profile of the Mac', csv: 'a list', admin: 'an admin' };
const tagWords = (details: Details): string => {
  const list = (name: string) => (Array.isArray(details[name]) ? (details[name] as string[]) : []);
  const [added, removed] = [list('added'), list('removed')];
  return `${added.length > 0 ? `: with ${added.join(', ')}` : ''}${removed.length > 0 ? `: without ${removed.join(', ')}` : ''}`;
};

const kindsByPart: Readonly<Record<string, TimelineKind>> = {
  enrolment: 'enrolment',
  key: 'key',
  brought: 'key',
  rotation: 'order',
  campaign: 'order',
  proof: 'proof',
  hold: 'hold',
  episode: 'hold',
  disclosure: 'shown',
  request: 'shown',
  release: 'shown',
  grant: 'shown',
  alarm: 'alarm',
  mdm: 'mdm',
  task: 'mdm',
  ring: 'mdm',
  assignment: 'person',
};

/** A sentence always: an act that came with a newer part is told by its name and its reason. */
export function tell(act: string, details: Details, actor: string): Told {
  const own = Object.hasOwn(words, act) ? words[act] : undefined;
  const who = actor === 'mac' ? 'the Mac' : actor === 'server' ? 'this backend' : actor;
  if (own) return own(details, who);
  const [part = '', verb = ''] = act.split('.');
  return { kind: kindsByPart[part] ?? 'admin', says: `${part} ${verb.replaceAll('-', ' ')} by ${who}${because(details)}${reason(details)}.` };
}

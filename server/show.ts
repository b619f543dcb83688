import type { Backend } from './backend.ts';
import type { CommandResult } from './command.ts';
import { whichMac } from './mac-commands.ts';
import { sayAnswer } from './status-command.ts';

interface Showing {
  mac: string;
  reason: string;
  actor: string;
  refused: readonly string[];
  /** The account of the person it is for: whose return ends the hold. */
  person?: string;
  volume?: string;
}

/** A Mac with two systems has two keys, and which one it started from last is not always the one that asks. */
async function otherVolumes(backend: Backend, macId: string, asked: string | undefined): Promise<string[]> {
  const { keys, volume: present } = await backend.custody.macReport(macId);
  const usable = keys.filter(({ state }) => state === 'held' || state === 'candidate').map(({ volume }) => volume);
  return [...new Set(usable)].filter((volume) => volume !== (asked?.toUpperCase() ?? present));
}

/**
 * Shows a recovery key at the server's own machine: a disclosure like any other, by a person with a reason, audited before
 * it is shown, and followed by a replacement. The only place of the backend where a key becomes text.
 */
export async function show(backend: Backend, options: Showing): Promise<CommandResult> {
  const { custody } = backend;
  const { person, volume, actor, reason, refused } = options;
  const mac = await whichMac(backend, options.mac);
  const others = await otherVolumes(backend, mac.id, volume);
  const shown = await custody.disclose({ macId: mac.id, actor, reason, refused, ...(person ? { person } : {}), ...(volume ? { volume } : {}) });
  const { because, keys } = await custody.macReport(mac.id);
  const shownKey = keys.find((one) => one.recordId === shown.recordId);
  const key = shown.key.reveal();
  const warnings = [
    'this was written into the audit; the key will be replaced when its person is back in, or when the hold has ended',
    ...(shownKey ? [`of this key: ${sayAnswer(shownKey)}`] : []),
    ...(shown.rotationOpen ? ['this Mac is just replacing its key: if this one is refused, look again in a minute'] : []),
    ...(shown.custody === 'held' ? [] : [`custody is ${shown.custody}: ${because}`]),
    ...(shown.others > 0 ? [`there are ${shown.others} more key(s) for this Mac: if this one is refused, ask again with --refused ${shown.recordId}`] : []),
    ...(others.length > 0 ? [`other volumes of this Mac have keys of their own; for one of them add --volume ${others.join(' or ')}`] : []),
  ];
  return {
    json: {
      serial: mac.serial,
      macId: mac.id,
      recordId: shown.recordId,
      recoveryKey: key,
      custody: shown.custody,
      provedAt: shownKey?.provedAt ?? null,
      lastAnswer: shownKey?.lastAnswer ?? null,
      rotationOpen: shown.rotationOpen,
      others: shown.others,
    },
    text: key,
    warnings,
  };
}

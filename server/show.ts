import type { Backend } from './backend.ts';
import type { CommandResult } from './command.ts';
import { whichMac } from './mac-commands.ts';

/**
 * Shows a recovery key at the server's own machine: a disclosure like any other, by a person with a reason, audited before
 * it is shown, and followed by a replacement. The only place of the backend where a key becomes text.
 */
export async function show(backend: Backend, options: { mac: string; reason: string; actor: string; refused: readonly string[] }): Promise<CommandResult> {
  const { custody } = backend;
  const mac = await whichMac(backend, options.mac);
  const shown = await custody.disclose({ macId: mac.id, actor: options.actor, reason: options.reason, refused: options.refused });
  const { because } = await custody.custodyOf(mac.id);
  const key = shown.key.reveal();
  const warnings = [
    'this was written into the audit; the key will be replaced when its person is back in, or when the hold has ended',
    ...(shown.rotationOpen ? ['this Mac is just replacing its key: if this one is refused, look again in a minute'] : []),
    ...(shown.custody === 'held' ? [] : [`custody is ${shown.custody}: ${because}`]),
    ...(shown.others > 0 ? [`there are ${shown.others} more key(s) for this Mac: if this one is refused, ask again with --refused ${shown.recordId}`] : []),
  ];
  return {
    json: {
      serial: mac.serial,
      macId: mac.id,
      recordId: shown.recordId,
      recoveryKey: key,
      custody: shown.custody,
      rotationOpen: shown.rotationOpen,
      others: shown.others,
    },
    text: key,
    warnings,
  };
}

import { neededReason } from './command.ts';
import type { Commands } from './parts-command-line.ts';

/** What the MDM is asked, and what it said: the commands. None of them waits for a Mac; the backend that runs does what was asked. */
export function addMdmCommands({ program, add, inBackend }: Commands): void {
  const mdm = program.command('mdm').description('the MDM as a witness of keys, and as a hand where no agent is');
  const words = () => import('./mdm/mdm-words.ts');
  add(mdm, 'devices', 'lists the Macs of which the MDM has told, and what became of their keys', 'mdm devices', 'folder').action(async (options) => {
    const { mdmDevices } = await words();
    await inBackend(options, mdmDevices);
  });
  add(mdm, 'commands [mac]', 'lists what was asked through the MDM, the newest first', 'mdm commands C02XK1ZJJGH5', 'folder').action(
    async (mac: string | undefined, options) => {
      const { mdmCommands } = await words();
      await inBackend(options, (backend) => mdmCommands(backend, mac ?? null, { all: options.json === true }));
    },
  );
  add(
    mdm,
    'ask <mac>',
    'has the MDM ask a Mac for the key that it escrowed (SecurityInfo)',
    'mdm ask C02XK1ZJJGH5 --reason "is it there?"',
    'folder',
    'reason',
  ).action(async (mac: string, options) => {
    const reason = neededReason(options.reason);
    const { mdmAsk } = await words();
    await inBackend(options, (backend, actor) => mdmAsk(backend, { mac, reason, actor }));
  });
  add(
    mdm,
    'rotate <mac>',
    'has the MDM replace the key of a Mac whose agent cannot, or that has none',
    'mdm rotate C02XK1ZJJGH5 --reason "shown at the desk"',
    'folder',
    'reason',
  )
    .option('--override-hold', 'also while somebody may be typing the key')
    .option('--yes', 'do not ask')
    .action(async (mac: string, options) => {
      const reason = neededReason(options.reason);
      const { confirmed } = await import('./command.ts');
      if (options.overrideHold) await confirmed('Whoever is typing this key now will be locked out.', options.yes);
      const { mdmRotate } = await words();
      await inBackend(options, (backend, actor) => mdmRotate(backend, { mac, reason, actor, overrideHold: options.overrideHold === true }));
    });
  add(
    mdm,
    'open <command>',
    'tries once more to open the answer to a command that did not open',
    'mdm open 9F0C2F34-2D2C-4A51-8E3A-0F1F3D0C1A11 --reason "a new version is here"',
    'folder',
    'reason',
  ).action(async (uuid: string, options) => {
    const reason = neededReason(options.reason);
    const { mdmOpen } = await words();
    await inBackend(options, (backend, actor) => mdmOpen(backend, { uuid, reason, actor }));
  });
  add(
    mdm,
    'signer <body> <signature>',
    'says whose certificate signed a message of a Mac to its MDM (Mdm-Signature)',
    'mdm signer body.plist header.txt',
    'folder',
  ).action(async (body: string, signature: string, options) => {
    const { mdmSigner } = await words();
    await inBackend(options, (backend) => mdmSigner(backend, { body, signature }));
  });
}

import { neededReason } from './command.ts';
import type { Commands } from './parts-command-line.ts';

/** Keys out of the APIs of Intune, Jamf Pro and Fleet: the commands. */
export function addConnectorCommands({ program, add, inBackend }: Commands): void {
  const words = () => import('./connectors/commands.ts');
  const connectors = program.command('connectors').description('what reads keys out of Intune, Jamf Pro and Fleet');
  add(connectors, 'list', 'how far each connector is, and what stands in its way', 'connectors', 'folder').action(async (options) => {
    const { connectorsCommand } = await words();
    await inBackend(options, connectorsCommand);
  });
  add(
    connectors,
    'run <name>',
    'reads now what is needed, and waits for the end; each key that is read is a view in the product’s audit',
    'connectors run intune --reason "before the census"',
    'folder',
    'reason',
  ).action(async (name: string, options) => {
    const reason = neededReason(options.reason);
    const { connectorRun } = await words();
    const say = (words: string): void => void process.stderr.write(`sparekey-server: ${words}\n`);
    await inBackend(options, (backend, actor) => connectorRun(backend, { name, actor, reason, say }));
  });
  add(
    connectors,
    'refresh <serial>',
    'has the product fetch the key of a Mac anew',
    'connectors refresh C02XK1ZJJGH5 --reason "replaced on Monday"',
    'folder',
    'reason',
  ).action(async (serial: string, options) => {
    const reason = neededReason(options.reason);
    const { connectorRefresh } = await words();
    await inBackend(options, (backend, actor) => connectorRefresh(backend, { serial, actor, reason }));
  });
}

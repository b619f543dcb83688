import { neededReason } from './command.ts';
import type { Commands } from './parts-command-line.ts';

/** `authority`: the CAs that this backend and its Macs stand on, and how one is changed without cutting off anybody. */
export function addAuthorityCommands({ program, add, inBackend }: Commands): void {
  const authority = program.command('authority').description('the CAs that backend and Macs stand on');
  const load = () => import('./authority-commands.ts');
  add(authority, 'list', 'lists the CAs and when they end', 'authority list', 'folder').action(async (options) => {
    const { authorityList } = await load();
    await inBackend(options, authorityList);
  });
  add(
    authority,
    'new-tls',
    'makes the next CA of the listener, beside the one in use',
    'authority new-tls --reason "the first ends in May"',
    'folder',
    'reason',
  ).action(async (options) => {
    const reason = neededReason(options.reason);
    const { authorityNewTls } = await load();
    await inBackend(options, (backend, actor) => authorityNewTls(backend, { reason, actor }));
  });
  add(authority, 'retire <digest>', 'ends a CA, once no Mac of the last 90 days needs it', 'authority retire 0b9c51ee --reason "replaced"', 'folder', 'reason')
    .option('--although <words>', 'go on although Macs are cut off: the words of the refusal')
    .action(async (digest: string, options) => {
      const reason = neededReason(options.reason);
      const { authorityRetire } = await load();
      await inBackend(options, (backend, actor) => authorityRetire(backend, { digest, reason, actor, although: options.although ?? null }));
    });
  add(authority, 'check <file>', 'whether all Macs of the last 90 days trust the CA in this file', 'authority check new-root.pem', 'folder').action(
    async (file: string, options) => {
      const { authorityCheck } = await load();
      await inBackend(options, (backend) => authorityCheck(backend, file));
    },
  );
}

import type { Accounts } from './accounts.ts';
import type { Backend } from './backend.ts';
import { type CommandResult, confirmed, type GivenOptions, neededReason, table, when } from './command.ts';
import type { Commands } from './parts-command-line.ts';

const withoutSites = 'settings.json has no `people`: there is no site on which anybody could use it';

/** `account …`: accounts that are made here, and who may come in. */
export function addAccountCommands({ program, add, inBackend }: Commands): void {
  const account = program.command('account').description('people who use the sites, and accounts that are made here');

  const inAccounts = (options: GivenOptions, work: (accounts: Accounts, backend: Backend, actor: string) => Promise<CommandResult>): Promise<void> =>
    inBackend(options, async (backend, actor) => {
      const { createAccounts } = await import('./accounts.ts');
      return work(createAccounts(backend), backend, actor);
    });

  /** The one time that the code is seen. */
  function handedOver(backend: Backend, made: { name: string; code: string; expiresAt: number }, more: string[] = []): CommandResult {
    const { people, console: admins } = backend.settings;
    const setUp = people ? `${people.url}/set-up` : null;
    const setUpAtConsole = people && admins ? `${admins.url}/set-up` : null;
    return {
      json: { name: made.name, code: made.code, expiresAt: when(made.expiresAt), setUp, setUpAtConsole },
      text: [
        `user name      ${made.name}`,
        `one-time code  ${made.code}`,
        `set up at      ${setUp ?? '–'}`,
        ...(setUpAtConsole === null ? [] : [`or, an admin   ${setUpAtConsole}`]),
        `good until     ${when(made.expiresAt)}`,
        'The code is shown this once. Hand it over to its person alone.',
      ].join('\n'),
      warnings: [...(people ? [] : [withoutSites]), ...more],
    };
  }

  add(
    account,
    'add <name>',
    'makes an account and prints its one-time code, this once',
    'account add ada@example.org --display-name "Ada Lovelace"',
    'folder',
    'actor',
  )
    .option('--display-name <text>', 'how the sites call its person')
    .option('--email <address>', 'where mails go; default the name, where that is an address')
    .option('--emergency', 'for the day when nobody else can sign in: by passkey only, also when accounts of this kind are off')
    .action(async (name: string, options) => {
      await inAccounts(options, async (accounts, backend, actor) => {
        const emergency = options.emergency === true;
        const made = await accounts.add({ name, displayName: options.displayName, email: options.email, emergency, actor });
        const count = emergency ? (await accounts.list()).filter((one) => one.kind === 'emergency').length : 0;
        const { people } = backend.settings;
        const off = people && !people.signIn.localAccounts && !emergency ? ['people.signIn.localAccounts is false: this account cannot sign in'] : [];
        const roleless =
          emergency && backend.settings.console ? [`it may nothing at the console yet: sparekey-server role give ${made.name} owner --reason …`] : [];
        return handedOver(backend, made, [
          ...off,
          ...roleless,
          ...(count > 2 ? [`there are ${count} emergency accounts: two are enough, each is a way in`] : []),
        ]);
      });
    });

  add(account, 'list', 'lists everybody who has an account or has signed in', 'account list', 'folder').action(async (options) => {
    await inAccounts(options, async (accounts) => {
      const people = await accounts.list();
      return {
        json: { people: people.map((one) => ({ ...one, lastSeenAt: one.lastSeenAt === null ? null : when(one.lastSeenAt) })) },
        text:
          people.length === 0
            ? 'nobody yet'
            : table(
                ['USER NAME', 'KIND', 'STATE', 'PASSKEYS', 'LAST SEEN', 'NAME'],
                people.map((one) => [one.userName, one.kind, one.state, String(one.passkeys), when(one.lastSeenAt), one.displayName]),
              ),
      };
    });
  });

  add(
    account,
    'reset <name>',
    'takes the password away and prints a new one-time code',
    'account reset ada --reason "called back, forgot it"',
    'folder',
    'reason',
  )
    .option('--forget-passkeys', 'take the passkeys away too')
    .action(async (name: string, options) => {
      const reason = neededReason(options.reason);
      await inAccounts(options, async (accounts, backend, actor) =>
        handedOver(backend, await accounts.reset({ name, reason, actor, forgetPasskeys: options.forgetPasskeys === true })),
      );
    });

  add(account, 'disable <name>', 'lets somebody in no more, and ends where they are signed in', 'account disable ada --reason "left"', 'folder', 'reason')
    .option('--yes', 'do not ask')
    .action(async (name: string, options) => {
      const reason = neededReason(options.reason);
      await confirmed(`${name} is signed out everywhere and cannot sign in any more.`, options.yes);
      await inAccounts(options, async (accounts, _, actor) => {
        const { sessions, name: userName } = await accounts.disable({ name, reason, actor });
        return {
          json: { name: userName, disabled: true, sessions },
          text: `${userName} is disabled; ${sessions} ${sessions === 1 ? 'session has' : 'sessions have'} ended`,
        };
      });
    });

  add(account, 'enable <name>', 'lets somebody in again', 'account enable ada --reason "is back"', 'folder', 'reason').action(async (name: string, options) => {
    const reason = neededReason(options.reason);
    await inAccounts(options, async (accounts, _, actor) => {
      const { name: userName } = await accounts.enable({ name, reason, actor });
      return { json: { name: userName, disabled: false }, text: `${userName} may sign in again` };
    });
  });
}

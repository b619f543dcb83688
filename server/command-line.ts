import { Command } from 'commander';
import { runCommands } from '../protocol/command-line.ts';
import { Problem } from '../protocol/problems.ts';
import { addAccountCommands } from './accounts-command-line.ts';
import { addAssignmentCommands } from './assignments-command-line.ts';
import { addAuditCommands } from './audit-command-line.ts';
import { addAuthorityCommands } from './authority-command-line.ts';
import { addBackupCommands } from './backup-command-line.ts';
import { addBroughtCommands } from './brought-command-line.ts';
import { addCensusCommand } from './census-command-line.ts';
import { confirmed, type GivenOptions, neededReason, print } from './command.ts';
import { addConnectorCommands } from './connectors-command-line.ts';
import { addImportCommands } from './import-command-line.ts';
import { addLabelCommand } from './labels-command-line.ts';
import { addLeaveCommand } from './leave-command-line.ts';
import { addMdmCommands } from './mdm-command-line.ts';
import { addMoveCommand } from './moving-command-line.ts';
import { type Commands, collect, wholeNumber } from './parts-command-line.ts';
import { addRingCommands } from './ring-command-line.ts';
import { addRoleCommands } from './roles-command-line.ts';
import type { MountSites } from './serve.ts';
import { serverVersion, usualDataFolder } from './settings.ts';
import { addTicketCommands } from './tickets-command-line.ts';

/** The commands of `sparekey-server`. Each loads what it needs when it is asked for. Resolves with the exit status. */
export async function commandLine(given: { argv: readonly string[]; operator: string; mountSites: MountSites }): Promise<number> {
  const { argv, operator, mountSites } = given;
  let exit = 0;
  const program = new Command('sparekey-server')
    .description('keeps the FileVault recovery keys of managed Macs')
    .version(serverVersion())
    .showHelpAfterError(false);

  /** A command with what it needs: `reason` brings the actor with it. */
  const add: Commands['add'] = (parent, name, description, example, ...needs) => {
    // A group without a word after it is looked at: `tasks` is `tasks list`.
    const command = parent
      .command(name, { isDefault: name === 'list' })
      .description(description)
      .option('--json', 'print the result as one line of JSON');
    const usual = usualDataFolder();
    if (needs.includes('folder') && usual !== null) command.option('--dir <folder>', 'the data folder', usual);
    else if (needs.includes('folder')) command.requiredOption('--dir <folder>', 'the data folder');
    if (needs.includes('passphrase')) {
      command.option('--passphrase-file <file>', 'file with the passphrase of the escrow key, readable by its owner only');
      command.option('--passphrase-fd <number>', 'descriptor to read the passphrase from', wholeNumber(0, 1023));
    }
    if (needs.includes('reason')) command.option('--reason <text>', 'why, for the audit (needed)');
    if (needs.includes('reason') || needs.includes('actor')) command.option('--as <name>', 'who does this, for the audit', operator);
    const where = needs.includes('folder') && usual === null ? ' --dir /var/lib/sparekey' : '';
    return command.addHelpText('after', `\nExample:\n  sparekey-server ${example.replace(/(?=$| >)/, where)}`);
  };
  const inBackend: Commands['inBackend'] = async (options, work, passphrase = null) => {
    const { openBackend } = await import('./backend.ts');
    const backend = await openBackend({ dir: options.dir, passphrase });
    try {
      exit = print(await work(backend, options.as ?? operator), options.json);
    } finally {
      await backend.close();
    }
  };
  const passphraseOf = async (options: GivenOptions): Promise<string> => (await import('./passphrase.ts')).readPassphrase(options);
  const onMacs = () => import('./mac-commands.ts');

  add(program, 'init', 'makes the data folder of a new backend', 'init --name keys.example.org --copy /media/usb/escrow-key.txt', 'folder', 'passphrase')
    .requiredOption('--name <host,…>', 'names under which the Macs reach it, the first is its address')
    .option('--organisation <name>', 'name of the organisation', 'This organisation')
    .option('--devices-port <port>', 'port of the Macs’ listener (default 8443)', wholeNumber(1, 65_535))
    .option('--copy <file>', 'where the offline copy of the escrow key goes: a disk that is put away')
    .option('--no-copy', 'make no offline copy')
    .option('--device-ca <file>', 'CA of device certificates, PEM (more than once)', collect, [])
    .option('--tls-certificate <file>', 'certificate of your own for the listener, PEM with its chain')
    .option('--tls-key <file>', 'its key, PEM')
    .option('--portal <address>', 'the address of the site for people, such as https://key.example.org: puts `people` into the settings')
    .option('--portal-port <port>', 'port that it listens at (default: the port of that address, or 8444)', wholeNumber(1, 65_535))
    .option(
      '--console <address>',
      'the address of the admins’ site, such as https://console.example.org:8445: puts `console` into the settings, for this machine alone',
    )
    .option('--one-port', 'the reference layout: Macs and people come to one port (443) under two names, --name and --portal')
    .option('--admin <name>', 'the first admin', operator)
    .action(async (options) => {
      exit = print(await (await import('./init-command.ts')).init(options), options.json);
    });

  add(
    program,
    'serve',
    'runs the backend: the listener for Macs, and the one for people',
    'serve --passphrase-file "$CREDENTIALS_DIRECTORY/passphrase"',
    'folder',
    'passphrase',
  )
    .option('--sealed', 'keep keys without being able to open any: no passphrase')
    .option('--json-ready', 'say that it is ready in one line of JSON')
    .action(async (options) => (await import('./serve-command.ts')).serveUntilStopped(options, mountSites));

  const settings = program.command('settings').description('settings.json of the data folder');
  add(settings, 'check', 'lists all mistakes in the settings and in the files that they name, and starts nothing', 'settings check', 'folder')
    .option('--sealed', 'for a backend that is started with --sealed')
    .action(async (options) => {
      const { settingsCheck } = await import('./settings-command.ts');
      exit = print(await settingsCheck({ dir: options.dir, sealed: options.sealed === true }), options.json);
    });

  add(
    program,
    'show <mac>',
    'shows the recovery key of a Mac: a disclosure, audited',
    'show C02XK1ZJJGH5 --reason "ticket 4711, called back"',
    'folder',
    'passphrase',
    'reason',
  )
    .option('--refused <record>', 'a key that was shown and did not open the Mac (more than once)', collect, [])
    .option('--for <account>', 'the account on the Mac of the person it is for: the key is replaced once that person is back in')
    .option('--volume <uuid>', 'another volume than the one that the Mac started from last')
    .action(async (mac: string, options) => {
      const reason = neededReason(options.reason);
      const passphrase = await passphraseOf(options);
      const { show } = await import('./show.ts');
      await inBackend(
        options,
        (backend, actor) => show(backend, { mac, reason, actor, refused: options.refused, person: options.for, volume: options.volume }),
        passphrase,
      );
    });

  add(program, 'rotate <mac>', 'orders a Mac to replace its recovery key', 'rotate C02XK1ZJJGH5 --reason "left in a taxi"', 'folder', 'reason')
    .option('--override-hold', 'also while somebody may be typing the key')
    .option('--without-login', 'for a Mac where nobody logs in')
    .option('--yes', 'do not ask')
    .action(async (mac: string, options) => {
      const reason = neededReason(options.reason);
      if (options.overrideHold) await confirmed('Whoever is typing this key now will be locked out.', options.yes);
      const { rotate } = await onMacs();
      await inBackend(options, (backend, actor) =>
        rotate(backend, { mac, reason, actor, withoutLogin: options.withoutLogin === true, overrideHold: options.overrideHold === true }),
      );
    });

  add(
    program,
    'prove <mac...>',
    'has Macs ask macOS whether their keys open them',
    'prove C02XK1ZJJGH5 --reason "before the audit"',
    'folder',
    'reason',
  ).action(async (macs: string[], options) => {
    const reason = neededReason(options.reason);
    const { prove } = await onMacs();
    await inBackend(options, (backend, actor) => prove(backend, { macs, reason, actor }));
  });

  add(
    program,
    'end-hold <mac>',
    'ends the time in which no key is replaced',
    'end-hold C02XK1ZJJGH5 --because back-in --reason "called, is logged in"',
    'folder',
    'reason',
  )
    .requiredOption('--because <why>', 'back-in: the person is in again; not-me: somebody else saw the key')
    .action(async (mac: string, options) => {
      const reason = neededReason(options.reason);
      const { because } = options;
      if (because !== 'back-in' && because !== 'not-me') throw new Problem('USAGE', '--because is back-in or not-me');
      const { endHold } = await onMacs();
      await inBackend(options, (backend, actor) => endHold(backend, { mac, reason, actor, because }));
    });

  add(program, 'confirm <mac>', 'confirms the enrolment of a Mac', 'confirm C02XK1ZJJGH5 --reason "on my desk"', 'folder', 'reason')
    .option('--enrolment <id>', 'which one, where several wait')
    .action(async (mac: string, options) => {
      const reason = neededReason(options.reason);
      const { confirm } = await onMacs();
      await inBackend(options, (backend, actor) => confirm(backend, { mac, reason, actor, enrolmentId: options.enrolment ?? null }));
    });

  add(
    program,
    'revoke [mac-or-enrolment]',
    'ends the enrolments of a Mac, and their profile certificates',
    'revoke C02XK1ZJJGH5 --reason stolen',
    'folder',
    'reason',
  )
    .option('--keep-certificate', 'the profile certificate may enrol again')
    .option('--certificate <file>', 'a profile certificate instead, PEM')
    .action(async (target: string | undefined, options) => {
      const reason = neededReason(options.reason);
      if ((target === undefined) === (options.certificate === undefined)) throw new Problem('USAGE', 'name a Mac, an enrolment, or a --certificate');
      const { revoke, revokeCertificateFile } = await onMacs();
      const { readGiven } = await import('./init.ts');
      await inBackend(options, (backend, actor) =>
        target === undefined
          ? revokeCertificateFile(backend, { pem: readGiven(options.certificate), reason, actor })
          : revoke(backend, { target, reason, actor, keepCertificate: options.keepCertificate === true }),
      );
    });

  add(program, 'revocations', 'prints what was revoked, for `restore`', 'revocations --since 2026-11-01 > revocations.json', 'folder')
    .option('--since <time>', 'ISO date or time', '1970-01-01')
    .action(async (options) => {
      const since = Date.parse(options.since);
      if (Number.isNaN(since)) throw new Problem('USAGE', '--since is no ISO date');
      const { revocations } = await onMacs();
      await inBackend(options, (backend) => revocations(backend, since));
    });

  addTicketCommands({ program, add, inBackend });

  const alarm = program.command('alarm').description('alarms that wait for a person');
  add(alarm, 'list', 'lists the open alarms', 'alarm list', 'folder').action(async (options) => {
    const { alarmList } = await import('./status-command.ts');
    await inBackend(options, alarmList);
  });
  add(alarm, 'judge <id>', 'says what an alarm was, and closes it', 'alarm judge 0b9c… --reason "logic board replaced, seen it"', 'folder', 'reason').action(
    async (alarmId: string, options) => {
      const judgement = neededReason(options.reason);
      const { judgeAlarm } = await onMacs();
      await inBackend(options, (backend, actor) => judgeAlarm(backend, { alarmId, judgement, actor }));
    },
  );

  add(program, 'status [mac]', 'the fleet, or one Mac', 'status', 'folder').action(async (mac: string | undefined, options) => {
    const { status } = await import('./status-command.ts');
    await inBackend(options, (backend) => status(backend, mac ?? null));
  });

  addAccountCommands({ program, add, inBackend });
  addRoleCommands({ program, add, inBackend });
  addAssignmentCommands({ program, add, inBackend });
  addLabelCommand({ program, add, inBackend });
  addBroughtCommands({ program, add, inBackend });
  addMdmCommands({ program, add, inBackend });
  addConnectorCommands({ program, add, inBackend });
  addRingCommands({ program, add, inBackend });
  addImportCommands({ program, add, inBackend });
  addLeaveCommand({ program, add, inBackend }, (status) => {
    exit = status;
  });
  addCensusCommand({ program, add }, (result, json) => {
    exit = print(result, json);
  });

  addAuditCommands({ program, add, inBackend }, (result, json) => {
    exit = print(result, json);
  });
  addAuthorityCommands({ program, add, inBackend });
  addBackupCommands({ program, add }, (result, json) => {
    exit = print(result, json);
  });
  addMoveCommand({ program, add }, (result, json) => {
    exit = print(result, json);
  });

  add(program, 'profile-values', 'what the settings profile for the Macs needs, as JSON', 'profile-values', 'folder').action(async (options) => {
    const { profileValues } = await import('./profile-values.ts');
    exit = print(profileValues(options.dir), options.json);
  });

  return runCommands(program, argv, () => exit);
}

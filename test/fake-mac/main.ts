// The fake Mac from the outside: fake-mac create DIR …, fake-mac DIR VERB …
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { makeDeviceCa } from './certificates.ts';
import { type CreateFlags, createFromFlags, parseSettings } from './create-flags.ts';
import { FakeMac } from './fake-mac.ts';
import { JobNotThere, jobLabel, runJob } from './launchd.ts';
import { type ChangeQuirk, type Keychain, NotOnThisMac, type Quirks } from './state.ts';

const program = new Command('fake-mac');
/** What is written before DIR; every other verb comes after it. */
const ofNoMac = new Set(['create', 'device-ca', 'help']);
const argumentsOf = (command: Command): string[] => command.registeredArguments.slice(1).map((argument) => argument.name().toUpperCase());
const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
const done = (worked: boolean, otherwise: string): void => {
  if (worked) return;
  process.stderr.write(`fake-mac: ${otherwise}\n`);
  process.exitCode = 1;
};

program
  .configureHelp({
    subcommandTerm: (command) => (ofNoMac.has(command.name()) ? `${command.name()} DIR` : [`DIR ${command.name()}`, ...argumentsOf(command)].join(' ')),
    commandUsage: (command) => {
      if (!command.parent) return `${command.name()} ${command.usage()}`;
      const words = ofNoMac.has(command.name()) ? [command.name(), 'DIR'] : ['DIR', command.name(), ...argumentsOf(command)];
      return ['fake-mac', ...words, '[options]'].join(' ');
    },
  })
  .usage('create DIR [options] | DIR VERB [arguments] | device-ca DIR')
  .description(
    "A Mac that is a folder: macOS's commands under DIR, and the acts of people, MDM and macOS as verbs.\nNothing in it runs by itself: `DIR job` is what launchd does at its interval.",
  )
  .addHelpText(
    'after',
    `
Examples:
  fake-mac create try-out/mac --escrow-profile ours --escrow-certificate escrow.pem --server https://localhost:8443 --trust tls-ca.pem
  fake-mac try-out/mac job                                 # one run of the agent, as launchd starts it
  fake-mac try-out/mac boot --unlock recovery-key          # the login window, nobody logged in
  fake-mac try-out/mac reset-password-with KEY ada         # the way of recoveryOS
  fake-mac try-out/mac unlocks-with KEY                    # true or false; exit 0 or 1
  fake-mac try-out/mac quirk changeRecovery truncated
  fake-mac try-out/mac quirk "command:fdesetup status" hang
  try-out/mac/usr/bin/fdesetup status                      # the very commands that the agent asks
  try-out/mac/Library/Sparekey/bin/sparekey status`,
  );

program
  .command('create')
  .argument('<dir>')
  .description('makes a Mac: Setup Assistant is done, one user is at the desktop')
  .option('--filevault <state>', 'on or off', 'on')
  .option('--escrow-profile <owner>', 'whose escrow payload is installed: ours, foreign or none', 'none')
  .option('--escrow-certificate <file>', 'our escrow certificate, PEM')
  .option('--server <url>', 'setting serverUrl')
  .option('--trust <file>', 'setting trustedCertificates, PEM')
  .option('--custody <word>', 'setting custody: auto, server or keychain')
  .option('--settle-seconds <n>', 'setting settleSeconds')
  .option('--check-in-minutes <n>', 'setting checkInMinutes')
  .option('--ticket <file>', 'setting enrolmentTicket')
  .option('--device-ca <dir>', 'an identity of this CA (see device-ca) lies in System.keychain, and the settings name its issuer')
  .option('--identity-files', 'that identity lies in PEM files instead')
  .option('--set <key=value...>', 'further settings; JSON where it is JSON, otherwise text')
  .option('--serial <serial>')
  .option('--user <name>', 'short name of the user', 'ada')
  .option('--macos <version>', 'version of macOS', '26.6.2')
  .option('--seed <text>', 'the same keys and identifiers in every run')
  .option('--bundle <file>', "the agent's bundle; default: what `npm run -s sparekey -- version` builds")
  .option('--no-agent', 'without the agent')
  .action((dir: string, flags: CreateFlags) => {
    const mac = createFromFlags(dir, flags);
    say(`${mac.root}: a Mac with the serial number ${mac.state.serial}`);
  });

program
  .command('device-ca')
  .argument('<dir>')
  .description("makes a CA that stands for the organisation's SCEP: ca.pem, ca.key")
  .action((dir: string) => {
    if (existsSync(join(dir, 'ca.key'))) throw new NotOnThisMac(`${join(dir, 'ca.key')} is there already`);
    mkdirSync(dir, { recursive: true });
    const ca = makeDeviceCa();
    writeFileSync(join(dir, 'ca.pem'), ca.certificate);
    writeFileSync(join(dir, 'ca.key'), ca.key, { mode: 0o600 });
    say(join(resolve(dir), 'ca.pem'));
  });

/** A verb of a Mac that is there. */
const verb = (name: string, description: string): Command => program.command(name).argument('<dir>').description(description);
const open = (dir: string): FakeMac => FakeMac.open(dir);

verb('boot', 'starts the Mac anew')
  .option('--unlock <who>', 'recovery-key, or a user')
  .option('--key <key>', 'the recovery key that is typed; default: the true one')
  .action((dir: string, { unlock, key }: { unlock?: string; key?: string }) =>
    done(open(dir).boot({ ...(unlock === undefined ? {} : { unlock }), ...(key === undefined ? {} : { key }) }), 'the key was refused'),
  );
verb('reset-password-with', 'recoveryOS: the key, a new password, and the Mac starts with it')
  .argument('<key>')
  .argument('<user>')
  .option('--password <text>', 'the new password')
  .action((dir: string, key: string, user: string, { password }: { password?: string }) =>
    done(open(dir).resetPasswordWith(key, user, password), 'the key was refused'),
  );
verb('login', 'a user logs in')
  .argument('<user>')
  .action((dir: string, user: string) => open(dir).logIn(user));
verb('logout', 'the login window').action((dir: string) => open(dir).logOut());
verb('lock-screen', 'the screen is locked, the session lives').action((dir: string) => open(dir).lockScreen());
verb('answer-dialogs', 'what is done with the next dialogs, one act each: cancel, time-out, hang, garbage or type:TEXT; then nobody is there')
  .argument('[acts...]')
  .action((dir: string, acts: string[]) => {
    const wrong = acts.find((act) => !/^(cancel|time-out|hang|garbage|type:.*)$/s.test(act));
    if (wrong !== undefined) throw new NotOnThisMac(`nobody does ${wrong}`);
    open(dir).answerDialogs(...acts);
  });
verb('enable-filevault', 'turns FileVault on; a key is made only where there was none')
  .argument('<user>')
  .action((dir: string, user: string) => open(dir).enableFileVault(user));
verb('disable-filevault', 'turns FileVault off; the key stays').action((dir: string) => open(dir).disableFileVault());
verb('progress', 'FileVault is on its way: encrypting or decrypting')
  .argument('<way>')
  .argument('<percent>')
  .action((dir: string, way: 'encrypting' | 'decrypting', percent: string) => open(dir).setProgress(way, Number(percent)));
verb('mdm-rotates', 'somebody else replaces the key').action((dir: string) => open(dir).mdmRotates());
verb('erase', 'Erase All Content and Settings; Setup Assistant waits').action((dir: string) => open(dir).erase());
verb('set-up', 'Setup Assistant, with what create gave: profiles, identity, agent')
  .argument('<user>')
  .option('--filevault <state>', 'on or off', 'on')
  .action((dir: string, user: string, { filevault }: { filevault: string }) => open(dir).setUp(user, filevault === 'on'));
verb('migrate-to', 'Migration Assistant: agent, state and keychain go to another Mac')
  .argument('<dir2>')
  .action((dir: string, other: string) => open(dir).migrateTo(open(other)));
verb('unlocks-with', 'whether a key opens the disk; it counts as no try')
  .argument('<key>')
  .action((dir: string, key: string) => {
    const opens = open(dir).unlocksWith(key);
    say(String(opens));
    process.exitCode = opens ? 0 : 1;
  });
verb('job', 'one run of the job, as launchd starts it; its exit status').action(async (dir: string) => {
  const code = await runJob(open(dir).root, jobLabel, false);
  process.exitCode = code === 'busy' ? 75 : code;
  if (code === 'busy') process.stderr.write('fake-mac: the job runs already\n');
});
verb('advance', 'uptime passes')
  .argument('<seconds>')
  .action((dir: string, seconds: string) => open(dir).advance(Number(seconds)));
verb('install-escrow-profile', 'an escrow payload in place of the one that is there: ours, foreign or none')
  .argument('<owner>')
  .option('--escrow-certificate <file>', 'for ours, PEM')
  .option('--beside', 'beside the one that is there')
  .action((dir: string, owner: 'ours' | 'foreign' | 'none', { escrowCertificate: file, beside }: { escrowCertificate?: string; beside?: boolean }) =>
    open(dir).installEscrowProfile(owner, file === undefined ? undefined : readFileSync(file, 'utf8'), beside),
  );
verb('set', 'changes managed settings')
  .argument('<key=value...>')
  .action((dir: string, pairs: string[]) => {
    const mac = open(dir);
    const now = mac.state.profiles.find((profile) => profile.preferences?.domain === jobLabel)?.preferences?.values ?? {};
    mac.installSettings({ ...now, ...parseSettings(pairs) });
  });
verb('remove-settings', 'the profile with the settings is gone').action((dir: string) => open(dir).removeSettings());
verb('restore-settings', 'the profile with the settings is back, as create made it').action((dir: string) => {
  const mac = open(dir);
  mac.installSettings(mac.state.enrolment.profiles.find((profile) => profile.preferences?.domain === jobLabel)?.preferences?.values ?? {});
});
verb('power', 'mains or battery, and the percentage')
  .argument('<source>')
  .argument('[percent]', '', '100')
  .action((dir: string, source: 'mains' | 'battery', percent: string) => open(dir).setPower(source, Number(percent)));
verb('dark-wake', 'on or off')
  .argument('<state>')
  .action((dir: string, state: string) => open(dir).setDarkWake(state === 'on'));
verb('keychain', 'System.keychain: works, locked, slow or failing')
  .argument('<mode>')
  .action((dir: string, mode: Keychain['mode']) => open(dir).setKeychain(mode));
verb('quirk', 'a fault: changeRecovery truncated, usingRecoveryKey unsupported, "command:fdesetup status" hang (off mends it), …')
  .argument('<name>')
  .argument('<value>')
  .action((dir: string, name: string, value: string) => setQuirk(open(dir), name, value));
verb('show', 'everything, the true key among it: it is a toy')
  .option('--json')
  .action((dir: string, { json }: { json?: boolean }) => show(open(dir), json ?? false));

function setQuirk(mac: FakeMac, name: string, value: string): void {
  const line = /^command:(.+)$/.exec(name)?.[1];
  if (line !== undefined) {
    mac.setCommandQuirk(line, value === 'off' ? null : value);
    return;
  }
  const known = mac.state.quirks;
  if (!Object.hasOwn(known, name) || name === 'commands')
    throw new NotOnThisMac(`there is no quirk ${name}; there are: ${Object.keys(known).join(', ')}, command:LINE`);
  const numeric = typeof known[name as keyof Quirks] === 'number';
  if (numeric && !Number.isFinite(Number(value))) throw new NotOnThisMac(`${name} is a number`);
  mac.setQuirk(name as 'changeRecovery', (numeric ? Number(value) : value) as ChangeQuirk);
}

function show(mac: FakeMac, json: boolean): void {
  const { state } = mac;
  const file = mac.escrowFile();
  const escrowFile = file && { bytes: file.length, sha256: createHash('sha256').update(file).digest('hex') };
  if (json) {
    say(JSON.stringify({ root: mac.root, recoveryKey: mac.recoveryKey, uptimeSeconds: mac.uptimeSeconds, escrowFile, ...state }, null, 2));
    return;
  }
  const unlocked = state.boot.unlockedBy;
  say(
    [
      `serial number   ${state.serial}, hardware ${state.hardwareUuid}, macOS ${state.macos.version} (${state.macos.build})`,
      `volume group    ${state.disk.volumeGroup}`,
      `FileVault       ${state.disk.fileVault}; recovery key ${mac.recoveryKey ?? 'none'}`,
      `escrow          payload ${state.profiles.find(({ escrow }) => escrow)?.escrow?.owner ?? 'none'}; file ${escrowFile ? `${escrowFile.bytes} bytes, ${escrowFile.sha256}` : 'none'}`,
      `boot session    ${state.boot.session}, up ${Math.round(mac.uptimeSeconds)} s, unlocked by ${unlocked === null ? 'nobody' : 'user' in unlocked ? unlocked.user : 'the recovery key'}`,
      `at the screen   ${state.console.user ?? 'the login window'}${state.console.screenLocked ? ', locked' : ''}`,
      `users           ${state.users.map(({ name, password, secureToken }) => `${name} (“${password}”${secureToken ? '' : ', no secure token'})`).join(', ') || 'none'}`,
      `wrong keys      ${state.wrongKeys.ever}, ${state.wrongKeys.inARow} in a row`,
      `leaks           ${state.leaks.join('; ') || 'none'}`,
    ].join('\n'),
  );
}

/** `DIR VERB …` as commander wants it: the verb first. */
function verbFirst(args: string[]): string[] {
  const [first, second, ...rest] = args;
  if (first === undefined || second === undefined || ofNoMac.has(first) || first.startsWith('-')) return args;
  return [second, first, ...rest];
}

const throwing = (command: Command): void => {
  command.exitOverride();
  for (const inner of command.commands) throwing(inner);
};
throwing(program);
try {
  const args = process.argv.slice(2);
  await program.parseAsync(args.length ? verbFirst(args) : ['--help'], { from: 'user' });
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 64;
  else {
    process.stderr.write(`fake-mac: ${(error as Error).message}\n`);
    process.exitCode = error instanceof NotOnThisMac || error instanceof JobNotThere ? 1 : 70;
  }
}

import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { realRunner } from '../agent/mac/run.ts';
import type { Runner } from '../agent/world.ts';
import { Problem } from '../protocol/problems.ts';
import { buildProfiles } from './build.ts';
import { type Compared, type Inspection, inspect, type Stranger } from './inspect.ts';
import { askMac, type InstalledProfile, readList } from './installed.ts';
import { lint, lintRules } from './lint.ts';
import type { Finding } from './lint-parts.ts';
import { type MdmName, mdmNames } from './mdms.ts';
import { makeProfiles } from './payloads.ts';
import { isReadable, type ProfileFile, readProfiles } from './read-profile.ts';
import { loadSettings } from './settings.ts';

/** What goes to stdout and stderr, and the exit status. */
export interface Outcome {
  stdout: string;
  stderr: string;
  exit: number;
}

/** House codes: what was asked for is not as it should be. */
const mistakesExit = 78;
const driftExit = 77;

const exits = '\nExit status: 0 done, 64 not understood, 77 drift, or a person is needed, 78 mistakes in settings or profiles.\n';
const examples = `
Examples:
  profiles build --settings organisation.json --backend values.json --mdm jamf --out profiles-out
  profiles build --settings organisation.json --mdm intune --out profiles-out --sign signer.pem --key signer.key
  profiles lint profiles-out                                  a folder, all the way down; signed and binary profiles too
  profiles lint --mdm fleet "from somebody else.mobileconfig"
  profiles lint --rules                                       what is looked at, and why
  sudo profiles inspect --built profiles-out                  on a Mac: what is missing, older, changed, not ours
  profiles inspect --built profiles-out --installed list.xml  anywhere: what that Mac printed (profiles -C -o stdout-xml)
${exits}`;

const sentence = ({ rule, file, where, says, fix, is }: Finding): string =>
  `${is}: ${file}${where === null ? '' : `: ${where}`} ${says} (${rule})\n  fix: ${fix}\n`;

interface LoadFlags {
  settings?: string;
  backend?: string;
  mdm?: MdmName;
  serial?: string;
}
interface BuildFlags extends LoadFlags {
  out?: string;
  sign?: string;
  key?: string;
  passphraseFile?: string;
  macos?: string;
  json?: true;
}
interface LintFlags {
  mdm?: MdmName;
  macos?: string;
  rules?: true;
  oneMac?: true;
  json?: true;
}
interface InspectFlags extends LoadFlags {
  built?: string;
  installed?: string;
  root: string;
  json?: true;
}

function build(flags: BuildFlags, now: Date): Outcome {
  const { settings, out, sign, key, passphraseFile, ...others } = flags;
  if (settings === undefined || out === undefined) throw new Problem('USAGE', 'build needs --settings and --out');
  if ((sign === undefined) !== (key === undefined)) throw new Problem('USAGE', '--sign and --key go together');
  const signing = sign === undefined || key === undefined ? undefined : { certificate: sign, key, passphraseFile };
  const made = buildProfiles({ ...others, settings, out, signing }, now);
  const refused = made.written.length === 0;
  return {
    stdout: flags.json
      ? `${JSON.stringify(made)}\n`
      : made.written.map((path) => `${path}\n`).join('') +
        (refused ? '' : `New keys will be sealed to the certificate with SHA-256 ${made.escrowCertificate}.\n`),
    stderr: made.findings.map(sentence).join('') + made.remarks.map((remark) => `note: ${remark}\n`).join(''),
    exit: refused ? mistakesExit : 0,
  };
}

const count = (number: number, one: string): string => `${number} ${one}${number === 1 ? '' : 's'}`;

async function lintFiles(paths: readonly string[], { mdm, macos, rules, oneMac, json }: LintFlags, now: Date): Promise<Outcome> {
  if (rules) return { stdout: rulesText(json === true), stderr: '', exit: 0 };
  if (paths.length === 0) throw new Problem('USAGE', 'lint needs a file or a folder');
  const files = await readProfiles(paths);
  const findings = lint(files, { now, mdm: mdm ?? null, macos: macos ?? null, oneMac: oneMac === true });
  const mistakes = findings.filter(({ is }) => is === 'mistake').length;
  const signed = files.filter(isReadable).flatMap(({ file, signature }) => (signature === undefined ? [] : [{ file, ...signature }]));
  const summary = `${count(files.length, 'file')} looked at: ${count(mistakes, 'mistake')}, ${count(findings.length - mistakes, 'note')}.\n`;
  const signatures = signed.map(
    ({ file, state, signer }) =>
      `${file}: signed by ${signer ?? 'an unknown signer'}${{ whole: ', whole', changed: ', changed since', unchecked: ', not checked' }[state]}\n`,
  );
  return {
    stdout: json
      ? `${JSON.stringify({ files: files.map(({ file }) => file), signed, findings })}\n`
      : findings.map(sentence).join('') + signatures.join('') + summary,
    stderr: '',
    exit: mistakes > 0 ? mistakesExit : 0,
  };
}

function rulesText(json: boolean): string {
  const rules = Object.entries(lintRules).map(([rule, { demands, because, fix }]) => ({ rule, demands, because, fix }));
  if (json) return `${JSON.stringify(rules)}\n`;
  return `${rules.map(({ rule, demands, because, fix }) => `${rule.padEnd(4)}${demands}\n    why: ${because}\n    fix: ${fix}\n`).join('')}F1  a file that cannot be looked at, or not whole\n`;
}

const drifts: Record<Compared['state'], string> = {
  'as-built': 'as it was built',
  missing: 'MISSING',
  older: 'OLDER, or another build',
  changed: 'CHANGED: the UUID of the build, other contents',
  'for-a-user': 'INSTALLED FOR A USER, in place of the whole Mac',
  'not-needed': 'not installed, and not needed',
};
const strangers: Record<Stranger['is'], string> = {
  'second-escrow': 'A SECOND ESCROW PAYLOAD',
  'foreign-escrow': "SOMEBODY ELSE'S ESCROW PAYLOAD",
  foreign: 'of somebody else, about FileVault or the agent',
};

async function inspectMac(flags: InspectFlags, runnerAt: (root: string) => Runner): Promise<Outcome> {
  const { built, settings, installed, root, json } = flags;
  if ((built === undefined) === (settings === undefined)) throw new Problem('USAGE', 'inspect needs --built FOLDER, or --settings FILE');
  const files = built === undefined ? makeProfiles(loadSettings(settings ?? '', flags)) : await builtIn(built);
  const list: InstalledProfile[] = installed === undefined ? await askMac(runnerAt(root)) : await readList(listIn(installed));
  const found = inspect(files, list);
  return { stdout: json ? `${JSON.stringify(found)}\n` : inspectionText(found), stderr: '', exit: found.drift ? driftExit : 0 };
}

async function builtIn(folder: string): Promise<ProfileFile[]> {
  const files = await readProfiles([folder]);
  const bad = files.find((file) => !isReadable(file));
  if (bad !== undefined && 'says' in bad) throw new Problem('PROFILE_SETTINGS_INVALID', `${bad.file} ${bad.says}`);
  return files.filter(isReadable).map((each) => ({ ...each, file: relative(folder, each.file) || each.file }));
}

function listIn(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Problem('PROFILE_SETTINGS_INVALID', `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

function inspectionText({ profiles, strangers: others, drift }: Inspection): string {
  const lines = profiles.flatMap(({ file, state, installedAs, differs }) => [
    `${file}: ${drifts[state]}${installedAs === null ? '' : `, under the identifier ${installedAs}`}`,
    ...differs.map((each) => `  ${each}`),
  ]);
  const more = others.map(
    ({ identifier, displayName, organisation, user, is, payloads }) =>
      `${identifier} (${displayName}, ${organisation || 'no organisation'}${user === null ? '' : `, for ${user}`}): ${strangers[is]}: ${payloads.join(', ')}`,
  );
  return `${[...lines, ...more, drift ? 'This Mac has not what was built.' : 'This Mac has what was built.'].join('\n')}\n`;
}

function readSerial(text: string): string {
  if (!/^[A-Za-z0-9]{8,14}$/.test(text)) throw new InvalidArgumentError('It must be the serial number of a Mac.');
  return text;
}
function readVersion(text: string): string {
  if (!/^\d{1,3}(\.\d{1,3}){0,2}$/.test(text)) throw new InvalidArgumentError('It must be a version such as 13 or 14.4.');
  return text;
}
const mdmOption = () =>
  new Option('--mdm <name>', 'who sends the profiles, and fills in their variables; none: they are opened by hand').choices([...mdmNames]);
const macosOption = () => new Option('--macos <version>', 'the oldest macOS that gets them: what it does not know is named').argParser(readVersion);
const json = () => new Option('--json', 'print the result as JSON');

/** The flags of before there were commands stay: `--settings … --out …` builds, `--check FILE…` lints. */
function withCommand(args: readonly string[]): string[] {
  const [first] = args;
  if (first === undefined || !first.startsWith('--') || first === '--help') return [...args];
  return args.includes('--check') ? ['lint', ...args.filter((each) => each !== '--check')] : ['build', ...args];
}

/** Expected outcomes are given back; settings that cannot be read, and what was not understood, are thrown as a `Problem`. */
export async function runProfiles(args: readonly string[], now: Date, runnerAt: (root: string) => Runner = realRunner): Promise<Outcome> {
  let outcome: Outcome = { stdout: '', stderr: '', exit: 0 };
  const help: string[] = [];
  const quiet = { writeOut: (text: string) => void help.push(text), writeErr: () => {} };
  const program = new Command('profiles')
    .description('Makes the configuration profiles for an MDM from one settings file, looks at profiles of anybody, and names drift on a Mac.')
    .helpOption('--help', 'show this help')
    .helpCommand(false)
    .configureOutput(quiet)
    .exitOverride()
    .addHelpText('after', examples);
  const add = (name: string, description: string): Command =>
    program.command(name).description(description).helpOption('--help', 'show this help').configureOutput(quiet).exitOverride().addHelpText('after', exits);
  const fromSettings = (command: Command): Command =>
    command
      .option('--settings <file>', 'what your organisation decides once (docs/operating.md)')
      .option('--backend <file>', "the backend's own values: sparekey-server profile-values --json")
      .addOption(mdmOption())
      .addOption(new Option('--serial <number>', 'make the set for this one Mac, where no MDM fills in its serial number').argParser(readSerial));
  fromSettings(add('build', 'make the profiles; nothing is written where macOS would refuse one'))
    .option('--out <folder>', 'where the profiles go')
    .option('--sign <certificate>', 'sign them (CMS): PEM, the CAs behind it')
    .option('--key <file>', 'the private key of that certificate, PEM')
    .option('--passphrase-file <file>', 'file whose first line opens the private key')
    .addOption(macosOption())
    .addOption(json())
    .action((flags: BuildFlags) => {
      outcome = build(flags, now);
    });
  add('lint', 'look at profiles of anybody, by Apple’s schema and by what would lose a key')
    .argument('[paths...]', 'files and folders')
    .addOption(mdmOption())
    .addOption(macosOption())
    .option('--one-mac', 'the files are what one Mac gets together, and all that it gets about FileVault')
    .option('--rules', 'show what is looked at, and why')
    .addOption(json())
    .action(async (paths: string[], flags: LintFlags) => {
      outcome = await lintFiles(paths, flags, now);
    });
  fromSettings(add('inspect', 'on a Mac: compare what is installed with what was built'))
    .option('--built <folder>', 'the folder that build wrote, in place of --settings')
    .option('--installed <file>', 'what a Mac printed with: sudo profiles -C -o stdout-xml')
    .option('--root <folder>', 'take this folder for the root of the Mac', '/')
    .addOption(json())
    .action(async (flags: InspectFlags) => {
      outcome = await inspectMac(flags, runnerAt);
    });
  try {
    if (args.length === 0) throw new Problem('USAGE', 'there is no command: build, lint or inspect');
    await program.parseAsync(withCommand(args), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw new Problem('USAGE', error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' '));
    return { stdout: help.join(''), stderr: '', exit: 0 };
  }
  return outcome;
}

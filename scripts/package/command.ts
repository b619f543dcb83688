import { createHash } from 'node:crypto';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { mdmNames } from '../../profiles/mdms.ts';
import type { LoadOptions } from '../../profiles/settings.ts';
import { read } from './contents.ts';
import { PackageFailed } from './failure.ts';
import { type Architecture, architectures } from './macho.ts';
import { type Made, makePackage, nameOf } from './make.ts';
import { run } from './run.ts';
import { makePins, obtainRuntime, ourPins, readPins, versionForm } from './runtime.ts';
import { checkSettings, type Fits } from './settings.ts';
import type { Tell } from './sign.ts';
import { readSigning, type Signing } from './signing.ts';

/* The command line of `npm run -s package`. What it tells goes to stderr; stdout is the answer. */

const root = dirname(dirname(import.meta.dirname));

interface Given extends LoadOptions {
  org?: string;
  out?: string;
  arch: string;
  settings?: string;
  sign?: string;
  native?: boolean;
  url?: string;
  runtime: string;
  runtimeFolder: string;
  fetch?: boolean;
  pin?: string;
  json?: boolean;
}

function readArguments(args: readonly string[], { out, err }: Voices): Given {
  const program = new Command('npm run -s package --')
    .description('Makes the package that installs the agent on Macs. Works on Linux and macOS.')
    .option('--org <name>', 'the organisation it is for, as the package says it of itself')
    .option('--out <folder>', 'where the package is written')
    .option('--arch <kind>', 'arm64, x86_64 or universal', 'arm64')
    .option('--settings <file>', "the profiles' settings file: checks that package and profiles fit each other; nothing of it is in the package")
    .option('--backend <file>', "as for the profiles: the backend's own values")
    .addOption(new Option('--mdm <name>', 'as for the profiles: who sends them').choices([...mdmNames]))
    .option('--serial <number>', 'as for the profiles: made for this one Mac')
    .option('--sign <file>', 'signs and notarizes as this file says; without it the package is for a lab only')
    .option('--native', "puts it together with Apple's pkgbuild and productbuild; on macOS only, and recommended there for production")
    .option('--url <address>', 'also writes the manifest for an MDM, which will find the package at this address')
    .option('--runtime <file>', 'other pins of Node than those of this version of Sparekey', ourPins)
    .option('--runtime-folder <folder>', 'where fetched runtimes are kept', join(root, 'dist', 'runtime'))
    .option('--fetch', 'only fetches and checks the runtimes')
    .option('--pin <version>', 'only prints the pins of that version of Node, for --runtime; looks whether the Node.js project has signed it')
    .option('--json', 'the answer as JSON')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: out, writeErr: err })
    .addHelpText(
      'after',
      '\nExamples:\n  npm run -s package -- --org "Example Ltd" --out out\n  npm run -s package -- --org "Example Ltd" --out out --arch universal --sign signing.json\n  npm run -s package -- --pin 26.11.0 > runtime.json\n\nExit status: 0 made, 64 usage, 69 npm registry, 75 try again, 78 settings, pins or certificates.\nMore: docs/deploy/package.md',
    );
  program.parse(args as string[], { from: 'user' });
  return program.opts<Given>();
}

const kinds: Record<string, readonly Architecture[]> = { arm64: ['arm64'], x86_64: ['x86_64'], universal: architectures };

/** Of every file in the package: the date of the last commit, unless the environment says another (reproducible-builds.org). */
async function timeOfFiles(signed: boolean, tell: Tell): Promise<number> {
  const given = process.env['SOURCE_DATE_EPOCH'];
  if (given !== undefined && /^\d{1,10}$/.test(given)) return Number(given);
  const { stdout, code } = await run('git', ['log', '-1', '--format=%ct'], root);
  if (code === 0 && /^\d{1,10}$/.test(stdout.trim())) return Number(stdout);
  const says = 'the date of the last commit is not known here, and SOURCE_DATE_EPOCH is not set';
  if (signed) throw new PackageFailed(says, 'an admin sets it (seconds since 1970), or builds from a clone with its history', 78);
  tell(`warning: ${says}: all files are of 2026-01-01`);
  return 1_767_225_600;
}

export interface Voices {
  out(text: string): void;
  err(text: string): void;
}

/** Resolves with the exit status. */
export async function runPackage(args: readonly string[], voices: Voices): Promise<number> {
  try {
    voices.out(await answer(readArguments(args, voices), (says) => voices.err(`${says}\n`)));
    return 0;
  } catch (error) {
    // It has said what it did not understand.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 64;
    const known = error instanceof PackageFailed ? error : null;
    const says = known?.message ?? (error instanceof Error ? error.stack : String(error));
    voices.err(`sparekey: error: ${says}\nsparekey: fix: ${known?.fix ?? 'somebody who develops Sparekey looks at this'}\n`);
    return known?.exit ?? 70;
  }
}

/** The team of the profiles is the one that signs. Where the certificate cannot be looked into beforehand, the signature has to say so in the end. */
function ofTeam(signing: Signing, { team }: Fits, file: string): Signing {
  if (team === null) return signing;
  if (signing.team === null || signing.team === team) return { ...signing, team };
  throw new PackageFailed(
    `${file} names team ${team}, and the certificates of --sign are of ${signing.team}: Login Items would not allow the job`,
    'an admin corrects teamIdentifier in the settings of the profiles, or names the other certificates',
    78,
  );
}

/** What goes to stdout. */
async function answer(given: Given, tell: Tell): Promise<string> {
  const usage = (says: string): never => {
    throw new PackageFailed(says, 'see npm run -s package -- --help', 64);
  };
  if (given.pin !== undefined) {
    if (!versionForm.test(given.pin)) usage(`${given.pin} is not a version of Node`);
    const pins = await makePins(given.pin, given.runtimeFolder, tell);
    tell('These are the digests of what npm gives today. On another network they should be the same.');
    return `${JSON.stringify(pins, null, 2)}\n`;
  }
  const kind = kinds[given.arch] ?? usage(`--arch ${given.arch}: arm64, x86_64 or universal`);
  const pins = readPins(given.runtime);
  if (given.fetch) {
    const all = await Promise.all(architectures.map((one) => obtainRuntime(pins, one, given.runtimeFolder, tell)));
    return given.json ? `${JSON.stringify(all.map(({ file, sha256 }) => ({ file, sha256 })))}\n` : all.map(({ file }) => `${file}\n`).join('');
  }
  const organisation = given.org?.trim() ?? usage('--org is missing');
  if (!/^[^\p{Cc}]{1,100}$/u.test(organisation)) usage('--org: at most 100 characters, in one line');
  const out = given.out ?? usage('--out is missing');
  const url = given.url === undefined || /^https:\/\/\S+$/.test(given.url) ? given.url : usage('--url: an address that begins with https://');
  if (url !== undefined && given.sign === undefined) usage('--url: an MDM installs signed packages only, and fails silently with others; add --sign');
  if (given.native && process.platform !== 'darwin')
    throw new PackageFailed('--native needs pkgbuild and productbuild, which only macOS has', 'an admin runs it on a Mac, or leaves it out', 78);
  const now = new Date();
  if (given.settings === undefined && (given.backend ?? given.mdm ?? given.serial) !== undefined) usage('--backend, --mdm and --serial go with --settings');
  const fits = given.settings === undefined ? null : checkSettings(given.settings, given, organisation, now);
  const read = given.sign === undefined ? null : readSigning(given.sign, now, (says) => tell(`warning: ${says}`));
  const signing = fits === null || read === null ? read : ofTeam(read, fits, given.settings ?? '');
  if (fits?.team && signing === null)
    tell(`warning: ${given.settings} names team ${fits.team}, and nobody signs: macOS lets no such profile work for this package`);
  const made = await makePackage({
    organisation,
    out,
    architectures: kind,
    pins,
    runtimeFolder: given.runtimeFolder,
    signing,
    native: given.native === true,
    mtime: await timeOfFiles(signing !== null, tell),
    tell,
  });
  // One of an earlier package of this name would have other digests, and the MDM would fail silently.
  rmSync(manifestOf(made), { force: true });
  const manifest = url === undefined ? null : writeManifest(made, url);
  if (given.json) return `${JSON.stringify({ ...made, manifest, settings: fits })}\n`;
  if (!made.build.signed) tell('Lab only: without --sign, no MDM installs it, and Macs that have it keep no recovery key in their keychain.');
  return [
    made.file,
    `  version ${made.version}, SHA-256 ${made.sha256}, ${(made.bytes / 1e6).toFixed(1)} MB, ${nameOf(made.build.architectures)}, macOS ${made.minimumMacos} or later, Node ${made.build.runtime}`,
    `  ${made.build.signed ? `signed by team ${made.build.team}${made.notarized ? ', notarized' : ', not notarized'}` : 'not signed: sudo installer -pkg FILE -target /'}`,
    ...(fits === null ? [] : [`  fits the profiles of ${fits.organisation} for ${fits.serverUrl}, escrow certificate ${fits.escrowCertificate.slice(0, 16)}…`]),
    '',
  ].join('\n');
}

/** MDMs compare the package piece by piece. */
const pieceBytes = 10 << 20;

const manifestOf = ({ file }: Made): string => file.replace(/\.pkg$/, '.manifest.plist');

function writeManifest(made: Made, url: string): string {
  const { file, bytes } = made;
  const sums: string[] = [];
  let hash = createHash('sha256');
  let room = pieceBytes;
  for (const chunk of read([{ file, bytes: statSync(file).size }]))
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + room);
      hash.update(part);
      at += part.length;
      room -= part.length;
      if (room > 0) continue;
      sums.push(hash.digest('hex'));
      hash = createHash('sha256');
      room = pieceBytes;
    }
  if (bytes % pieceBytes !== 0) sums.push(hash.digest('hex'));
  const asset = `<dict><key>kind</key><string>software-package</string><key>url</key><string>${url.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</string><key>sha256-size</key><integer>${pieceBytes}</integer><key>sha256s</key><array>${sums.map((sum) => `<string>${sum}</string>`).join('')}</array></dict>`;
  const to = manifestOf(made);
  writeFileSync(
    to,
    `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0"><dict><key>items</key><array><dict><key>assets</key><array>${asset}</array></dict></array></dict></plist>\n`,
  );
  return to;
}

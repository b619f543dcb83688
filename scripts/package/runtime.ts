import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { digestOf } from './contents.ts';
import { PackageFailed } from './failure.ts';
import { type Architecture, architectures, readMachO, type Slice } from './macho.ts';
import { notNodes } from './node-signature.ts';
import { run } from './run.ts';

/*
 * Node for Macs, from npm. Whoever publishes those packages is not Node's own project, so each one is pinned twice: the
 * archive by the digest that npm gives, and the program in it by one that anybody can compare. Both are checked each time.
 * A newer Node is another file of pins, no change of code: `--pin`, then `--runtime`.
 */

/** Three numbers of at most three digits, as they are in the version of the package. */
export const versionForm = /^\d{1,3}\.\d{1,3}\.\d{1,3}$/;

const pinned = z.strictObject({
  package: z.string().regex(/^[a-z0-9][a-z0-9._-]*$/),
  integrity: z.string().regex(/^sha512-[A-Za-z0-9+/]{86}==$/),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
const pinsSchema = z.strictObject({ version: z.string().regex(versionForm), arm64: pinned, x86_64: pinned });
export type Pins = z.infer<typeof pinsSchema>;

export interface Runtime {
  architecture: Architecture;
  version: string;
  package: string;
  /** The program itself. */
  file: string;
  sha256: string;
  slice: Slice;
  /** The licence's text. */
  licence: string;
}

export const ourPins = join(import.meta.dirname, 'runtime.json');

export function readPins(file: string): Pins {
  const fix = `an admin looks at the file; its form is that of scripts/package/runtime.json, and \`npm run -s package -- --pin VERSION\` writes one`;
  let given: unknown;
  try {
    given = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new PackageFailed(`${file} cannot be read: ${cause instanceof Error ? cause.message : cause}`, fix, 78);
  }
  const checked = pinsSchema.safeParse(given);
  if (checked.success) return checked.data;
  throw new PackageFailed(`${file}: ${checked.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')}`, fix, 78);
}

/** In `folder` afterwards: the archive as npm has it, and beside it what of it is used. */
export async function obtainRuntime(pins: Pins, architecture: Architecture, folder: string, tell: (says: string) => void): Promise<Runtime> {
  const { package: name, integrity, sha256 } = pins[architecture];
  mkdirSync(folder, { recursive: true });
  const archive = join(folder, `${name}-${pins.version}.tgz`);
  if (!existsSync(archive)) {
    tell(`fetching ${name}@${pins.version} (about 50 MB)`);
    await fetchPackage(name, pins.version, folder, archive);
  }
  const is = `sha512-${digestOf(archive, 'sha512').toString('base64')}`;
  if (is !== integrity) throw changed(archive, integrity, is);
  const unpacked = join(folder, `${name}-${pins.version}`);
  const file = join(unpacked, 'bin', 'node');
  if (!isUnpacked(unpacked) || digestOf(file, 'sha256').toString('hex') !== sha256) await unpack(archive, unpacked, folder);
  const found = digestOf(file, 'sha256').toString('hex');
  if (found !== sha256) throw changed(file, sha256, found);
  const licence = readFileSync(join(unpacked, 'LICENSE'), 'utf8');
  return { architecture, version: pins.version, package: name, file, sha256, slice: sliceOf(file, architecture), licence };
}

const changed = (file: string, pin: string, is: string): PackageFailed =>
  new PackageFailed(
    `${file} is not the file that was pinned: ${is} instead of ${pin}`,
    'an admin removes the file, so that it is fetched again; if it is the same again, somebody changed it, and it must not be packaged',
    78,
  );

function sliceOf(file: string, architecture: Architecture): Slice {
  let slices: Slice[];
  try {
    slices = readMachO(file);
  } catch (cause) {
    throw new PackageFailed(`${file}: ${cause instanceof Error ? cause.message : cause}`, 'an admin names another runtime with --runtime', 78);
  }
  const [slice] = slices;
  if (slices.length === 1 && slice?.architecture === architecture && slice.minimumMacos !== null) return slice;
  const says = slices.map((one) => `${one.architecture} from macOS ${one.minimumMacos ?? '?'}`).join(', ');
  throw new PackageFailed(`${file} is for ${says}, not for ${architecture}`, 'an admin corrects the file of pins', 78);
}

async function fetchPackage(name: string, version: string, folder: string, to: string): Promise<void> {
  const waiting = mkdtempSync(join(folder, '.fetching-'));
  try {
    // Under `npm run`, npm says where it is; otherwise the one on the PATH.
    const { npm_execpath: npm, npm_node_execpath: node } = process.env;
    const [program, first] = npm !== undefined && node !== undefined ? [node, [npm]] : ['npm', []];
    const ended = await run(program, [...first, 'pack', `${name}@${version}`, '--ignore-scripts', '--silent', '--pack-destination', waiting]);
    const fetched = join(waiting, `${name}-${version}.tgz`);
    if (ended.code !== 0 || !existsSync(fetched))
      throw new PackageFailed(
        `npm could not fetch ${name}@${version}: ${ended.stderr.trim().split('\n')[0] || `exit ${ended.code}`}`,
        `an admin tries again where the npm registry can be reached, or lays ${basename(to)} into ${folder}`,
        69,
      );
    renameSync(fetched, to);
  } finally {
    rmSync(waiting, { recursive: true, force: true });
  }
}

/** Folders and files, and no link on the way. */
function isUnpacked(folder: string): boolean {
  const facts = (path: string) => lstatSync(path, { throwIfNoEntry: false });
  return (
    [folder, join(folder, 'bin')].every((one) => facts(one)?.isDirectory() === true) &&
    [join(folder, 'bin', 'node'), join(folder, 'LICENSE')].every((one) => facts(one)?.isFile() === true)
  );
}

async function unpack(archive: string, to: string, folder: string): Promise<void> {
  const waiting = mkdtempSync(join(folder, '.unpacking-'));
  try {
    const ended = await run('tar', ['-xzf', archive, '-C', waiting, 'package/bin/node', 'package/LICENSE']);
    if (ended.code !== 0) throw new PackageFailed(`tar could not unpack ${archive}: ${ended.stderr.trim()}`, 'an admin looks at the file', 78);
    // tar makes the links that an archive has: through one, another file of this machine would be looked at, and packed.
    if (!isUnpacked(join(waiting, 'package')))
      throw new PackageFailed(`${archive} holds a link where a file should be`, 'an admin packs nothing of it, and tells whoever published it', 78);
    rmSync(to, { recursive: true, force: true });
    renameSync(join(waiting, 'package'), to);
  } finally {
    rmSync(waiting, { recursive: true, force: true });
  }
}

/** The pins of another version: what npm has today, if it is what the Node.js project has signed. */
export async function makePins(version: string, folder: string, tell: (says: string) => void): Promise<Pins> {
  const names = readPins(ourPins);
  const pins: Pins = structuredClone({ ...names, version });
  for (const architecture of architectures) {
    const { package: name } = names[architecture];
    const archive = join(folder, `${name}-${version}.tgz`);
    mkdirSync(folder, { recursive: true });
    if (!existsSync(archive)) {
      tell(`fetching ${name}@${version} (about 50 MB)`);
      await fetchPackage(name, version, folder, archive);
    }
    const unpacked = join(folder, `${name}-${version}`);
    await unpack(archive, unpacked, folder);
    const file = join(unpacked, 'bin', 'node');
    const wrong = await notNodes(file, sliceOf(file, architecture), version);
    if (wrong !== null) throw new PackageFailed(`${name}@${version}: ${wrong}`, 'an admin pins nothing of it, and tells the Node.js project', 78);
    tell(`${name}@${version}: signed by the Node.js Foundation, and each page as it was signed`);
    pins[architecture] = {
      package: name,
      integrity: `sha512-${digestOf(archive, 'sha512').toString('base64')}`,
      sha256: digestOf(file, 'sha256').toString('hex'),
    };
  }
  return pins;
}

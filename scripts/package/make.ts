import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { journalVersion } from '../../agent/journal.ts';
import { bundleAgent, bundledPackages } from '../bundle.ts';
import { writeBom } from './bom.ts';
import { bytesOf, type Contents, changedWhile, digestOf, type Entry, type FilePart, fixed, measure, text } from './contents.ts';
import { writeArchive } from './cpio.ts';
import { distribution, type PackageFacts, packageInfo } from './distribution.ts';
import { joinSlices } from './fat.ts';
import { addonPath, keytarFiles, keytarFolder } from './keytar.ts';
import type { Architecture } from './macho.ts';
import { writeContents, writeNative } from './native.ts';
import { type BuildFacts, payload } from './payload.ts';
import { obtainRuntime, type Pins, type Runtime } from './runtime.ts';
import { licences, readParts, sbom } from './sbom.ts';
import { macScript } from './scripts.ts';
import { signPackage, signPrograms, type Tell, type ToSign } from './sign.ts';
import type { Signing } from './signing.ts';
import { writeXar } from './xar.ts';

/* From the sources, the pinned runtime and keytar's addon to one package; nothing appears under its name before it is whole. */

const root = dirname(dirname(import.meta.dirname));

export interface PackageOptions {
  organisation: string;
  out: string;
  architectures: readonly Architecture[];
  pins: Pins;
  /** Where fetched runtimes are kept. */
  runtimeFolder: string;
  /** Where keytar is; left out: where npm has put it. */
  keytar?: string;
  signing: Signing | null;
  /** Put together by Apple's tools. */
  native: boolean;
  /** Seconds since 1970: the time of every file in it. */
  mtime: number;
  tell: Tell;
}

export interface Made {
  file: string;
  bytes: number;
  sha256: string;
  /** Of the package: that of the agent, and of the runtime in it. */
  version: string;
  build: BuildFacts;
  notarized: boolean;
  minimumMacos: string;
  sbomFile: string;
  /** The uninstaller, as an MDM takes it. */
  uninstallFile: string;
}

export const nameOf = (architectures: readonly Architecture[]): string => (architectures.length > 1 ? 'universal' : (architectures[0] ?? ''));

/**
 * Of the package. A rebuild for a newer Node is an upgrade, and must be one to whoever compares versions, number by number; the
 * agent's own stays. Each number is below 2^31. More than these four are not compared by everybody.
 */
export function packageVersion(agent: string, runtime: string): string {
  const number = runtime.split('.').reduce((sum, one) => 1000 * sum + Number(one), 0);
  return `${agent}.${number}`;
}

const readVersion = (): string => (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;

const day = 24 * 60 * 60 * 1000;

/** What a build has left that was killed, with copies of signed programs in it; one of today may still be under way. */
function removeLeft(out: string): void {
  for (const name of readdirSync(out).filter((one) => one.startsWith('.making-'))) {
    const { mtimeMs } = statSync(join(out, name), { throwIfNoEntry: false }) ?? {};
    if (mtimeMs !== undefined && Date.now() - mtimeMs > day) rmSync(join(out, name), { recursive: true, force: true });
  }
}

export async function makePackage(options: PackageOptions): Promise<Made> {
  const { architectures, signing, tell } = options;
  mkdirSync(options.out, { recursive: true });
  const runtimes: Runtime[] = [];
  for (const architecture of architectures) runtimes.push(await obtainRuntime(options.pins, architecture, options.runtimeFolder, tell));
  tell(`runtime: Node ${options.pins.version} for ${architectures.join(' and ')}, as pinned`);
  const { file, sha256: bundleSum } = await bundleAgent();
  const bundle: FilePart = { ...fixed(file), sha256: bundleSum };
  const keytar = keytarFiles(options.keytar ?? keytarFolder, architectures);
  removeLeft(options.out);
  // On the same disk as the result, which is renamed at the end.
  const work = mkdtempSync(join(options.out, '.making-'));
  try {
    const { programs, team } = await gatherPrograms(runtimes, keytar, signing, work, tell);
    const version = packageVersion(readVersion(), options.pins.version);
    const build: BuildFacts = {
      version: readVersion(),
      runtime: options.pins.version,
      architectures,
      signed: signing !== null,
      organisation: options.organisation,
      team,
    };
    const minimumMacos = runtimes.map(({ slice }) => slice.minimumMacos ?? '').reduce((a, b) => (later(a, b) ? a : b));
    const parts = readParts([...(JSON.parse(readFileSync(bundledPackages, 'utf8')) as string[]), 'node_modules/keytar']);
    const billOfMaterials = sbom(build, runtimes, parts, options.mtime);
    const scriptFacts = { architectures, minimumMacos, journalVersion };
    const entries = payload({
      build,
      runtime: programs.runtime,
      bundle,
      keytar: programs.keytar,
      scripts: { uninstall: macScript('uninstall.sh', scriptFacts), reload: macScript('reload.sh', scriptFacts) },
      licences: licences(runtimes, parts),
      sbom: billOfMaterials,
    });
    const scripts: Entry[] = [
      { path: '', mode: 0o755, contents: null },
      ...(['postinstall', 'preinstall'] as const).map((path): Entry => ({ path, mode: 0o755, contents: text(macScript(path, scriptFacts)) })),
    ];
    const name = `sparekey-${version}-${nameOf(architectures)}${signing ? '' : '-lab-only'}`;
    const facts: PackageFacts = {
      version,
      title: `Sparekey ${build.version}${signing ? '' : ' (lab only: not signed)'}`,
      component: signing ? 'sparekey-agent.pkg' : 'sparekey-agent-lab-only.pkg',
      architectures,
      minimumMacos,
      files: entries.length,
      kilobytes: entries.reduce((sum, { contents }) => sum + (contents === null ? 0 : Math.ceil(bytesOf(contents) / 1024)), 0),
    };
    const unsigned = join(work, 'unsigned.pkg');
    if (options.native) {
      const folder = join(work, 'native');
      mkdirSync(folder);
      await writeNative({ entries, scripts, distribution: distribution(facts), facts, mtime: options.mtime }, folder, unsigned, tell);
    } else {
      const written = await writeOurs(entries, scripts, facts, options.mtime, work, unsigned, tell);
      tell('looking at what was written');
      if (digestOf(unsigned, 'sha256').toString('hex') !== written) throw changedWhile(unsigned);
    }
    const finished = signing === null ? unsigned : join(work, `${name}.pkg`);
    const { notarized } = signing === null ? { notarized: false } : await signPackage(signing, unsigned, finished, tell);
    const result = join(options.out, `${name}.pkg`);
    const sbomFile = join(options.out, `${name}.cdx.json`);
    const { bytes, sha256 = '' } = fixed(finished);
    writeFileSync(sbomFile, billOfMaterials);
    const uninstallFile = join(options.out, 'sparekey-uninstall.sh');
    writeFileSync(uninstallFile, macScript('uninstall.sh', scriptFacts), { mode: 0o755 });
    renameSync(finished, result);
    return { file: result, bytes, sha256, version, build, notarized, minimumMacos, sbomFile, uninstallFile };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const later = (a: string, b: string): boolean => a.localeCompare(b, 'en', { numeric: true }) > 0;

interface Programs {
  runtime: Contents;
  keytar: ReadonlyMap<string, FilePart>;
}

/** As they are where nobody signs; otherwise copies, with signatures of our own. */
async function gatherPrograms(
  runtimes: readonly Runtime[],
  keytar: ReadonlyMap<string, FilePart>,
  signing: Signing | null,
  work: string,
  tell: Tell,
): Promise<{ programs: Programs; team: string | null }> {
  const [first] = runtimes;
  const runtime = runtimes.length > 1 || !first ? joinSlices(runtimes) : [{ file: first.file, bytes: first.slice.bytes, sha256: first.sha256 }];
  if (signing === null) return { programs: { runtime, keytar }, team: null };
  const copy = join(work, 'programs', 'node');
  writeContents(runtime, copy, 0o755);
  const copies = runtimes.map(({ architecture }) => ({ path: addonPath(architecture), file: join(work, 'programs', architecture, 'keytar.node') }));
  for (const { path, file } of copies) writeContents([keytar.get(path) ?? Buffer.alloc(0)], file, 0o644);
  const toSign: ToSign[] = [{ kind: 'runtime', file: copy }, ...copies.map(({ file }): ToSign => ({ kind: 'addon', file }))];
  const team = await signPrograms(signing, toSign, work, tell);
  const signed = new Map([...keytar, ...copies.map(({ path, file }): [string, FilePart] => [path, fixed(file)])]);
  return { programs: { runtime: [fixed(copy)], keytar: signed }, team };
}

/** The SHA-256 of what was written. */
async function writeOurs(
  entries: readonly Entry[],
  scripts: readonly Entry[],
  facts: PackageFacts,
  mtime: number,
  work: string,
  to: string,
  tell: Tell,
): Promise<string> {
  const measured = entries.map(measure);
  const total = measured.reduce((sum, { bytes }) => sum + bytes, 0);
  let said = 0;
  const progress = (done: number): void => {
    const quarter = Math.min(4, Math.floor((4 * done) / total));
    if (quarter > said) tell(`packing: ${25 * quarter} %`);
    said = Math.max(said, quarter);
  };
  const [payloadFile, scriptsFile] = [join(work, 'Payload'), join(work, 'Scripts')];
  await writeArchive(measured, mtime, payloadFile, progress);
  await writeArchive(scripts, mtime, scriptsFile);
  const stored = (file: string): Contents => [{ file, bytes: statSync(file).size }];
  const members = [
    { path: `${facts.component}/Bom`, contents: [writeBom(measured, mtime)], stored: false },
    { path: `${facts.component}/PackageInfo`, contents: text(packageInfo(facts)), stored: false },
    { path: `${facts.component}/Payload`, contents: stored(payloadFile), stored: true },
    { path: `${facts.component}/Scripts`, contents: stored(scriptsFile), stored: true },
    { path: 'Distribution', contents: text(distribution(facts)), stored: false },
  ];
  return (await writeXar(members, new Date(mtime * 1000).toISOString(), to)).sha256;
}

import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, Option } from 'commander';
import { writeArchive } from './archive.ts';
import { importedPackages, type Lock, packagesFor, packedFiles } from './files.ts';
import { CannotBuild, runtimeFor } from './runtime.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

interface Options {
  out: string;
  arch: 'x64' | 'arm64';
  json?: true;
}

async function packageServer({ out, arch, json }: Options): Promise<void> {
  const read = (file: string) => JSON.parse(readFileSync(join(root, file), 'utf8')) as unknown;
  const { version, license } = read('package.json') as { version: string; license: string };
  const lock = read('package-lock.json') as Lock;
  const packages = packagesFor(lock, importedPackages(root));
  const runtime = runtimeFor(root, lock, arch);
  const folder = `sparekey-server-${version}`;
  const text = (value: object) => Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
  const files = [
    ...packedFiles(root, packages),
    { path: 'VERSION', from: Buffer.from(`${version}\n`), mode: 0o644 as const },
    { path: 'bin/node', from: runtime.file, mode: 0o755 as const },
    // As little as the sources read of it: which release they are, and that they are modules.
    { path: 'app/package.json', from: text({ name: 'sparekey-server', version, license, type: 'module', private: true }), mode: 0o644 as const },
    { path: 'packages.json', from: text({ runtime: { name: `node-linux-${arch}`, version: runtime.version }, packages }), mode: 0o644 as const },
  ];
  mkdirSync(out, { recursive: true });
  const file = join(out, `${folder}-linux-${arch}.tar.gz`);
  const seconds = Number(process.env['SOURCE_DATE_EPOCH'] ?? 0);
  let packed = 0;
  let said = 0;
  const { sha256, bytes } = await writeArchive(file, folder, files, seconds, (more) => {
    packed += more;
    if (!process.stderr.isTTY || packed - said < 10_000_000) return;
    said = packed;
    process.stderr.write(`\rsparekey: packed ${Math.floor(said / 1e6)} MB`);
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  process.stdout.write(
    json
      ? `${JSON.stringify({ file, sha256, bytes, version, arch, runtime: runtime.version, files: files.length, packages: packages.length })}\n`
      : `${file}\n  SHA-256 ${sha256}, ${(bytes / 1e6).toFixed(1)} MB, Node ${runtime.version}\n  On the server: tar -xzf it, then sudo sh ${folder}/install.sh\n`,
  );
}

if (import.meta.main) {
  const program = new Command('package:server')
    .description('makes the archive with which the backend is installed on a Linux server: its sources, the packages it runs with, Node, units for systemd')
    .requiredOption('--out <folder>', 'where the archive goes')
    .addOption(new Option('--arch <processor>', 'of the server').choices(['x64', 'arm64']).default('x64'))
    .option('--json', 'print the result as one line of JSON')
    .exitOverride()
    .action(packageServer);
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 64;
    else if (error instanceof CannotBuild) {
      process.stderr.write(`sparekey: error: ${error.message}\nsparekey: fix: ${error.fix}\n`);
      process.exitCode = 69;
    } else throw error;
  }
}

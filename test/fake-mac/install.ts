// The agent on a fake Mac, where and how the package puts it: bundle, wrapper, runtime, job, and beside the bundle a module
// with keytar's interface that opens this Mac's own keychains.
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type PlistValue, parse } from 'plist';
import { built } from './built.ts';
import { readJob } from './job.ts';
import type { Machine } from './machine.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const repository = here('../..');
export const defaultBundle = join(repository, 'dist', 'agent', 'sparekey.mjs');
export const defaultJob = join(repository, 'launchd', 'io.sparekey.agent.plist');

const wrapper = `#!/bin/sh
# sparekey on a fake Mac: the agent, with this Mac's folder as its root.
root=\${0%/Library/Sparekey/bin/sparekey}
exec "$root/Library/Sparekey/bin/node" "$root/Library/Sparekey/lib/sparekey.mjs" --root "$root" "$@"
`;

const bareJob: Record<string, PlistValue> = {
  Label: 'io.sparekey.agent',
  RunAtLoad: true,
  StartInterval: 900,
  ProcessType: 'Background',
  AbandonProcessGroup: true,
};

/** The real job with its arguments, and `--root /`, which the fake launchd turns into this Mac's own folder. */
const adaptJob = (text: string | null): string => {
  const job = text === null ? bareJob : (parse(text) as Record<string, PlistValue>);
  const args = (job['ProgramArguments'] as string[] | undefined) ?? [];
  const commandAt = args.indexOf('check-in');
  const options = args.filter((one) => one.startsWith('--disable-'));
  const adapted = [
    '/Library/Sparekey/bin/node',
    ...options,
    '/Library/Sparekey/lib/sparekey.mjs',
    ...(commandAt < 0 ? ['check-in'] : args.slice(commandAt)),
    '--root',
    '/',
  ];
  return build({ ...job, ProgramArguments: adapted });
};

export const installAgent = (machine: Machine, { bundle, job }: { bundle: string; job: string | null }): void => {
  const { root } = machine;
  const library = join(root, 'Library', 'Sparekey');
  const keytar = join(library, 'lib', 'node_modules', 'keytar');
  for (const folder of [join(library, 'bin'), keytar, join(root, 'Library', 'LaunchDaemons')]) mkdirSync(folder, { recursive: true });
  copyFileSync(bundle, join(library, 'lib', 'sparekey.mjs'));
  for (const beside of ['sparekey.mjs.map', 'package.json'])
    if (existsSync(join(dirname(bundle), beside))) copyFileSync(join(dirname(bundle), beside), join(library, 'lib', beside));
  // A package that was signed for production says so; this one stands for it.
  writeFileSync(join(library, 'lib', 'build.json'), `${JSON.stringify({ signed: true })}\n`);
  writeFileSync(join(library, 'bin', 'sparekey'), wrapper, { mode: 0o755 });
  chmodSync(join(library, 'bin', 'sparekey'), 0o755);
  rmSync(join(library, 'bin', 'node'), { force: true });
  symlinkSync(process.execPath, join(library, 'bin', 'node'));
  writeFileSync(join(keytar, 'package.json'), `${JSON.stringify({ name: 'keytar', version: '0.0.0-fake-mac', main: 'index.js' })}\n`);
  writeFileSync(join(keytar, 'door.cjs'), built('keytar-stand-in', { format: 'cjs' }));
  // Like the real one, it is one object: an import finds it as `default`.
  writeFileSync(join(keytar, 'index.js'), "module.exports = Object.assign({}, require('./door.cjs'));\n");
  const path = '/Library/LaunchDaemons/io.sparekey.agent.plist';
  const text = adaptJob(job === null ? null : readFileSync(job, 'utf8'));
  writeFileSync(join(root, path), text, { mode: 0o644 });
  const label = readJob(Buffer.from(text))?.label ?? 'io.sparekey.agent';
  machine.change((state) => {
    state.jobs[label] = { path, enabled: true, loaded: true, runs: 0, lastExit: null, pid: null, supervisor: null };
  });
};

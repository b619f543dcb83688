import { closeSync, openSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { PackageFailed } from './failure.ts';
import { readMachO } from './macho.ts';
import { run, typed } from './run.ts';
import type { Signing } from './signing.ts';

/*
 * Programs are signed before they are packed, since signing a package does not sign what is in it; then the package; then
 * Apple notarizes it, and its ticket is put into the file. After each step the result is looked at, not the exit status:
 * notarytool exits with 0 when Apple has refused.
 */

export interface Command {
  program: string;
  args: readonly string[];
}

export interface ToSign {
  kind: 'runtime' | 'addon';
  file: string;
}

export const identifiers = { runtime: 'io.sparekey.agent.node', addon: 'io.sparekey.agent.keytar' } as const;

/**
 * What JavaScript's compiler needs, and nothing of what the published Node has besides: no debugger may attach to a process
 * of root, no library be put in by the environment, none load that another team has signed.
 */
const entitlements = ['com.apple.security.cs.allow-jit', 'com.apple.security.cs.allow-unsigned-executable-memory'];

export const entitlementsPlist = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
${entitlements.map((name) => `\t<key>${name}</key>\n\t<true/>\n`).join('')}</dict>
</plist>
`;

function programCommands(signing: Signing, programs: readonly ToSign[], entitlementsFile: string): Command[] {
  return programs.map(({ kind, file }) => {
    const its = kind === 'runtime';
    if (signing.with === 'apple')
      return {
        program: 'codesign',
        args: [
          ...['--force', '--timestamp', '--options', 'runtime', '--identifier', identifiers[kind]],
          ...(its ? ['--entitlements', entitlementsFile] : []),
          ...(signing.keychain === undefined ? [] : ['--keychain', signing.keychain]),
          ...['--sign', signing.application, file],
        ],
      };
    return {
      program: 'rcodesign',
      args: [
        ...['sign', '--for-notarization', '--code-signature-flags', 'runtime', '--binary-identifier', identifiers[kind]],
        ...(its ? ['--entitlements-xml-path', entitlementsFile] : []),
        ...['--p12-file', signing.application.p12, '--p12-password-file', signing.application.passwordFile, file],
      ],
    };
  });
}

function packageCommand(signing: Signing, unsigned: string, signed: string): Command {
  if (signing.with === 'apple')
    return {
      program: 'productsign',
      args: ['--timestamp', ...(signing.keychain === undefined ? [] : ['--keychain', signing.keychain]), '--sign', signing.installer, unsigned, signed],
    };
  const { p12, passwordFile } = signing.installer;
  return { program: 'rcodesign', args: ['sign', '--p12-file', p12, '--p12-password-file', passwordFile, unsigned, signed] };
}

function notarizeCommands(signing: Signing, file: string): Command[] {
  if (signing.notarize === false) return [];
  if (signing.with === 'rcodesign')
    return [{ program: 'rcodesign', args: ['notary-submit', '--api-key-file', signing.notarize.apiKeyFile, '--max-wait-seconds', '3600', '--staple', file] }];
  return [
    { program: 'xcrun', args: ['notarytool', 'submit', file, ...credentials(signing.notarize), '--wait', '--output-format', 'json'] },
    { program: 'xcrun', args: ['stapler', 'staple', file] },
    { program: 'pkgutil', args: ['--check-signature', file] },
    { program: 'spctl', args: ['-a', '-vv', '-t', 'install', file] },
  ];
}

const credentials = (by: { key: string; keyId: string; issuer: string } | { keychainProfile: string }): string[] =>
  'key' in by ? ['--key', by.key, '--key-id', by.keyId, '--issuer', by.issuer] : ['--keychain-profile', by.keychainProfile];

export type Tell = (says: string) => void;

/** Prints the command as one would type it, and runs it. */
export async function runTool({ program, args }: Command, tell: Tell): Promise<string> {
  tell(`$ ${typed(program, args)}`);
  const ended = await run(program, args);
  if (ended.code === 0) return ended.stdout;
  if (ended.missing)
    throw new PackageFailed(
      `${program} is not on this machine`,
      program === 'rcodesign' ? 'an admin installs apple-codesign 0.29 or later' : 'an admin runs this on macOS with the Xcode command line tools',
      78,
    );
  const words = `${ended.stderr}\n${ended.stdout}`;
  const why = /timestamp/i.test(words) ? 'an admin lets this machine reach http://timestamp.apple.com/ts01' : 'an admin reads what it says';
  throw new PackageFailed(`${program} ended with ${ended.code ?? 'a signal'}: ${words.trim().split('\n').slice(-3).join(' | ')}`, why, 70);
}

/** Signs in place; the team that all signatures name. */
export async function signPrograms(signing: Signing, programs: readonly ToSign[], folder: string, tell: Tell): Promise<string> {
  const entitlementsFile = join(folder, 'node.entitlements');
  writeFileSync(entitlementsFile, entitlementsPlist);
  for (const command of programCommands(signing, programs, entitlementsFile)) await runTool(command, tell);
  const teams = new Set(programs.map(({ kind, file }) => checkProgram(kind, file)));
  const [team] = teams;
  if (teams.size !== 1 || team === undefined || (signing.team !== null && signing.team !== team))
    throw new PackageFailed(
      `the programs are signed by ${[...teams].join(' and ')}, not by ${signing.team ?? 'one team'}`,
      'an admin names one certificate',
      78,
    );
  return team;
}

/** Whether every part of it is signed as Apple and this Mac will want it; throws with the first thing that is not. */
function checkProgram(kind: ToSign['kind'], file: string): string {
  const teams = readMachO(file).map(({ signature, architecture }) => {
    const wants = kind === 'runtime' ? entitlements : [];
    const wrong =
      signature === null || signature.adHoc || signature.team === ''
        ? 'it is not signed by a team'
        : signature.identifier !== identifiers[kind]
          ? `it is called ${signature.identifier}`
          : !signature.hardened
            ? 'it is without the hardened runtime'
            : !signature.timestamped
              ? 'its signature has no time stamp, so it would end with the certificate'
              : signature.entitlements.join() !== wants.join()
                ? `its entitlements are ${signature.entitlements.join(', ') || 'none'}`
                : null;
    if (wrong !== null) throw new PackageFailed(`${file} (${architecture}) was signed, but ${wrong}`, 'an admin looks at what the command above has said', 70);
    return signature?.team ?? '';
  });
  return teams[0] ?? '';
}

/** The table of contents of a package: signed by certificate, and with the CMS signature that carries the time stamp. */
function checkSigned(file: string): void {
  const header = readAt(file, 0, 28);
  const toc = inflateSync(readAt(file, header.readUInt16BE(4), Number(header.readBigUInt64BE(8)))).toString('utf8');
  if (!/<signature [^>]*style="RSA"/.test(toc) || !/<x-signature [^>]*style="CMS"/.test(toc))
    throw new PackageFailed(`${file} is not signed as a package`, 'an admin looks at what the command above has said', 70);
}

const trailerBytes = 16;

function checkStapled(file: string): void {
  if (!readAt(file, statSync(file).size - trailerBytes, trailerBytes).includes('t8lr'))
    throw new PackageFailed(`${file} was notarized, but its ticket is not in it`, `an admin tries again: xcrun stapler staple ${file}`, 75);
}

function readAt(file: string, at: number, length: number): Buffer {
  const fd = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(length);
    readSync(fd, bytes, 0, length, at);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

/** From the package at `unsigned` to one that is signed, and notarized where that is wanted, at `signed`; both end in `.pkg`, by which Apple's tools go. */
export async function signPackage(signing: Signing, unsigned: string, signed: string, tell: Tell): Promise<{ notarized: boolean }> {
  await runTool(packageCommand(signing, unsigned, signed), tell);
  checkSigned(signed);
  for (const command of notarizeCommands(signing, signed)) {
    const said = await runTool(command, tell);
    if (command.args[0] === 'notarytool') await checkAccepted(signing, said, tell);
  }
  if (signing.notarize !== false) checkStapled(signed);
  return { notarized: signing.notarize !== false };
}

async function checkAccepted(signing: Signing, said: string, tell: Tell): Promise<void> {
  let answer: { status?: unknown; id?: unknown } = {};
  try {
    answer = JSON.parse(said) as typeof answer;
  } catch {
    // Its words are in the failure below.
  }
  if (answer.status === 'Accepted') return;
  if (signing.with === 'apple' && signing.notarize !== false && typeof answer.id === 'string') {
    const log = await runTool({ program: 'xcrun', args: ['notarytool', 'log', answer.id, ...credentials(signing.notarize)] }, tell).catch(() => '');
    if (log) tell(log);
  }
  throw new PackageFailed(`Apple did not notarize the package: ${String(answer.status ?? said.slice(0, 200))}`, 'an admin reads the log above', 70);
}

// How tests of the fake Mac ask it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePair } from './certificates.ts';
import { FakeMac } from './fake-mac.ts';

export const escrow = makePair({ subject: { CN: 'Escrow' }, kind: 'escrow' });
export const ours = { escrowProfile: 'ours', escrowCertificate: escrow.certificate } as const;

export const plist = (password: string, user?: string): string =>
  `<plist version="1.0"><dict>${user === undefined ? '' : `<key>Username</key><string>${user}</string>`}<key>Password</key><string>${password}</string></dict></plist>`;
/** What openssl finds in an envelope; throws where the pair does not open it. */
export const openFile = (bytes: Buffer, pair = escrow): string => {
  const folder = mkdtempSync(join(tmpdir(), 'fake-mac-cms-'));
  try {
    for (const [name, content] of Object.entries({ 'file.dat': bytes, 'c.pem': pair.certificate, 'k.pem': pair.key }))
      writeFileSync(join(folder, name), content);
    const args = ['cms', '-decrypt', '-binary', '-inform', 'DER', '-in', 'file.dat', '-recip', 'c.pem', '-inkey', 'k.pem'];
    return execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] }).toString();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
export const change = ['changerecovery', '-personal', '-outputplist', '-inputplist'];
export const fdesetup = (mac: FakeMac, args: string[], input?: string) =>
  mac.runner.run({ program: '/usr/bin/fdesetup', args, ...(input === undefined ? {} : { input }) });
export const says = async (mac: FakeMac, verb: string): Promise<string> => (await fdesetup(mac, [verb])).stdout.toString().trim();
export const opens = async (mac: FakeMac, key: string): Promise<string> =>
  (await fdesetup(mac, ['validaterecovery', '-inputplist'], plist(key))).stdout.toString().trim();
export const keyIn = (text: string): string => /<key>RecoveryKey<\/key>\s*<string>([^<]+)</.exec(text)?.[1] ?? 'none';
export const trueKey = (mac: FakeMac): string => mac.recoveryKey ?? 'none';

export async function given(options: Parameters<typeof FakeMac.create>[0], act: (mac: FakeMac) => Promise<void>): Promise<void> {
  const mac = FakeMac.create({ seed: 'test', ...options });
  try {
    await act(mac);
  } finally {
    mac.dispose();
  }
}

// How tests of the fake Mac ask it.
import { createPrivateKey } from 'node:crypto';
import { openEnvelope } from '../../protocol/envelope.ts';
import { makePair, pemToDer } from './certificates.ts';
import { FakeMac } from './fake-mac.ts';

export const escrow = makePair({ subject: { CN: 'Escrow' }, kind: 'escrow' });
export const ours = { escrowProfile: 'ours', escrowCertificate: escrow.certificate } as const;

export const plist = (password: string, user?: string): string =>
  `<plist version="1.0"><dict>${user === undefined ? '' : `<key>Username</key><string>${user}</string>`}<key>Password</key><string>${password}</string></dict></plist>`;
/** The key in an envelope; throws where the pair does not open it. That openssl opens it too is shown once, where openssl is. */
export const openFile = (bytes: Buffer, pair = escrow): string => {
  const opened = openEnvelope(bytes, createPrivateKey(pair.key), pemToDer(pair.certificate));
  if (opened === 'unreadable') throw new Error('the pair does not open it');
  return opened.reveal();
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

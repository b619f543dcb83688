import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { realDisk } from '../agent/disk.ts';
import { examine } from '../agent/doctor.ts';
import { makeBundle, writeBundle } from '../agent/doctor-bundle.ts';
import { gatherValues } from '../agent/doctor-values.ts';
import { paths } from '../agent/paths.ts';
import { makeFolders } from '../agent/requests.ts';
import { writeTicket } from '../protocol/enrolment.ts';
import { makePair } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { scratch } from './scratch.ts';

const escrow = makePair({ subject: { CN: 'Escrow' }, kind: 'escrow' });
const secret = Buffer.alloc(32, 7);
const secrets = {
  ticket: secret.toString('base64url'),
  key: 'ABCD-EFGH-JKLM-NPQR-TUVW-XY34',
  bareKey: 'ABCDEFGHJKLMNPQRTUVWXY34',
  password: 'correct horse battery',
  privateKey: 'MIGHAgEAMBMGByqGSM49AgEG',
};
const uuid = '11111111-2222-4333-8444-555555555555';

/** A Mac on which `words` stand wherever a person, a server or another program could have put them. */
function macWith(words: readonly string[], settings: object = {}) {
  const mac = FakeMac.create({
    root: join(scratch(), 'mac'),
    escrowProfile: 'ours',
    escrowCertificate: escrow.certificate,
    settings: { serverUrl: 'https://127.0.0.1:9', escrowCertificate: escrow.certificate, ...settings },
  });
  makeFolders(realDisk(mac.root));
  const put = (path: string, text: string, mode = 0o644): void => {
    mkdirSync(dirname(mac.path(path)), { recursive: true });
    writeFileSync(mac.path(path), text, { mode });
  };
  const all = words.join(' ');
  put(
    paths.status,
    JSON.stringify({
      version: 1,
      agentVersion: '0.1.0',
      at: '2026-11-23T08:00:00.000Z',
      lastRun: { did: all, code: 'SETTINGS_INVALID' },
      lastAnswerAt: '2026-11-23T08:00:00.000Z',
      server: 'https://keys.example.org',
      serial: 'C02ABC123',
      macosVersion: '26.6.2',
      macosBuild: '25G42',
      fileVault: { state: 'on', hasRecoveryKey: 'yes', deferredFor: all },
      custody: { state: 'held', because: all },
      keys: [{ recordId: uuid, state: 'held', provedAt: null, last: null, note: all }],
      rotation: { because: 'ordered', state: 'waiting', says: all },
      hold: null,
      escrow: { payload: 'ours', owner: 'auto', rotator: 'sparekey', says: all },
      identity: { way: 'ticket', notAfter: '2027-11-23T08:00:00.000Z', enrolmentId: uuid },
      custodyMode: { mode: 'server', because: all },
      settings: { managed: true, unmanagedSince: null, problems: [{ name: all, says: all }] },
      capability: 'unknown',
      adoption: { code: 'ADOPTION_NEEDED', detail: all, since: '2026-11-23T08:00:00.000Z' },
      problems: [{ code: 'SETTINGS_INVALID', detail: all }, { code: all }],
      jobSaw: {
        at: '2026-11-23T08:00:00.000Z',
        keychain: 'works',
        identity: { way: 'ticket', own: { state: 'no', why: `${all} (KEYCHAIN_LOCKED)` }, profile: null },
        accepted: 'yes',
        refused: [],
      },
    }),
  );
  const line = (more: object): string => JSON.stringify({ level: 'info', event: 'key-tried', time: '2026-11-23T08:00:00.000Z', ...more });
  put(
    paths.log,
    [
      ...words.flatMap((one) => [
        line({ id: uuid, because: one, code: one, detail: one, kind: one, recordId: one, answer: one, [one]: uuid, other: one }),
        line({ event: one }),
        line({ time: one }),
        one,
      ]),
      line({ event: 'rotation-done', rotationId: uuid, because: 'ordered' }),
      '',
    ].join('\n'),
    0o640,
  );
  put(paths.journal, JSON.stringify({ version: 1, note: all }), 0o600);
  return mac;
}

async function bundleOf(mac: FakeMac): Promise<Record<string, unknown>> {
  const disk = realDisk(mac.root);
  const values = await gatherValues({ root: mac.root, disk, runner: mac.runner, asRoot: true, now: Date.parse('2026-11-23T09:00:00Z'), version: '0.1.0' });
  return makeBundle({ values, found: examine(values), disk, runner: mac.runner, asRoot: true });
}

describe('what goes to support', () => {
  test('has what is needed to help, and none of the secrets that were planted wherever words can stand', async () => {
    const mac = macWith(Object.values(secrets), {
      enrolmentTicket: writeTicket({ id: 't1', secret }),
      // In the wrong place: a ticket, a key and a password where other values belong.
      proxy: writeTicket({ id: 't1', secret }),
      organisation: secrets.key,
      adoptContact: secrets.password,
      assignedTo: secrets.password,
      custody: secrets.bareKey,
      [secrets.password]: secrets.key,
      identityPkcs12File: '/Library/Example/identity.p12',
      identityPkcs12PasswordFile: '/Library/Example/password',
    });
    mkdirSync(mac.path('/Library/Example'), { recursive: true });
    writeFileSync(mac.path('/Library/Example/password'), `${secrets.password}\n`, { mode: 0o600 });
    writeFileSync(mac.path('/Library/Example/identity.p12'), secrets.privateKey, { mode: 0o600 });
    const bundle = await bundleOf(mac);
    const text = JSON.stringify(bundle);
    expect(Object.entries(secrets).filter(([, one]) => text.includes(one))).toEqual([]);
    expect(bundle).toMatchObject({
      format: 'sparekey-support',
      versions: { agent: '0.1.0', runtime: process.version },
      status: { serial: 'C02ABC123', custody: 'held', lastRun: 'SETTINGS_INVALID', problems: ['SETTINGS_INVALID'], adoption: { code: 'ADOPTION_NEEDED' } },
      settings: {
        state: 'managed',
        problems: expect.arrayContaining([
          { name: 'proxy', kind: 'wrong' },
          { name: 'custody', kind: 'wrong' },
          { name: 'one that is not known', kind: 'warning' },
        ]),
        values: {
          serverUrl: 'https://127.0.0.1:9',
          enrolmentTicket: 'set',
          identityPkcs12File: '/Library/Example/identity.p12',
          identityPkcs12PasswordFile: 'set',
          organisation: 'set',
          adoptWords: 'not set',
          escrowCertificate: [{ digest: expect.stringMatching(/^[0-9a-f]{64}$/), subject: 'CN=Escrow' }],
        },
      },
    });
    const { log, findings } = bundle as { log: { lines: object[]; leftOut: number }; findings: { name: string; says: unknown }[] };
    expect(log.lines.at(-1)).toEqual({ time: '2026-11-23T08:00:00.000Z', event: 'rotation-done', rotationId: uuid, because: 'ordered' });
    expect(log.lines[0]).toEqual({ time: '2026-11-23T08:00:00.000Z', event: 'key-tried', id: uuid });
    expect(log.leftOut).toBe(3 * Object.keys(secrets).length);
    expect(findings.find(({ name }) => name === 'identity-usable')?.says).toEqual(['KEYCHAIN_LOCKED']);
    expect(findings.length).toBeGreaterThan(35);
  });

  test('whatever the words are, none of them comes out', async () => {
    const word = fc.string({ minLength: 6, maxLength: 60 }).filter((one) => one.trim().length > 5);
    const marked = word.map((one) => `~${one}~`);
    await fc.assert(
      fc.asyncProperty(fc.array(marked, { minLength: 1, maxLength: 3 }), async (words) => {
        const mac = macWith(words, { organisation: words[0] ?? '', [`x${words[0]}`]: words[0] ?? '' });
        const text = JSON.stringify(await bundleOf(mac));
        mac.dispose();
        for (const one of words) expect(text.includes(JSON.stringify(one).slice(1, -1))).toBe(false);
      }),
      { numRuns: 8 },
    );
  });

  test('is a new file that its owner alone can read: nothing is written over, and no link is followed', () => {
    const folder = scratch();
    const file = join(folder, 'bundle.json');
    const before = process.umask(0);
    try {
      writeBundle(file, { format: 'sparekey-support' });
    } finally {
      process.umask(before);
    }
    expect([statSync(file).mode & 0o777, JSON.parse(readFileSync(file, 'utf8'))]).toEqual([0o600, { format: 'sparekey-support' }]);
    expect(() => writeBundle(file, {})).toThrow('already');
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'link'));
    expect(() => writeBundle(join(folder, 'link'), {})).toThrow('already');
    expect(() => writeBundle(join(folder, 'no', 'where'), {})).toThrow('ENOENT');
  });
});

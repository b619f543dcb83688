import { createPrivateKey } from 'node:crypto';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { openServer, type Server } from '../agent/server.ts';
import { sealKey } from '../protocol/envelope.ts';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { backUp } from '../server/backup.ts';
import { revoke } from '../server/mac-commands.ts';
import { restore } from '../server/restore.ts';
import { identityFiles } from './fake-mac/fake-mac.ts';
import { systemKeychain } from './fake-mac/state.ts';
import { type GivenOptions, given } from './given.ts';
import { agrees, codes, type Given } from './given-parts.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { scratch } from './scratch.ts';

/*
 * By which certificate the backend knows a Mac, each way from the first run to a rotation; and what happens when one is
 * revoked, replaced, forgotten by a restored backend, or used for another Mac.
 */

const state = '/var/db/io.sparekey.agent';
const day = 24 * 3600;

/** From enrolment over a settled session to a rotation with a grant. */
async function wholeStory(options: GivenOptions): Promise<Given> {
  const it = await given(options);
  await it.settle();
  await agrees(it);
  const before = it.mac.recoveryKey;
  await it.order();
  expect(await it.checkIn()).toBe(0);
  expect(it.mac.recoveryKey).not.toBe(before);
  await agrees(it);
  return it;
}

const enrolments = async (it: Given) =>
  it.store.db
    .selectFrom('enrolment')
    .select(['id', 'way', 'status', 'confirmed'])
    .where('mac_id', '=', await it.macId())
    .orderBy('created_at')
    .execute();

const alarms = async (it: Given): Promise<string[]> =>
  (
    await it.store.db
      .selectFrom('alarm')
      .select('code')
      .where('mac_id', '=', await it.macId())
      .where('judged_at', 'is', null)
      .execute()
  ).map((row) => row.code);

const pemFiles: GivenOptions = {
  identity: 'files',
  without: ['identityIssuer'],
  settings: { identityCertificateFile: identityFiles.certificate, identityKeyFile: identityFiles.key },
};

/** The key of the Mac's own identity is gone from its keychain. */
const loseIdentityKey = (it: Given): void =>
  it.mac.change((one) => {
    const keychain = one.keychains[systemKeychain];
    if (keychain) keychain.items = keychain.items.filter((item) => !item.account.startsWith('identity:'));
  });

describe('files', () => {
  test('PEM: the certificate is used as it is, and its RSA key signs the grant of a rotation', async () => {
    const it = await wholeStory(pemFiles);
    expect(it.status().identity).toMatchObject({ way: 'files' });
    expect(it.journal().identity).toBeNull();
    expect(await enrolments(it)).toMatchObject([{ way: 'direct', status: 'active' }]);
  });

  testWithOpenssl('PKCS #12: the same, with its password in a file', async () => {
    const it = await given({
      ...pemFiles,
      settings: { identityPkcs12File: '/Library/Sparekey/identity/identity.p12', identityPkcs12PasswordFile: '/Library/Sparekey/identity/password' },
    });
    const files = {
      'c.pem': readFileSync(it.mac.path(identityFiles.certificate)),
      'k.pem': readFileSync(it.mac.path(identityFiles.key)),
      'p.txt': 'a password\n',
    };
    const p12 = openssl(['pkcs12', '-export', '-in', 'c.pem', '-inkey', 'k.pem', '-passout', 'file:p.txt'], files);
    writeFileSync(it.mac.path('/Library/Sparekey/identity/identity.p12'), p12, { mode: 0o600 });
    writeFileSync(it.mac.path('/Library/Sparekey/identity/password'), 'a password\n', { mode: 0o600 });
    rmSync(it.mac.path(identityFiles.key));
    await it.settle();
    const before = it.mac.recoveryKey;
    await it.order();
    expect(await it.checkIn()).toBe(0);
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(it.status().identity).toMatchObject({ way: 'files' });
    await agrees(it);
  });

  test('missing, readable by others, or of another key: the file is named with what to do, and nothing is lost', async () => {
    const it = await given(pemFiles);
    const key = it.mac.path(identityFiles.key);
    const bytes = readFileSync(key);
    chmodSync(key, 0o644);
    expect(await it.checkIn()).toBe(78);
    expect(it.status().lastRun).toMatchObject({ code: 'IDENTITY_FILE_INVALID', did: expect.stringMatching(/its mode must be 600/) });
    chmodSync(key, 0o600);
    writeFileSync(key, it.deviceCa.key);
    expect(await it.checkIn()).toBe(78);
    expect(it.status().lastRun.did).toMatch(/not that of the certificate/);
    rmSync(key);
    expect(await it.checkIn()).toBe(78);
    expect(it.status().lastRun.did).toMatch(/is not there/);
    writeFileSync(key, bytes, { mode: 0o600 });
    expect(await it.checkIn()).toBe(0);
    await agrees(it);
  });

  test('renewed by whoever brought them: the same Mac goes on, with the same keys', async () => {
    const it = await wholeStory(pemFiles);
    it.mac.writeIdentityFiles(it.deviceCa);
    it.pass(day + 60);
    const before = it.mac.recoveryKey;
    await it.order();
    await it.checkIn();
    it.pass(60);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(await alarms(it)).toEqual([]);
    expect((await enrolments(it)).filter((one) => one.status === 'active')).toHaveLength(1);
    await agrees(it);
  });
});

describe('the profile', () => {
  test('is used once, and the own key from then on: the profile’s identity may go', async () => {
    const it = await wholeStory({});
    expect(it.status().identity).toMatchObject({ way: 'profile' });
    it.mac.change((one) => {
      const keychain = one.keychains[systemKeychain];
      if (keychain) keychain.identities = [];
    });
    it.pass(2 * day);
    const before = it.mac.recoveryKey;
    await it.order();
    expect(await it.checkIn()).toBe(0);
    expect(it.mac.recoveryKey).not.toBe(before);
    await agrees(it);
  });

  test('the own key is lost: it enrols anew by the profile; while the first enrolment may still be alive it gets no key, a day later it does', async () => {
    const it = await wholeStory({});
    loseIdentityKey(it);
    it.pass(2 * day);
    await it.checkIn();
    expect(await enrolments(it)).toMatchObject([{ way: 'profile' }, { way: 'profile', confirmed: 0 }]);
    const before = it.mac.recoveryKey;
    await it.order();
    it.pass(60);
    await it.checkIn();
    expect(codes(it)).toContain('GRANT_REFUSED');
    expect(it.mac.recoveryKey).toBe(before);
    it.pass(day);
    await it.custody.sweepTimers();
    expect(await enrolments(it)).toMatchObject([{ status: 'replaced' }, { status: 'active', confirmed: 1 }]);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(await alarms(it)).toEqual([]);
    await agrees(it);
  });
});

describe('a ticket', () => {
  async function withTicket(): Promise<Given & { ticketId: string }> {
    const any = await given();
    const serial = `C02TICK${Math.floor(Math.random() * 1e5)}`.padEnd(12, '0');
    const { id, ticket } = await any.backend.tickets.make({ serials: [serial], days: 7, actor: 'an operator' });
    const it = await given({ serial, identity: null, settings: { enrolmentTicket: ticket }, without: ['identityIssuer'] });
    return Object.assign(it, { ticketId: id });
  }

  test('enrols and delivers at once; a key is granted only for what an admin ordered', async () => {
    const it = await withTicket();
    await it.settle();
    await agrees(it);
    expect(it.status().identity).toMatchObject({ way: 'ticket' });
    expect(await enrolments(it)).toMatchObject([{ way: 'ticket', confirmed: 0 }]);
    const shown = await it.disclose();
    it.pass(2 * day);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(shown);
    expect(codes(it)).toContain('GRANT_REFUSED');
    await it.order();
    it.pass(60);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(shown);
    await agrees(it);
  });

  test('a second enrolment needs a click, and gets no key of the first one until an admin confirms it', async () => {
    const it = await withTicket();
    await it.settle();
    const before = it.mac.recoveryKey;
    loseIdentityKey(it);
    it.pass(60);
    expect(await it.checkIn()).toBe(77);
    expect(it.status().lastRun).toMatchObject({ code: 'TICKET_REFUSED', did: expect.stringMatching(/ticket allow/) });
    await it.backend.tickets.allow({ id: it.ticketId, serial: it.mac.state.serial, actor: 'an operator', reason: 'repair' });
    it.pass(60);
    expect(await it.checkIn()).toBe(0);
    await it.order();
    it.pass(60);
    await it.checkIn();
    expect(codes(it)).toContain('GRANT_REFUSED');
    expect(it.mac.recoveryKey).toBe(before);
    const { enrolmentId } = it.journal().identity ?? { enrolmentId: '' };
    await it.custody.confirmEnrolment({ enrolmentId, actor: 'an admin', reason: 'seen on the desk' });
    it.pass(60);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(before);
    await agrees(it);
  });

  test('for another serial it is refused, in words for an admin', async () => {
    const it = await withTicket();
    const ticket = await it.backend.tickets.make({ serials: ['C02SOMEBODY1'], days: 7, actor: 'an operator' });
    it.mac.installSettings({ ...it.values, enrolmentTicket: ticket.ticket, identityIssuer: 'nobody at all' });
    expect(await it.checkIn()).toBe(77);
    it.mac.installSettings(Object.fromEntries(Object.entries({ ...it.values, enrolmentTicket: ticket.ticket }).filter(([name]) => name !== 'identityIssuer')));
    expect(await it.checkIn()).toBe(77);
    expect(it.status().lastRun).toMatchObject({ code: 'TICKET_REFUSED', did: expect.stringMatching(/not in its inventory/) });
  });
});

describe('an enrolment that is revoked', () => {
  test('gets nothing more, says so with its fix, enrols not again by itself, and its key stays', async () => {
    const it = await given();
    await it.settle();
    await it.order();
    await revoke(it.backend, { target: await it.macId(), reason: 'stolen', actor: 'an admin', keepCertificate: false });
    const before = it.mac.recoveryKey;
    for (const _ of [1, 2]) {
      it.pass(3600);
      expect(await it.checkIn()).toBe(77);
      expect(it.status().lastRun.code).toBe('ENROLMENT_REVOKED');
    }
    expect(it.mac.recoveryKey).toBe(before);
    expect(await enrolments(it)).toMatchObject([{ status: 'revoked' }]);
    expect(await it.heldKey()).toBe(before);
    loseIdentityKey(it);
    it.pass(3600);
    expect(await it.checkIn()).toBe(77);
    expect(it.status().lastRun.code).toBe('CERTIFICATE_REVOKED');
    expect(await enrolments(it)).toHaveLength(1);
  });

  test('after it began a rotation: the new key is kept in quarantine, and answered 403', async () => {
    const it = await given();
    await it.settle();
    await it.order();
    await it.checkInAndDie({ name: /ask deliver/, when: 'before' });
    await revoke(it.backend, { target: await it.macId(), reason: 'stolen', actor: 'an admin', keepCertificate: true });
    const kept = it.journal().outbox.find((one) => one.source === 'rotation');
    const server = ownServer(it);
    const answer = await server
      .deliver(kept?.envelopeId ?? '', {
        envelope: kept?.envelope ?? '',
        source: 'rotation',
        hardwareUuid: it.mac.state.hardwareUuid,
        volume: kept?.volume ?? '',
        madeAt: kept?.madeAt ?? '',
        validated: 'unknown',
        rotationId: kept?.rotationId ?? null,
      })
      .then(String, (cause: Problem) => cause.code);
    server.close();
    expect(answer).toBe('DELIVERY_QUARANTINED');
    expect(await it.storedKeys()).toContain(it.mac.recoveryKey);
    it.pass(60);
    expect(await it.checkIn()).toBe(77);
    expect(it.status().lastRun.code).toBe('ENROLMENT_REVOKED');
    expect(it.journal().outbox.map((one) => one.envelopeId)).toContain(kept?.envelopeId);
  });
});

/** The backend, asked by hand with this Mac's own identity. */
function ownServer(it: Given): Server {
  const identity = it.journal().identity;
  const key = it.mac.state.keychains[systemKeychain]?.items.find((one) => one.account === identity?.keyAccount)?.password ?? '';
  const [trusted] = it.values['trustedCertificates'] as string[];
  return openServer({
    settings: { serverUrl: String(it.values['serverUrl']), trustedCertificates: [trusted ?? ''], trust: 'bundled', proxy: 'none' },
    identity: { certificatePem: identity?.certificatePem ?? '', privateKey: createPrivateKey(key) },
    runner: it.mac.runner,
  });
}

test('Mac A’s certificate delivering for Mac B: refused by B’s hardware, and as A’s own it never touches B', async () => {
  const [a, b] = [await given(), await given()];
  await a.settle();
  await b.checkIn();
  const key = RecoveryKey.parse('BBBB-BBBB-BBBB-BBBB-BBBB-BBBB');
  if (!key) throw new Error('no key');
  const [certificate] = b.backend.escrowKeys.certificates;
  const envelope = sealKey(key, certificate?.der ?? Buffer.alloc(0));
  const { createHash } = await import('node:crypto');
  const id = createHash('sha256').update(envelope).digest('hex');
  const server = ownServer(a);
  const request = {
    envelope: envelope.toString('base64'),
    source: 'rotation' as const,
    hardwareUuid: b.mac.state.hardwareUuid,
    volume: b.mac.state.disk.volumeGroup,
    madeAt: new Date(a.mac.now).toISOString(),
    validated: 'true' as const,
    rotationId: null,
  };
  expect(await server.deliver(id, request).then(String, (cause: Problem) => cause.code)).toBe('IDENTITY_MOVED');
  expect(await a.storedKeys()).not.toContain(key.reveal());
  const receipt = await server.deliver(id, { ...request, hardwareUuid: a.mac.state.hardwareUuid });
  server.close();
  expect(receipt.state).not.toBe('superseded');
  expect(await b.storedKeys()).toEqual([b.mac.recoveryKey]);
  await agrees(b);
  expect(await a.heldKey()).toBe(a.mac.recoveryKey);
  expect(await alarms(a)).toContain('IDENTITY_MOVED');
});

// Last: the backend is another one from here on.
describe('a backend that was restored (H2)', () => {
  async function restored(it: Given, file: string): Promise<void> {
    const dir = join(scratch('restored'), 'backend');
    await restore({ file, dir, revocationsFile: null, spreadDays: 1, actor: 'an operator' });
    await it.restart(dir);
  }

  test('from before this Mac enrolled: it enrols again, delivers its envelopes again, and its key is held', async () => {
    const any = await given();
    const file = join(scratch('backup'), 'backup.tar');
    await backUp({ dir: any.dir, file, actor: 'an operator' });
    const it = await wholeStory({});
    const old = it.journal().identity?.enrolmentId;
    await restored(it, file);
    it.pass(60);
    expect(await it.checkIn()).toBe(0);
    expect(it.lines).toContainEqual({ event: 'identity-set-aside', because: 'CERTIFICATE_UNKNOWN' });
    expect(it.journal().identity?.enrolmentId).not.toBe(old);
    expect(await it.storedKeys()).toContain(it.mac.recoveryKey);
    for (const seconds of [700, 700, day, 700]) {
      it.pass(seconds);
      await it.checkIn();
    }
    await agrees(it);
    // The newest key was proved first: no wrong one was tried, and nobody else is suspected.
    expect([it.mac.state.wrongKeys.ever, it.journal().foreignChanges]).toEqual([0, []]);
  });

  test('from before its last rotation: the key that opens the Mac is delivered again, and held after its proof', async () => {
    const it = await given();
    await it.settle();
    const first = it.mac.recoveryKey;
    const file = join(scratch('backup'), 'backup.tar');
    await backUp({ dir: it.dir, file, actor: 'an operator' });
    await it.order();
    await it.checkIn();
    const second = it.mac.recoveryKey;
    expect(second).not.toBe(first);
    await restored(it, file);
    expect(await it.heldKey()).toBe(first);
    it.mac.boot();
    it.pass(60);
    expect(await it.checkIn()).toBe(0);
    expect(await it.storedKeys()).toContain(second);
    expect(await it.custodyOf()).not.toMatchObject({ state: 'none' });
    for (const seconds of [700, 700, day, 700, day, 700]) {
      it.pass(seconds);
      await it.checkIn();
    }
    await agrees(it);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
  });
});

// Last of all: from here on the backend's clock is far ahead of that of TLS.
describe('an identity that grows old', () => {
  test('renewal at two thirds of its life: the same enrolment with another key, and the old key goes only after it was used', async () => {
    const it = await wholeStory({});
    const before = it.journal().identity;
    // MDM has renewed its own in time.
    it.pass(200 * day);
    it.mac.installIdentity(it.deviceCa);
    it.pass(100 * day);
    await it.checkIn();
    const after = it.journal().identity;
    expect(after?.enrolmentId).toBe(before?.enrolmentId);
    expect(after?.certificatePem).not.toBe(before?.certificatePem);
    expect(it.mac.state.keychains[systemKeychain]?.items.map((one) => one.account)).toEqual([after?.keyAccount]);
    await agrees(it);
  });

  test('the old identity comes back from a backup: CERTIFICATE_REPLACED, and it finds its way by itself', async () => {
    const it = await wholeStory({});
    const journal = JSON.parse(readFileSync(it.mac.path(`${state}/journal.json`), 'utf8'));
    const items = structuredClone(it.mac.state.keychains[systemKeychain]?.items ?? []);
    it.pass(2 * day);
    it.mac.installIdentity(it.deviceCa);
    await it.checkIn();
    await it.checkIn();
    expect(it.lines.map((line) => line.event)).toContain('renewed');
    // As if it had just looked whether the profile has another certificate.
    writeFileSync(it.mac.path(`${state}/journal.json`), JSON.stringify({ ...journal, profileLookedAt: it.mac.now }), { mode: 0o600 });
    it.mac.change((one) => {
      const keychain = one.keychains[systemKeychain];
      if (keychain) keychain.items = items;
    });
    it.pass(60);
    expect(await it.checkIn()).toBe(0);
    expect(it.lines).toContainEqual({ event: 'identity-set-aside', because: 'CERTIFICATE_REPLACED' });
    await agrees(it);
  });
});

test('every problem of an identity names somebody and what to do', () => {
  for (const code of ['ENROLMENT_REVOKED', 'CERTIFICATE_REVOKED', 'IDENTITY_MISSING', 'IDENTITY_FILE_INVALID', 'TICKET_REFUSED', 'IDENTITY_MOVED'] as const)
    expect([code, new Problem(code).kind.fix.length > 20]).toEqual([code, true]);
});

import { createHash, X509Certificate } from 'node:crypto';
import type { Facts } from '../protocol/messages.ts';
import type { Standing } from './boot-note.ts';
import type { Journal } from './journal.ts';
import { hasRecoveryKey, readFileVault, usingRecoveryKey } from './mac/fdesetup.ts';
import { readEscrowPayload } from './mac/profiles.ts';
import { darkWake, readLanguageAndLayout, readPower, unlockedBy } from './mac/system.ts';
import { consoleUser, passwordChangedAt, secureToken, secureTokenUsers } from './mac/users.ts';
import { debtOfUse, lookAtSession } from './session.ts';
import type { SettingsRead } from './settings.ts';
import type { Settings } from './settings-table.ts';
import type { Disk, Runner } from './world.ts';

/** Everything that a run sees of its Mac, by questions that change nothing. */
export interface Observed {
  facts: Facts;
  settled: boolean;
  session: NonNullable<Journal['session']>;
  debts: Journal['debts'];
  custodyBecause: string;
}

export interface Versions {
  agent: string;
  runtime: string;
  /** False: built without a signature, for trying out only; such a Mac keeps no key. */
  runtimeSigned: boolean;
}

export async function observe(
  parts: { runner: Runner; disk: Disk },
  standing: Standing,
  journal: Readonly<Journal>,
  read: SettingsRead & { settings: Settings },
  versions: Versions,
  identityWay: Facts['identityWay'],
): Promise<Observed> {
  const { runner, disk } = parts;
  const { settings } = read;
  const [fileVault, using, unlocked, user, asleep, power, payload, words, tokens] = await Promise.all([
    readFileVault(runner),
    usingRecoveryKey(runner),
    unlockedBy(runner),
    consoleUser(runner),
    darkWake(runner),
    readPower(runner),
    readEscrowPayload(runner, disk, { certificateDer: settings.escrowCertificate }),
    readLanguageAndLayout(runner, disk),
    secureTokenUsers(runner),
  ]);
  const [hasKey, token, changed] = await Promise.all([
    hasRecoveryKey(runner, fileVault),
    user ? secureToken(runner, user) : Promise.resolve('no' as const),
    user && user !== '_mbsetupuser' ? passwordChangedAt(runner, user) : Promise.resolve(null),
  ]);
  const looked = lookAtSession(
    journal.session,
    { boot: standing.boot, uptimeSeconds: standing.uptimeSeconds, consoleUser: user, secureToken: token, darkWake: asleep },
    settings.settleSeconds,
  );
  const { session, debts } = debtOfUse(journal, looked.session, { usingRecoveryKey: using, unlockedBy: unlocked });
  const custody = chooseCustody(settings, payload.payload, versions.runtimeSigned);
  const seen = journal.escrowSeen;
  const facts: Facts = {
    agentVersion: versions.agent,
    runtimeVersion: versions.runtime,
    runtimeSigned: versions.runtimeSigned,
    serial: standing.serial,
    hardwareUuid: standing.hardwareUuid,
    volume: standing.volume,
    ...(standing.model ? { model: standing.model } : {}),
    ...(standing.chip ? { chip: standing.chip } : {}),
    macosVersion: standing.macosVersion,
    macosBuild: standing.macosBuild,
    fileVault: {
      state: fileVault.state,
      hasRecoveryKey: hasKey,
      ...(fileVault.percent === undefined ? {} : { percent: fileVault.percent }),
      ...(fileVault.deferredFor === undefined ? {} : { deferredFor: fileVault.deferredFor }),
      ...(fileVault.waitingFor === undefined ? {} : { waitingFor: fileVault.waitingFor }),
    },
    usingRecoveryKey: using,
    unlockedBy: unlocked,
    boot: standing.boot,
    uptimeSeconds: standing.uptimeSeconds,
    firstRunUptimeSeconds: session.firstRunUptime,
    consoleUser: user,
    consoleUserHasSecureToken: token,
    settledUser: looked.settledUser,
    secureTokenUsers: tokens,
    passwordChangedAt: changed === null ? null : new Date(changed).toISOString(),
    darkWake: asleep,
    power,
    escrow: { payload: payload.payload, location: payload.location, file: seen ? { digest: seen.digest, recipient: seen.recipient, ours: seen.ours } : null },
    settings: { managed: read.state === 'managed', unmanagedSince: read.unmanagedSince, digest: read.digest },
    trusted: settings.trustedCertificates.map((text) => createHash('sha256').update(new X509Certificate(text).raw).digest('hex')),
    custodyMode: custody.mode,
    escrowOwner: settings.escrowOwner,
    rotator: settings.rotator,
    ...(settings.holdDeadlineHours === null ? {} : { holdDeadlineHours: settings.holdDeadlineHours }),
    capability: journal.capability?.build === standing.macosBuild ? journal.capability.state : 'unknown',
    identityWay,
    keyboardLayout: words.layout,
    language: words.language,
    ...(settings.assignedTo === false ? {} : { assignedTo: settings.assignedTo }),
    ...(standing.name ? { name: standing.name } : {}),
  };
  return { facts, settled: looked.settledUser !== null, session, debts, custodyBecause: custody.because };
}

/**
 * Where the key is kept on the Mac. Under our payload nowhere: macOS's file brings every new key without plaintext. Under the
 * MDM's in the keychain, because a grant would need a copy that the MDM may have made stale.
 */
function chooseCustody(
  settings: Pick<Settings, 'custody'>,
  payload: Facts['escrow']['payload'],
  signed: boolean,
): { mode: Facts['custodyMode']; because: string } {
  if (!signed) return { mode: 'server', because: 'the runtime is not signed for production, so this Mac keeps no key' };
  if (settings.custody !== 'auto') return { mode: settings.custody, because: 'the settings say so' };
  return payload === 'foreign'
    ? { mode: 'keychain', because: 'the escrow payload is somebody else’s, so new keys do not come back by macOS’s own file' }
    : { mode: 'server', because: 'macOS’s own escrow file brings every new key to the backend' };
}

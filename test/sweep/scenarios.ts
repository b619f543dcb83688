import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import type { World } from '../../agent/check-in.ts';
import { realDisk } from '../../agent/disk.ts';
import { Password } from '../../agent/password.ts';
import { paths } from '../../agent/paths.ts';
import { ask } from '../../agent/requests.ts';
import { oweRotation } from '../../server/debts.ts';
import { systemKeychain } from '../fake-mac/state.ts';
import { type GivenOptions, given } from '../together.ts';

/*
 * What the swept run finds: for each reason to replace a key, a Mac that owes it and whose next run does it, in the
 * custodies that differ in who remembers the new key (nobody but the output file and macOS's own; the keychain too; the
 * keychain, and macOS's file for somebody else).
 */

export type Given = Awaited<ReturnType<typeof given>>;

export interface Prepared {
  it: Given;
  /** The key before the swept run. */
  before: string | null;
  /** A key is owed that is another than `before`. */
  owes: boolean;
}

export interface Scenario {
  /** A row of the table. */
  name: string;
  /** Seconds before each run of the recovery; the last one again for all that follow. */
  waits: readonly number[];
  keepsKey: boolean;
  prepare(world?: Partial<World>): Promise<Prepared>;
  /** What a person does before each further run, as long as nobody has the key. */
  again?(it: Given): void;
}

const day = 24 * 3600;
/** launchd starts the job again when its interval is over, or sooner where somebody asks for it. */
const usual = [120, 120, 900, 900, 900, 3 * 3600];
/** So soon that fdesetup is found at it: before the change, and between the change and its answer. */
const soon = [5, 20, 20, 120, 900, 900, 3 * 3600];

type Custody = 'server' | 'keychain' | 'foreign payload';

const options: Record<Custody, GivenOptions> = {
  server: {},
  keychain: { settings: { custody: 'keychain' } },
  'foreign payload': { escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'sparekey', custody: 'keychain' } },
};

/** A Mac whose key is held, proved and, where the custody says so, in the keychain. */
async function ready(custody: Custody, world?: Partial<World>): Promise<Given> {
  const it = await given({ ...options[custody], ...(world ? { world } : {}) });
  await it.settle();
  if (custody === 'keychain') {
    // Its first change needs a grant, and leaves the key in the keychain for the next ones.
    await it.order();
    await it.checkIn();
    it.pass(day + 60);
  }
  if (custody === 'foreign payload') {
    it.mac.change((state) => {
      state.keychains[systemKeychain]?.items.push({
        service: 'io.sparekey.agent',
        account: `recovery-key:${state.hardwareUuid.toUpperCase()}:imported`,
        password: state.disk.recoveryKey ?? '',
      });
    });
    for (const _ of [1, 2, 3]) {
      it.pass(700);
      await it.checkIn();
    }
  }
  return it;
}

async function heldRecord(it: Given): Promise<string | null> {
  const row = await it.store.db
    .selectFrom('key_record')
    .select('id')
    .where('mac_id', '=', await it.macId())
    .where('state', '=', 'held')
    .executeTakeFirst();
  return row?.id ?? null;
}

/** A debt whose cause lies in another part of the backend, or in the past. */
async function owe(it: Given, because: string): Promise<void> {
  const macId = await it.macId();
  const recordId = because === 'never-escrowed' ? null : await heldRecord(it);
  const volume = it.mac.state.disk.volumeGroup.toUpperCase();
  await it.store.write((tx) => oweRotation(tx, it.mac.now, { id: randomUUID(), macId, volume, because, recordId, actor: 'server' }));
}

/** How each reason comes about. */
const causes: Record<string, (it: Given) => Promise<void>> = {
  async disclosed(it) {
    await it.disclose();
    it.pass(60);
    // Its person is back in: the hold is over.
    it.mac.boot();
    it.mac.logIn('ada');
    await it.checkIn();
    it.pass(601);
  },
  async used(it) {
    it.mac.rebootWithRecoveryKey();
    it.mac.logIn('ada');
    await it.checkIn();
    it.pass(601);
  },
  async ordered(it) {
    await it.order();
  },
  async 'ordered on the Mac'(it) {
    it.request('rotate', randomUUID());
  },
  aged: (it) => owe(it, 'aged'),
  'never-escrowed': (it) => owe(it, 'never-escrowed'),
  doubtful: (it) => owe(it, 'doubtful'),
  granted: (it) => owe(it, 'granted'),
  /** The journal is gone, and with it all that this Mac knew of a change that had just been made (R11). */
  async interrupted(it) {
    await it.order();
    await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    rmSync(it.mac.path(paths.journal));
    it.pass(120);
  },
  /** The same, and fdesetup never got as far as the change. */
  async 'interrupted, unchanged'(it) {
    await it.order();
    await it.checkInAndDie({ name: /start fdesetup/, when: 'before' });
    rmSync(it.mac.path(paths.journal));
    it.pass(120);
  },
};

function rotation(cause: string, custody: Custody, slow = false): Scenario {
  const suffix = custody === 'server' ? '' : custody === 'keychain' ? ', key in the keychain' : ', foreign payload';
  return {
    name: `${cause}${suffix}${slow ? ', slow fdesetup' : ''}`,
    waits: slow ? soon : usual,
    keepsKey: custody !== 'server',
    async prepare(world) {
      const it = await ready(custody, world);
      const before = it.mac.recoveryKey;
      await causes[cause]?.(it);
      if (slow) {
        it.mac.setQuirk('changeSecondsBefore', 15);
        it.mac.setQuirk('changeSecondsAfter', 15);
        it.mac.setQuirk('escrowSeconds', 40);
      }
      return { it, before, owes: true };
    },
  };
}

/** The very first run of a new Mac: it enrols, and macOS's escrow file is delivered. */
const enrolment: Scenario = {
  name: 'enrolment escrow',
  waits: usual,
  keepsKey: false,
  async prepare(world) {
    const it = await given(world ? { world } : {});
    return { it, before: it.mac.recoveryKey, owes: false };
  },
};

const rightPassword = "ada's password";

/** Somebody who stays at the terminal, and asks again until a key is made. */
const askToAdopt = (it: Given): void => ask(realDisk(it.mac.root), { id: randomUUID(), kind: 'adopt', reason: null });

/** FileVault was on before anything of ours came: the key is made by a password, and there is no old one to fall back on. */
function adoption(custody: Custody): Scenario {
  const openDoor: World['openDoor'] = async () => ({
    ready: async () => true,
    ask: async () => Password.take(Buffer.from(rightPassword)),
    close: () => {},
  });
  return {
    name: `adopted, nobody has the key${custody === 'server' ? '' : `, ${custody}`}`,
    waits: usual,
    keepsKey: custody !== 'server',
    async prepare(world) {
      const it = await given({ ...options[custody], escrow: 'none', macos: '15.6.1', world: { ...world, openDoor } });
      it.mac.setQuirk('newKeyAtProfileInstall', 'never');
      if (custody === 'foreign payload') it.mac.installEscrowProfile('foreign');
      else it.mac.installEscrowProfile('ours', it.values.escrowCertificate);
      await it.settle();
      askToAdopt(it);
      return { it, before: it.mac.recoveryKey, owes: true };
    },
    again(it) {
      const waiting = [paths.queue, paths.taken].some((folder) => realDisk(it.mac.root).list(folder).length > 0);
      if (!waiting) askToAdopt(it);
    },
  };
}

/** One row each. The first ones are the reasons as they are with the usual custody. */
export const scenarios: readonly Scenario[] = [
  ...['disclosed', 'used', 'ordered', 'aged', 'never-escrowed', 'interrupted', 'doubtful', 'granted'].map((cause) => rotation(cause, 'server')),
  enrolment,
  rotation('interrupted, unchanged', 'server'),
  rotation('ordered on the Mac', 'server'),
  rotation('ordered', 'server', true),
  ...['disclosed', 'used', 'ordered', 'interrupted'].map((cause) => rotation(cause, 'keychain')),
  ...['disclosed', 'ordered', 'interrupted'].map((cause) => rotation(cause, 'foreign payload')),
  rotation('ordered', 'foreign payload', true),
  ...(['server', 'keychain', 'foreign payload'] as const).map(adoption),
];

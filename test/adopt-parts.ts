import type { World } from '../agent/check-in.ts';
import { realDisk } from '../agent/disk.ts';
import { Password } from '../agent/password.ts';
import type { Asked } from '../agent/password-door.ts';
import { ask, type Result, readAnswer } from '../agent/requests.ts';
import { given } from './given.ts';

/** The password of the fake Mac's first user. */
export const rightPassword = "ada's password";
export const wrongPassword = 'not that one';

/** Answers the job in place of the command line's door: each text is one password that is given, null is nobody. */
export function answering(...answers: (string | null)[]): {
  world: Pick<World, 'openDoor'>;
  asked: Omit<Asked, 'organisation' | 'words' | 'contact'>[];
  closed: () => number;
} {
  const asked: Omit<Asked, 'organisation' | 'words' | 'contact'>[] = [];
  let closed = 0;
  return {
    asked,
    closed: () => closed,
    world: {
      openDoor: async (_root, _disk, _id, { user }) => ({
        // Without an answer there is nobody; `null` is somebody who gives none.
        ready: async () => answers.length > 0,
        async ask(left, before) {
          asked.push({ user, left, before });
          const answer = answers.shift() ?? null;
          return answer === null ? null : Password.take(Buffer.from(answer));
        },
        close() {
          closed += 1;
        },
      }),
    },
  };
}

type Given = Awaited<ReturnType<typeof given>>;

/** What `sudo sparekey adopt` leaves for the job. */
export const askToAdopt = (it: Given, id: string, user?: string): void =>
  ask(realDisk(it.mac.root), { id, kind: 'adopt', reason: null, ...(user ? { user } : {}) });
const answerTo = (it: Given, id: string): Result | null => readAnswer(realDisk(it.mac.root), id);

/** Our payload comes, and macOS makes no new key for it. */
export function makeKeyless(it: Given, escrow: string = 'none'): void {
  it.mac.setQuirk('newKeyAtProfileInstall', 'never');
  if (escrow === 'none') it.mac.installEscrowProfile('ours', it.values.escrowCertificate);
}

/** FileVault was on before anything of ours came, so nobody but its maker has the key; our payload makes macOS 15 write no new one. */
export async function keyless(options: Parameters<typeof given>[0] = {}) {
  const it = await given({ escrow: 'none', macos: '15.6.1', ...options });
  makeKeyless(it, options.escrow);
  await it.settle();
  const before = it.mac.recoveryKey;
  let asked = 0;
  /** One run of the job for one `sparekey adopt`, and what it answers. */
  const adopt = async (answers: (string | null)[], more: { user?: string; world?: Partial<World> } = {}) => {
    asked += 1;
    const id = `adopt-${asked}`;
    const door = answering(...answers);
    askToAdopt(it, id, more.user);
    const exit = await it.checkIn({ ...door.world, ...more.world });
    return { exit, answer: answerTo(it, id), asked: door.asked };
  };
  return { ...it, before, adopt };
}

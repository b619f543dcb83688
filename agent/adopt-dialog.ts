import { screenLocked } from './mac/accounts.ts';
import { askInDialog, type DialogAnswer } from './mac/dialog.ts';
import { consoleUser } from './mac/users.ts';
import { Password } from './password.ts';
import type { Asker } from './password-door.ts';
import type { Run } from './run-of-agent.ts';

/** The organisation's own words: without them no dialog is shown. */
export interface PromptWords {
  organisation: string;
  words: string;
  contact: string;
}

/** Longer than that nobody thinks about a password; together three stay under the five minutes after which an open rotation is in doubt. */
const dialogSeconds = 75;

/** Asks the user at the screen. Cancelled, or not answered, nobody is asked again in this run. `notePrompt` comes before the first one is shown. */
export function dialogAsker(run: Run, uid: number, user: string, { organisation, words, contact }: PromptWords, notePrompt: () => void): Asker {
  // A session in the background, or behind a locked screen, would let the dialog pass unseen, and with it the one of the week.
  const ready = async (): Promise<boolean> => (await consoleUser(run.runner)) === user && (await screenLocked(run.runner)) !== 'yes';
  return {
    ready,
    async ask(left, before) {
      if (before === 'first') {
        notePrompt();
        run.log('password-asked', { by: 'dialog' });
      } else if (!(await ready())) return null;
      const again =
        before === 'wrong' ? [`That was not the password with which ${user} unlocks this Mac. ${left === 1 ? 'One more try.' : `${left} more tries.`}`] : [];
      const what = 'The password is given to macOS once, to make a new recovery key that goes into safe keeping. It is kept nowhere.';
      const text = [...again, words, `${what} Account: ${user}`, `Is this genuine? ${contact}`].join('\n\n');
      const answer: DialogAnswer = await askInDialog(run.runner, run.disk, uid, { title: organisation, text }, dialogSeconds);
      run.log('password-answered', { answer: answer instanceof Password ? 'given' : answer });
      return answer instanceof Password ? answer : null;
    },
    close: () => {},
  };
}

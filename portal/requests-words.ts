import { type Html, html } from '../web/html.ts';
import type { InTwo } from '../web/words.ts';

interface RequestWords {
  title: (name: string) => string;
  /** Before anything was asked. */
  how: string;
  /** How long an answer is waited for, and how long a yes is good. */
  goodFor: (hours: number) => string;
  reason: string;
  reasonHint: string;
  reasonMissing: string;
  ask: string;
  waiting: { says: string; means: string; until: (time: Html) => Html; fix: string; asked: (time: Html) => Html; lookAgain: string };
  yourReason: string;
  withdraw: string;
  approved: { says: string; means: (until: Html) => Html; goOn: string; skip: string };
  refused: { says: string; why: string; fix: string };
  /** Why there is nothing now of what was asked before. */
  over: Record<'expired' | 'used' | 'withdrawn', string>;
  askAgain: string;
  tooMany: string;
  back: string;
}

const en: RequestWords = {
  title: (name) => `Ask for the key of ${name}`,
  how: 'In your organisation somebody agrees first before a key is shown. You ask here and get a code. Call and read it out, so that they look at it at once.',
  goodFor: (hours) => (hours === 1 ? 'Once they agree, you have one hour to look at the key.' : `Once they agree, you have ${hours} hours to look at the key.`),
  reason: 'What has happened?',
  reasonHint: 'One sentence is enough, such as “I have forgotten my password”. Whoever decides reads it.',
  reasonMissing: 'Write in a few words what has happened. Whoever decides needs it.',
  ask: 'Ask for the key',
  waiting: {
    says: 'You have asked. Nobody has answered yet.',
    means: 'The key can be shown as soon as somebody agrees.',
    until: (time) => html`If nobody answers until ${time}, the request ends by itself, and you can ask again.`,
    fix: 'Is it urgent? Call, and read out the code. They find your request by it.',
    asked: (time) => html`You asked ${time}.`,
    lookAgain: 'Is there an answer yet?',
  },
  yourReason: 'You wrote:',
  withdraw: 'I do not need it any more',
  approved: {
    says: 'They have agreed. You can look at the key now.',
    means: (until) => html`This holds until ${until}, and for this one time that you are locked out.`,
    goOn: 'Help me get in',
    skip: 'Skip, I know what to do',
  },
  refused: {
    says: 'They have not agreed. The key is not shown.',
    why: 'They wrote:',
    fix: 'Call if you do need it, or ask again and write more about what has happened.',
  },
  over: {
    expired: 'You asked before, and that request has ended: its time was over.',
    used: 'You were shown the key after an earlier request. That was for that one time; now you ask again.',
    withdrawn: 'You took back your request. You can ask again.',
  },
  askAgain: 'Ask again',
  tooMany: 'You have asked very often in the last hour. Nothing was sent this time. Call: they can help you at once.',
  back: 'Back to this Mac',
};

const nl: RequestWords = {
  title: (name) => `Vraag om de sleutel van ${name}`,
  how: 'In je organisatie geeft iemand eerst toestemming voordat een sleutel wordt getoond. Je vraagt het hier en krijgt een code. Bel en lees die voor, dan kijken ze meteen.',
  goodFor: (hours) =>
    hours === 1 ? 'Is er toestemming, dan heb je een uur om de sleutel te bekijken.' : `Is er toestemming, dan heb je ${hours} uur om de sleutel te bekijken.`,
  reason: 'Wat is er gebeurd?',
  reasonHint: 'Eén zin is genoeg, zoals ‘Ik ben mijn wachtwoord vergeten’. Wie beslist, leest die.',
  reasonMissing: 'Schrijf in een paar woorden wat er is gebeurd. Wie beslist, heeft dat nodig.',
  ask: 'Vraag om de sleutel',
  waiting: {
    says: 'Je hebt het gevraagd. Er is nog geen antwoord.',
    means: 'Zodra iemand toestemming geeft, kan de sleutel worden getoond.',
    until: (time) => html`Komt er voor ${time} geen antwoord, dan vervalt je vraag vanzelf. Je kunt het dan opnieuw vragen.`,
    fix: 'Heb je haast? Bel, en lees de code voor. Daarmee vinden ze je vraag.',
    asked: (time) => html`Je vroeg het ${time}.`,
    lookAgain: 'Is er al antwoord?',
  },
  yourReason: 'Je schreef:',
  withdraw: 'Het hoeft niet meer',
  approved: {
    says: 'Er is toestemming. Je kunt de sleutel nu bekijken.',
    means: (until) => html`Dat geldt tot ${until}, en voor deze ene keer dat je er niet in komt.`,
    goOn: 'Help me erin',
    skip: 'Sla over, ik weet wat ik moet doen',
  },
  refused: {
    says: 'Er is geen toestemming. De sleutel wordt niet getoond.',
    why: 'Ze schreven:',
    fix: 'Heb je hem toch nodig? Bel, of vraag het opnieuw en schrijf meer over wat er is gebeurd.',
  },
  over: {
    expired: 'Je hebt het al eens gevraagd. Die vraag is vervallen: de tijd was om.',
    used: 'Na een eerdere vraag kreeg je de sleutel te zien. Dat gold voor die ene keer; nu vraag je het opnieuw.',
    withdrawn: 'Je hebt je vraag ingetrokken. Je kunt het opnieuw vragen.',
  },
  askAgain: 'Vraag het opnieuw',
  tooMany: 'Je hebt het het afgelopen uur heel vaak gevraagd. Nu is er niets verstuurd. Bel: ze kunnen je meteen helpen.',
  back: 'Terug naar deze Mac',
};

export const requestsWords = { en, nl } satisfies InTwo<RequestWords>;

import type { PeopleSettings } from '../server/people-settings.ts';
import { type Html, html } from '../web/html.ts';
import type { InTwo } from '../web/words.ts';
import type { InAgain, StepName, Waiting } from './episode-state.ts';

/** `ago` for what was, `clock` for what will be. */
interface Times {
  ago: (at: number) => Html;
  clock: (at: number) => Html;
}

interface AfterwardsWords {
  title: string;
  none: string;
  timeline: string;
  steps: Record<Exclude<StepName, 'in-again'>, (at: Html) => Html> & { 'in-again': Record<InAgain, (at: Html) => Html> };
  waiting: Record<StepName, string>;
  waits: (waiting: Waiting, time: Times) => Html;
  lookAgain: string;
  done: string;
  youSaid: (ago: Html) => Html;
  overdue: Record<'unheard' | 'not-replaced', { says: string; fix: string }>;
  saidNotMe: string;
  keychain: { title: string; what: string; answers: readonly { on: string; means: string }[]; otherwise: string };
  passwords: { title: string; text: Record<PeopleSettings['macAccounts'], readonly string[]> };
  network: { title: string; text: string };
  notMe: string;
  back: string;
}

const en: AfterwardsWords = {
  title: 'After you are in',
  none: 'You have not been shown a key of this Mac.',
  timeline: 'How it goes on',
  steps: {
    shown: (at) => html`Key shown ${at}`,
    'in-again': {
      'new-password': (at) => html`New password ${at}`,
      used: (at) => html`Key used ${at}`,
      unlocked: (at) => html`Mac unlocked ${at}`,
      said: (at) => html`You said that you are back in ${at}`,
    },
    replaced: (at) => html`Key replaced ${at}: the one that was shown opens nothing any more`,
    checked: (at) => html`New key checked on the Mac ${at}`,
  },
  waiting: { shown: 'Key shown', 'in-again': 'New password', replaced: 'Key replaced', checked: 'New key checked on the Mac' },
  waits: (waiting, time) => {
    switch (waiting.for) {
      case 'the-mac':
        return waiting.lastSeenAt === null
          ? html`Waiting for the Mac. Nothing has been heard of it yet.`
          : html`Waiting for the Mac. It was last heard of ${time.ago(waiting.lastSeenAt)}. Connect it to a network when you are in.`;
      case 'somebody':
        return html`The Mac was heard of ${time.ago(waiting.lastSeenAt)}, and nobody has unlocked it since the key was shown.`;
      case 'hold':
        return html`Waiting for you, so that nothing changes while you type. It goes on when the Mac sees you logged in, or when you say that you are back in. The latest moment is ${time.clock(waiting.until)}.`;
      case 'rotation':
        return html`The Mac began with it ${time.ago(waiting.since)}.`;
      case 'its-turn':
        return html`The Mac does this when it is next online and somebody has been logged in for ten minutes. It was last heard of ${time.ago(waiting.lastSeenAt)}.`;
      case 'grant':
        return html`The Mac was given its key today, to check or replace it, and gets one only once a day. It goes on after ${time.clock(waiting.from)}, when it is online and somebody is logged in.`;
      case 'other-volume':
        return html`The Mac has started from another disk than the one that this key opens. It goes on when it starts from that one again.`;
      case 'service-desk':
        return html`Waiting for your IT department: something unusual happened with this Mac, and they look at it first.`;
      case 'mdm':
        return html`Your organisation’s device management replaces the keys of this Mac. We hear of it when it has.`;
      case 'check':
        return html`The Mac tries its new key without using it up. This comes by itself.`;
      case 'step-before':
        return html`This comes after the step before.`;
    }
  },
  lookAgain: 'Look again',
  done: 'All is done. The key that you were shown opens nothing any more. You need do nothing else.',
  youSaid: (ago) => html`You said ${ago} that you are back in. The key may be replaced now.`,
  overdue: {
    unheard: {
      says: 'Nothing has been heard of this Mac for more than a day. The key that you were shown still opens it.',
      fix: 'If you are in, connect it to a network and stay logged in for half an hour. If you are not, or the Mac is gone, call.',
    },
    'not-replaced': {
      says: 'The Mac has been heard of, but its key has not been replaced for more than a day. The key that you were shown still opens it.',
      fix: 'Stay logged in for half an hour, on a network and on mains power. If this is still here tomorrow, call.',
    },
  },
  saidNotMe: 'You said that somebody else was shown this key. It is replaced without waiting for anybody.',
  keychain: {
    title: 'If your Mac asks about the login keychain',
    what: 'The keychain keeps passwords that you saved. It is still locked with your old password, which nobody can look up. This question is normal.',
    answers: [
      {
        on: 'Create New Keychain',
        means: 'The usual answer when you have forgotten the old password. You begin with an empty keychain. What you saved before stays locked.',
      },
      { on: 'Update Keychain Password', means: 'Only if you do remember the old password: enter it, and you keep what you saved.' },
    ],
    otherwise: 'If it does not ask, the Mac has made a new keychain itself. Then apps ask for their passwords once more.',
  },
  passwords: {
    title: 'Your Mac password and your work password',
    text: {
      local: [
        'Your Mac has a password of its own. You have just changed that one, and only that one.',
        'For mail and everything else at work your work password is what it was.',
      ],
      mobile: [
        'The password of your Mac and your work password have to be the same. You have just changed it on the Mac only, so now they are two.',
        'Connect to your organisation’s network, by cable or VPN. Then change your work password, to the same one as on the Mac or to a new one.',
        'Log out and in again with it. If the Mac asks for the old password, give the one that you have just chosen.',
      ],
      'platform-sso': [
        'Your Mac normally takes over your work password by itself. You have just chosen another on the Mac, so for the moment they are two.',
        'Connect to a network. When a message asks you to sign in to your work account, do so with your work password. From then on that is your Mac password too.',
        'If it asks you to register the Mac again, that is normal. Follow it to the end.',
      ],
      'smart-card': [
        'You log in with your smart card. The password that you have just chosen is only for the Mac itself, and for days without the card.',
        'Insert the card and log out and in again with its PIN. If the Mac asks to pair the card, agree, and give the new password once.',
      ],
    },
  },
  network: {
    title: 'Connect to a network',
    text: 'Wi-Fi or a cable, and stay logged in for half an hour. Only then can the Mac replace the key that was shown.',
  },
  notMe: 'It was not you who looked? See who did.',
  back: 'Back to this Mac',
};

const nl: AfterwardsWords = {
  title: 'Als je er weer in bent',
  none: 'Je hebt geen sleutel van deze Mac gezien.',
  timeline: 'Hoe het verder gaat',
  steps: {
    shown: (at) => html`Sleutel getoond ${at}`,
    'in-again': {
      'new-password': (at) => html`Nieuw wachtwoord ${at}`,
      used: (at) => html`Sleutel gebruikt ${at}`,
      unlocked: (at) => html`Mac ontgrendeld ${at}`,
      said: (at) => html`Je zei dat je er weer in bent ${at}`,
    },
    replaced: (at) => html`Sleutel vervangen ${at}: met de getoonde kom je nergens meer in`,
    checked: (at) => html`Nieuwe sleutel gecontroleerd op de Mac ${at}`,
  },
  waiting: { shown: 'Sleutel getoond', 'in-again': 'Nieuw wachtwoord', replaced: 'Sleutel vervangen', checked: 'Nieuwe sleutel gecontroleerd op de Mac' },
  waits: (waiting, time) => {
    switch (waiting.for) {
      case 'the-mac':
        return waiting.lastSeenAt === null
          ? html`Wacht op de Mac. Er is nog niets van gehoord.`
          : html`Wacht op de Mac. Er is ${time.ago(waiting.lastSeenAt)} voor het laatst iets van gehoord. Verbind hem met een netwerk als je erin bent.`;
      case 'somebody':
        return html`De Mac meldde zich ${time.ago(waiting.lastSeenAt)}, en niemand heeft hem ontgrendeld sinds de sleutel is getoond.`;
      case 'hold':
        return html`Wacht op jou, zodat er niets verandert terwijl je typt. Het gaat verder als de Mac ziet dat je bent ingelogd, of als je zegt dat je er weer in bent. Uiterlijk is dat ${time.clock(waiting.until)}.`;
      case 'rotation':
        return html`De Mac is er ${time.ago(waiting.since)} mee begonnen.`;
      case 'its-turn':
        return html`De Mac doet dit zodra hij online is en iemand tien minuten is ingelogd. Er is ${time.ago(waiting.lastSeenAt)} voor het laatst iets van gehoord.`;
      case 'grant':
        return html`De Mac kreeg vandaag zijn sleutel al om die te controleren of te vervangen, en dat mag één keer per dag. Het gaat verder na ${time.clock(waiting.from)}, als hij online is en iemand is ingelogd.`;
      case 'other-volume':
        return html`De Mac is vanaf een andere schijf gestart dan die deze sleutel opent. Het gaat verder als hij weer vanaf die schijf start.`;
      case 'service-desk':
        return html`Wacht op je IT-afdeling: er is iets ongewoons gebeurd met deze Mac, en daar kijken ze eerst naar.`;
      case 'mdm':
        return html`Het apparaatbeheer van je organisatie vervangt de sleutels van deze Mac. We horen het als dat is gebeurd.`;
      case 'check':
        return html`De Mac probeert zijn nieuwe sleutel uit, zonder hem te verbruiken. Dat gaat vanzelf.`;
      case 'step-before':
        return html`Dit komt na de vorige stap.`;
    }
  },
  lookAgain: 'Kijk nog eens',
  done: 'Alles is klaar. Met de sleutel die je zag kom je nergens meer in. Je hoeft niets meer te doen.',
  youSaid: (ago) => html`Je zei ${ago} dat je er weer in bent. De sleutel mag nu worden vervangen.`,
  overdue: {
    unheard: {
      says: 'Er is al meer dan een dag niets van deze Mac gehoord. De sleutel die je zag opent hem nog steeds.',
      fix: 'Ben je erin? Verbind hem met een netwerk en blijf een half uur ingelogd. Ben je er niet in, of is de Mac weg? Bel dan.',
    },
    'not-replaced': {
      says: 'De Mac heeft zich gemeld, maar zijn sleutel is al meer dan een dag niet vervangen. De sleutel die je zag opent hem nog steeds.',
      fix: 'Blijf een half uur ingelogd, met netwerk en aan de lader. Staat dit er morgen nog? Bel dan.',
    },
  },
  saidNotMe: 'Je zei dat iemand anders deze sleutel heeft gezien. Hij wordt vervangen zonder op iemand te wachten.',
  keychain: {
    title: 'Als je Mac naar de inlogsleutelhanger vraagt',
    what: 'De sleutelhanger bewaart wachtwoorden die je hebt opgeslagen. Hij zit nog op slot met je oude wachtwoord, en dat kan niemand opzoeken. Deze vraag is normaal.',
    answers: [
      {
        on: 'Maak nieuwe sleutelhanger aan',
        means: 'Het gewone antwoord als je het oude wachtwoord kwijt bent. Je begint met een lege sleutelhanger. Wat je eerder opsloeg blijft op slot.',
      },
      { on: 'Werk wachtwoord sleutelhanger bij', means: 'Alleen als je het oude wachtwoord nog weet: vul het in, dan houd je wat je had opgeslagen.' },
    ],
    otherwise: 'Vraagt hij niets, dan heeft de Mac zelf een nieuwe sleutelhanger gemaakt. Apps vragen dan nog één keer om hun wachtwoord.',
  },
  passwords: {
    title: 'Het wachtwoord van je Mac en dat van je werk',
    text: {
      local: [
        'Je Mac heeft een eigen wachtwoord. Dat heb je net veranderd, en alleen dat.',
        'Voor mail en al het andere op je werk is je werkwachtwoord gebleven wat het was.',
      ],
      mobile: [
        'Het wachtwoord van je Mac en dat van je werk moeten hetzelfde zijn. Je hebt het net alleen op de Mac veranderd, dus nu zijn het er twee.',
        'Verbind met het netwerk van je organisatie, met een kabel of VPN. Verander dan je werkwachtwoord: in hetzelfde als op de Mac, of in een nieuw.',
        'Log uit en weer in met dat wachtwoord. Vraagt de Mac om het oude? Geef dan het wachtwoord dat je net hebt gekozen.',
      ],
      'platform-sso': [
        'Normaal neemt je Mac je werkwachtwoord vanzelf over. Je hebt op de Mac net een ander gekozen, dus nu zijn het er even twee.',
        'Verbind met een netwerk. Komt er een melding om bij je werkaccount in te loggen? Doe dat met je werkwachtwoord. Vanaf dan is dat ook het wachtwoord van je Mac.',
        'Vraagt hij om de Mac opnieuw te registreren? Dat is normaal. Volg het tot het eind.',
      ],
      'smart-card': [
        'Je logt in met je smartcard. Het wachtwoord dat je net koos is alleen voor de Mac zelf, en voor dagen zonder de kaart.',
        'Steek de kaart erin, log uit en log weer in met de pincode. Vraagt de Mac om de kaart te koppelen? Doe dat, en geef één keer het nieuwe wachtwoord.',
      ],
    },
  },
  network: {
    title: 'Verbind met een netwerk',
    text: 'Wifi of een kabel, en blijf een half uur ingelogd. Pas dan kan de Mac de getoonde sleutel vervangen.',
  },
  notMe: 'Heb jij niet gekeken? Zie wie het was.',
  back: 'Terug naar deze Mac',
};

export const afterwardsWords = { en, nl } satisfies InTwo<AfterwardsWords>;

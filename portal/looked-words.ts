import { type Html, html } from '../web/html.ts';
import type { InTwo } from '../web/words.ts';

interface LookedWords {
  title: string;
  intro: string;
  nobody: string;
  you: string;
  yourMac: string;
  purposes: Record<'rotate' | 'resolve' | 'prove', string>;
  views: Record<'first' | 'again' | 'more-time' | 'other-key', string>;
  why: string;
  noReason: string;
  notShown: string;
  notMe: string;
  saidNotMe: string;
  older: string;
  back: string;
  confirm: {
    title: (mac: string) => string;
    /** `name` is null where it was with this person’s own account. */
    what: (shown: Html, name: string | null) => Html;
    willHappen: string;
    steps: readonly string[];
    sure: string;
    button: (mac: string) => string;
    stop: string;
  };
  done: {
    title: string;
    ordered: string;
    replaced: string;
    signedOut: string;
    desk: string;
    noMore: string;
    password: string;
    now: string;
    signIn: string;
  };
}

const en: LookedWords = {
  title: 'Who looked at my key',
  intro: 'Each time that a key of this Mac was shown, newest first.',
  nobody: 'Nobody has looked at a key of this Mac.',
  you: 'You',
  yourMac: 'Your Mac itself',
  purposes: {
    prove: 'to check its key',
    rotate: 'to replace its key',
    resolve: 'to finish a replacement that was interrupted',
  },
  views: {
    first: 'On this site, to get in.',
    again: 'On this site, once more.',
    'more-time': 'On this site, for more time.',
    'other-key': 'On this site, another key after one was refused.',
  },
  why: 'Why',
  noReason: 'No reason given.',
  notShown: 'It could not be opened, so nobody saw it.',
  notMe: 'This was not me',
  saidNotMe: 'You said that this was not you.',
  older: 'Older ones',
  back: 'Back to this Mac',
  confirm: {
    title: (mac) => `Did somebody else look at the key of ${mac}?`,
    what: (shown, name) => html`It is about the view of ${shown}, ${name === null ? 'with your account' : `by ${name}`}.`,
    willHappen: 'If it was not you, this will happen:',
    steps: [
      'You are signed out everywhere, on this device too. So is whoever used your account.',
      'The Mac replaces its key as soon as it is online and somebody is logged in. It waits for nobody who may still be typing the old one.',
      'An alarm goes to your IT department at once.',
      'Until they have looked at it, no key of this Mac is shown here.',
    ],
    sure: 'If you are locked out now and looked yourself, do not do this: your key would be replaced while you type it.',
    button: (mac) => `Replace the key of ${mac} and sign me out everywhere`,
    stop: 'It was me after all',
  },
  done: {
    title: 'It is done',
    ordered: 'The Mac replaces its key as soon as it is online and somebody is logged in. Until then keep it with you.',
    replaced: 'The key that was shown had been replaced already. It opens nothing any more.',
    signedOut: 'You are signed out everywhere, and so is whoever used your account.',
    desk: 'An alarm has gone to your IT department.',
    noMore: 'No key of this Mac is shown here until they have looked at it.',
    password: 'Somebody may know your password. Change it now, on a device that you trust.',
    now: 'Call now, also outside hours if you can reach somebody:',
    signIn: 'Sign in again',
  },
};

const nl: LookedWords = {
  title: 'Wie keek naar mijn sleutel',
  intro: 'Elke keer dat een sleutel van deze Mac is getoond, de nieuwste bovenaan.',
  nobody: 'Niemand heeft een sleutel van deze Mac bekeken.',
  you: 'Jij',
  yourMac: 'Je Mac zelf',
  purposes: {
    prove: 'om zijn sleutel te controleren',
    rotate: 'om zijn sleutel te vervangen',
    resolve: 'om een onderbroken vervanging af te maken',
  },
  views: {
    first: 'Op deze site, om erin te komen.',
    again: 'Op deze site, nog een keer.',
    'more-time': 'Op deze site, voor meer tijd.',
    'other-key': 'Op deze site, een andere sleutel nadat er een was geweigerd.',
  },
  why: 'Waarom',
  noReason: 'Geen reden opgegeven.',
  notShown: 'Hij kon niet worden geopend, dus niemand heeft hem gezien.',
  notMe: 'Dit was ik niet',
  saidNotMe: 'Je hebt gezegd dat jij dit niet was.',
  older: 'Oudere',
  back: 'Terug naar deze Mac',
  confirm: {
    title: (mac) => `Heeft iemand anders de sleutel van ${mac} bekeken?`,
    what: (shown, name) => html`Het gaat om de keer van ${shown}, ${name === null ? 'met jouw account' : `door ${name}`}.`,
    willHappen: 'Was jij het niet, dan gebeurt dit:',
    steps: [
      'Je wordt overal uitgelogd, ook op dit apparaat. Wie jouw account gebruikte ook.',
      'De Mac vervangt zijn sleutel zodra hij online is en iemand is ingelogd. Hij wacht niet op wie de oude misschien nog intypt.',
      'Er gaat meteen een alarm naar je IT-afdeling.',
      'Tot zij ernaar hebben gekeken, wordt hier geen sleutel van deze Mac getoond.',
    ],
    sure: 'Kom je er nu niet in en heb je zelf gekeken? Doe dit dan niet: je sleutel zou worden vervangen terwijl je hem intypt.',
    button: (mac) => `Vervang de sleutel van ${mac} en log mij overal uit`,
    stop: 'Ik was het toch zelf',
  },
  done: {
    title: 'Het is gebeurd',
    ordered: 'De Mac vervangt zijn sleutel zodra hij online is en iemand is ingelogd. Houd hem tot die tijd bij je.',
    replaced: 'De sleutel die is getoond was al vervangen. Daar opent niemand meer iets mee.',
    signedOut: 'Je bent overal uitgelogd, en wie jouw account gebruikte ook.',
    desk: 'Er is alarm geslagen bij je IT-afdeling.',
    noMore: 'Hier wordt geen sleutel van deze Mac getoond tot zij ernaar hebben gekeken.',
    password: 'Misschien kent iemand je wachtwoord. Verander het nu, op een apparaat dat je vertrouwt.',
    now: 'Bel nu, ook buiten de openingstijden als je iemand kunt bereiken:',
    signIn: 'Log opnieuw in',
  },
};

export const lookedWords = { en, nl } satisfies InTwo<LookedWords>;

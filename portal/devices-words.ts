import { type Html, html } from '../web/html.ts';
import type { InTwo } from '../web/words.ts';

interface DevicesWords {
  title: string;
  intro: string;
  none: { says: string; means: string; fix: string };
  someMac: string;
  serialEnds: string;
  lastOnline: string;
  neverOnline: string;
  notListed: string;
  notListedTitle: string;
  notListedMeans: string;
  notListedWhy: readonly string[];
  notListedFix: string;
  about: string;
  facts: { model: string; macos: string; yours: string };
  yours: Record<'profile' | 'csv' | 'admin', (since: Html) => Html>;
  locked: string;
  lockedMeans: string;
  getIn: string;
  askFirst: string;
  askFirstMeans: string;
  ask: string;
  notShown: string;
  theKey: string;
  underWay: (shown: Html) => Html;
  howItGoes: string;
  hold: (until: Html) => Html;
  owed: string;
  owedLater: string;
  backIn: string;
  backInMeans: string;
  looked: string;
  allMacs: string;
}

const en: DevicesWords = {
  title: 'Your Macs',
  intro: 'Choose the Mac that you cannot get into.',
  none: {
    says: 'No Mac is in your name.',
    means: 'Only Macs that your organisation has assigned to you are shown here.',
    fix: 'If you do have one, call: they can put it in your name, and help you in meanwhile.',
  },
  someMac: 'Mac',
  serialEnds: 'Serial number ends in',
  lastOnline: 'Last heard of',
  neverOnline: 'never',
  notListed: 'Your Mac is not listed?',
  notListedTitle: 'Your Mac is not listed',
  notListedMeans: 'You see only the Macs that are in your name. One that you use may be missing because:',
  notListedWhy: [
    'it is in the name of a colleague, or of nobody: a shared or borrowed Mac, for instance',
    'two people are named for it, and it has not been decided whose it is',
    'it was set up again, and has not been assigned to you since',
    'it is new, and has not reported yet',
    'it is not managed by your organisation',
    'you have signed in with another account than the one that it was given to',
  ],
  notListedFix: 'Call, and read out the serial number. It is on the bottom of the Mac, on its box, and on your order.',
  about: 'About this Mac',
  facts: { model: 'Model', macos: 'macOS', yours: 'In your name' },
  yours: {
    profile: (since) => html`since ${since}, by the Mac’s own settings`,
    csv: (since) => html`since ${since}, by your organisation’s list`,
    admin: (since) => html`since ${since}, by your IT department`,
  },
  locked: 'Are you locked out?',
  lockedMeans: 'Take the Mac in front of you. We go step by step, and show the key only when you need it.',
  getIn: 'Help me get in',
  askFirst: 'Are you locked out?',
  askFirstMeans: 'In your organisation somebody agrees first before a key is shown.',
  ask: 'Ask for the key',
  notShown: 'The key of this Mac is not shown here',
  theKey: 'What happens with the key',
  underWay: (shown) => html`You were shown a key of this Mac ${shown}.`,
  howItGoes: 'After you are in: how it goes on',
  hold: (until) => html`Its key was shown. It stays as it is until somebody is back in, at the latest until ${until}. Then it is replaced.`,
  owedLater: 'Its key was shown, or is to be replaced for another reason.',
  owed: 'Its key was shown, or is to be replaced for another reason. The Mac replaces it as soon as it is online and somebody is logged in.',
  backIn: 'I am back in',
  backInMeans: 'Say so when you see your own desktop. From then on the key may be replaced.',
  looked: 'Who looked at my key',
  allMacs: 'All your Macs',
};

const nl: DevicesWords = {
  title: 'Je Macs',
  intro: 'Kies de Mac waar je niet in komt.',
  none: {
    says: 'Er staat geen Mac op je naam.',
    means: 'Hier zie je alleen Macs die je organisatie aan jou heeft toegewezen.',
    fix: 'Heb je er toch een? Bel: ze kunnen hem op je naam zetten, en je intussen helpen.',
  },
  someMac: 'Mac',
  serialEnds: 'Serienummer eindigt op',
  lastOnline: 'Laatst van gehoord',
  neverOnline: 'nog nooit',
  notListed: 'Staat je Mac er niet bij?',
  notListedTitle: 'Je Mac staat er niet bij',
  notListedMeans: 'Je ziet alleen de Macs die op jouw naam staan. Een Mac die je gebruikt kan ontbreken omdat:',
  notListedWhy: [
    'hij op naam van een collega staat, of van niemand: een gedeelde of geleende Mac bijvoorbeeld',
    'er twee mensen voor genoemd zijn, en nog niet is besloten van wie hij is',
    'hij opnieuw is ingericht, en daarna niet meer aan jou is toegewezen',
    'hij nieuw is, en zich nog niet heeft gemeld',
    'je organisatie hem niet beheert',
    'je met een ander account bent ingelogd dan waarvoor hij is uitgegeven',
  ],
  notListedFix: 'Bel, en lees het serienummer voor. Het staat onderop de Mac, op de doos en op de bestelling.',
  about: 'Over deze Mac',
  facts: { model: 'Model', macos: 'macOS', yours: 'Op je naam' },
  yours: {
    profile: (since) => html`sinds ${since}, volgens de instellingen van de Mac`,
    csv: (since) => html`sinds ${since}, volgens de lijst van je organisatie`,
    admin: (since) => html`sinds ${since}, door je IT-afdeling`,
  },
  locked: 'Kom je er niet in?',
  lockedMeans: 'Zet de Mac voor je. We gaan stap voor stap, en tonen de sleutel pas als je hem nodig hebt.',
  getIn: 'Help mij erin',
  askFirst: 'Kom je er niet in?',
  askFirstMeans: 'In je organisatie moet eerst iemand akkoord gaan voordat een sleutel wordt getoond.',
  ask: 'Vraag om de sleutel',
  notShown: 'De sleutel van deze Mac wordt hier niet getoond',
  theKey: 'Wat er met de sleutel gebeurt',
  underWay: (shown) => html`Je kreeg ${shown} een sleutel van deze Mac te zien.`,
  howItGoes: 'Als je er weer in bent: hoe het verder gaat',
  hold: (until) => html`De sleutel is getoond. Hij blijft zoals hij is tot iemand er weer in is, uiterlijk tot ${until}. Daarna wordt hij vervangen.`,
  owedLater: 'De sleutel is getoond, of moet om een andere reden worden vervangen.',
  owed: 'De sleutel is getoond, of moet om een andere reden worden vervangen. Dat doet de Mac zodra hij online is en iemand is ingelogd.',
  backIn: 'Ik ben er weer in',
  backInMeans: 'Zeg dit zodra je je eigen bureaublad ziet. Vanaf dan mag de sleutel worden vervangen.',
  looked: 'Wie keek naar mijn sleutel',
  allMacs: 'Al je Macs',
};

export const devicesWords = { en, nl } satisfies InTwo<DevicesWords>;

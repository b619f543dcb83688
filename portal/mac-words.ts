import type { Facts } from '../protocol/messages.ts';
import { type Html, html } from '../web/html.ts';
import type { InTwo } from '../web/words.ts';
import type { KeyState } from './key-state.ts';
import type { BecauseNot } from './may-show.ts';

/* What is said of one Mac: its disk, its key, and why its key is not shown. Times come as they are to be read. */

interface Because {
  /** What is so. */
  says: string;
  /** What that means for whoever reads it. */
  means: string;
  /** What they can do. */
  fix: string;
}

interface MacWords {
  fileVault: Record<Facts['fileVault']['state'] | 'deferred', string>;
  key: (state: KeyState, time: (at: number) => Html) => Html;
  because: Record<BecauseNot, Because>;
}

const en: MacWords = {
  fileVault: {
    on: 'The disk is encrypted (FileVault is on).',
    off: 'The disk is not encrypted (FileVault is off).',
    encrypting: 'The disk is being encrypted now.',
    decrypting: 'The disk is being decrypted now.',
    deferred: 'The disk will be encrypted when somebody next logs in or out.',
    unknown: 'We do not know whether the disk is encrypted.',
  },
  key: (state, time) => {
    switch (state.is) {
      case 'never-seen':
        return html`This Mac has not reported yet. We have no key of it.`;
      case 'none':
        return html`We have no key of this Mac.`;
      case 'foreign':
        return html`The key of this Mac is kept somewhere else, not here.`;
      case 'lost':
        return html`The Mac says that no key that we know opens it.`;
      case 'refuted':
        return html`We have a key, but the Mac has said twice that it does not fit.`;
      case 'doubtful':
        return html`We have a key, and are not certain that it is the right one.`;
      case 'unopened':
        return html`We have a sealed key that nobody has looked into yet.`;
      case 'not-checked':
        return html`We have a key. It has not been checked on this Mac yet.`;
      case 'replacing':
        return html`This Mac is just replacing its key. Wait a minute.`;
      case 'replacing-long':
        return html`This Mac began to replace its key ${time(state.since)} and has not finished. The key may be the old or the new one.`;
      case 'checked':
        return html`The key was checked on this Mac ${time(state.at)}.`;
      case 'checked-long-ago':
        return html`We have a key. It has not been checked since ${time(state.at)}.`;
    }
  },
  because: {
    'not-yours': {
      says: 'There is no such Mac among yours.',
      means: 'It may be assigned to somebody else, or to nobody.',
      fix: 'Call, and they look up whose it is.',
    },
    'two-claims': {
      says: 'Two people are named for this Mac.',
      means: 'Until your IT department has decided whose it is, its key is shown to neither.',
      fix: 'Call, and say that it is yours. They can help you in meanwhile.',
    },
    retired: {
      says: 'This Mac has been taken out of use.',
      means: 'Its key is not shown any more.',
      fix: 'If you do still use it, call. They can put it back.',
    },
    lost: {
      says: 'This Mac has been reported as lost.',
      means: 'So that nobody who found it gets in, its key is not shown.',
      fix: 'If you have it back, call first. Then its key can be shown again.',
    },
    personal: {
      says: 'This Mac is your own, not your organisation’s.',
      means: 'Your organisation does not show keys of Macs that belong to people themselves.',
      fix: 'Look where you kept the recovery key yourself: on paper, with iCloud or in a password manager.',
    },
    off: {
      says: 'You cannot look up keys yourself.',
      means: 'Your organisation has it done by the service desk.',
      fix: 'Call. They ask who you are and then help you in.',
    },
    'managed-local-admin': {
      says: 'You get into this Mac in another way.',
      means: 'The service desk has an account of its own on it and helps without the key.',
      fix: 'Call, with the Mac in front of you.',
    },
    alarm: {
      says: 'Something unusual has happened with this Mac.',
      means: 'Until somebody has looked at it, its key is not shown here.',
      fix: 'Call. They can look at it at once.',
    },
    'not-checked-in': {
      says: 'This Mac has not reported yet.',
      means: 'It is known, and has never sent its key.',
      fix: 'If you can still log in, connect it to a network and leave it on for an hour. If you cannot, call.',
    },
    'not-confirmed': {
      says: 'This Mac was set up anew, and nobody has confirmed yet that it is yours.',
      means: 'Until then its key is not shown.',
      fix: 'Call. They can confirm it while you wait.',
    },
    'file-vault-off': {
      says: 'The disk of this Mac is not encrypted.',
      means: 'There is no recovery key, and none is needed to start it. If you cannot log in, the password of your account is the trouble.',
      fix: 'Call. They help you with the password.',
    },
    'encrypted-by-user': {
      says: 'The disk of this Mac was encrypted by its user, not by your organisation.',
      means: 'Only whoever switched on FileVault was given the key. We do not have it.',
      fix: 'Look where you kept it: on paper, with iCloud or in a password manager.',
    },
    'no-key': {
      says: 'We hold no key of this Mac.',
      means: 'Your organisation encrypted it, but its key has not arrived here.',
      fix: 'Call. There may be another way in, or another place where the key is kept.',
    },
    'key-lost': {
      says: 'No key that we know opens this Mac.',
      means: 'The Mac has said so itself: the keys that we hold do not fit any more.',
      fix: 'Do not try more keys. Call: they know what else is possible.',
    },
  },
};

const nl: MacWords = {
  fileVault: {
    on: 'De schijf is versleuteld (FileVault staat aan).',
    off: 'De schijf is niet versleuteld (FileVault staat uit).',
    encrypting: 'De schijf wordt nu versleuteld.',
    decrypting: 'De versleuteling van de schijf wordt nu ongedaan gemaakt.',
    deferred: 'De schijf wordt versleuteld zodra iemand in- of uitlogt.',
    unknown: 'We weten niet of de schijf versleuteld is.',
  },
  key: (state, time) => {
    switch (state.is) {
      case 'never-seen':
        return html`Deze Mac heeft zich nog niet gemeld. We hebben er geen sleutel van.`;
      case 'none':
        return html`Wij hebben geen sleutel van deze Mac.`;
      case 'foreign':
        return html`De sleutel van deze Mac wordt ergens anders bewaard, niet hier.`;
      case 'lost':
        return html`De Mac zegt dat geen enkele sleutel die we kennen hem opent.`;
      case 'refuted':
        return html`We hebben een sleutel, maar de Mac heeft twee keer gezegd dat die niet past.`;
      case 'doubtful':
        return html`We hebben een sleutel, maar weten niet zeker of het de goede is.`;
      case 'unopened':
        return html`We hebben een verzegelde sleutel, waar nog niemand in heeft gekeken.`;
      case 'not-checked':
        return html`We hebben een sleutel. Die is op deze Mac nog niet gecontroleerd.`;
      case 'replacing':
        return html`Deze Mac vervangt net zijn sleutel. Wacht een minuut.`;
      case 'replacing-long':
        return html`Deze Mac begon ${time(state.since)} zijn sleutel te vervangen en is nog niet klaar. De oude of de nieuwe sleutel kan de goede zijn.`;
      case 'checked':
        return html`De sleutel is ${time(state.at)} op deze Mac gecontroleerd.`;
      case 'checked-long-ago':
        return html`We hebben een sleutel. Die is sinds ${time(state.at)} niet meer gecontroleerd.`;
    }
  },
  because: {
    'not-yours': {
      says: 'Zo’n Mac is er niet bij de jouwe.',
      means: 'Misschien staat hij op naam van iemand anders, of van niemand.',
      fix: 'Bel. Dan zoeken ze op van wie hij is.',
    },
    'two-claims': {
      says: 'Deze Mac staat op naam van twee mensen.',
      means: 'Tot je IT-afdeling weet van wie hij is, krijgt geen van beiden de sleutel te zien.',
      fix: 'Bel, en zeg dat hij van jou is. Ze kunnen je intussen ook helpen.',
    },
    retired: {
      says: 'Deze Mac is uit gebruik genomen.',
      means: 'Zijn sleutel wordt niet meer getoond.',
      fix: 'Gebruik je hem toch nog? Bel. Ze kunnen dat terugdraaien.',
    },
    lost: {
      says: 'Deze Mac is als verloren gemeld.',
      means: 'Wie hem vindt mag er niet in. Daarom wordt zijn sleutel niet getoond.',
      fix: 'Heb je hem terug? Bel eerst. Daarna kan de sleutel weer worden getoond.',
    },
    personal: {
      says: 'Deze Mac is van jezelf, niet van je organisatie.',
      means: 'Je organisatie toont geen sleutels van Macs die van mensen zelf zijn.',
      fix: 'Kijk waar je de herstelsleutel zelf hebt bewaard: op papier, bij iCloud of in een wachtwoordkluis.',
    },
    off: {
      says: 'Je kunt zelf geen sleutels opzoeken.',
      means: 'In je organisatie doet de helpdesk dat.',
      fix: 'Bel. Ze vragen wie je bent en helpen je dan verder.',
    },
    'managed-local-admin': {
      says: 'In deze Mac kom je op een andere manier.',
      means: 'De helpdesk heeft er een eigen account op en helpt je zonder de sleutel.',
      fix: 'Bel, met de Mac voor je.',
    },
    alarm: {
      says: 'Er is iets ongewoons gebeurd met deze Mac.',
      means: 'Tot iemand ernaar heeft gekeken, wordt zijn sleutel hier niet getoond.',
      fix: 'Bel. Ze kunnen er meteen naar kijken.',
    },
    'not-checked-in': {
      says: 'Deze Mac heeft zich nog niet gemeld.',
      means: 'Hij is bekend, maar heeft zijn sleutel nog nooit gestuurd.',
      fix: 'Kun je nog inloggen? Verbind hem met een netwerk en laat hem een uur aan. Lukt dat niet, bel dan.',
    },
    'not-confirmed': {
      says: 'Deze Mac is opnieuw ingericht, en niemand heeft nog bevestigd dat hij van jou is.',
      means: 'Tot dan wordt zijn sleutel niet getoond.',
      fix: 'Bel. Ze kunnen het bevestigen terwijl je wacht.',
    },
    'file-vault-off': {
      says: 'De schijf van deze Mac is niet versleuteld.',
      means: 'Er is geen herstelsleutel, en om te starten is er geen nodig. Kun je niet inloggen, dan ligt het aan het wachtwoord van je account.',
      fix: 'Bel. Ze helpen je met het wachtwoord.',
    },
    'encrypted-by-user': {
      says: 'De schijf van deze Mac is door de gebruiker zelf versleuteld, niet door je organisatie.',
      means: 'Alleen wie FileVault aanzette, kreeg de sleutel. Wij hebben hem niet.',
      fix: 'Kijk waar je hem hebt bewaard: op papier, bij iCloud of in een wachtwoordkluis.',
    },
    'no-key': {
      says: 'Wij hebben geen sleutel van deze Mac.',
      means: 'Je organisatie heeft hem versleuteld, maar de sleutel is hier niet aangekomen.',
      fix: 'Bel. Misschien is er een andere manier, of ligt de sleutel ergens anders.',
    },
    'key-lost': {
      says: 'Geen enkele sleutel die we kennen opent deze Mac.',
      means: 'Dat heeft de Mac zelf gezegd: de sleutels die wij hebben passen niet meer.',
      fix: 'Probeer geen andere sleutels. Bel: ze weten wat er nog kan.',
    },
  },
};

export const macWords = { en, nl } satisfies InTwo<MacWords>;

import type { PasswordFault } from '../server/password-rules.ts';
import type { InTwo } from './words.ts';

interface SetUpWords {
  title: string;
  lead: string;
  userName: string;
  code: string;
  codeHint: string;
  goOn: string;
  wrong: { title: string; text: string };
  choose: (name: string) => string;
  emergency: string;
  noScript: string;
  password: string;
  passwordHint: (least: number) => string;
  repeat: string;
  save: string;
  or: string;
  passkey: string;
  passkeyMeans: string;
  passkeyFailed: string;
  label: string;
  faults: Record<PasswordFault | 'different' | 'passkey', { title: string; text: string }>;
}

export const setUpWords: InTwo<SetUpWords> = {
  en: {
    title: 'Set up your account',
    lead: 'You have a user name and a one-time code from your IT department. The code works for 24 hours, and once.',
    userName: 'User name',
    code: 'One-time code',
    codeHint: 'Twenty letters and digits. Dashes and capitals do not matter.',
    goOn: 'Go on',
    wrong: {
      title: 'User name and code do not belong together',
      text: 'Check both. A code works for 24 hours and once; a new one comes from your IT department.',
    },
    choose: (name) => `The code is right. Choose how ${name} signs in from now on.`,
    emergency: 'This is an emergency account. It has a passkey and no password, so that it also works when everything else does not.',
    noScript: 'A passkey needs JavaScript. Switch it on for this page, or use another browser.',
    password: 'New password',
    passwordHint: (least) => `At least ${least} characters. A few words that only you put together are good; no rules beyond that.`,
    repeat: 'New password, once more',
    save: 'Save and sign in',
    or: 'Or without a password',
    passkey: 'Set up a passkey',
    passkeyMeans:
      'You sign in with the fingerprint, face or PIN of a device, or with a security key. Not on the Mac that you may be locked out of: take your telephone.',
    passkeyFailed: 'Your device did not make a passkey. Try it again, or on another device.',
    label: 'Name of this passkey, such as “My telephone”',
    faults: {
      'too-short': { title: 'That password is too short', text: 'It needs at least 12 characters.' },
      'too-long': { title: 'That password is too long', text: 'It may have 256 characters at most.' },
      names: { title: 'That password is easy to guess', text: 'It is mostly your name, or that of your organisation. Take other words.' },
      common: { title: 'That password is easy to guess', text: 'It begins like the passwords that are tried first. Take other words.' },
      plain: { title: 'That password is easy to guess', text: 'It is mostly signs in a row, or the same ones. Take a few words.' },
      different: { title: 'The two passwords are not the same', text: 'Type the new password twice.' },
      passkey: { title: 'The passkey was not saved', text: 'Nothing was changed. Try it again, or on another device.' },
    },
  },
  nl: {
    title: 'Je account instellen',
    lead: 'Je hebt een gebruikersnaam en een eenmalige code van je IT-afdeling. De code werkt 24 uur, en één keer.',
    userName: 'Gebruikersnaam',
    code: 'Eenmalige code',
    codeHint: 'Twintig letters en cijfers. Streepjes en hoofdletters maken niet uit.',
    goOn: 'Verder',
    wrong: {
      title: 'Gebruikersnaam en code horen niet bij elkaar',
      text: 'Controleer allebei. Een code werkt 24 uur en één keer; een nieuwe krijg je van je IT-afdeling.',
    },
    choose: (name) => `De code klopt. Kies hoe ${name} voortaan inlogt.`,
    emergency: 'Dit is een noodaccount. Het heeft een passkey en geen wachtwoord, zodat het ook werkt als al het andere niet werkt.',
    noScript: 'Voor een passkey is JavaScript nodig. Zet het aan voor deze pagina of gebruik een andere browser.',
    password: 'Nieuw wachtwoord',
    passwordHint: (least) => `Minstens ${least} tekens. Een paar woorden die alleen jij zo bij elkaar zet zijn goed; verder zijn er geen regels.`,
    repeat: 'Nieuw wachtwoord, nog een keer',
    save: 'Bewaren en inloggen',
    or: 'Of zonder wachtwoord',
    passkey: 'Passkey instellen',
    passkeyMeans:
      'Je logt in met je vingerafdruk, je gezicht of de pincode van een apparaat, of met een beveiligingssleutel. Niet op de Mac waar je misschien ooit niet in komt: neem je telefoon.',
    passkeyFailed: 'Je apparaat maakte geen passkey. Probeer het nog eens, of op een ander apparaat.',
    label: 'Naam van deze passkey, zoals ‘Mijn telefoon’',
    faults: {
      'too-short': { title: 'Dit wachtwoord is te kort', text: 'Het heeft minstens 12 tekens nodig.' },
      'too-long': { title: 'Dit wachtwoord is te lang', text: 'Het mag hoogstens 256 tekens hebben.' },
      names: { title: 'Dit wachtwoord is makkelijk te raden', text: 'Het is vooral je naam of die van je organisatie. Neem andere woorden.' },
      common: { title: 'Dit wachtwoord is makkelijk te raden', text: 'Het begint zoals de wachtwoorden die het eerst geprobeerd worden. Neem andere woorden.' },
      plain: { title: 'Dit wachtwoord is makkelijk te raden', text: 'Het zijn vooral tekens op een rij, of steeds dezelfde. Neem een paar woorden.' },
      different: { title: 'De twee wachtwoorden zijn niet gelijk', text: 'Typ het nieuwe wachtwoord twee keer.' },
      passkey: { title: 'De passkey is niet bewaard', text: 'Er is niets veranderd. Probeer het nog eens, of op een ander apparaat.' },
    },
  },
};

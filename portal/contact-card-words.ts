import type { InAll } from '../web/words.ts';

interface ContactCardWords {
  call: (name: string) => string;
  nobody: string;
  phone: string;
  email: string;
  page: string;
  hours: string;
  readOut: string;
  serial: string;
  code: string;
  codeMeans: string;
}

export const contactCardWords = {
  en: {
    call: (name) => `Call ${name}`,
    nobody: 'Call the IT department of your organisation',
    phone: 'Telephone',
    email: 'E-mail',
    page: 'Page',
    hours: 'Hours',
    readOut: 'Read this out when you call:',
    serial: 'Serial number ends in',
    code: 'Help code',
    codeMeans: 'With the code they see what you met here. It opens nothing.',
  },
  nl: {
    call: (name) => `Bel ${name}`,
    nobody: 'Bel de IT-afdeling van je organisatie',
    phone: 'Telefoon',
    email: 'E-mail',
    page: 'Pagina',
    hours: 'Bereikbaar',
    readOut: 'Lees dit voor als je belt:',
    serial: 'Serienummer eindigt op',
    code: 'Hulpcode',
    codeMeans: 'Met de code zien ze wat je hier tegenkwam. Je opent er niets mee.',
  },
  de: {
    call: (name) => `${name} anrufen`,
    nobody: 'Rufen Sie die IT-Abteilung Ihrer Organisation an',
    phone: 'Telefon',
    email: 'E-Mail',
    page: 'Seite',
    hours: 'Erreichbar',
    readOut: 'Lesen Sie dies am Telefon vor:',
    serial: 'Seriennummer endet auf',
    code: 'Hilfecode',
    codeMeans: 'Mit dem Code sieht man dort, was Ihnen hier begegnet ist. Er öffnet nichts.',
  },
  fr: {
    call: (name) => `Appelez ${name}`,
    nobody: 'Appelez le service informatique de votre organisation',
    phone: 'Téléphone',
    email: 'E-mail',
    page: 'Page',
    hours: 'Horaires',
    readOut: 'Lisez ceci au téléphone :',
    serial: 'Le numéro de série se termine par',
    code: 'Code d’assistance',
    codeMeans: 'Avec ce code, on voit ce que vous avez rencontré ici. Il n’ouvre rien.',
  },
} satisfies InAll<ContactCardWords>;

import type { InAll } from '../web/words.ts';
import type { Delay } from './episode-state.ts';

/** Why a replacement comes later than when the Mac is next online, on pages and in mails: what stands before the time and after it, where it has one. */
export const laterWords: InAll<Record<Delay['for'], readonly [before: string, after?: string]>> = {
  en: {
    grant: ['The Mac was given its key within the last day, and gets it only once a day: it can replace it from ', ' on, when it is online.'],
    mdm: ['Device management replaces the keys of this Mac; when it does is not known here.'],
    'service-desk': ['The IT department has to look at an alarm of this Mac first; until then it replaces nothing.'],
    'other-volume': ['The Mac has started from another disk; it replaces this key when it starts from the one that the key opens.'],
  },
  nl: {
    grant: ['De Mac kreeg zijn sleutel het afgelopen etmaal al, en dat mag één keer per dag: hij kan hem vervangen vanaf ', ', als hij online is.'],
    mdm: ['Het apparaatbeheer vervangt de sleutels van deze Mac; wanneer is hier niet bekend.'],
    'service-desk': ['De IT-afdeling moet eerst naar een alarm van deze Mac kijken; tot dan vervangt hij niets.'],
    'other-volume': ['De Mac is vanaf een andere schijf gestart; hij vervangt deze sleutel als hij start vanaf de schijf die erbij hoort.'],
  },
  de: {
    grant: [
      'Der Mac hat seinen Schlüssel innerhalb des letzten Tages schon erhalten, und das geht nur einmal am Tag. Er kann ihn ab diesem Zeitpunkt ersetzen, wenn er online ist: ',
      '.',
    ],
    mdm: ['Die Geräteverwaltung ersetzt die Schlüssel dieses Mac; wann, ist hier nicht bekannt.'],
    'service-desk': ['Die IT-Abteilung muss sich zuerst einen Alarm dieses Mac ansehen; bis dahin ersetzt er nichts.'],
    'other-volume': [
      'Der Mac wurde von einem anderen Volume gestartet; er ersetzt diesen Schlüssel, wenn er wieder von dem startet, das der Schlüssel öffnet.',
    ],
  },
  fr: {
    grant: [
      'Le Mac a déjà reçu sa clé au cours du dernier jour, et ne la reçoit qu’une fois par jour. Il pourra la remplacer à partir de ce moment, quand il sera en ligne : ',
      '.',
    ],
    mdm: ['La gestion des appareils remplace les clés de ce Mac ; on ne sait pas ici quand elle le fera.'],
    'service-desk': ['Le service informatique doit d’abord examiner une alarme de ce Mac ; d’ici là, il ne remplace rien.'],
    'other-volume': ['Le Mac a démarré depuis un autre volume ; il remplacera cette clé quand il démarrera depuis celui que la clé ouvre.'],
  },
};

import { exportedKeys, type Keys, payloadFacts, payloadKeys, profileKeys } from './apple-schema.ts';
import { scepMisspelt } from './lint-identity-rules.ts';
import { type Found, type LintContext, mistake, note, payloadsOf, type Rule, textOf, typeOf, types, uuidIn } from './lint-parts.ts';
import type { ProfileFile } from './read-profile.ts';
import { type Dictionary, isDictionary, isOlder, judgeKeys, type Misfit } from './schema-check.ts';

/** Domains of Apple's that are no payload of this table: their keys are not looked at, and nothing is said of them. */
const isKnown = (type: string): boolean => Object.hasOwn(payloadFacts, type);

/** What another rule says in better words. */
function saidElsewhere(type: string, payload: Dictionary, { key }: Misfit): boolean {
  if (type === types.fileVault && key === 'Enable') return typeof payload['Enable'] !== 'string' && 'Enable' in payload;
  if (type !== types.scep) return false;
  const last = key.split('.').at(-1) ?? '';
  if (!key.includes('.')) return last !== 'PayloadContent';
  const content = isDictionary(payload['PayloadContent']) ? payload['PayloadContent'] : {};
  return scepMisspelt.includes(last) || (last === 'Keysize' && Number(content['Keysize']) < 2048);
}

const isNoExport = ({ is, key }: Misfit): boolean => is !== 'unknown' || !exportedKeys.includes(key);

interface Where {
  file: ProfileFile;
  type: string | null;
  misfit: Misfit;
}

function judgeAll(set: readonly ProfileFile[], { macos }: LintContext): Where[] {
  return set.flatMap((file) => {
    // An encrypted profile shows its frame only.
    const isOpen = file.profile['IsEncrypted'] !== true;
    const frame: Keys = isOpen ? profileKeys : { ...profileKeys, PayloadContent: { is: 'any' } };
    return [
      ...judgeKeys(frame, file.profile, '', macos)
        .filter(isNoExport)
        .map((misfit): Where => ({ file, type: null, misfit })),
      ...payloadsOf(file).flatMap((payload) => {
        const type = typeOf(payload);
        const known = isKnown(type) ? payloadFacts[type]?.keys : undefined;
        // The keys of a managed preferences domain are its program's own business.
        const own: Keys = known ?? Object.fromEntries(Object.keys(payload).map((key) => [key, { is: 'any' }]));
        return judgeKeys({ ...payloadKeys, ...own, ...(known === undefined ? payloadKeys : {}) }, payload, '', macos)
          .filter((misfit) => !saidElsewhere(type, payload, misfit) && isNoExport(misfit))
          .map((misfit): Where => ({ file, type, misfit }));
      }),
    ];
  });
}

const placeOf = ({ type, misfit }: Where): string => (type === null ? misfit.key : `${type} ${misfit.key}`);
const uuidsOf = (file: ProfileFile): string[] => [file.profile, ...payloadsOf(file)].map((payload) => uuidIn(payload)).filter((uuid) => uuid !== '');
const identifiersOf = (file: ProfileFile): string[] =>
  payloadsOf(file)
    .map((payload) => textOf(payload['PayloadIdentifier']))
    .filter((name) => name !== '');
const repeated = (values: readonly string[]): string[] => values.filter((value, at) => values.indexOf(value) !== at);
const uuidForm = /[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}/;

function uuidsTwice(set: readonly ProfileFile[]): Found[] {
  const seen = new Set<string>();
  return set.flatMap((file) =>
    uuidsOf(file).flatMap((uuid) => {
      if (seen.has(uuid)) return [mistake(file, 'PayloadUUID', `${uuid} occurs twice`)];
      seen.add(uuid);
      return [];
    }),
  );
}

export const schemaRules: Record<string, Rule> = {
  L11: {
    demands: 'every UUID occurs once, identifiers differ, and they stay when the content changes',
    because: 'a payload with the identifier and UUID of another replaces it; a profile under a new identifier is installed beside the old one',
    fix: 'give each payload its own UUID and identifier; `profiles build` makes both from the content',
    look: (set) => [
      ...set.flatMap((file) =>
        repeated(identifiersOf(file)).map((identifier) => mistake(file, 'PayloadIdentifier', `${identifier} occurs twice in this profile`)),
      ),
      ...set.flatMap((file, at) => {
        const identifier = textOf(file.profile['PayloadIdentifier']);
        const same = set.slice(0, at).find((other) => identifier !== '' && other.profile['PayloadIdentifier'] === identifier);
        if (same === undefined) return [];
        return [mistake(file, 'PayloadIdentifier', `is that of ${same.file}: of the two, the one that is installed later replaces the other`)];
      }),
      ...uuidsTwice(set),
      ...set
        .filter(({ profile }) => uuidForm.test(textOf(profile['PayloadIdentifier'])))
        .map((file) =>
          note(
            file,
            'PayloadIdentifier',
            'is made from a UUID: if it is another one in the next version, the old profile stays installed beside it',
            'keep it the same for ever, or use a name such as org.example.filevault',
          ),
        ),
    ],
  },
  L12: {
    demands: 'what only an MDM can install is known',
    because: 'opened by hand, macOS refuses such a profile, or takes it and does nothing',
    fix: 'send the profile by a user-approved MDM; without one, `profiles build --mdm none` leaves these payloads out',
    look: (set, { mdm }) => {
      if (mdm !== null && mdm !== 'none') return [];
      return set.flatMap((file) =>
        payloadsOf(file).flatMap((payload): Found[] => {
          const type = typeOf(payload);
          const fact = isKnown(type) ? payloadFacts[type] : undefined;
          const key = Object.entries(fact?.keys ?? {}).find(([name, { byMdmOnly }]) => byMdmOnly && payload[name] === true)?.[0];
          if (key !== undefined) return [note(file, `${type} ${key}`, 'works by automated device enrolment only')];
          if (fact?.byHand === undefined) return [];
          return [
            note(
              file,
              type,
              fact.byHand === 'refused' ? 'is refused by hand; it takes a user-approved MDM' : 'takes effect only through a user-approved MDM, not by hand',
            ),
          ];
        }),
      );
    },
  },
  L14: {
    demands: 'each value is of its kind and in its range, and none that is required is missing',
    because: 'macOS refuses the whole profile, or takes its own value without a word',
    fix: 'correct the named key by Apple’s schema (github.com/apple/device-management, mdm/profiles)',
    look: (set, context) => [
      ...judgeAll(set, context).flatMap((each) => {
        if (each.misfit.is === 'loose') return [note(each.file, placeOf(each), each.misfit.says, 'write <true/> or <false/>')];
        return each.misfit.is === 'wrong' || each.misfit.is === 'missing' ? [mistake(each.file, placeOf(each), each.misfit.says)] : [];
      }),
      ...set.flatMap((file) =>
        (Array.isArray(file.profile['PayloadContent']) ? file.profile['PayloadContent'] : []).flatMap((payload, at) =>
          isDictionary(payload) ? [] : [mistake(file, `PayloadContent[${at}]`, 'must be a dictionary')],
        ),
      ),
    ],
  },
  L15: {
    demands: 'no key that Apple does not know, or that these Macs do not',
    because: 'macOS passes over it in silence: what was meant by it does not happen',
    fix: 'look for a slip of the pen, or leave it out',
    look: (set, context) => [
      ...judgeAll(set, context)
        .filter(({ misfit }) => misfit.is === 'unknown' || misfit.is === 'not on a Mac' || misfit.is === 'newer')
        .map((each) =>
          each.type === types.options && each.misfit.is === 'unknown'
            ? note(
                each.file,
                placeOf(each),
                'is none of FileVault; this type has four other uses, which are not looked at here',
                'nothing, where it is one of those',
              )
            : note(each.file, placeOf(each), each.misfit.says),
        ),
      ...set.flatMap((file) =>
        payloadsOf(file).flatMap((payload) => {
          const since = isKnown(typeOf(payload)) ? payloadFacts[typeOf(payload)]?.since : undefined;
          return context.macos !== null && since !== undefined && isOlder(context.macos, since)
            ? [note(file, typeOf(payload), `is known from macOS ${since} on`, 'nothing, where the older Macs do without it')]
            : [];
        }),
      ),
    ],
  },
};

import { X509Certificate } from 'node:crypto';
import { settingsTable } from '../agent/settings-table.ts';
import { allOf, certificateOf, type Found, mistake, note, payloadsOf, type Rule, textOf, typeOf, types } from './lint-parts.ts';
import { mdms, strangersIn, variablesIn } from './mdms.ts';
import { agentDomain } from './payloads.ts';
import type { ProfileFile } from './read-profile.ts';
import { type Dictionary, isDictionary } from './schema-check.ts';

/** The settings of the agent in a profile, whichever of the two ways they come. */
export function agentSettingsIn(file: ProfileFile): Dictionary[] {
  return payloadsOf(file).flatMap((payload) => {
    if (typeOf(payload) === agentDomain) return [Object.fromEntries(Object.entries(payload).filter(([key]) => !key.startsWith('Payload')))];
    const content = payload['PayloadContent'];
    const domain = typeOf(payload) === types.preferences && isDictionary(content) ? content[agentDomain] : undefined;
    const forced = isDictionary(domain) && Array.isArray(domain['Forced']) ? domain['Forced'] : [];
    return forced.flatMap((each) => (isDictionary(each) && isDictionary(each['mcx_preference_settings']) ? [each['mcx_preference_settings']] : []));
  });
}

const table: Record<string, { read(value: unknown): { wrong?: string } | object }> = settingsTable;

function judgeSettings(file: ProfileFile, settings: Dictionary): Found[] {
  const essential = Object.entries(settingsTable)
    .filter(([name, setting]) => 'essential' in setting && setting.essential && !(name in settings))
    .map(([name]) => mistake(file, `${agentDomain} ${name}`, 'is missing; without it the agent does nothing'));
  const values = Object.entries(settings).flatMap(([name, value]): Found[] => {
    if (!Object.hasOwn(table, name)) return [note(file, `${agentDomain} ${name}`, 'is not a setting of the agent')];
    const reading = table[name]?.read(value) ?? {};
    return 'wrong' in reading ? [mistake(file, `${agentDomain} ${name}`, String(reading.wrong))] : [];
  });
  return [...essential, ...values];
}

/** DER of a certificate that is data, or PEM text. What is none is the business of L3 and S1. */
function derOf(value: unknown): Buffer | null {
  try {
    return typeof value === 'string' || value instanceof Uint8Array ? new X509Certificate(value).raw : null;
  } catch {
    return null;
  }
}

export function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return isDictionary(value) ? Object.values(value).flatMap(textsIn) : [];
}

export const sparekeyRules: Record<string, Rule> = {
  S1: {
    demands: 'the settings are ones that the agent takes',
    because: 'a wrong value counts for nothing on the Mac, and without the backend or the certificate the agent does nothing at all',
    fix: 'correct it by docs/settings.md',
    look: (set) => set.flatMap((file) => agentSettingsIn(file).flatMap((settings) => judgeSettings(file, settings))),
  },
  S2: {
    demands: 'the settings and the escrow payload name the same certificate',
    because: 'the agent delivers what is sealed to its own certificate only, and takes the other payload for somebody else’s',
    fix: 'make both profiles from one settings file, and install both',
    look: (set) => {
      const ours = set.flatMap((file) => agentSettingsIn(file).map(({ escrowCertificate }) => ({ file, der: derOf(escrowCertificate) })));
      return allOf(set, types.escrow).flatMap(({ file, payload }) => {
        const named = certificateOf(file, payload);
        const sealed = derOf(named?.['PayloadContent']);
        const other = ours.find(({ der }) => der !== null && sealed !== null && !der.equals(sealed));
        return other === undefined ? [] : [mistake(file, types.escrow, `seals to another certificate than the settings in ${other.file.file} name`)];
      });
    },
  },
  S3: {
    demands: 'a Login Items rule for a label names the team as well',
    because: 'anybody can give a job that label: it would be allowed, and nobody asked',
    fix: 'set teamIdentifier in the settings file to the team that signs the package',
    look: (set) =>
      allOf(set, types.loginItems).flatMap(({ file, payload }) =>
        (Array.isArray(payload['Rules']) ? payload['Rules'].filter(isDictionary) : [])
          .filter(({ RuleType, TeamIdentifier }) => ['Label', 'LabelPrefix'].includes(textOf(RuleType)) && textOf(TeamIdentifier) === '')
          .map(({ RuleValue }) => note(file, `${types.loginItems} Rules`, `allows any job called ${textOf(RuleValue)}, whoever signed it`)),
      ),
  },
  M1: {
    demands: 'variables are those of the MDM that sends the profile, which can fill them in',
    because: 'a variable that nobody fills reaches the Mac as it is written, and a signed profile cannot be changed by anybody',
    fix: 'make the profiles again with --mdm and this MDM’s name',
    look: (set, { mdm }) =>
      set.flatMap((file) => {
        const texts = payloadsOf(file).flatMap((payload) =>
          textsIn(Object.entries(payload).flatMap(([key, value]) => (/^Payload(?!Content)/.test(key) ? [] : [value]))),
        );
        const found = [...new Set(texts.flatMap((text) => (mdm === null ? [] : strangersIn(text, mdm))))];
        const known = new Set(Object.values(mdms).flatMap(({ variables }) => Object.values(variables)));
        const lost = file.signature === undefined ? [] : [...new Set(texts.flatMap(variablesIn).filter((each) => known.has(each)))];
        return [
          ...(found.length > 0 && mdm !== null ? [mistake(file, null, `${found.join(', ')}: no variable that ${mdms[mdm].called} fills in`)] : []),
          ...(lost.length > 0
            ? [mistake(file, null, `is signed, so nobody fills in ${lost.join(', ')}`, 'leave this profile unsigned, or the variable out')]
            : []),
        ];
      }),
  },
  F2: {
    demands: 'the signature is that of these contents',
    because: 'macOS refuses a signed profile that was changed, and shows one whose certificate has ended as not verified',
    fix: 'sign the profile again',
    look: (set, { now }) =>
      set.flatMap((file) => {
        const { signature } = file;
        if (signature === undefined) return [];
        if (signature.state === 'changed') return [mistake(file, null, `was changed after ${signature.signer} signed it`)];
        if (signature.state === 'unchecked')
          return [
            note(
              file,
              null,
              `is signed${signature.signer === null ? '' : ` by ${signature.signer}`} in a way that cannot be checked here`,
              'look at it on a Mac',
            ),
          ];
        return signature.notAfter !== null && signature.notAfter <= now
          ? [note(file, null, `was signed by ${signature.signer}, whose certificate ended on ${signature.notAfter.toISOString().slice(0, 10)}`)]
          : [];
      }),
  },
};

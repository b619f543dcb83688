import { scepKeys } from './apple-schema.ts';
import { allOf, eachPayload, mistake, type Rule, types } from './lint-parts.ts';
import { type Dictionary, isDictionary } from './schema-check.ts';

/** Names as other products write them, which macOS does not read. */
export const scepMisspelt: readonly string[] = ['KeyType', 'KeyUsage', 'KeySize', 'Key Size'];

const scepOutside = (payload: Dictionary): string[] => Object.keys(payload).filter((key) => key in scepKeys);

/** Attest needs HardwareBound, that needs a curve of the Secure Enclave; each kind of key has its sizes. */
function judgeAcme(payload: Dictionary): { key: string; says: string; fix: string } | null {
  const { KeyType: type, KeySize: size, HardwareBound: bound, Attest: attest, DirectoryURL: url } = payload;
  if (typeof url === 'string' && !/^https:\/\//i.test(url))
    return { key: 'DirectoryURL', says: 'must begin with https://', fix: 'give the https address of the directory' };
  if (attest === true && bound !== true)
    return { key: 'Attest', says: 'needs HardwareBound: only a key of the Secure Enclave is attested', fix: 'set HardwareBound to true, or Attest to false' };
  if (bound === true && (type !== 'ECSECPrimeRandom' || (size !== 256 && size !== 384)))
    return { key: 'HardwareBound', says: 'needs KeyType ECSECPrimeRandom and KeySize 256 or 384', fix: 'set both, or HardwareBound to false' };
  if (!Number.isInteger(size)) return null; // Rule L14 says so.
  const bits = Number(size);
  if (type === 'RSA' && (bits < 1024 || bits > 4096 || bits % 8 !== 0))
    return { key: 'KeySize', says: 'must be a multiple of 8 from 1024 to 4096 for RSA', fix: 'set it to 2048 or more' };
  if (type === 'RSA' && bits < 2048) return { key: 'KeySize', says: 'is shorter than 2048 bits', fix: 'set it to 2048 or more' };
  if (type === 'ECSECPrimeRandom' && ![192, 256, 384, 521].includes(bits))
    return { key: 'KeySize', says: 'must be 192, 256, 384 or 521 for this KeyType', fix: 'set it to 256 or 384' };
  if (bound === false && payload['KeyIsExtractable'] !== false)
    return { key: 'KeyIsExtractable', says: 'must be false; what macOS takes by itself is true', fix: 'set it to false' };
  return null;
}

export const identityRules: Record<string, Rule> = {
  L9: {
    demands: 'a SCEP identity has its keys inside PayloadContent, by their names, 2048 bits or more, and does not leave the Mac',
    because: 'what stands elsewhere is not read, and what macOS takes by itself is 1024 bits and a key that can be exported',
    fix: 'put URL, Keysize, "Key Type", "Key Usage" and the others into the dictionary PayloadContent',
    look: eachPayload(types.scep, (payload) => {
      const outside = scepOutside(payload).filter((key) => key !== 'PayloadContent');
      if (outside.length > 0) return { key: outside.join(', '), says: 'must be inside PayloadContent' };
      const content = payload['PayloadContent'];
      if (!isDictionary(content)) return null; // Rule L14 says so.
      const misspelt = scepMisspelt.filter((key) => key in content);
      if (misspelt.length > 0) return { key: `PayloadContent.${misspelt[0]}`, says: 'is read by nobody: the names are Keysize, "Key Type" and "Key Usage"' };
      const size = content['Keysize'] ?? 1024;
      if (typeof size === 'number' && size < 2048)
        return { key: 'PayloadContent.Keysize', says: 'must be 2048 or more; what macOS takes by itself is 1024', fix: 'set Keysize to 2048 or 4096' };
      return content['KeyIsExtractable'] === false
        ? null
        : { key: 'PayloadContent.KeyIsExtractable', says: 'must be false; what macOS takes by itself is true', fix: 'set it to false' };
    }),
  },
  L10: {
    demands: 'an ACME identity has a key that macOS can make: attested means bound to the hardware, bound means EC of 256 or 384 bits',
    because: 'macOS refuses any other combination, and with it the whole profile',
    fix: 'correct the named keys',
    look: eachPayload(types.acme, judgeAcme),
  },
  L13: {
    demands: 'each entry of the privacy settings has either Allowed or Authorization',
    because: 'with both or none macOS does not take the payload; of two that contradict each other it takes the refusal',
    fix: 'leave one of the two',
    look: (set) =>
      allOf(set, types.privacy).flatMap(({ file, payload }) =>
        Object.entries(isDictionary(payload['Services']) ? payload['Services'] : {}).flatMap(([service, entries]) =>
          (Array.isArray(entries) ? entries.filter(isDictionary) : []).flatMap((entry, at) => {
            const where = `${types.privacy} Services.${service}[${at}]`;
            const count = ['Allowed', 'Authorization'].filter((key) => key in entry).length;
            if (count !== 1) return [mistake(file, where, count === 0 ? 'has neither Allowed nor Authorization' : 'has both Allowed and Authorization')];
            return entry['Authorization'] === 'AllowStandardUserToSetSystemService' && !['ListenEvent', 'ScreenCapture'].includes(service)
              ? [mistake(file, where, 'AllowStandardUserToSetSystemService is for ListenEvent and ScreenCapture only', 'write Allow or Deny')]
              : [];
          }),
        ),
      ),
  },
};

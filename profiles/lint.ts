import { dirname } from 'node:path';
import { escrowRules } from './lint-escrow-rules.ts';
import { identityRules } from './lint-identity-rules.ts';
import { type Finding, type LintContext, note, ofType, type Rule, types } from './lint-parts.ts';
import { schemaRules } from './lint-schema-rules.ts';
import { sparekeyRules } from './lint-sparekey-rules.ts';
import { isReadable, type ProfileFile, type Unreadable } from './read-profile.ts';

/** What macOS or its MDM protocol demands of a set of profiles, and what would lose a key. */
export const lintRules: Record<string, Rule> = Object.fromEntries(
  Object.entries({ ...escrowRules, ...identityRules, ...schemaRules, ...sparekeyRules }).sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true })),
);

/** F1 is about files, before there is a profile to look at. */
const unreadable = ({ file, says, fix }: Unreadable): Finding => ({ rule: 'F1', file, where: null, says, fix, is: 'mistake' });

/** In different folders, and nobody has said whether one Mac gets them both. */
function escrowApart(files: readonly ProfileFile[]): Finding[] {
  const having = files.filter((file) => file.alone && ofType(file, types.escrow).length > 0);
  const [first, ...others] = having;
  const { fix = '' } = lintRules['L1'] ?? {};
  return others
    .filter(({ file }) => first !== undefined && dirname(file) !== dirname(first.file))
    .map((file) => ({ rule: 'L1', fix, ...note(file, types.escrow, `so has ${first?.file}; whether one Mac gets both, --one-mac says`) }));
}

/** Files of one folder are looked at together: they are what one Mac gets. With `oneMac`, all of them. */
export function lint(files: readonly (ProfileFile | Unreadable)[], context: LintContext): Finding[] {
  const readable = files.filter(isReadable);
  const sets = Map.groupBy(readable, ({ file }) => (context.oneMac ? '' : dirname(file)));
  return [
    ...files.flatMap((file) => (isReadable(file) ? [] : [unreadable(file)])),
    ...(context.oneMac ? [] : escrowApart(readable)),
    ...[...sets.values()].flatMap((set) => set.flatMap((file) => encrypted(file)).concat(lintSet(set, context))),
  ];
}

function encrypted({ file, profile }: ProfileFile): Finding[] {
  if (profile['IsEncrypted'] !== true) return [];
  return [
    {
      rule: 'F1',
      file,
      where: null,
      says: 'is encrypted for one device: its payloads cannot be looked at',
      fix: 'look at the profile before it was encrypted',
      is: 'note',
    },
  ];
}

function lintSet(set: readonly ProfileFile[], context: LintContext): Finding[] {
  return Object.entries(lintRules).flatMap(([name, { look, fix }]) => look(set, context).map((found) => ({ rule: name, fix, ...found })));
}

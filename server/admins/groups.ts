import { Problem } from '../../protocol/problems.ts';
import type { Backend } from '../backend.ts';
import type { KnownPerson } from '../store/people.ts';

/** A group as a provider names it. Two providers may have one of the same name, with other people in it. */
export interface Group {
  /** Null: of any. So were all given before a role said of which provider, and so they are read on. */
  provider: string | null;
  name: string;
}

export const sayGroup = ({ provider, name }: Group): string => (provider === null ? name : `${provider}:${name}`);

export const isOfGroup = (person: Pick<KnownPerson, 'provider'>, groups: readonly string[] | null, { provider, name }: Group): boolean =>
  (groups?.includes(name) ?? false) && (provider === null || provider === person.provider);

/** The group that is meant by what was typed: `provider:name`, or its name where there is one provider. */
export function groupNamed({ people }: Pick<Backend['settings'], 'people'>, typed: string): Group {
  const providers = people?.signIn.providers.map(({ id }) => id) ?? [];
  const named = providers.find((id) => typed.startsWith(`${id}:`) && typed.length > id.length + 1);
  if (named !== undefined) return { provider: named, name: typed.slice(named.length + 1) };
  if (providers.length > 1) throw new Problem('ROLE_INVALID', `say of which provider the group is: ${providers.map((id) => `${id}:${typed}`).join(' or ')}`);
  return { provider: providers[0] ?? null, name: typed };
}

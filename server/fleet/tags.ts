import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { keepingRules } from '../approvals/rules.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import { policiesInForce } from '../policies/policy.ts';
import { addTag, removeTag } from '../store/fleet-tags.ts';
import { macInScope } from './in-scope.ts';

/** A tag as admins give it. `group:…` are those of people: they come and go with the person. */
export const tagName = z
  .string()
  .trim()
  .toLowerCase()
  .regex(/^[\p{L}\p{N}][\p{L}\p{N}._-]{0,63}$/u, 'is no tag: letters, digits, dots, dashes, at most 64, and it begins with a letter or digit');

interface Tagging {
  /** Ids or serial numbers. */
  devices: readonly string[];
  add: readonly string[];
  remove: readonly string[];
  scope: Scope;
  actor: string;
  personId: string | null;
  /** A token that stands for a program. */
  service: boolean;
  /** More of the same transaction: what it throws refuses the act. */
  before?: ((tx: Tx, at: number) => Promise<void>) | undefined;
}

/** Programs decide nothing about who is shown a key, neither by a policy nor by the tag that brings a Mac under one. */
async function refuseProgram(tx: Tx, tags: readonly string[]): Promise<void> {
  const deciding = (await policiesInForce(tx)).filter(({ rules }) => rules.disclosure !== undefined).flatMap((policy) => policy.tags ?? []);
  const named = tags.filter((tag) => deciding.includes(tag));
  if (named.length > 0)
    throw new Problem('NOT_ALLOWED', `a policy shows keys by the tag ${named.join(', ')}: people give and take it, and not a token that stands for a program`);
}

/**
 * For one or many Macs, all of them or none. Who sees only some Macs gives and takes only the tags that say which: tags decide
 * who sees a Mac and which policy holds for it, and nobody moves one out of what others have laid down.
 */
export function changeTags(backend: Backend, { devices, add, remove, scope, actor, personId, service, before }: Tagging): Promise<{ changed: number }> {
  const foreign = scope === null ? [] : [...add, ...remove].filter((tag) => !scope.includes(tag));
  if (foreign.length > 0) throw new Problem('NOT_ALLOWED', `within your Macs only the tags ${scope?.join(', ')} can be given and taken`);
  return backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await before?.(tx, at);
    if (service) await refuseProgram(tx, [...add, ...remove]);
    let changed = 0;
    const machines = new Map<string, readonly string[]>();
    for (const device of new Set(devices)) {
      const mac = await macInScope(tx, scope, device);
      machines.set(mac.id, mac.ids);
    }
    for (const [macId, ids] of machines) {
      const added: string[] = [];
      const removed: string[] = [];
      await keepingRules(tx, at, ids, { actor, personId }, async () => {
        for (const tag of new Set(add)) {
          if (await addTag(tx, macId, tag)) added.push(tag);
          // Records that were joined to it have the same: what is kept under them is seen by the same people.
          for (const other of ids.slice(1)) await addTag(tx, other, tag);
        }
        for (const tag of new Set(remove)) {
          if (await removeTag(tx, macId, tag)) removed.push(tag);
          for (const other of ids.slice(1)) await removeTag(tx, other, tag);
        }
      });
      if (added.length + removed.length === 0) continue;
      changed += 1;
      await audit(tx, { at, actor, act: 'mac.tagged', macId, details: { added, removed } });
    }
    return { changed };
  });
}

// tmutil, modelled from its manual page: `addexclusion -p` (a fixed path, for root) is silent when it succeeds; `isexcluded`
// prints a word in brackets and the path. The words of a failure are an example.
import { existsSync } from 'node:fs';
import { type Asked, complains, hasNo, inTheRoot, type Outcome, onTheMac, says } from './outcome.ts';

export const tmutil = (asked: Asked, args: readonly string[]): Outcome => {
  const { root, state } = asked;
  const [verb, ...rest] = args;
  const path = onTheMac(root, rest.at(-1) ?? '');
  const knows = (verb === 'addexclusion' && rest.length === 2 && rest[0] === '-p') || (verb === 'isexcluded' && rest.length === 1);
  if (!knows || !path.startsWith('/')) return hasNo('/usr/bin/tmutil', args);
  if (!existsSync(inTheRoot(root, path))) return complains(213, `${path}: No such file or directory`);
  if (verb === 'isexcluded') {
    const excluded = state.excludedFromBackups.some((one) => path === one || path.startsWith(`${one}/`));
    return says(`${excluded ? '[Excluded]' : '[Included]'}    ${path}\n`);
  }
  if (!state.excludedFromBackups.includes(path)) asked.change((next) => next.excludedFromBackups.push(path));
  return says('');
};

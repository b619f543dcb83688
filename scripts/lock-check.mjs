// The lock file must be complete and tied to no registry. A registry that lags can lack the build of a package for one
// platform; `npm install` then leaves it out without a word, and every later `npm ci` fails. And a lock file that names
// hosts works only where those can be reached.
import { readFileSync } from 'node:fs';

/** The names under which `package` (its path in node_modules) could find `dependency`, nearest first, as Node looks for it. */
function places(path, dependency) {
  const found = [];
  for (let at = path; ; at = at.includes('/node_modules/') ? at.slice(0, at.lastIndexOf('/node_modules/')) : '') {
    found.push(`${at === '' ? '' : `${at}/`}node_modules/${dependency}`);
    if (at === '') return found;
  }
}

/** What is wrong with a lock file, in words; empty when nothing is. */
export function lockMistakes(lock) {
  const mistakes = [];
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const [dependency, version] of Object.entries(entry.optionalDependencies ?? {}))
      if (!places(path, dependency).some((place) => place in lock.packages))
        mistakes.push(`${path || 'the project'} has the optional dependency ${dependency}@${version}, which is not in the lock file`);
    if (entry.resolved !== undefined) mistakes.push(`${path} names where it was downloaded from; npm writes that without omit-lockfile-registry-resolved`);
    if (path !== '' && !entry.link && entry.integrity === undefined && !entry.inBundle) mistakes.push(`${path} has no integrity digest`);
  }
  return mistakes;
}

if (process.argv[1] !== undefined && import.meta.url.endsWith('/lock-check.mjs') && process.argv[1].endsWith('lock-check.mjs')) {
  const mistakes = lockMistakes(JSON.parse(readFileSync(process.argv[2] ?? new URL('../package-lock.json', import.meta.url), 'utf8')));
  for (const mistake of mistakes) process.stdout.write(`${mistake}\n`);
  process.exitCode = mistakes.length === 0 ? 0 : 1;
}

import { createHash } from 'node:crypto';
import { audit, canonicalJson } from '../audit.ts';
import type { Backend } from '../backend.ts';
import type { FolderPaths } from '../data-folder.ts';
import type { Tx } from '../parts.ts';
import { readPrivate } from '../private-files.ts';
import { readMemory, writeMemory } from '../store/upkeep.ts';

/** Where the server remembers the settings that it was started with last. */
const mark = 'settings-seen';
/** Of one change; the rest is counted. */
const mostChanges = 50;
const mostLetters = 200;

const readText = ({ settings }: Pick<FolderPaths, 'settings'>): string => canonicalJson(JSON.parse(readPrivate(settings).toString('utf8')));

/** As `init` has made them. */
export const keepSettings = (tx: Tx, paths: Pick<FolderPaths, 'settings'>): Promise<void> => writeMemory(tx, mark, readText(paths));

interface Change {
  setting: string;
  from: unknown;
  to: unknown;
}

/** No secret has a place in the settings. What somebody has written there all the same is not written down a second time. */
const isSecret = (name: string): boolean => /(secret|password|passphrase|token|apikey)$/i.test(name);

function said(name: string, value: unknown): unknown {
  if (value === undefined) return null;
  if (isSecret(name) && typeof value === 'string') return '…';
  const text = canonicalJson(value);
  return text.length > mostLetters || /secret|password|passphrase|token/i.test(text.replaceAll(/"[A-Za-z]*File":"[^"]*"/g, ''))
    ? `${text.length} characters`
    : value;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Setting by setting, the deepest that differ. */
export function settingsChanged(from: unknown, to: unknown, path: readonly string[] = []): Change[] {
  if (isObject(from) && isObject(to))
    return [...new Set([...Object.keys(from), ...Object.keys(to)])].toSorted().flatMap((name) => settingsChanged(from[name], to[name], [...path, name]));
  const name = path.at(-1) ?? '';
  return canonicalJson(from) === canonicalJson(to) ? [] : [{ setting: path.join('.'), from: said(name, from), to: said(name, to) }];
}

/** At each start: what is set otherwise than at the last one. Who has changed the file, this backend cannot know. */
export async function noteSettings({ store, clock, paths }: Pick<Backend, 'store' | 'clock' | 'paths'>): Promise<void> {
  const text = readText(paths);
  if ((await readMemory(store.db, mark)) === text) return;
  await store.write(async (tx) => {
    const before = await readMemory(tx, mark);
    if (before === text) return;
    await writeMemory(tx, mark, text);
    const changes = before === null ? [] : settingsChanged(JSON.parse(before), JSON.parse(text));
    const details = {
      sha256: createHash('sha256').update(text).digest('hex'),
      first: before === null,
      changed: changes.slice(0, mostChanges),
      more: Math.max(0, changes.length - mostChanges),
    };
    await audit(tx, { at: await clock.persist(tx), actor: 'operator', act: 'settings.changed', details });
  });
}

import { randomBytes } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import type { ServerSecrets } from './parts.ts';
import { readPrivate, writePrivate } from './private-files.ts';

const names = ['fingerprint', 'rowMac', 'nonce', 'ticket'] as const satisfies readonly (keyof ServerSecrets)[];

/**
 * The secrets that must not lie in the database: whoever can write there can neither forge a stored key's MAC nor compare
 * keys, and whoever reads it learns no ticket. Without this file a restored database is worth little: backups hold it.
 */
export function makeServerSecrets(path: string): ServerSecrets {
  const secrets = Object.fromEntries(names.map((name) => [name, randomBytes(32)])) as Record<(typeof names)[number], Buffer>;
  writePrivate(path, `${JSON.stringify(Object.fromEntries(names.map((name) => [name, secrets[name].toString('hex')])), null, 2)}\n`);
  return secrets;
}

export function readServerSecrets(path: string): ServerSecrets {
  const content = readPrivate(path).toString('utf8');
  try {
    const read = JSON.parse(content) as Record<string, unknown>;
    return Object.fromEntries(
      names.map((name) => {
        const text = read[name];
        if (typeof text !== 'string' || !/^[0-9a-f]{64}$/.test(text)) throw new TypeError(name);
        return [name, Buffer.from(text, 'hex')];
      }),
    ) as Record<(typeof names)[number], Buffer>;
  } catch {
    // The parser's own words would repeat the secret.
    throw new Problem('SERVER_SETTINGS_INVALID', `${path} is damaged: take it from a backup`);
  }
}

import { createHash } from 'node:crypto';

/** A value as one text, whatever the order of its keys; bytes as base64. */
function canonical(value: unknown): string {
  if (value instanceof Uint8Array) return `data:${Buffer.from(value).toString('base64')}`;
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`)
      .join(',')}}`;
  return JSON.stringify(value);
}

/**
 * A UUID (version 8, RFC 9562) made from an identifier and the content: the same settings give the same files on every
 * machine, and macOS sees a new UUID exactly when something has changed.
 */
export function uuidOf(identifier: string, content: unknown): string {
  const digest = createHash('sha256')
    .update(`${identifier}\0${canonical(content)}`)
    .digest('hex');
  const variant = ((Number.parseInt(digest[16] ?? '0', 16) & 0x3) | 0x8).toString(16);
  const hex = `${digest.slice(0, 12)}8${digest.slice(13, 16)}${variant}${digest.slice(17, 32)}`.toUpperCase();
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The cookies of a request, by name without `__Host-`; of one that came twice the first. What cannot be one of ours is left out. */
export function readCookies(header: string | undefined): Readonly<Record<string, string>> {
  const found: Record<string, string> = Object.create(null);
  for (const part of (header ?? '').split(';').slice(0, 64)) {
    const at = part.indexOf('=');
    const name = /^__Host-([a-z-]{1,32})$/.exec(part.slice(0, at).trim())?.[1];
    const value = part.slice(at + 1).trim();
    if (name !== undefined && /^[\w.~-]{0,512}$/.test(value)) found[name] ??= value;
  }
  return found;
}

/**
 * `__Host-`: no other host, and no page without TLS, can set one. `Lax`: the way back from a provider is a link from
 * another site; whatever changes something asks for more than a cookie.
 */
export function writeCookie({ name, value, maxAgeSeconds }: { name: string; value: string | null; maxAgeSeconds?: number }): string {
  const age = value === null ? '; Max-Age=0' : maxAgeSeconds === undefined ? '' : `; Max-Age=${maxAgeSeconds}`;
  return `__Host-${name}=${value ?? ''}; Path=/; Secure; HttpOnly; SameSite=Lax${age}`;
}

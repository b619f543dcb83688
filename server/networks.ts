import { BlockList, isIP, isIPv4 } from 'node:net';

/** An address as one of its forms: an IPv4 address that came as IPv6 is itself. Null where it is none. */
export function plainAddress(text: string): string | null {
  const bare = text.split('%')[0] ?? '';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return mapped;
  const hex = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(bare);
  if (hex) {
    const [high, low] = [Number.parseInt(hex[1] ?? '', 16), Number.parseInt(hex[2] ?? '', 16)];
    return [high >> 8, high & 255, low >> 8, low & 255].join('.');
  }
  return isIP(bare) === 0 ? null : bare;
}

/** `192.0.2.0/24`, `2001:db8::/32`, or one address. Null where it is neither. */
export function readNetwork(text: string): { address: string; bits: number; family: 'ipv4' | 'ipv6' } | null {
  const [given = '', length, ...more] = text.split('/');
  const address = plainAddress(given);
  if (address === null || more.length > 0 || given.includes('%')) return null;
  const family = isIPv4(address) ? 'ipv4' : 'ipv6';
  const most = family === 'ipv4' ? 32 : 128;
  if (length === undefined) return { address, bits: most, family };
  // `::ffff:192.0.2.0/120` would mean two things.
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > most || (family === 'ipv4' && given.includes(':'))) return null;
  return { address, bits: Number(length), family };
}

/**
 * Whether a network is too large to be that of proxies: IPv4 shorter than /8, IPv6 shorter than /16, or one of IPv6 in which all of
 * IPv4 lies. So all that a list can name is less than half of either world, cut into two or not.
 */
export function isNearlyEverybody(text: string): boolean {
  const network = readNetwork(text);
  if (!network) return false;
  if (network.bits < (network.family === 'ipv4' ? 8 : 16)) return true;
  if (network.family === 'ipv4') return false;
  const list = new BlockList();
  list.addSubnet(network.address, network.bits, 'ipv6');
  return ['1.2.3.4', '203.0.113.9'].every((address) => list.check(`::ffff:${address}`, 'ipv6') || list.check(address, 'ipv4'));
}

/** An entry of X-Forwarded-For: with a port in some, in brackets in others. */
export function forwardedAddress(text: string): string | null {
  const trimmed = text.trim();
  const withPort = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(trimmed)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/.exec(trimmed)?.[1] ?? trimmed;
  return plainAddress(withPort);
}

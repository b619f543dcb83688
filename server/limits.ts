/** What the Macs' listener takes from anybody, and at what pace. */
export interface ConnectionLimits {
  connections: number;
  /** Many Macs may stand behind one address (NAT, proxy). */
  connectionsPerAddress: number;
  headerBytes: number;
  /** Time for a client to send its headers, and its whole request. */
  headerSeconds: number;
  requestSeconds: number;
  /** Time for the TLS handshake. */
  handshakeSeconds: number;
  keepAliveSeconds: number;
  /** Handshakes of Macs that are under way at once; see handshakes.ts. */
  handshakes: number;
  /** Quiet check-ins that are under way at once; see shedding.ts. */
  checkIns: number;
  /** Macs whose answer is kept until there is something new. */
  waiters: number;
}

export const connectionLimits: ConnectionLimits = {
  connections: 5000,
  connectionsPerAddress: 500,
  headerBytes: 8 * 1024,
  headerSeconds: 10,
  requestSeconds: 20,
  handshakeSeconds: 10,
  keepAliveSeconds: 30,
  handshakes: 1000,
  checkIns: 200,
  waiters: 5000,
};

export interface Rate {
  perMinute: number;
  /** As many may come at once. */
  burst: number;
}

export type RateName = 'nonce' | 'enroll' | 'refused' | 'check-in' | 'rotations' | 'keys' | 'grants';

/** `nonce`, `enroll` and `refused` are per address, the others per enrolment. `refused` counts requests that no Mac was known for. */
export const rates: Record<RateName, Rate> = {
  nonce: { perMinute: 120, burst: 120 },
  enroll: { perMinute: 60, burst: 60 },
  refused: { perMinute: 120, burst: 120 },
  'check-in': { perMinute: 12, burst: 30 },
  rotations: { perMinute: 6, burst: 12 },
  /** 12 offers at once are the most that an agent has; what one identity can fill the disk with in a day is 24 MB. */
  keys: { perMinute: 1, burst: 60 },
  grants: { perMinute: 6, burst: 12 },
};

/** Whom an address counts for: itself, or the /64 that one subscriber has in IPv6. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail ? tail.split(':') : [];
  while (tail !== undefined && groups.length + after.length < 8) groups.push('0');
  return [...groups, ...after].slice(0, 4).join(':');
}

/** Who is remembered at most; beyond it the fullest buckets are forgotten, which are those that matter least. */
const mostBuckets = 50_000;

export interface Buckets {
  /** Null when it may go on; otherwise the seconds until it may. */
  take(key: string): number | null;
  /** How many may come at once now. */
  left(key: string): number;
  /** What was taken turned out not to count. */
  give(key: string): void;
}

/** Token buckets by `performance.now()`: a change of the machine's clock gives nobody anything. */
export function tokenBuckets(rate: Rate, now: () => number = () => performance.now()): Buckets {
  const buckets = new Map<string, { tokens: number; at: number }>();
  const perMs = rate.perMinute / 60_000;
  const refilled = (bucket: { tokens: number; at: number }, at: number) => Math.min(rate.burst, bucket.tokens + (at - bucket.at) * perMs);

  function forgetFull(at: number): void {
    for (const [key, bucket] of buckets) if (refilled(bucket, at) >= rate.burst) buckets.delete(key);
    // All of them busy: the ones seen longest ago go first, a tenth at once, so that not every newcomer costs a walk over all.
    for (const key of buckets.keys()) {
      if (buckets.size < mostBuckets * 0.9) break;
      buckets.delete(key);
    }
  }

  return {
    left(key) {
      const known = buckets.get(key);
      return Math.max(0, Math.floor(known ? refilled(known, now()) : rate.burst));
    },
    give(key) {
      const known = buckets.get(key);
      if (known) known.tokens = Math.min(rate.burst, known.tokens + 1);
    },
    take(key) {
      const at = now();
      const known = buckets.get(key);
      const tokens = known ? refilled(known, at) : rate.burst;
      if (!known && buckets.size >= mostBuckets) forgetFull(at);
      buckets.delete(key);
      if (tokens < 1) {
        buckets.set(key, { tokens, at });
        return Math.max(1, Math.ceil((1 - tokens) / perMs / 1000));
      }
      buckets.set(key, { tokens: tokens - 1, at });
      return null;
    },
  };
}

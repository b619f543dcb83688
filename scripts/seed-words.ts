/** What a believable fleet is made of. */

export const firstNames =
  'Ada Grace Alan Edsger Barbara Dennis Ken Margaret Katherine Radia Donald Frances Hedy Joan Karen Linus Leslie Mary Noor Omar Priya Quirine Rosa Sven Tim Ursula Vera Willem Xander Yara Zoë Jeroen Fleur Daan Sanne Lotte Bram Femke Joost Anouk'.split(
    ' ',
  );
export const lastNames =
  'Lovelace Hopper Turing Dijkstra Liskov Ritchie Thompson Hamilton Johnson Perlman Knuth Allen Lamarr Clarke Jansen Bakker Visser Smit Meijer Mulder Bos Vos Peters Hendriks Dekker Brouwer Koning Postma Schouten Prins Huisman Kuipers Post Willems Maas Verhoeven Koster Driessen Blom Molenaar'.split(
    ' ',
  );

export const models = [
  { model: 'MacBookPro18,3', chip: 'Apple M1 Pro', says: 'MacBook Pro', weight: 14 },
  { model: 'Mac14,2', chip: 'Apple M2', says: 'MacBook Air', weight: 20 },
  { model: 'Mac15,3', chip: 'Apple M3', says: 'MacBook Pro', weight: 18 },
  { model: 'Mac15,12', chip: 'Apple M3', says: 'MacBook Air', weight: 14 },
  { model: 'Mac16,1', chip: 'Apple M4', says: 'MacBook Pro', weight: 12 },
  { model: 'Mac16,10', chip: 'Apple M4', says: 'Mac mini', weight: 6 },
  { model: 'iMac21,1', chip: 'Apple M1', says: 'iMac', weight: 6 },
  { model: 'MacBookAir10,1', chip: 'Apple M1', says: 'MacBook Air', weight: 10 },
] as const;

export const systems = [
  { version: '26.1', build: '25B78', weight: 46 },
  { version: '26.0.1', build: '25A362', weight: 12 },
  { version: '15.7.2', build: '24G325', weight: 24 },
  { version: '15.6.1', build: '24G90', weight: 8 },
  { version: '14.8.1', build: '23J30', weight: 8 },
  { version: '13.7.8', build: '22H730', weight: 2 },
] as const;

export const departments = ['sales', 'engineering', 'finance', 'design', 'support', 'legal', 'research', 'people', 'operations', 'board'] as const;
export const sites = ['amsterdam', 'utrecht', 'berlin', 'paris', 'london', 'lisbon', 'new-york', 'remote'] as const;

/** Numbers by chance that are the same for the same seed (mulberry32). */
export function chance(seed: number) {
  let state = seed >>> 0;
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  const whole = (below: number): number => Math.floor(next() * below);
  const bytes = (count: number): Buffer => Buffer.from(Array.from({ length: count }, () => whole(256)));
  return {
    next,
    whole,
    bytes,
    is: (share: number): boolean => next() < share,
    pick: <Item>(items: readonly Item[]): Item => items[whole(items.length)] as Item,
    weighed<Item extends { weight: number }>(items: readonly Item[]): Item {
      let left = next() * items.reduce((sum, item) => sum + item.weight, 0);
      for (const item of items) {
        left -= item.weight;
        if (left < 0) return item;
      }
      return items.at(-1) as Item;
    },
    /** Around a median, with a long tail. */
    around: (median: number, spread = 1): number => median * Math.exp(spread * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())),
    uuid(): string {
      const hex = bytes(16).toString('hex');
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
    },
  };
}
export type Chance = ReturnType<typeof chance>;

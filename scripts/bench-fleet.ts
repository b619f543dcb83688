import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { type AnyOperation, perform } from '../console/operation.ts';
import { deviceCount, deviceList } from '../console/operations/devices.ts';
import { figuresFirst } from '../console/operations/figures.ts';
import { certificateDigest, recipientNames } from '../protocol/envelope.ts';
import type { Backend } from '../server/backend.ts';
import { makeEscrowCertificate } from '../server/certificates.ts';
import { openClock } from '../server/clock.ts';
import { createCustody } from '../server/custody.ts';
import { openDatabase } from '../server/database.ts';
import { silentLog } from '../server/log.ts';
import type { EscrowKeys, ServerSecrets } from '../server/parts.ts';
import { type Admin, type Permission, permissions } from '../server/permissions.ts';
import { usualCustodySettings } from '../test/custody-settings.ts';
import { seedFleet } from './seed-fleet.ts';

/** The secrets and escrow keys of a backend that is none but for a benchmark. */
export interface BenchKeys {
  escrowKeys: EscrowKeys;
  secrets: ServerSecrets;
}

export function benchKeys(): BenchKeys {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const secrets: ServerSecrets = { fingerprint: randomBytes(32), rowMac: randomBytes(32), nonce: randomBytes(32), ticket: randomBytes(32) };
  return keysWith(makeEscrowCertificate({ commonName: 'Escrow', privateKey, years: 20, at: new Date() }), secrets);
}

function keysWith(der: Buffer, secrets: ServerSecrets): BenchKeys {
  const certificate = { digest: certificateDigest(der), der, names: recipientNames(der), modulusBytes: 256 };
  return { escrowKeys: { canOpen: false, certificates: [certificate], open: async () => 'no-opener' }, secrets };
}

/** As they lie beside the fleets that were made with them. */
export const keysTo = ({ escrowKeys, secrets }: BenchKeys): string =>
  JSON.stringify([escrowKeys.certificates[0]?.der ?? Buffer.alloc(0), ...secretNames.map((name) => secrets[name])].map((bytes) => bytes.toString('base64')));
const secretNames = ['fingerprint', 'rowMac', 'nonce', 'ticket'] as const satisfies readonly (keyof ServerSecrets)[];

export function keysFrom(text: string): BenchKeys {
  const [der = Buffer.alloc(0), ...secrets] = (JSON.parse(text) as string[]).map((one) => Buffer.from(one, 'base64'));
  return keysWith(der, Object.fromEntries(secretNames.map((name, at) => [name, secrets[at]])) as unknown as ServerSecrets);
}

/** A backend without its listeners: what an operation costs is what it asks of the database. */
export async function benchBackend(file: string, { escrowKeys, secrets }: BenchKeys): Promise<Backend> {
  const store = await openDatabase(file);
  const clock = await openClock(store);
  const custody = createCustody({
    store,
    clock,
    escrowKeys,
    secrets,
    settings: usualCustodySettings,
  });
  return { store, clock, custody, secrets, escrowKeys, log: silentLog } as unknown as Backend;
}

/** The same on a seeded fleet. */
export async function seededBackend(
  file: string,
  devices: number,
  say: (done: number, what: string) => void = () => {},
  keys: BenchKeys = benchKeys(),
): Promise<Backend> {
  const backend = await benchBackend(file, keys);
  await seedFleet(backend, { devices, seed: 1, say });
  return backend;
}

const admin: Admin = {
  kind: 'operator',
  name: 'bench',
  personId: null,
  tokenId: null,
  service: false,
  grants: (Object.keys(permissions) as Permission[]).map((permission) => ({ permission, scope: null })),
  fresh: true,
};

/** As the console asks it. */
export const ask = <Out>(backend: Backend, operation: AnyOperation, input: unknown): Promise<Out> =>
  perform(operation, { admin, backend, log: silentLog, at: backend.clock.now(), requestId: randomUUID() }, input) as Promise<Out>;

/** What admins do all day, each as the console asks it. */
export const cases = {
  list: (backend: Backend) => ask(backend, deviceList, {}),
  filtered: (backend: Backend) => ask(backend, deviceList, { custody: ['held'], macos: '26', sort: '-seen' }),
  search: (backend: Backend) => ask(backend, deviceList, { q: 'ada lovelace1', sort: 'name' }),
  deep: async (backend: Backend) => {
    const first = await ask<{ next: string | null }>(backend, deviceList, { sort: 'custody', limit: 200 });
    return ask(backend, deviceList, { sort: 'custody', limit: 200, ...(first.next === null ? {} : { cursor: first.next }) });
  },
  first: (backend: Backend) => ask(backend, figuresFirst, {}),
  bulkPreview: (backend: Backend) => ask(backend, deviceCount, { macos: '15' }),
} as const satisfies Record<string, (backend: Backend) => Promise<unknown>>;
export type CaseName = keyof typeof cases;
export const caseNames = Object.keys(cases) as CaseName[];

const median = (times: readonly number[]): number => times.toSorted((one, other) => one - other)[Math.floor(times.length / 2)] ?? 0;

/** Medians in milliseconds, small and large in turn, so that whatever else the machine does is in both. */
export async function timeCases(small: Backend, large: Backend, rounds: number): Promise<Record<CaseName, { small: number; large: number }>> {
  const times = Object.fromEntries(caseNames.map((name) => [name, { small: [] as number[], large: [] as number[] }])) as Record<
    CaseName,
    { small: number[]; large: number[] }
  >;
  for (let round = -2; round < rounds; round += 1)
    for (const name of caseNames)
      for (const [size, backend] of [
        ['small', small],
        ['large', large],
      ] as const) {
        const began = performance.now();
        await cases[name](backend);
        // The first two rounds warm it up.
        if (round >= 0) times[name][size].push(performance.now() - began);
      }
  return Object.fromEntries(caseNames.map((name) => [name, { small: median(times[name].small), large: median(times[name].large) }])) as Record<
    CaseName,
    { small: number; large: number }
  >;
}

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openBackend } from '../server/backend.ts';
import { initialise } from '../server/init.ts';
import { seedFleet } from './seed-fleet.ts';

/*
 * A fleet that is none, for whoever looks at the console, or times it: names, users, tags, ages, states, orders, disclosures,
 * alarms and days of history, the same for the same seed but for the keys, which open nothing.
 */

const help = `npm run seed -- [--devices N] [--dir DIR] [--seed N] [--json]

  --devices N   how many Macs (default 1000)
  --dir DIR     the data folder that is filled; it must have no Macs (default: a new one under the system's folder for temporary files)
  --seed N      another number, another fleet (default 1)
  --json        the last line is one JSON object
`;
const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '1000' },
    dir: { type: 'string' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
function refuse(because: string): never {
  process.stderr.write(`seed: error: ${because}\n`);
  process.exit(64);
}
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const [devices, seed] = [Number(values.devices), Number(values.seed)];
if (!Number.isInteger(devices) || devices < 1 || devices > 1_000_000) refuse('--devices must be a whole number from 1 to 1000000');
if (!Number.isInteger(seed)) refuse('--seed must be a whole number');

const passphrase = 'a fleet that is none';
const dir = values.dir ?? join(mkdtempSync(join(tmpdir(), 'sparekey-seed-')), 'data');
if (values.dir === undefined)
  await initialise({
    dir,
    names: ['127.0.0.1'],
    organisation: 'Example',
    devicesPort: 8443,
    passphrase,
    copy: null,
    deviceCaFiles: [],
    ownTls: null,
    admin: 'grace',
    escrowKeyBits: 2048,
    say: () => undefined,
  });
const backend = await openBackend({ dir, passphrase: null });
const began = performance.now();
try {
  if (await backend.store.db.selectFrom('mac').select('id').limit(1).executeTakeFirst()) refuse(`${dir} has Macs already, and nothing is put among them`);
  let last = 0;
  const say = (done: number, what: string): void => {
    if (performance.now() - last < 1000 && done < devices) return;
    last = performance.now();
    process.stderr.write(`seed: ${done} of ${devices} ${what}\n`);
  };
  await seedFleet(backend, { devices, seed, say });
} finally {
  await backend.close();
}
const seconds = Math.round((performance.now() - began) / 100) / 10;
process.stdout.write(`${devices} Macs in ${dir}, in ${seconds} s${values.dir === undefined ? `; its passphrase is “${passphrase}”` : ''}\n`);
if (values.json) process.stdout.write(`${JSON.stringify({ devices, seed, dir, seconds })}\n`);

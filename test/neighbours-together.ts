import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import type { OpenConnector } from '../server/connectors/open.ts';
import type { ConnectorName } from '../server/connectors/source.ts';
import { type Log, silentLog } from '../server/log.ts';
import { type Device, productsAt } from './connector-parts.ts';
import { digestOf, type GivenServer, givenServer, newKey, type TestMac } from './server-parts.ts';

/* What the tests of other systems beside a backend begin with. */

export interface Line {
  event: string;
  [more: string]: unknown;
}

/** A log that remembers. */
export function keptLog(): { lines: Line[]; log: Log } {
  const lines: Line[] = [];
  const write = (event: string, details: object = {}): void => void lines.push({ ...details, event });
  return { lines, log: { info: write, warn: write, error: write } };
}

export type Products = Awaited<ReturnType<typeof productsAt>>;

/** Stand-ins of Intune, Jamf Pro and Fleet for the whole file, and a backend for each test, which `give` hands over. */
export function beforeEachWithConnectors(wish: { serials: string; log?: Log }, give: (it: Products, server: GivenServer) => void) {
  const open: OpenConnector[] = [];
  let it: Products;
  let server: GivenServer;
  // All of one length: they are sorted as texts.
  let number = 1000;
  beforeAll(async () => {
    it = await productsAt();
  });
  beforeEach(async () => {
    it.reset();
    server = await givenServer();
    give(it, server);
  });
  afterEach(async () => {
    for (const connector of open.splice(0)) connector.close();
    await server.close();
  });
  afterAll(() => it.close());

  const brought = () => server.store.db.selectFrom('brought_key').selectAll().orderBy('brought_at').orderBy('serial').execute();
  return {
    brought,
    device(more: Partial<Device> = {}): Device {
      number += 1;
      return { id: number, serial: `${wish.serials}${String(number).padStart(6, '0')}`, key: newKey().reveal(), ...more };
    },
    connector(name: ConnectorName, more: object = {}): OpenConnector {
      const one = it.connector(name, wish.log ?? silentLog, more);
      open.push(one);
      return one;
    },
    run: (one: OpenConnector) => server.custody.connectors.run(one, { actor: 'ada', reason: 'a test' }),
    /** The MDM has replaced its key, and macOS sealed the new one to the MDM's payload. */
    changed(mac: TestMac, more: object = {}): void {
      const file = { digest: digestOf(Buffer.from(randomUUID())), recipient: `issuer-serial:${'ab'.repeat(32)}:01`, ours: false };
      mac.escrowFile = file;
      mac.factsMore = { ...mac.factsMore, ...more, escrow: { payload: 'foreign', location: 'MDM', file } };
    },
    /** The Mac answers for the key that was brought and is offered to it. */
    async proves(mac: TestMac, answer: 'true' | 'false' = 'true'): Promise<void> {
      const offered = (await brought()).find(({ serial, state }) => serial === mac.serial && state === 'offered');
      const { id } = await server.store.db
        .selectFrom('envelope')
        .select('id')
        .where('record_id', '=', offered?.record_id ?? '')
        .executeTakeFirstOrThrow();
      await mac.prove(id, answer);
    },
  };
}

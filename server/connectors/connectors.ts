import { Problem } from '../../protocol/problems.ts';
import { type CustodyParts, day, hour, minute } from '../custody-parts.ts';
import { longerEachTime } from '../outbound.ts';
import { connectorByName, quietConnector } from '../store/connectors.ts';
import { newRound, refreshCopies, refreshNamed, rotateShown } from './hand.ts';
import type { OpenConnector } from './open.ts';
import { type RunEnd, type RunWish, runConnector } from './run.ts';
import { type Asked, type ConnectorName, Pause } from './source.ts';
import { alarmIfStill } from './still.ts';

/** Keys that are read out of other products' APIs, as acts of custody. */
export interface ConnectorsCustody {
  run(connector: OpenConnector, wish: Pick<RunWish, 'actor' | 'reason' | 'say'>): Promise<RunEnd>;
  /** A run, where its time has come. */
  runDue(connector: OpenConnector): Promise<RunEnd | null>;
  /** What the product is to be asked to do. */
  tend(connector: OpenConnector): Promise<void>;
  /** Whether it stands still, for an alarm. */
  watch(connector: OpenConnector): Promise<void>;
  refresh(
    connectors: readonly OpenConnector[],
    wish: { serial: string; actor: string; reason: string },
  ): Promise<{ connector: string; deviceId: string; asked: Asked }[]>;
}

/** A product that does not answer, or asks for patience without a time, is left alone for this long, and twice as long each further time. */
const firstQuiet = 10 * minute;
const mostQuiet = day;

export function createConnectors(parts: CustodyParts): ConnectorsCustody {
  const run = ({ source, everyHours, isStopping, chance }: OpenConnector, wish: Pick<RunWish, 'actor' | 'reason' | 'say'>): Promise<RunEnd> =>
    runConnector(parts, source, { ...wish, everyHours, isStopping, chance });
  interface Asking extends Pick<OpenConnector, 'isStopping' | 'chance'> {
    name: ConnectorName;
    times: number;
  }

  /** Whether the product is left alone now: for as long as it said, or for longer each time. */
  async function wasPaused({ name, times, isStopping, chance }: Asking, most: number, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return false;
    } catch (error) {
      if (isStopping() || !(error instanceof Pause || error instanceof Problem)) throw error;
      const told = error instanceof Pause ? error.seconds : null;
      const wait = told === null ? longerEachTime(firstQuiet, times, most, chance) : told * 1000;
      await parts.act((tx, at) => quietConnector(tx, name, { quiet_until: Math.round(at + wait), quiet_times: times + 1 }));
      const because = error instanceof Problem ? (error.detail ?? error.code) : error.message;
      parts.log.warn('connector-stopped', { connector: name, as: 'asking', because });
      return true;
    }
  }

  return {
    run,
    async runDue(connector) {
      const row = await connectorByName(parts.store.db, connector.source.name);
      if (connector.isStopping() || (row && row.next_at > parts.clock.now())) return null;
      try {
        return await run(connector, { actor: 'server', reason: 'its time has come' });
      } catch (error) {
        // A person's command reads at this moment.
        if (error instanceof Problem && error.code === 'CONNECTOR_BUSY') return null;
        throw error;
      }
    },
    async tend({ source, isStopping, chance }) {
      const row = await connectorByName(parts.store.db, source.name);
      if (isStopping() || !row || (row.quiet_until ?? 0) > parts.clock.now()) return;
      const what = { name: source.name, times: row.quiet_times, isStopping, chance };
      // A key that was shown first: a copy that cannot be fetched keeps none from being replaced, or for an hour at most.
      const rotating = newRound(chance);
      if (await wasPaused(what, mostQuiet, () => rotateShown(parts, source, rotating))) return;
      const refreshing = newRound(chance);
      if (await wasPaused(what, source.rotate ? hour : mostQuiet, () => refreshCopies(parts, source, refreshing))) return;
      if (row.quiet_times > 0 && (rotating.answered || refreshing.answered))
        await parts.act((tx) => quietConnector(tx, source.name, { quiet_until: null, quiet_times: 0 }));
    },
    watch: ({ source, everyHours }) => alarmIfStill(parts, source.name, everyHours),
    refresh: (connectors, wish) =>
      refreshNamed(
        parts,
        connectors.map(({ source }) => source),
        wish,
      ),
  };
}

import { Problem } from '../../protocol/problems.ts';
import type { CustodyParts } from '../custody-parts.ts';
import { connectorByName } from '../store/connectors.ts';
import { refreshCopies, refreshNamed, rotateShown } from './hand.ts';
import type { OpenConnector } from './open.ts';
import { type RunEnd, type RunWish, runConnector } from './run.ts';
import { type Asked, Pause } from './source.ts';

/** Keys that are read out of other products' APIs, as acts of custody. */
export interface ConnectorsCustody {
  run(connector: OpenConnector, wish: Pick<RunWish, 'actor' | 'reason'>): Promise<RunEnd>;
  /** A run, where its time has come. */
  runDue(connector: OpenConnector): Promise<RunEnd | null>;
  /** What the product is to be asked to do. */
  tend(connector: OpenConnector): Promise<void>;
  refresh(
    connectors: readonly OpenConnector[],
    wish: { serial: string; actor: string; reason: string },
  ): Promise<{ connector: string; deviceId: string; asked: Asked }[]>;
}

/** Milliseconds in which a product that has not answered is left alone. */
const quietFor = 600_000;

export function createConnectors(parts: CustodyParts): ConnectorsCustody {
  const quietUntil = new Map<string, number>();
  const run = ({ source, everyHours, isStopping }: OpenConnector, wish: Pick<RunWish, 'actor' | 'reason'>): Promise<RunEnd> =>
    runConnector(parts, source, { ...wish, everyHours, isStopping });
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
    async tend({ source, isStopping }) {
      if (isStopping() || (quietUntil.get(source.name) ?? 0) > parts.clock.now()) return;
      try {
        await refreshCopies(parts, source);
        await rotateShown(parts, source);
      } catch (error) {
        if (isStopping() || !(error instanceof Pause || error instanceof Problem)) throw error;
        const seconds = error instanceof Pause ? error.seconds : null;
        quietUntil.set(source.name, parts.clock.now() + (seconds === null ? quietFor : seconds * 1000));
        parts.log.warn('connector-stopped', {
          connector: source.name,
          as: 'asking',
          because: error instanceof Problem ? (error.detail ?? error.code) : error.message,
        });
      }
    },
    refresh: (connectors, wish) =>
      refreshNamed(
        parts,
        connectors.map(({ source }) => source),
        wish,
      ),
  };
}

import type { Backend } from '../backend.ts';
import { oneLine } from '../command.ts';
import { uselessOf } from '../store/connectors.ts';
import type { ConnectorName } from './source.ts';
import type { Figures } from './state.ts';

/** For people; programs have all that are written down. */
const mostSaid = 10;

/** What a list has and nothing was read of, one by one: nobody can look after a figure. */
export interface PassedOver {
  /** Up to 200; the figure has all. */
  unusable: Figures['unusableNamed'];
  /** The product says itself that its key is missing or wrong, and here is none either. */
  useless: { serial: string; deviceId: string; because: string }[];
}

export async function passedOver({ store }: Pick<Backend, 'store'>, name: ConnectorName, figures: Figures): Promise<PassedOver> {
  const rows = await uselessOf(store.db, name);
  const useless = rows.map((row) => ({ serial: row.serial, deviceId: row.device_id, because: row.useless ?? '' }));
  return { unusable: figures.unusableNamed, useless };
}

export function sayPassedOver(figures: Pick<Figures, 'unusable'>, { unusable, useless }: PassedOver): string[] {
  const entries = unusable.map(({ id, serial, because }) => `${serial ?? 'no serial number'} (id ${id ?? 'none'}): ${because}`);
  const macs = useless.map(({ serial, deviceId, because }) => `${serial} (id ${deviceId}): ${because}`);
  return [...named('entries that no Mac can be made of', figures.unusable, entries), ...named('no key is here, and none to be read', macs.length, macs)];
}

function named(what: string, all: number, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  const more = all - Math.min(lines.length, mostSaid);
  return [`${what}:`, ...lines.slice(0, mostSaid).map((line) => `  ${oneLine(line)}`), ...(more > 0 ? [`  and ${more} more: see --json`] : [])];
}

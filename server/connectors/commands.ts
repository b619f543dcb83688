import { Problem } from '../../protocol/problems.ts';
import type { Backend } from '../backend.ts';
import { sourceNames } from '../brought/sources.ts';
import { type CommandResult, table, when } from '../command.ts';
import { silentLog } from '../log.ts';
import { connectorByName, macsOfConnector } from '../store/connectors.ts';
import { passedOver, sayPassedOver } from './named.ts';
import { namesOf, type OpenConnector, openConnectors } from './open.ts';
import { type ConnectorName, connectorNames } from './source.ts';
import { type Figures, noFigures, readCursor, readFigures } from './state.ts';

type Stored = Pick<Backend, 'store' | 'custody' | 'clock'> & { settings: Pick<Backend['settings'], 'coexistence'> };

const settingsOf = (backend: Stored) => backend.settings.coexistence?.connectors ?? { intune: null, jamf: null, fleet: null };

/** What is named has a place of its own beside the figures. */
type Counts = Omit<Figures, 'unusableNamed'>;
const countsOf = ({ unusableNamed: _, ...counts }: Figures): Counts => counts;

const figureWords: readonly (readonly [keyof Omit<Figures, 'twice' | 'unusableNamed'>, string])[] = [
  ['listed', 'Macs in its list'],
  ['unusable', 'entries of it without a serial number or id that can be used'],
  ['proved', 'not read: a proved key is here'],
  ['ours', 'not read: the escrow payload is ours already'],
  ['notDue', 'not read: read lately'],
  ['useless', 'not read: the product says that its key is missing or wrong'],
  ['read', 'read, each of them a view in its audit'],
  ['keys', 'of these a key'],
  ['none', 'of these without a key'],
  ['forbidden', 'of these refused (403)'],
  ['unreadable', 'of these with a reply that is no key'],
  ['failed', 'of these without an answer; they are tried again'],
];

const sayFigures = (figures: Counts): string[] => {
  const rows = figureWords.filter(([name]) => name === 'listed' || figures[name] > 0).map(([name, words]) => [String(figures[name]), words]);
  const twice = figures.twice.length > 0 ? [`more than once in its list, and only the entry heard of last was taken: ${figures.twice.join(', ')}`] : [];
  return [table(['', ''], rows).replace(/^\s*\n/, ''), ...twice];
};

async function stateOf(backend: Stored, name: ConnectorName, isSet: boolean) {
  const { db } = backend.store;
  const row = await connectorByName(db, name);
  const reader = readCursor(row?.cursor ?? null).reader;
  const figures = readFigures(row?.figures ?? null) ?? noFigures();
  const isReading = reader !== null && reader.until > backend.clock.now();
  return {
    name,
    isSet,
    state: !isSet
      ? 'not in the settings'
      : isReading
        ? 'reading'
        : row?.problem
          ? 'stopped'
          : row?.started_at == null
            ? 'new'
            : row.ended_at === null
              ? 'cut'
              : 'waiting',
    startedAt: row?.started_at == null ? null : when(row.started_at),
    endedAt: row?.ended_at == null ? null : when(row.ended_at),
    nextAt: row ? when(row.next_at) : null,
    problem: row?.problem ?? null,
    macs: (await macsOfConnector(db, name)).length,
    goodSince: row?.good_since == null ? null : when(row.good_since),
    figures: countsOf(figures),
    ...(await passedOver(backend, name, figures)),
  };
}

export async function connectorsCommand(backend: Stored): Promise<CommandResult> {
  const set = namesOf(settingsOf(backend));
  const connectors = [];
  for (const name of connectorNames) {
    const state = await stateOf(backend, name, set.includes(name));
    if (state.isSet || state.macs > 0) connectors.push(state);
  }
  if (connectors.length === 0) return { json: { connectors }, text: 'there is no connector: coexistence.connectors of settings.json names none' };
  const text = connectors.map((one) =>
    [
      `${sourceNames[one.name]}: ${one.state}${one.problem === null ? '' : `: ${one.problem}`}`,
      `last run ${one.startedAt ?? 'never'}${one.endedAt === null ? '' : `, ended ${one.endedAt}`}; next ${one.isSet ? (one.nextAt ?? 'at once') : 'never'}`,
      ...(one.startedAt === null ? [] : [...sayFigures(one.figures), ...sayPassedOver(one.figures, one)]),
    ].join('\n'),
  );
  return {
    json: { connectors },
    text: text.join('\n\n'),
    ...(connectors.some(({ isSet, problem }) => isSet && problem !== null) ? { exit: 77 as const } : {}),
  };
}

/** For `status`: those that stand still. */
export async function stoppedConnectors(backend: Stored): Promise<{ name: ConnectorName; problem: string }[]> {
  const stopped: { name: ConnectorName; problem: string }[] = [];
  for (const name of namesOf(settingsOf(backend))) {
    const problem = (await connectorByName(backend.store.db, name))?.problem ?? null;
    if (problem !== null) stopped.push({ name, problem });
  }
  return stopped;
}

async function withConnectors<T>(backend: Stored, names: readonly ConnectorName[], work: (connectors: OpenConnector[]) => Promise<T>): Promise<T> {
  const { intune, jamf, fleet } = settingsOf(backend);
  const all = { intune, jamf, fleet };
  const chosen = {
    intune: names.includes('intune') ? all.intune : null,
    jamf: names.includes('jamf') ? all.jamf : null,
    fleet: names.includes('fleet') ? all.fleet : null,
  };
  const connectors = openConnectors(chosen, silentLog);
  try {
    return await work(connectors);
  } finally {
    for (const connector of connectors) connector.close();
  }
}

/** Milliseconds: as often as somebody looks up. */
const sayEvery = 2000;

/** `say`: to the terminal, while it goes on. */
export async function connectorRun(
  backend: Stored,
  { name, actor, reason, say }: { name: string; actor: string; reason: string; say: (words: string) => void },
): Promise<CommandResult> {
  const set = namesOf(settingsOf(backend));
  const found = set.find((one) => one === name);
  if (!found) throw new Problem('NOT_FOUND', `there is no connector ${name}: the settings have ${set.join(', ') || 'none'}`);
  return withConnectors(backend, [found], async ([connector]) => {
    if (!connector) throw new Problem('NOT_FOUND', name);
    let last = Number.NEGATIVE_INFINITY;
    const progress = (words: string): void => {
      if (performance.now() - last < sayEvery) return;
      last = performance.now();
      say(`${sourceNames[found]}: ${words}`);
    };
    const end = await backend.custody.connectors.run(connector, { actor, reason, say: progress });
    const named = await passedOver(backend, found, end.figures);
    if (end.problem !== null)
      throw new Problem('CONNECTOR_STOPPED', `${sourceNames[found]}: ${end.problem}; ${end.figures.read} read; next ${when(end.nextAt)}`);
    return {
      json: { name, as: end.as, figures: countsOf(end.figures), ...named, nextAt: when(end.nextAt) },
      text: [`${sourceNames[found]}: done`, ...sayFigures(countsOf(end.figures)), ...sayPassedOver(end.figures, named)].join('\n'),
    };
  });
}

export async function connectorRefresh(backend: Stored, wish: { serial: string; actor: string; reason: string }): Promise<CommandResult> {
  return withConnectors(backend, namesOf(settingsOf(backend)), async (connectors) => {
    const done = await backend.custody.connectors.refresh(connectors, wish);
    const lines = done.map(
      ({ connector, deviceId, asked }) =>
        `${connector} ${deviceId}: ${asked.kind === 'asked' ? 'asked; it fetches the key when the Mac comes to it' : asked.because}`,
    );
    return { json: { asked: done }, text: lines.join('\n'), ...(done.every(({ asked }) => asked.kind !== 'asked') ? { exit: 77 as const } : {}) };
  });
}

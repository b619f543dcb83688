import type { Log } from './log.ts';

/*
 * What a monitoring system reads, in the text format of Prometheus (0.0.4). Counters live as long as the process; figures of
 * the fleet are asked of the database when somebody reads them.
 */

type Labels = Readonly<Record<string, string>>;

export interface Sample {
  labels?: Labels;
  value: number;
}

/** One metric: all that is written under its name. */
export interface Family {
  name: string;
  help: string;
  type: 'counter' | 'gauge';
  samples: readonly Sample[];
}

const escapedHelp = (text: string): string => text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
const escapedLabel = (text: string): string => escapedHelp(text).replace(/"/g, '\\"');
const labelsOf = (labels: Labels): string => {
  const all = Object.entries(labels);
  return all.length === 0 ? '' : `{${all.map(([name, value]) => `${name}="${escapedLabel(value)}"`).join(',')}}`;
};
const numberOf = (value: number): string => (Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf');

export const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

export const writeMetrics = (families: readonly Family[]): string =>
  families
    .map(
      ({ name, help, type, samples }) =>
        `# HELP ${name} ${escapedHelp(help)}\n# TYPE ${name} ${type}\n${samples.map(({ labels = {}, value }) => `${name}${labelsOf(labels)} ${numberOf(value)}\n`).join('')}`,
    )
    .join('');

/** Counts by name and labels. What labels there are follows from routes and closed lists, never from what came in: there is an end to them. */
export interface Counters {
  add(name: string, labels?: Labels, by?: number): void;
  of(name: string): Sample[];
  /** A figure that is asked for when somebody reads. */
  gauge(name: string, read: () => number): void;
}

export function createCounters(): Counters {
  const all = new Map<string, Map<string, Sample>>();
  const gauges = new Map<string, () => number>();
  return {
    add(name, labels = {}, by = 1) {
      const samples = all.get(name) ?? new Map<string, Sample>();
      all.set(name, samples);
      // Each request is counted several times: the words of the format are put together when somebody reads.
      let key = '';
      for (const label in labels) key += `${label}\0${labels[label]}\0`;
      samples.set(key, { labels, value: (samples.get(key)?.value ?? 0) + by });
    },
    of: (name) => (gauges.has(name) ? [{ value: gauges.get(name)?.() ?? 0 }] : [...(all.get(name)?.values() ?? [])]),
    gauge: (name, read) => void gauges.set(name, read),
  };
}

/** Why something was refused or raised is one of a closed list too; whatever else an event says is not counted apart. */
const countedDetail: Partial<Record<string, string>> = { 'request-refused': 'code', 'alarm-raised': 'code', 'sign-in-refused': 'because' };

/** The same log, and each of its events counted: also those that its level leaves out. */
export function countingLog(log: Log, counters: Counters): Log {
  const counted =
    (level: 'info' | 'warn' | 'error'): Log['info'] =>
    (event, details) => {
      const detail = countedDetail[event];
      const value = detail === undefined ? undefined : details?.[detail];
      counters.add('events', { event, ...(detail !== undefined && typeof value === 'string' ? { [detail]: value } : {}) });
      log[level](event, details);
    };
  return { info: counted('info'), warn: counted('warn'), error: counted('error') };
}

/** Of one listener: each answer by its route, as it was registered, and the class of its status. */
export const countAnswers =
  (counters: Counters, listener: string) =>
  (method: string, route: string, status: number): void =>
    counters.add('requests', { listener, method, route, status: `${Math.floor(status / 100)}xx` });

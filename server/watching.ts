import { statSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Backend } from './backend.ts';
import { certificatesOf } from './certificate-dates.ts';
import { isOnPostgres } from './data-folder.ts';
import { sizeOfDatabase } from './folder-copy.ts';
import type { Counters, Family, Sample } from './metrics.ts';
import type { Round } from './rounds.ts';
import { serverVersion } from './settings.ts';
import { alarmsByCode, type Counted, exposure, macsByCustody, rotationsByEnd, waitingForWebhooks, waitingMails } from './store/watching.ts';

/** Whoever asks often is told the same figures of the fleet: a scrape costs the database nothing then. */
const figuresLastMs = 10_000;
const dayMs = 24 * 60 * 60 * 1000;

const byLabel = (label: string, counted: readonly Counted[]): Sample[] => counted.map(({ value, n }) => ({ labels: { [label]: value }, value: n }));

function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}

/** All that is worth a graph or an alarm of somebody's own, as families of metrics. */
export function createWatching({ backend, counters, rounds }: { backend: Backend; counters: Counters; rounds: () => readonly Readonly<Round>[] }) {
  const { store, clock, paths, settings } = backend;
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  let known: { at: number; families: Promise<Family[]> } | null = null;

  async function figures(): Promise<Family[]> {
    const { db } = store;
    const now = clock.now();
    const out = await exposure(db, now);
    const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({ name: `sparekey_${name}`, help, type: 'gauge', samples });
    return [
      gauge('macs', 'Macs by what is held of their key.', byLabel('custody', await macsByCustody(db))),
      gauge('alarms_open', 'Alarms that wait for somebody, by code.', byLabel('code', await alarmsByCode(db))),
      gauge('keys_out', 'Keys that were shown and are not replaced yet.', [{ value: out.keys }]),
      gauge('exposure_hours', 'Hours for which those keys have been out, together.', [{ value: Math.round(out.milliseconds / 36_000) / 100 }]),
      gauge('queue_length', 'What waits to be sent.', [
        { labels: { queue: 'mail' }, value: await waitingMails(db) },
        ...(await waitingForWebhooks(db)).map(({ value, n }) => ({ labels: { queue: `webhook-${value}` }, value: n })),
      ]),
      {
        name: 'sparekey_rotations_ended_total',
        help: 'Replacements that came to an end, by how.',
        type: 'counter',
        samples: byLabel('outcome', await rotationsByEnd(db)),
      },
      gauge('database_bytes', 'Size of the database and of its write-ahead log.', [
        { labels: { file: 'database' }, value: await sizeOfDatabase(backend) },
        ...(isOnPostgres(paths) ? [] : [{ labels: { file: 'log' }, value: sizeOf(`${paths.database}-wal`) }]),
      ]),
      gauge(
        'certificate_days_left',
        'Days until a certificate ends, by what it is for.',
        certificatesOf(paths, settings).map(({ what, notAfter }, at) => ({
          labels: { number: String(at + 1), of: what.replace(/ \(.*\)$/, '') },
          value: Math.floor((notAfter - now) / dayMs),
        })),
      ),
    ];
  }

  return {
    async families(): Promise<Family[]> {
      const at = performance.now();
      if (known === null || at - known.at > figuresLastMs) known = { at, families: figures() };
      // What failed is asked again.
      const ofFleet = await known.families.catch((error: unknown) => {
        known = null;
        throw error;
      });
      const event = (names: readonly string[]): Sample[] => counters.of('events').filter(({ labels }) => names.includes(labels?.['event'] ?? ''));
      const total = (name: string, help: string, events: readonly string[]): Family => ({
        name: `sparekey_${name}_total`,
        help: `${help} Since the start of the process.`,
        type: 'counter',
        samples: [{ value: event(events).reduce((sum, { value }) => sum + value, 0) }],
      });
      const now = performance.now();
      return [
        { name: 'sparekey_build_info', help: 'The release that runs.', type: 'gauge', samples: [{ labels: { version: serverVersion() }, value: 1 }] },
        {
          name: 'sparekey_escrow_keys_open',
          help: '1 where keys can be shown, 0 in a sealed backend.',
          type: 'gauge',
          samples: [{ value: backend.escrowKeys.canOpen ? 1 : 0 }],
        },
        {
          name: 'sparekey_requests_total',
          help: 'Requests by listener, route and class of status. Since the start of the process.',
          type: 'counter',
          samples: counters.of('requests'),
        },
        {
          name: 'sparekey_shed_total',
          help: 'Requests and handshakes of Macs that were sent away for want of time, by kind. Since the start of the process.',
          type: 'counter',
          samples: counters.of('shed'),
        },
        { name: 'sparekey_waiters', help: 'Macs whose answer is kept until there is something new.', type: 'gauge', samples: counters.of('waiters') },
        total('check_ins', 'Check-ins of Macs.', ['check-in']),
        total('deliveries', 'Keys that were delivered and stored.', ['key-stored']),
        total('disclosures', 'Keys that were shown to somebody.', ['key-disclosed']),
        total('sign_ins', 'People who signed in.', ['signed-in']),
        total('sign_ins_refused', 'Attempts to sign in that were refused.', ['sign-in-refused']),
        { name: 'sparekey_events_total', help: 'Lines of the log by event. Since the start of the process.', type: 'counter', samples: counters.of('events') },
        ...ofFleet,
        {
          name: 'sparekey_timer_age_seconds',
          help: 'Seconds since the last turn of each timer ended.',
          type: 'gauge',
          samples: rounds().map(({ name, doneAt, beganAt }) => ({ labels: { timer: name }, value: Math.round((now - (doneAt ?? beganAt)) / 1000) })),
        },
        {
          name: 'sparekey_event_loop_delay_seconds',
          help: 'How late the process comes to its work.',
          type: 'gauge',
          samples: [50, 99].map((percentile) => ({ labels: { quantile: String(percentile / 100) }, value: delay.percentile(percentile) / 1e9 })),
        },
        {
          name: 'sparekey_resident_memory_bytes',
          help: 'Memory of the process.',
          type: 'gauge',
          samples: [{ value: process.memoryUsage.rss() }],
        },
      ];
    },
    close: () => delay.disable(),
  };
}

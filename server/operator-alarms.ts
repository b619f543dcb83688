import { hostname } from 'node:os';
import { type AlarmCode, putAlarm } from './alarms.ts';
import { audit } from './audit.ts';
import { type Ending, sayEnding } from './certificate-dates.ts';
import type { ServerClock } from './clock.ts';
import { tokenBuckets } from './limits.ts';
import type { Log } from './log.ts';
import type { Store } from './parts.ts';
import { fleetAlarmStands, judge, openFleetAlarms } from './store/alarms.ts';
import { memoriesOf, readMemory, writeMemory } from './store/upkeep.ts';
import type { Refused } from './tls-keeper.ts';

/** What the alarms about the backend itself stand on. */
export interface Ground {
  store: Store;
  clock: ServerClock;
  log: Log;
}

const day = 24 * 60 * 60 * 1000;
/** Lines of one alarm; the rest is counted. */
const mostLines = 12;

/** Where the server remembers what it said last. */
export const saidMark = (code: AlarmCode): string => `said:${code}`;

/**
 * One alarm of a kind for the whole backend, whose words are what is so now. Each step is told once: other words end what was
 * said and raise another; an admin who has judged it hears no more of it until something changes; nothing left to say ends it.
 * `whose`: each of several backends on one database looks after it by itself; what one says no more, another may say still.
 */
export async function sayAnew({ store, clock, log }: Ground, code: AlarmCode, lines: readonly string[], whose?: string): Promise<void> {
  const more = lines.length > mostLines ? [`and ${lines.length - mostLines} more`] : [];
  const detail = [...lines.slice(0, mostLines), ...more].join('; ');
  const hasOthers = whose !== undefined && store.alone !== undefined;
  const mark = hasOthers ? `${saidMark(code)}:${whose}` : saidMark(code);
  // Looked at twice a minute: nothing is written where nothing changed.
  if (((await readMemory(store.db, mark)) ?? '') === detail) return;
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    if (((await readMemory(tx, mark)) ?? '') === detail) return;
    await writeMemory(tx, mark, detail);
    const others = hasOthers ? (await memoriesOf(tx, `${saidMark(code)}:`)).filter(({ name }) => name !== mark).map(({ value }) => value) : [];
    let stands = false;
    for (const alarm of await openFleetAlarms(tx)) {
      if (alarm.code !== code) continue;
      if (others.includes(alarm.detail)) {
        stands ||= alarm.detail === detail;
        continue;
      }
      const judgement = detail === '' ? 'it is so no more' : 'said anew: it has changed';
      await judge(tx, alarm.id, 'server', judgement, at);
      await audit(tx, { at, actor: 'server', act: 'alarm.settled', details: { alarmId: alarm.id, code, judgement } });
    }
    if (detail !== '' && !stands) await putAlarm({ log }, tx, at, null, code, detail);
  });
}

/** Certificates that end, once for each step; and files of listeners that are not used. */
export async function tellOfCertificates(ground: Ground, endings: readonly Ending[], refused: readonly Refused[], whose = hostname()): Promise<void> {
  await sayAnew(ground, 'CERTIFICATE_ENDS', endings.map(sayEnding), whose);
  await sayAnew(
    ground,
    'CERTIFICATE_REFUSED',
    refused.map(({ name, because }) => `the new certificate of the ${name} is not used: ${because}`),
    whose,
  );
}

/**
 * Somebody says by a header who a Mac is, and may not; or connects where only our proxies may. The first is an alarm with its
 * entry in the audit, each is in the log: whoever tries a thousand times does not write a thousand times.
 */
export function createStrangerAlarm({ store, clock, log }: Ground): (address: string, why: string) => void {
  const bucket = tokenBuckets({ perMinute: 2, burst: 4 });
  const code = 'CLIENT_HEADER_REFUSED' satisfies AlarmCode;
  return (address, why) => {
    log.warn('connection-refused', { because: why, address });
    if (bucket.take('all') !== null) return;
    const said = `${address}: ${why}`;
    store
      .write(async (tx) => {
        const at = await clock.persist(tx);
        // In these words once a day: whoever judged it hears of the next day, not of the next minute.
        if (!(await fleetAlarmStands(tx, code, said, at - day))) await putAlarm({ log }, tx, at, null, code, said);
      })
      .catch(() => log.error('store-failed', { code }));
  };
}

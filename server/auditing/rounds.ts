import type { Backend } from '../backend.ts';
import { isSent, learningUntil } from '../fleet/alarm-care.ts';
import type { Log } from '../log.ts';
import { alarmById } from '../store/alarms.ts';
import { checkpointOfNews, checkpointWhenDue } from './checkpoints.ts';
import { retainByAge } from './retention.ts';
import { noteSettings } from './settings-history.ts';
import { createWebhook, tellOfWebhooks } from './webhooks.ts';

const second = 1000;
const minute = 60 * second;

/** What the audit needs while the backend runs. `end` comes after all other work, and before the database is closed. */
export async function startAuditing(
  backend: Backend,
  every: (milliseconds: number, name: string, work: () => Promise<void>) => void,
  log: Log,
): Promise<{ close(): void; end(): Promise<void> }> {
  const { webhooks: settings } = backend.settings;
  await noteSettings(backend);
  every(minute, 'audit-checkpoints', () => checkpointWhenDue(backend));
  every(6 * 60 * minute, 'audit-retention', () => retainByAge(backend));
  const isSentNow = async ({ id }: { id: string }): Promise<boolean> => {
    const alarm = await alarmById(backend.store.db, id);
    // Without a console nobody learns, and nobody mutes.
    return !alarm || (await learningUntil(backend.store.db)) === null || isSent(backend.store.db, alarm, backend.clock.now());
  };
  const hooks = settings.map((one) => createWebhook(one, { backend, isSent: isSentNow }));
  // Each has a turn of its own: one that is slow keeps nobody waiting.
  for (const hook of hooks) every(2 * second, `webhook-${hook.name}`, async () => void (await hook.turn()));
  if (hooks.length > 0) every(10 * minute, 'webhooks', () => tellOfWebhooks(backend, settings));
  return {
    close() {
      for (const hook of hooks) hook.close();
    },
    // A run that cannot sign its end ends all the same: the next one does.
    end: () => checkpointOfNews(backend).catch(() => log.error('timers-failed', { timer: 'audit-checkpoints', code: 'STORE_FAILED' })),
  };
}

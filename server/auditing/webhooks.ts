import { createHmac, randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { type AuditRow, canonicalJson, recordOf } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { sayAnew } from '../operator-alarms.ts';
import { createOutbound, longerEachTime, type Outbound, type OutboundOptions } from '../outbound.ts';
import { readPublic } from '../private-files.ts';
import { checkpointsAfter, lastCheckpoint } from '../store/audit-checkpoints.ts';
import { actsAfter } from '../store/audit-search.ts';
import { lastAuditEntry } from '../store/upkeep.ts';
import { insertWebhook, moveWebhook, type WebhookRow, webhookState, webhookStates } from '../store/webhooks.ts';
import { type Checkpoint, checkpointOf } from './checkpoint.ts';
import type { WebhookSettings } from './webhook-settings.ts';
import { readWebhookSecret } from './webhooks-check.ts';

/**
 * Records go to each hook in their order, and each at least once: what was begun is sent again as it was, under the same id,
 * until it is taken, and nothing goes before it. The place is in the database, and moves when the other side has said 2xx.
 */
const mostRecords = 100;
const mostCheckpoints = 10;
/** Of those that a hook does not want, looked at in one go. */
const lookedAt = 5000;
/** Batches in one turn, so that a hook that is far behind does not keep the backend from stopping. */
const mostBatches = 50;
/** Seconds before the second try, and the most between two of them. */
const firstWait = 5;
const mostWait = 3600;
const day = 24 * 60 * 60 * 1000;

const signatureHeader = 'x-sparekey-signature';
const deliveryHeader = 'x-sparekey-delivery';

/** `v1,t=SECONDS,HEX`: HMAC-SHA256 under the secret over the seconds, a dot, and the body as it is sent. */
function signDelivery(secret: Buffer, seconds: number, body: Buffer): string {
  return `v1,t=${seconds},${createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex')}`;
}

/** How the acts of these events begin; null: all of them. */
const prefixesOf = (events: readonly string[]): string[] | null =>
  events.includes('audit') ? null : events.map((event) => (event === 'alarms' ? 'alarm.' : event));

export interface WebhookParts {
  backend: Backend;
  /** Whether an alarm is one that others are told of: not while its kind is being learnt, and not where it is muted. */
  isSent?: (alarm: { id: string; macId: string | null }) => Promise<boolean>;
  outbound?: Partial<OutboundOptions>;
  chance?: () => number;
}

export interface Webhook {
  name: string;
  /** Sends what there is. True where there is nothing left to send. */
  turn(): Promise<boolean>;
  close(): void;
}

export function createWebhook(settings: WebhookSettings, parts: WebhookParts): Webhook {
  const { backend, isSent, chance = Math.random } = parts;
  const { store, clock, log } = backend;
  const { name } = settings;
  const prefixes = prefixesOf(settings.events);
  const url = new URL(settings.url);
  let outbound: Outbound | null = null;
  const door = (): Outbound => {
    outbound ??= createOutbound({
      origin: url.origin,
      trusted: settings.trustedCertificatesFile === null ? [] : [readPublic(settings.trustedCertificatesFile).toString('utf8')],
      proxy: settings.proxy,
      log,
      // A hook that asks for patience is asked again by its own back-off.
      waitSeconds: 0,
      ...parts.outbound,
    });
    return outbound;
  };

  async function begun(): Promise<WebhookRow> {
    const state = await webhookState(store.db, name);
    if (state) return state;
    return store.write(async (tx) => {
      const there = await webhookState(tx, name);
      if (there) return there;
      const isNow = settings.begins === 'now';
      const row: WebhookRow = {
        name,
        after_seq: isNow ? ((await lastAuditEntry(tx))?.seq ?? 0) : 0,
        after_checkpoint: isNow ? ((await lastCheckpoint(tx))?.number ?? 0) : 0,
        delivery_id: null,
        to_seq: null,
        to_checkpoint: null,
        tries: 0,
        first_failed_at: null,
        next_try_at: null,
        last_error: null,
        last_taken_at: null,
      };
      await insertWebhook(tx, row);
      return row;
    });
  }

  /** What an alarm says of itself goes out only where others are to be told of it. */
  async function wanted(rows: readonly AuditRow[]): Promise<AuditRow[]> {
    if (!isSent || prefixes === null) return [...rows];
    const sent: AuditRow[] = [];
    for (const row of rows) {
      const { alarmId } = row.act.startsWith('alarm.') ? (JSON.parse(row.details) as { alarmId?: unknown }) : {};
      if (typeof alarmId !== 'string' || (await isSent({ id: alarmId, macId: row.mac_id }))) sent.push(row);
    }
    return sent;
  }

  /** The next batch is written down before it is sent. Null: there is nothing. */
  async function nextBatch(state: WebhookRow): Promise<WebhookRow | null> {
    if (state.delivery_id !== null) return fitted(state);
    const end = (await lastAuditEntry(store.db))?.seq ?? 0;
    const checkpoints = prefixes === null ? await checkpointsAfter(store.db, state.after_checkpoint, mostCheckpoints) : [];
    const until = Math.min(end, state.after_seq + lookedAt);
    const rows = await actsAfter(store.db, state.after_seq, until, prefixes, mostRecords);
    if (rows.length === 0 && checkpoints.length === 0 && until <= state.after_seq) return null;
    const toSeq = rows.length === mostRecords ? (rows.at(-1)?.seq ?? until) : until;
    // A checkpoint does not come before the records that it is about.
    const ready = checkpoints.filter(({ seq }) => seq <= toSeq);
    const isEmpty = rows.length === 0 && ready.length === 0;
    const change: Partial<WebhookRow> = isEmpty
      ? { after_seq: toSeq }
      : { delivery_id: randomUUID(), to_seq: toSeq, to_checkpoint: ready.at(-1)?.number ?? state.after_checkpoint };
    // Two at once would send the same under two ids.
    if (!(await store.write((tx) => moveWebhook(tx, state, change)))) return nextBatch(await begun());
    const next = { ...state, ...change };
    return isEmpty ? (toSeq < end ? nextBatch(next) : null) : next;
  }

  /**
   * The end of a batch was fixed with the events of then. Where the settings name others since, more may lie before it than one
   * batch takes: that comes with the next, and nothing is left out.
   */
  async function fitted(state: WebhookRow): Promise<WebhookRow | null> {
    const toSeq = state.to_seq ?? state.after_seq;
    const rows = await actsAfter(store.db, state.after_seq, toSeq, prefixes, mostRecords);
    const last = rows.length === mostRecords ? (rows.at(-1)?.seq ?? toSeq) : toSeq;
    if (last >= toSeq) return state;
    const change = { delivery_id: randomUUID(), to_seq: last, to_checkpoint: state.after_checkpoint };
    if (!(await store.write((tx) => moveWebhook(tx, state, change)))) return nextBatch(await begun());
    return { ...state, ...change };
  }

  async function bodyOf(state: WebhookRow): Promise<Buffer | null> {
    const toSeq = state.to_seq ?? state.after_seq;
    const records = await wanted(await actsAfter(store.db, state.after_seq, toSeq, prefixes, mostRecords));
    const checkpoints: Checkpoint[] = (await checkpointsAfter(store.db, state.after_checkpoint, mostCheckpoints))
      .filter(({ number }) => prefixes === null && number <= (state.to_checkpoint ?? 0))
      .map(checkpointOf);
    if (records.length === 0 && checkpoints.length === 0) return null;
    const body = {
      format: 'sparekey webhook 1',
      hook: name,
      deliveryId: state.delivery_id,
      serverUrl: backend.settings.serverUrl,
      // Whoever keeps the last `toSeq` sees here whether something lies between.
      afterSeq: state.after_seq,
      toSeq,
      records: records.map(recordOf),
      checkpoints,
    };
    return Buffer.from(canonicalJson(body));
  }

  async function send(state: WebhookRow): Promise<boolean> {
    const body = await bodyOf(state);
    const failed = body ? await deliver(state, body) : null;
    const at = clock.now();
    if (failed === null) {
      await store.write((tx) =>
        moveWebhook(tx, state, {
          after_seq: state.to_seq ?? state.after_seq,
          after_checkpoint: Math.max(state.after_checkpoint, state.to_checkpoint ?? 0),
          delivery_id: null,
          to_seq: null,
          to_checkpoint: null,
          tries: 0,
          first_failed_at: null,
          next_try_at: null,
          last_error: null,
          last_taken_at: at,
        }),
      );
      if (body) log.info('webhook-sent', { hook: name, toSeq: state.to_seq, bytes: body.length });
      return true;
    }
    const wait = longerEachTime(firstWait, state.tries, mostWait, chance);
    await store.write((tx) =>
      moveWebhook(tx, state, {
        tries: state.tries + 1,
        first_failed_at: state.first_failed_at ?? at,
        next_try_at: at + Math.max(wait, Math.min(failed.seconds, mostWait)) * 1000,
        last_error: failed.because,
      }),
    );
    log.warn('webhook-not-sent', { hook: name, because: failed.because, tries: state.tries + 1 });
    return false;
  }

  async function deliver(state: WebhookRow, body: Buffer): Promise<{ because: string; seconds: number } | null> {
    try {
      const secret = readWebhookSecret(settings.secretFile);
      const headers = {
        'content-type': 'application/json',
        [signatureHeader]: signDelivery(secret, Math.floor(clock.now() / 1000), body),
        [deliveryHeader]: state.delivery_id ?? '',
      };
      const answer = await door().ask({ method: 'POST', path: `${url.pathname}${url.search}`, headers, body });
      if (answer.kind === 'later') return { because: 'it asks for patience', seconds: answer.seconds };
      return answer.status >= 200 && answer.status < 300 ? null : { because: `it answered ${answer.status}`, seconds: 0 };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return { because: error.detail ?? error.code, seconds: 0 };
    }
  }

  return {
    name,
    async turn() {
      for (let batch = 0; batch < mostBatches; batch += 1) {
        const state = await begun();
        if (state.next_try_at !== null && clock.now() < state.next_try_at) return false;
        const next = await nextBatch(state);
        if (!next) return true;
        if (!(await send(next))) return false;
      }
      return false;
    },
    close: () => outbound?.close(),
  };
}

/** Hooks that have taken nothing for a day although there was something; one that takes again ends it. */
export async function tellOfWebhooks(backend: Backend, hooks: readonly WebhookSettings[]): Promise<void> {
  const now = backend.clock.now();
  const names = hooks.map(({ name }) => name);
  const late = (await webhookStates(backend.store.db)).filter(
    ({ name, first_failed_at: since }) => names.includes(name) && since !== null && now - since >= day,
  );
  await sayAnew(
    backend,
    'WEBHOOK_FAILS',
    late.map(
      ({ name, first_failed_at: since, after_seq: seq }) => `${name}: nothing after record ${seq} was taken since ${new Date(since ?? 0).toISOString()}`,
    ),
  );
}

import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { Problem } from '../../protocol/problems.ts';
import { minute } from '../custody-parts.ts';
import type { HttpApp } from '../http.ts';
import type { Log } from '../log.ts';
import type { MdmCustody } from './mdm.ts';
import type { MdmSettings } from './take-event.ts';
import { isSigned, knowsKey, readEvent, type WebhookEvent } from './webhook-event.ts';

/** An answer of a Mac with a thousand programs in it, in base64, has less. Bytes. */
const mostEvent = 4 * 1024 * 1024;
/** In a row, before a person hears of it: then it is a clock, and not some events. */
const mostLate = 20;
/** The MDM's clock may be ahead of ours. */
const aheadMost = 5 * minute;

export interface WebhookParts {
  http: HttpApp;
  mdm: Pick<MdmCustody, 'take' | 'awaits' | 'noteLate' | 'noteOnTime'>;
  /** Not the time that never steps back: after a jump of this machine's clock that would be ahead for as long as it jumped. */
  wallNow: () => number;
  log: Log;
  key: Buffer;
  windowMinutes: number;
  settings: MdmSettings;
}

/**
 * `POST /v1/mdm/webhook`. The signature is over the bytes as they came, so they are looked at before anything in them is
 * read. Whatever is the MDM's is answered with 200, and only that: everything else is an error to it, and it tries once.
 */
export function addWebhook(parts: WebhookParts): void {
  const { http, mdm, log, key, settings } = parts;
  const isTheirs = ({ headers }: FastifyRequest, body: Uint8Array): boolean =>
    settings.server === 'nanomdm' ? isSigned(key, body, headers['x-hmac-signature']) : knowsKey(key, headers.authorization);

  let lateInARow = 0;
  /** Of before this process too. */
  let mayBeAlarmed = true;
  /** Only a word that needs its moment is refused for its time: what answers a command of ours counts once, whenever it comes. */
  async function refuseLate(event: WebhookEvent): Promise<void> {
    const age = parts.wallNow() - event.createdAt;
    if (age <= parts.windowMinutes * minute && age >= -aheadMost) {
      lateInARow = 0;
      if (mayBeAlarmed) await mdm.noteOnTime();
      mayBeAlarmed = false;
      return;
    }
    lateInARow += 1;
    if (lateInARow === mostLate) {
      mayBeAlarmed = true;
      await mdm.noteLate(`${Math.round(Math.abs(age) / minute)} minutes ${age > 0 ? 'behind' : 'ahead'}, ${mostLate} events in a row`);
    }
    if (!(await mdm.awaits(event))) throw new Problem('WEBHOOK_LATE', `it says that it is of ${new Date(event.createdAt).toISOString()}`);
  }

  http.app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: mostEvent }, (_request, body, done) => done(null, body));
    scope.addHook('onRequest', async ({ headers }) => {
      if (Number(headers['content-length'] ?? 0) > mostEvent) throw new Problem('BODY_TOO_LARGE', `more than ${mostEvent} bytes`);
    });
    scope.post('/v1/mdm/webhook', { bodyLimit: mostEvent }, async (request, reply) => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      try {
        if (!isTheirs(request, body)) throw new Problem('WEBHOOK_REFUSED');
        const event = readEvent(body);
        if (!event) throw new Problem('MESSAGE_INVALID', 'it has not the form of an event');
        await refuseLate(event);
        const { fate, because } = await mdm.take(settings, event, createHash('sha256').update(body).digest('hex'));
        const details = {
          fate,
          because,
          topic: event.topic.replace(/[^\w.-]/g, '?'),
          deviceId: event.deviceId,
          commandUuid: event.commandUuid?.replace(/[^\w-]/g, '?'),
        };
        if (fate === 'ignored') log.warn('mdm-event', { ...details, requestId: request.id });
        else log.info('mdm-event', { ...details, requestId: request.id });
        return reply.code(200).send();
      } finally {
        // It may have held a Bootstrap Token.
        body.fill(0);
      }
    });
  });
}

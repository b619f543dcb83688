import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { Problem } from '../../protocol/problems.ts';
import { minute } from '../custody-parts.ts';
import type { HttpApp } from '../http.ts';
import type { Log } from '../log.ts';
import type { MdmCustody } from './mdm.ts';
import type { MdmSettings } from './take-event.ts';
import { isSigned, knowsKey, readEvent } from './webhook-event.ts';

/** An answer of a Mac with a thousand programs in it, in base64, has less. Bytes. */
const mostEvent = 4 * 1024 * 1024;
/** The MDM's clock may be ahead of ours. */
const aheadMost = 5 * minute;

export interface WebhookParts {
  http: HttpApp;
  mdm: Pick<MdmCustody, 'take'>;
  now: () => number;
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
        const age = parts.now() - event.createdAt;
        if (age > parts.windowMinutes * minute || age < -aheadMost)
          throw new Problem('WEBHOOK_LATE', `it says that it is of ${new Date(event.createdAt).toISOString()}`);
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

import { timingSafeEqual } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { sha256 } from '../server/device-identity.ts';
import type { HttpRequest } from '../server/http.ts';
import { metricsType, writeMetrics } from '../server/metrics.ts';
import { secretIn } from '../server/neighbour-files.ts';
import { readiness } from '../server/readiness.ts';
import type { SitesGround } from '../server/serve.ts';
import { createWatching } from '../server/watching.ts';

/**
 * For whoever watches the backend. That it lives and whether it is ready is told to anybody who reaches this listener, in one
 * word; why not, and all figures, to whoever has the token, or, where there is none, to the networks of the settings.
 */
export function addHealth(ground: SitesGround): void {
  const { backend } = ground;
  const { app } = ground.http;
  const settings = backend.settings.console;
  const token = settings?.metricsTokenFile ? secretIn(settings.metricsTokenFile).toString('utf8') : null;
  const watching = createWatching(ground);
  app.addHook('onClose', async () => watching.close());

  function mayLookInside(request: HttpRequest): boolean {
    if (token === null) return settings?.networks != null;
    const given = /^Bearer +([!-~]{1,512})$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    // Of one length, whatever was sent.
    return timingSafeEqual(Buffer.from(sha256(Buffer.from(given))), Buffer.from(sha256(Buffer.from(token))));
  }

  app.get('/healthz', async (_request, reply) => reply.type('application/json; charset=utf-8').send('{"ok":true}'));
  app.get('/readyz', async (request, reply) => {
    const checks = await readiness(backend, ground.rounds());
    const ready = checks.every(({ ok }) => ok);
    reply.code(ready ? 200 : 503).type('application/json; charset=utf-8');
    return reply.send(JSON.stringify({ ready, ...(mayLookInside(request) ? { checks } : {}) }));
  });
  app.get('/metrics', async (request, reply) => {
    if (!mayLookInside(request)) {
      reply.header('www-authenticate', 'Bearer realm="metrics"');
      throw new Problem('METRICS_REFUSED', token === null ? 'there is no token in the settings' : undefined);
    }
    return reply.type(metricsType).send(writeMetrics(await watching.families()));
  });
}

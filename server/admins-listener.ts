import type { TlsIdentity } from './authorities.ts';
import { buildHttp, type HttpApp } from './http.ts';
import type { ListenAt } from './listening.ts';
import { refuseOthers } from './refuse-others.ts';
import type { MountSites, SitesGround } from './serve.ts';

/** The listener for admins: an address of its own, for the networks of its settings alone. Whoever opens it stops it. */
export function buildForAdmins(
  parts: Omit<Parameters<typeof buildHttp>[0], 'tls' | 'audience'> & { identity: Pick<TlsIdentity, 'certificate' | 'key'>; networks: readonly string[] | null },
): HttpApp {
  const { identity, networks, ...more } = parts;
  const tls = { certificate: identity.certificate, key: identity.key, clientCas: [], oldest: '1.2' } as const;
  return refuseOthers(buildHttp({ ...more, tls, audience: 'people' }), networks);
}

/** Puts the site there, and listens. The port. */
export async function openForAdmins(mount: MountSites, ground: Omit<SitesGround, 'site'>, at: ListenAt): Promise<number> {
  await mount({ ...ground, site: 'console' });
  const port = await ground.http.listen(at);
  ground.log.info('sites-started', { url: ground.settings.url, port });
  return port;
}

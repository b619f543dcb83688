import { lookup } from 'node:dns/promises';
import { request } from 'node:https';
import { isIP } from 'node:net';
import { Problem } from '../protocol/problems.ts';
import type { Known, ServerSeen } from './doctor-values.ts';
import type { Settings } from './settings.ts';
import type { Runner } from './world.ts';

/** What doctor sees of the backend: by asking for a nonce, which needs no certificate and changes nothing. */

const seconds = 10;

export async function seeAddresses(serverUrl: string): Promise<Known<{ host: string; addresses: string[] }>> {
  const host = new URL(serverUrl).hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0) return { value: { host, addresses: [host] } };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), seconds * 1000);
  });
  try {
    const found = await Promise.race([lookup(host, { all: true }), late]);
    return found ? { value: { host, addresses: found.map(({ address }) => address) } } : { unknown: `the name service did not answer in ${seconds} s` };
  } catch (error) {
    return { unknown: `the name ${host} is not found (${(error as NodeJS.ErrnoException).code ?? 'no reason given'})` };
  } finally {
    clearTimeout(timer);
  }
}

export async function seeServer(settings: Settings, runner: Runner, version: string): Promise<Known<ServerSeen>> {
  const { openServer } = await import('./server.ts');
  const server = openServer({
    settings,
    identity: null,
    runner,
    agentVersion: version,
    retries: { tries: 1 },
    connectSeconds: seconds,
    totalSeconds: 2 * seconds,
  });
  try {
    await server.nonce();
    return { value: { url: settings.serverUrl, problem: null, ahead: await askTime(settings, runner) } };
  } catch (error) {
    if (!(error instanceof Problem)) return { unknown: error instanceof Error ? error.name : 'an unforeseen error' };
    return { value: { url: settings.serverUrl, problem: { code: error.code, says: error.message, fix: error.kind.fix }, ahead: null } };
  } finally {
    server.close();
  }
}

/** By how much this Mac's clock is ahead, from the `Date` of any answer; whole seconds, so a claim of that grain. */
async function askTime(settings: Settings, runner: Runner): Promise<number | null> {
  const { openConnections } = await import('./connection.ts');
  const connections = openConnections({ settings, identity: null, runner }, seconds);
  try {
    const agent = await connections.agent();
    return await new Promise((resolve) => {
      const asking = request(`${connections.origin}/v1/nonce`, { agent, method: 'HEAD', timeout: seconds * 1000 }, (answer) => {
        answer.resume();
        const theirs = Date.parse(answer.headers.date ?? '');
        resolve(Number.isNaN(theirs) ? null : Date.now() - theirs);
      });
      asking.on('timeout', () => asking.destroy());
      asking.on('error', () => resolve(null));
      asking.end();
    });
  } finally {
    connections.close();
  }
}

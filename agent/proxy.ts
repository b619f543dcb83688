import { connect, isIP, type Socket } from 'node:net';
import { Problem } from '../protocol/problems.ts';
import type { Runner } from './world.ts';

export interface ProxyAddress {
  host: string;
  port: number;
}

/** The proxy for `host` by the setting `proxy`, or null for none. A script (PAC) is not run. */
export async function chooseProxy(setting: string, host: string, runner: Runner): Promise<ProxyAddress | null> {
  if (setting === 'none') return null;
  if (setting !== 'system') {
    const url = new URL(setting);
    return { host: url.hostname, port: Number(url.port || 80) };
  }
  const ran = await runner.run({ program: '/usr/sbin/scutil', args: ['--proxy'] });
  if (ran.code !== 0) throw new Problem('MACOS_UNEXPECTED', `the proxy settings (${ran.failed ?? `exit ${ran.code}`})`);
  return readSystemProxy(ran.stdout.toString('utf8'), host);
}

/** `scutil --proxy` prints the network settings of the primary service as one dictionary. */
export function readSystemProxy(text: string, host: string): ProxyAddress | null {
  const value = (name: string) => new RegExp(`^[ \\t]*${name} : (.+)$`, 'm').exec(text)?.[1]?.trim();
  if (value('ProxyAutoConfigEnable') === '1') throw new Problem('PROXY_UNSUPPORTED', value('ProxyAutoConfigURLString')?.slice(0, 200));
  if (value('ProxyAutoDiscoveryEnable') === '1') throw new Problem('PROXY_UNSUPPORTED', 'found by WPAD');
  const proxy = value('HTTPSProxy');
  if (value('HTTPSEnable') !== '1' || !proxy) return null;
  const exceptions = [...listOf(text).matchAll(/^[ \t]*\d+ : (.+)$/gm)].map(([, one = '']) => one.trim());
  const simple = value('ExcludeSimpleHostnames') === '1' && !host.includes('.');
  if (simple || exceptions.some((one) => isExcepted(host, one))) return null;
  const port = Number(value('HTTPSPort') ?? 80);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Problem('MACOS_UNEXPECTED', 'the port of the proxy in the network settings');
  return { host: proxy, port };
}

function listOf(text: string): string {
  const head = 'ExceptionsList : <array> {';
  const at = text.indexOf(head);
  const end = at < 0 ? -1 : text.indexOf('}', at);
  return end < 0 ? '' : text.slice(at + head.length, end);
}

/** `*` is any text, `?` any character. By hand: a pattern of many stars would try more ways than there is time for. */
function isExcepted(host: string, exception: string): boolean {
  const [name, pattern] = [host.toLowerCase(), exception.toLowerCase()];
  let [at, star, from] = [0, -1, 0];
  for (let here = 0; here < name.length; ) {
    if (at < pattern.length && (pattern[at] === '?' || pattern[at] === name[here]) && pattern[at] !== '*') [at, here] = [at + 1, here + 1];
    else if (pattern[at] === '*') [star, from, at] = [at, here, at + 1];
    // Back to the last star, which takes one character more.
    else if (star >= 0) [from, at, here] = [from + 1, star + 1, from + 1];
    else return false;
  }
  return /^\**$/.test(pattern.slice(at));
}

const mostHeader = 8 * 1024;

/** A connection to `host` through `proxy` (CONNECT), ready for TLS. */
export function openTunnel(proxy: ProxyAddress, host: string, port: number, seconds: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const target = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
    const socket = connect({ host: proxy.host.replace(/^\[|\]$/g, ''), port: proxy.port });
    let header = Buffer.alloc(0);
    const fail = (problem: Problem) => {
      clearTimeout(timer);
      socket.destroy();
      reject(problem);
    };
    const timer = setTimeout(
      () => fail(new Problem('SERVER_UNREACHABLE', `the proxy ${proxy.host}:${proxy.port} did not answer in ${seconds} s`)),
      seconds * 1000,
    );
    socket.on('error', (error: NodeJS.ErrnoException) =>
      fail(new Problem('SERVER_UNREACHABLE', `the proxy ${proxy.host}:${proxy.port}: ${error.code ?? 'failed'}`)),
    );
    socket.on('close', () => fail(new Problem('SERVER_UNREACHABLE', `the proxy ${proxy.host}:${proxy.port} closed the connection`)));
    socket.on('connect', () => socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`));
    socket.on('data', (chunk: Buffer) => {
      header = Buffer.concat([header, chunk]);
      const end = header.indexOf('\r\n\r\n');
      if (end < 0) {
        if (header.length > mostHeader) fail(new Problem('SERVER_UNREACHABLE', `the proxy ${proxy.host}:${proxy.port} answered with something else`));
        return;
      }
      const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(header.toString('latin1'))?.[1] ?? 0);
      if (status === 407) return fail(new Problem('PROXY_REFUSED', `${proxy.host}:${proxy.port}`));
      if (status !== 200) return fail(new Problem('SERVER_UNREACHABLE', `the proxy ${proxy.host}:${proxy.port} answered ${status || 'with something else'}`));
      clearTimeout(timer);
      socket.removeAllListeners('data').removeAllListeners('close').removeAllListeners('error');
      socket.pause();
      // What came behind the header belongs to TLS already.
      if (end + 4 < header.length) socket.unshift(header.subarray(end + 4));
      resolve(socket);
    });
  });
}

import { BlockList, isIP, isIPv4 } from 'node:net';
import { Problem } from '../protocol/problems.ts';
import { type HttpApp, type HttpReply, type HttpRequest, sendProblem } from './http.ts';
import { readNetwork } from './networks.ts';

/** The same listener, at which nobody from elsewhere is answered anything but that, whatever they ask for. Null: everybody may ask. */
export function refuseOthers(http: HttpApp, networks: readonly string[] | null): HttpApp {
  if (networks === null) return http;
  const ours = new BlockList();
  for (const text of networks) {
    const network = readNetwork(text);
    if (network) ours.addSubnet(network.address, network.bits, network.family);
  }
  function isOurs(request: HttpRequest): boolean {
    const address = http.addressOf(request);
    // Of a connection that has gone meanwhile there is no address.
    return isIP(address) !== 0 && ours.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
  }
  function refuse(request: HttpRequest, reply: HttpReply): HttpReply {
    const address = http.addressOf(request);
    const problem = new Problem('NETWORK_REFUSED', address);
    if (!/\btext\/html\b/.test(request.headers.accept ?? '')) return sendProblem(reply, problem, request.id);
    const { title, fix } = problem.kind;
    return reply.code(403).type('text/plain; charset=utf-8').send(`${title}: ${address}.\n${fix}.\n`);
  }
  http.app.addHook('onRequest', async (request, reply) => {
    if (!isOurs(request)) return refuse(request, reply);
  });
  // An address that cannot be decoded comes by no hook.
  const sayProblems: HttpApp['sayProblems'] = (say, unreadable) =>
    http.sayProblems(async (problem, request, reply) => (isOurs(request) ? say(problem, request, reply) : refuse(request, reply)), unreadable);
  return { ...http, sayProblems };
}

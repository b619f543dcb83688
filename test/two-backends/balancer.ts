import { connect, createServer, type Socket } from 'node:net';

/**
 * A balancer for plain TCP, as HAProxy in `mode tcp`: one connection after another goes to the next backend; one that refuses
 * is left out for a while, and the connection goes to another. Whoever is connected when a backend dies is cut off.
 */
export interface Balancer {
  port: number;
  /** Connections that each backend took, in the order of `ports`. */
  taken: number[];
  /** Which of them has said something last. */
  lastHeard: number | null;
  /** Nobody was there. */
  refused: number;
  close(): Promise<void>;
}

/** Milliseconds before one that refused is asked again. */
const leftOutFor = 100;

export async function openBalancer(port: number, ports: readonly number[]): Promise<Balancer> {
  const balancer: Pick<Balancer, 'taken' | 'lastHeard' | 'refused'> = { taken: ports.map(() => 0), lastHeard: null, refused: 0 };
  const outUntil = ports.map(() => 0);
  const sockets = new Set<Socket>();
  let next = 0;

  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    return socket.setNoDelay(true);
  };

  /** Those that are thought to be there first; then the others, which may be there again. */
  function inTurn(): number[] {
    const all = ports.map((_, at) => (next + at) % ports.length);
    next = (next + 1) % ports.length;
    const isOut = (at: number): boolean => (outUntil[at] ?? 0) > performance.now();
    return [...all.filter((at) => !isOut(at)), ...all.filter(isOut)];
  }

  function lead(client: Socket, order: readonly number[]): void {
    const [at, ...others] = order;
    if (at === undefined) {
      balancer.refused += 1;
      client.destroy();
      return;
    }
    const backend = keep(connect({ port: ports[at] ?? 0, host: '127.0.0.1' }));
    const refused = (): void => {
      outUntil[at] = performance.now() + leftOutFor;
      lead(client, others);
    };
    backend.once('error', refused);
    backend.once('connect', () => {
      backend.off('error', refused);
      // Whoever came has gone meanwhile.
      if (client.destroyed) return void backend.destroy();
      balancer.taken[at] = (balancer.taken[at] ?? 0) + 1;
      backend.on('error', () => client.destroy());
      client.on('error', () => backend.destroy());
      client.on('close', () => backend.destroy());
      backend.on('close', () => client.destroy());
      backend.on('data', () => {
        balancer.lastHeard = at;
      });
      client.pipe(backend);
      backend.pipe(client);
    });
  }

  const server = createServer((client) => {
    client.on('error', () => undefined);
    lead(keep(client), inTurn());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return Object.assign(balancer, {
    port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  });
}

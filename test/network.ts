import { connect, createServer, type Socket } from 'node:net';

/** What lies between the Macs and the backend: real TCP, which can be cut at any moment and comes back. */
export interface Network {
  cut(): void;
  mend(): void;
  close(): Promise<void>;
}

/** Passes on whatever comes to `port`. Cut, it drops what stands and refuses what comes. */
export async function openNetwork(port: number, to: number): Promise<Network> {
  const open = new Set<Socket>();
  let down = false;
  const server = createServer((near) => {
    if (down) {
      near.destroy();
      return;
    }
    const far = connect({ host: '127.0.0.1', port: to });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(port, resolve));
  const drop = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    cut() {
      down = true;
      drop();
    },
    mend() {
      down = false;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      drop();
      await closed;
    },
  };
}

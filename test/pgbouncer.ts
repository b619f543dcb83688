import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, test } from '@jest/globals';
import { freePort } from './ports.ts';

/*
 * PgBouncer, in front of a PostgreSQL server of the tests. Debian: apt install pgbouncer. Without it a test is skipped, and its name
 * says so; in CI it fails.
 */
const { PATH = '', CI } = process.env;
const environment = { PATH: `${PATH}:/usr/sbin:/usr/bin:/bin` };
const isHere = spawnSync('pgbouncer', ['--version'], { env: environment, timeout: 60_000 }).error === undefined;
const nobody = 65_534;

const missing = (): Promise<void> => Promise.reject(new Error('pgbouncer is not on this machine'));

export function testWithPgBouncer(name: string, body: () => Promise<void>): void {
  if (isHere) test(name, body);
  else if (CI) test(name, missing);
  else test.skip(`${name} [skipped: pgbouncer is not on this machine (Debian: apt install pgbouncer)]`, body);
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

const ends: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const end of ends.splice(0)) await end();
});

export interface PgBouncer {
  address(database: string): string;
  /** As a crash. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** `mode`: what is pooled, in its own words. */
export async function startPgBouncer(server: { socket: string; port: number }, mode: string, more: Record<string, string> = {}): Promise<PgBouncer> {
  const port = await freePort();
  const folder = mkdtempSync('/tmp/spk-bouncer-');
  const [users, settings] = [join(folder, 'users'), join(folder, 'settings')];
  writeFileSync(users, '"sparekey" ""\n');
  const lines = { listen_addr: '127.0.0.1', listen_port: port, unix_socket_dir: '', auth_type: 'any', auth_file: users, pool_mode: mode, ...more };
  writeFileSync(
    settings,
    `[databases]\n* = host=${server.socket} port=${server.port} user=sparekey\n[pgbouncer]\n${Object.entries(lines)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join('')}`,
  );
  // It will not run as root.
  const as = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
  if ('uid' in as) for (const path of [folder, users, settings]) chownSync(path, nobody, nobody);
  let child: ChildProcess | null = null;
  const bouncer: PgBouncer = {
    address: (database) => `postgresql://sparekey@127.0.0.1:${port}/${database}?sslmode=disable&pool=4`,
    async kill() {
      const ending = child;
      child = null;
      if (!ending || ending.exitCode !== null) return;
      await new Promise((resolve) => ending.once('exit', resolve).kill('SIGKILL'));
    },
    async start() {
      child = spawn('pgbouncer', [settings], { ...as, env: environment, stdio: 'ignore' });
      while (!(await answers(port))) {
        if (child.exitCode !== null) throw new Error('pgbouncer has ended');
        await sleep(20);
      }
    },
  };
  ends.push(async () => {
    await bouncer.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  await bouncer.start();
  return bouncer;
}

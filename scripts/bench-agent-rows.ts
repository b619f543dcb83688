import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchOptions, Row } from './bench-rows.ts';

interface Told {
  /** The whole, milliseconds; the ratio of a rotation is without the two seconds between two looks at macOS's file. */
  wallMs: number;
  processorMs: number;
  wallRatio: number;
  processorRatio: number;
  peakMiB: number;
}

/** What the agent's commonest runs cost a Mac beside `node -e 0`: `scripts/bench-agent.ts`, whose table stands in docs/performance.md. */
export async function agentRows({ quick, say }: BenchOptions): Promise<Row[]> {
  say('agent: each case is a process of its own');
  const cases = await benchAgent(quick ? 3 : 15);
  const aims = { quietWakeUp: 2, quietCheckIn: 4, rotation: 12 } as const;
  const names = { quietWakeUp: 'agent-wake-up', quietCheckIn: 'agent-check-in', rotation: 'agent-rotation' } as const;
  const rows: Row[] = [];
  for (const [of, aim] of Object.entries(aims) as [keyof typeof aims, number][]) {
    const told = cases[of];
    if (!told) continue;
    const waits = of === 'rotation' ? ', 2000 ms of them between two looks at the escrow file' : '';
    const words = `wall ${told.wallMs} ms${waits}; processor time ${told.processorMs} ms, ${told.processorRatio} times; peak memory ${told.peakMiB} MiB`;
    rows.push({ name: names[of], ratio: told.wallRatio, aim, better: 'less', words });
  }
  const [agent, runtime] = [agentBytes(), statSync(process.execPath).size];
  const mebi = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  rows.push({
    name: 'agent-size',
    ratio: (agent + runtime) / runtime,
    aim: 1.1,
    better: 'less',
    words: `bundle and keychain addon ${mebi(agent)} MiB, the runtime alone ${mebi(runtime)} MiB`,
  });
  return rows;
}

function benchAgent(rounds: number): Promise<Partial<Record<string, Told>>> {
  const args = [join(import.meta.dirname, 'bench-agent.ts'), '--rounds', String(rounds), '--json'];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const said: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => said.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      const last = Buffer.concat(said).toString().trim().split('\n').at(-1) ?? '';
      if (code === 0) resolve(JSON.parse(last) as Partial<Record<string, Told>>);
      else reject(new Error(`bench-agent.ts ended with ${code}`));
    });
  });
}

/** What the package puts beside the runtime: one file, and one addon for one processor. */
function agentBytes(): number {
  const repository = join(import.meta.dirname, '..');
  const addons = join(repository, 'node_modules', 'keytar', 'prebuilds');
  const addon = readdirSync(addons)
    .filter((name) => name === 'darwin-arm64')
    .map((name) => statSync(join(addons, name, 'keytar.node')).size);
  return statSync(join(repository, 'dist', 'agent', 'sparekey.mjs')).size + Math.max(0, ...addon);
}

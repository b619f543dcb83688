// The real agent's world, in which every effect that is a tick of the model has the model's name for it and stops there for
// a moment. Whoever watches may end the process at it: from then on everything that it would still do fails.
import { connect } from '../../agent/backend.ts';
import type { World } from '../../agent/check-in.ts';
import { realDisk } from '../../agent/disk.ts';
import type { Journal } from '../../agent/journal.ts';
import type { Disk, Runner, Secrets } from '../../agent/world.ts';
import { Problem } from '../../protocol/problems.ts';

export class Dead extends Error {}

export interface Watcher {
  /** Before the effect. A promise only where the effect is asynchronous itself. */
  before(tick: string): void;
  beforeAsking(tick: string): Promise<void>;
  /** What the network does to a request. */
  network(): 'works' | 'away' | 'loses the answer';
  dead(): boolean;
  /** After fdesetup was started, and after macOS was asked about a key. */
  started(): void;
  validated(): void;
  synced(file: string): void;
}

const journalFile = 'journal.json';
const changed = (one: unknown, other: unknown): boolean => JSON.stringify(one) !== JSON.stringify(other);
const ids = (journal: Journal | null): unknown =>
  journal && [journal.current, ...journal.previous, ...journal.outbox].map((one) => one && [one.envelopeId, one.validated, one.recordId, one.held]);

/** The model's name for a write of the journal, by what it changes; null where the model does not tell it from the one before. */
function nameOfWrite(before: Journal | null, after: Journal): string | null {
  // In the place of a damaged one: to the model it is the damaged one until something else is written.
  if (before === null && after.clock === null && after.refusals.some(({ id }) => id === 'lost-1') && !after.escrowSeen && !after.session) return null;
  const [was, is] = [before?.rotation ?? null, after.rotation];
  if (was === null && is) return is.state === 'intended' ? 'journal intended' : 'journal found';
  if (was && is === null) return 'journal ended';
  if (was && is && was.state !== is.state) return `journal ${is.state}`;
  if (changed(before?.clock ?? null, after.clock)) return 'journal reply';
  if (before?.escrowSeen?.digest !== after.escrowSeen?.digest) return 'journal escrow-seen';
  const tries = (before?.refusals.length ?? 0) - after.refusals.length;
  if (tries < 0) return 'journal try';
  if (tries > 0) return 'journal true';
  if ((before?.proofs.length ?? 0) < after.proofs.length) return 'journal proof';
  if (changed(was?.oldItem, is?.oldItem)) return 'journal old-item';
  if (changed(before?.keptItem ?? null, after.keptItem)) return 'journal kept-item';
  if (is?.state === 'sealed' && changed(ids(before), ids(after))) return 'journal placed';
  if (changed(was?.looks, is?.looks) || changed(was?.refuted, is?.refuted) || changed(before?.doubts ?? [], after.doubts)) return 'journal look';
  if ((before?.exhausted ?? false) !== after.exhausted) return 'journal exhausted';
  if (changed(ids(before), ids(after)) || changed(was?.refusedIsDelivered, is?.refusedIsDelivered)) return 'journal placed';
  if (changed(before?.foreignChanges ?? [], after.foreignChanges)) return 'journal foreign';
  if ((before?.pace.failed?.times ?? 0) < (after.pace.failed?.times ?? 0)) return 'journal failed';
  if (changed(before?.session ?? null, after.session)) return 'journal session';
  return null;
}

export function watched(root: string, base: { runner: Runner; secrets: Secrets }, watcher: Watcher): Partial<World> {
  const disk = realDisk(root);
  const alive = (): void => {
    if (watcher.dead()) throw new Dead();
  };
  let journal: Journal | null = null;
  const tickOf = (key: keyof Disk, path: string, bytes: unknown): string | null => {
    if (key === 'replace' && path.endsWith(journalFile)) {
      const after = JSON.parse(String(bytes)) as Journal;
      const name = nameOfWrite(journal, after);
      journal = after;
      return name;
    }
    if (!path.endsWith('.out')) return null;
    return key === 'createEmpty' ? 'create out' : key === 'sync' ? 'sync out' : key === 'remove' ? 'remove out' : null;
  };
  const watchedDisk = new Proxy(disk, {
    get:
      (target, key: keyof Disk) =>
      (...args: unknown[]) => {
        alive();
        const tick = tickOf(key, String(args[0]), args[1]);
        if (tick) watcher.before(tick);
        const result = (target[key] as (...all: unknown[]) => unknown)(...args);
        if (key === 'read' && String(args[0]).endsWith(journalFile) && result) journal = readable(result as Buffer);
        if (tick === 'sync out') watcher.synced(String(args[0]));
        return result;
      },
  });
  const runner: Runner = {
    async run(command) {
      alive();
      const isQuestion = command.program.endsWith('/fdesetup') && command.args[0] === 'validaterecovery';
      if (isQuestion) await watcher.beforeAsking('validate');
      alive();
      const ran = await base.runner.run(command);
      if (isQuestion) watcher.validated();
      return ran;
    },
    async start(command) {
      alive();
      if (command.args[0] === 'changerecovery') await watcher.beforeAsking('change');
      const started = await base.runner.start(command);
      if (command.args[0] === 'changerecovery') watcher.started();
      alive();
      return started;
    },
  };
  const secrets = new Proxy(base.secrets, {
    get:
      (target, key: keyof Secrets) =>
      async (...args: unknown[]) => {
        alive();
        const isKey = String(args[0] ?? '').startsWith('recovery-key:');
        // An item that is there already is not written again.
        if (isKey && key === 'write' && (await target.read(String(args[0]))) === 'not-there') watcher.before('item write');
        if (isKey && key === 'remove' && typeof (await target.read(String(args[0]))) === 'object') watcher.before('item remove');
        return (target[key] as (...all: unknown[]) => unknown)(...args);
      },
  });
  return {
    disk: watchedDisk,
    runner,
    secrets,
    async connect(world, parts) {
      alive();
      if (watcher.network() === 'away' && (!parts.journal.value.identity || parts.anew)) throw new Problem('SERVER_UNREACHABLE');
      const backend = await connect(world, parts);
      const ask = new Proxy(backend.ask, {
        get:
          (target, key: keyof typeof backend.ask) =>
          async (...args: unknown[]) => {
            alive();
            await watcher.beforeAsking(`ask ${key}`);
            const network = watcher.network();
            if (network === 'away') throw new Problem('SERVER_UNREACHABLE');
            const result = await (target[key] as (...all: unknown[]) => unknown)(...args);
            if (network === 'loses the answer') throw new Problem('SERVER_UNREACHABLE');
            // Why nothing is done yet is told beside the course, and changes nothing of it: here the backend does not ask for it.
            if (key === 'checkIn') delete (result as { waits?: unknown }).waits;
            return result;
          },
      });
      return { ...backend, ask };
    },
  };
}

function readable(bytes: Buffer): Journal | null {
  try {
    return JSON.parse(bytes.toString('utf8')) as Journal;
  } catch {
    return null;
  }
}

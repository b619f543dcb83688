import { Problem } from '../protocol/problems.ts';
import { type CommandResult, neededReason } from './command.ts';
import type { Commands } from './parts-command-line.ts';
import { usualDataFolder } from './settings.ts';

const sayProgress = (rows: number): void => void process.stderr.write(`sparekey-server: ${rows} records\n`);

/** `audit …` and `report …`: the record of who did what, and what an auditor is given. */
export function addAuditCommands({ program, add, inBackend }: Commands, say: (result: CommandResult, json?: boolean) => void): void {
  const group = program.command('audit').description('the record of who did what');
  const onAudit = () => import('./auditing/commands.ts');

  add(
    group,
    'verify',
    'says of every record whether it is as it was written: what was changed, removed, put in or cut off',
    'audit verify --dir /var/lib/sparekey',
  )
    .option('--dir <folder>', 'the data folder')
    .option('--export <file>', 'an export instead of the database: no data folder is needed')
    .option('--checkpoints <file>', 'checkpoints that were kept elsewhere, one a line')
    .option('--public-key <file>', 'the key that signs, PEM, as you know it from elsewhere')
    .option('--since <time>', 'from the last checkpoint before this on (ISO date or time)')
    .action(async (options) => {
      const { auditVerify } = await onAudit();
      if (options.export !== undefined) return say(await auditVerify(null, options, sayProgress), options.json);
      const dir: string | undefined = options.dir ?? usualDataFolder() ?? undefined;
      if (dir === undefined) throw new Problem('USAGE', 'name the data folder (--dir), or an export (--export)');
      await inBackend({ ...options, dir }, (backend) => auditVerify(backend, options, sayProgress));
    });

  add(group, 'checkpoint', 'signs what the audit is now, and keeps that beside the database', 'audit checkpoint', 'folder').action(async (options) => {
    const { auditCheckpoint } = await onAudit();
    await inBackend(options, auditCheckpoint);
  });

  add(group, 'key', 'prints the public key that checkpoints and exports are signed with', 'audit key > audit-key.pem', 'folder').action(async (options) => {
    const { auditKeyShown } = await onAudit();
    await inBackend(options, auditKeyShown);
  });

  add(
    group,
    'replace-key',
    'signs with another key from here on; the ones before stay known',
    'audit replace-key --reason "ada has left"',
    'folder',
    'reason',
  ).action(async (options) => {
    const reason = neededReason(options.reason);
    const { auditKeyReplaced } = await onAudit();
    await inBackend(options, (backend, actor) => auditKeyReplaced(backend, actor, reason));
  });

  add(
    group,
    'retain',
    'takes old records out of the database into a signed file',
    'audit retain --before 2025-01-01 --reason "our rule: a year"',
    'folder',
    'reason',
  )
    .requiredOption('--before <time>', 'records before this time (ISO date or time), which is at least 400 days ago')
    .action(async (options) => {
      const reason = neededReason(options.reason);
      const [{ timeOf }, { auditRetain }] = await Promise.all([onAudit(), import('./auditing/retention.ts')]);
      await inBackend(options, (backend, actor) => auditRetain(backend, { before: timeOf('--before', options.before), actor, reason }));
    });

  add(group, 'export <file>', 'writes the audit into a signed file, one record a line', 'audit export /tmp/audit.jsonl --from 2026-10-01', 'folder', 'actor')
    .option('--from <time>', 'records from this time on (ISO date or time)')
    .option('--to <time>', 'records before this time')
    .action(async (file: string, options) => {
      const { auditExport } = await onAudit();
      await inBackend(options, (backend, actor) => auditExport(backend, file, options, actor));
    });

  const report = program.command('report').description('what an auditor is given');
  add(
    report,
    'evidence',
    'makes a signed ZIP: population, sample, accesses, replacements, roles, settings, audit',
    'report evidence --from 2026-07-01 --to 2026-10-01 --out q3.zip',
    'folder',
    'actor',
  )
    .requiredOption('--from <time>', 'the beginning of the period (ISO date or time)')
    .requiredOption('--to <time>', 'its end, which is not part of it')
    .requiredOption('--out <file>', 'the new file')
    .option('--seed <text>', 'what the sample is drawn by; default: by chance, and named in the pack')
    .option('--sample <size>', 'how many Macs, or which part of them: 25, 10%', '25')
    .action(async (options) => {
      const { reportEvidence } = await import('./auditing/report-commands.ts');
      await inBackend(options, (backend, actor) => reportEvidence(backend, options, actor));
    });
}

import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { folderPaths } from '../server/data-folder.ts';
import { makeDataFolder, passphrase } from './made-backend.ts';
import { endServers, type Ran, runServer, startServer } from './run-server.ts';
import { scratch } from './scratch.ts';
import { newKey } from './server-parts.ts';
import { until } from './waiting.ts';

let dir: string;
let folder: string;
beforeAll(async () => {
  folder = scratch('sparekey-import-cli');
  dir = join(folder, 'data');
  await makeDataFolder(dir, 8443);
});
afterAll(endServers);

const countLines = (): number => {
  const database = new DatabaseSync(folderPaths(dir).database, { readOnly: true });
  const row = database.prepare('select count(*) as lines from import_line').get();
  database.close();
  return Number(row?.['lines']);
};

/**
 * The line with that number takes so many steps to be stored: whoever looks meanwhile finds the import in its middle, on a
 * machine of any speed. Afterwards, and when the process was killed, it is as any other.
 */
async function withSlowLine(number: number, steps: number, look: () => Promise<void>): Promise<void> {
  const database = new DatabaseSync(folderPaths(dir).database, { timeout: 60_000 });
  const counted = `with recursive steps(n) as (select 1 union all select n + 1 from steps where n < ${steps}) select max(n) from steps`;
  database.exec(`create trigger slow after insert on import_line when (select count(*) from import_line) = ${number} begin select (${counted}); end`);
  await look();
  database.exec('drop trigger slow');
  database.close();
}

describe('as a process', () => {
  test('that is killed in the middle, `import` goes on where it was: each line once, and no key is in what it says', async () => {
    const keys = Array.from({ length: 450 }, () => newKey().reveal());
    const file = join(folder, 'keys.csv');
    const rows = keys.map((key, at) => `C02KILL${String(at).padStart(5, '0')},${key}`);
    writeFileSync(file, ['serial,key', ...rows, 'C02KILL99999,half a key', ''].join('\n'), { mode: 0o600 });
    const report = join(folder, 'report.csv');
    const args = ['import', file, '--dir', dir, '--reason', 'taking over', '--report', report, '--json'];

    await withSlowLine(300, 1e12, async () => {
      const first = startServer(args);
      // One line has no key that can be read, and is stored before those that have one.
      await until(() => countLines() >= 2);
      first.child.kill('SIGKILL');
      expect((await first.ended).code).toBeNull();
    });
    const before = countLines();
    expect(before).toBeGreaterThan(1);
    expect(before).toBeLessThan(451);

    const second = await runServer(args);
    expect([second.code, second.json.runs]).toEqual([
      77,
      [
        expect.objectContaining({
          was: 'resumed',
          lines: 451,
          fates: { waiting: 450, refused: 1 },
          look: [expect.objectContaining({ line: 452, serial: 'C02KILL99999' })],
        }),
      ],
    ]);
    expect(second.stderr).toContain(`shred -u ${file}`);
    expect(countLines()).toBe(451);
    expect(statSync(report).mode & 0o777).toBe(0o600);
    const said = `${second.stdout}${second.stderr}`;
    expect(keys.filter((key) => said.includes(key) || said.includes(key.replaceAll('-', '')))).toEqual([]);
  });

  test('says on standard error how far it is while it takes long, and standard output is one line of JSON; `import-withdraw` asks first', async () => {
    const file = join(folder, 'long.csv');
    const rows = Array.from({ length: 620 }, (_, at) => `C02LONG${String(at).padStart(5, '0')},${newKey().reveal()}`);
    writeFileSync(file, ['serial,key', ...rows, ''].join('\n'), { mode: 0o600 });
    const before = countLines();
    let ran: Ran | undefined;
    await withSlowLine(before + 300, 2_000_000, async () => {
      const running = startServer(['import', file, '--dir', dir, '--reason', 'taking over', '--json']);
      await until(() => countLines() > before);
      // For longer than a person looks on without a word.
      running.child.kill('SIGSTOP');
      await sleep(2100);
      running.child.kill('SIGCONT');
      ran = await running.ended;
    });
    const { code = null, stdout = '', stderr = '' } = ran ?? {};
    expect(code).toBe(0);
    expect(stderr).toMatch(/^sparekey-server: long\.csv: (200|400|600) of 620 lines$/m);
    expect(stdout.trim().split('\n')).toHaveLength(1);
    const [run] = JSON.parse(stdout).runs;
    expect(run).toMatchObject({ lines: 620, taken: 620, fates: { waiting: 620 } });

    const withdraw = ['import-withdraw', run.run, '--dir', dir, '--reason', 'of last year', '--json'];
    const asked = await runServer(withdraw);
    expect([asked.code, asked.stdout]).toEqual([64, '']);
    expect(asked.stderr).toMatch(/this has to be confirmed: add --yes/);
    expect((await runServer([...withdraw, '--yes'])).json).toEqual({ run: run.run, withdrawn: 620, kept: 0 });
  });

  test('`brought clear` wants to be told which, and to be confirmed', async () => {
    const clear = ['brought', 'clear', '--dir', dir, '--reason', 'made up', '--json'];
    expect((await runServer([...clear, '--yes'])).stderr).toMatch(/say which: --serial, --trust or both/);
    expect((await runServer([...clear, '--trust', 'admin', '--yes'])).stderr).toMatch(/--trust is header or none/);
    expect((await runServer([...clear, '--trust', 'none', '--yes'])).json).toEqual({ cleared: 0, kept: 0 });
    expect((await runServer(['brought', '--state', 'withdrawn', '--serial', 'c02long00001', '--dir', dir, '--json'])).json.keys).toHaveLength(1);
  });

  test('with --help it has an example for each product, and says what the fates and the exit status mean', async () => {
    const { code, stdout } = await runServer(['import', '--help']);
    expect(code).toBe(0);
    for (const product of ['Intune', 'Jamf Pro', 'Fleet', 'Kandji', 'Zentral', 'Crypt-Server']) expect(stdout).toContain(`  ${product} `);
    expect(stdout).toContain('sparekey-server import intune.csv --source intune --dry-run --dir /var/lib/sparekey');
    expect(stdout).toMatch(/Exit status: 0, or 77 where a line was not taken/);
  });

  test('what comes slowly on standard input is waited for, an export as well as a passphrase', async () => {
    const text = `serial,key\nC02SLOW00001,${newKey().reveal()}\n`;
    const file = join(folder, 'slow.csv');
    writeFileSync(file, text, { mode: 0o600 });
    const slowly = (input: string): Promise<string> => sleep(1500).then(() => input);
    const args = ['--dir', dir, '--dry-run', '--json'];
    const [table, secret] = await Promise.all([
      runServer(['import', '-', ...args], { input: slowly(text) }),
      runServer(['import', file, '--passphrase-fd', '0', ...args], { input: slowly(`${passphrase}\n`) }),
    ]);
    expect([table.code, table.json?.runs]).toEqual([0, [expect.objectContaining({ name: 'standard input', fates: { waiting: 1 } })]]);
    expect([secret.code, secret.json?.runs]).toEqual([0, [expect.objectContaining({ name: 'slow.csv', fates: { waiting: 1 } })]]);
  });

  test.each([
    ['a source that there is not', ['--source', 'kanji'], '--source is one of csv, intune, jamf, fleet, kandji, zentral, crypt-server, mdm-cms'],
    ['standard input twice', ['-', '--passphrase-fd', '0'], 'standard input cannot be both the export and the passphrase'],
  ])('%s is refused in three lines', async (_, args, words) => {
    const { code, stdout, stderr } = await runServer(['import', 'keys.csv', '--dir', dir, '--dry-run', ...args]);
    expect([code, stdout]).toEqual([64, '']);
    expect(stderr).toBe(
      `sparekey-server: error: the command was not understood: ${words}\nsparekey-server: fix: look at \`--help\`\nsparekey-server: USAGE; more: docs/errors.md\n`,
    );
  });
});

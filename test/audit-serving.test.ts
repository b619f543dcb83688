import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readCheckpointFile } from '../server/auditing/checkpoints.ts';
import { settingsChanged } from '../server/auditing/settings-history.ts';
import { folderPaths } from '../server/data-folder.ts';
import { mistakesOf } from '../server/serve-check.ts';
import { unzipped } from './audit-given.ts';
import { type GivenServer, givenServer } from './given-server.ts';
import { scratch } from './scratch.ts';
import { serverCommand } from './server-command.ts';
import { until } from './waiting.ts';

/* The audit of a backend that runs: what goes out by itself, what is signed at its end, and the commands beside it. */

let given: GivenServer;
let receiver: Server;
const seqs: number[] = [];
const folder = scratch('audit-serving');
const secretFile = join(folder, 'secret');
beforeAll(async () => {
  writeFileSync(secretFile, 'a secret of more than thirty-two characters', { mode: 0o600 });
  receiver = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      for (const { seq } of JSON.parse(Buffer.concat(chunks).toString('utf8')).records) seqs.push(seq);
      response.writeHead(200).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  given = await givenServer({ settings: { webhooks: [{ name: 'siem', url, secretFile, begins: 'at-the-first' }] } });
});
afterAll(async () => {
  await given.serving.stop();
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
});

const paths = () => folderPaths(given.dir);
const rows = () => given.serving.backend.store.db.selectFrom('audit').select(['seq', 'act', 'details']).orderBy('seq').execute();

async function command(...words: string[]): Promise<{ exit: number; text: string; refused: string }> {
  const { code, out, err } = await serverCommand(...words);
  return { exit: code, text: out, refused: err };
}

test('records go to the webhook by themselves, from the first one on', async () => {
  const there = (await rows()).map(({ seq }) => seq);
  await until(() => seqs.length >= there.length);
  expect(seqs.slice(0, there.length)).toEqual(there);
});

test('settings that were changed between two runs are in the audit, setting by setting; the end of a run is signed', async () => {
  const settings = JSON.parse(readFileSync(paths().settings, 'utf8'));
  writeFileSync(paths().settings, JSON.stringify({ ...settings, organisation: 'Another', keys: { ...settings.keys, proveEveryDays: 7 } }));
  await given.serving.stop();
  const last = readCheckpointFile(paths().auditCheckpoints).checkpoints.at(-1);
  await given.restart();
  const changed = (await rows()).filter(({ act }) => act === 'settings.changed');
  expect(JSON.parse(changed.at(-1)?.details ?? '')).toMatchObject({
    changed: [
      { setting: 'keys.proveEveryDays', from: null, to: 7 },
      { setting: 'organisation', from: 'Example', to: 'Another' },
    ],
  });
  // The first record of the next run.
  expect((await rows()).find(({ seq }) => seq > (last?.seq ?? 0))?.act).toBe('settings.changed');
  await given.restart();
  expect((await rows()).filter(({ act }) => act === 'settings.changed')).toHaveLength(changed.length);
});

test('what is secret is not written down a second time, whatever somebody has put into the settings', () => {
  const changes = settingsChanged(
    { a: { apiToken: 'x' }, list: [{ password: 'y' }] },
    { a: { apiToken: 'z' }, list: [{ password: 'w' }], secretFile: '/etc/s' },
  );
  expect(JSON.stringify(changes)).not.toMatch(/"[xyzw]"/);
  expect(changes.map(({ setting }) => setting)).toEqual(['a.apiToken', 'list', 'secretFile']);
  expect(changes[2]).toEqual({ setting: 'secretFile', from: null, to: '/etc/s' });
});

test('each command of the audit works beside a backend that runs', async () => {
  const dir = ['--dir', given.dir];
  const [file, key, pack] = ['audit.jsonl', 'key.pem', 'pack.zip'].map((name) => join(folder, name)) as [string, string, string];
  expect((await command('audit', 'checkpoint', ...dir)).text).toMatch(/^checkpoint \d+: record \d+/);
  const shown = await command('audit', 'key', ...dir);
  writeFileSync(key, shown.text);
  expect(await command('audit', 'export', file, ...dir)).toMatchObject({ exit: 0, text: expect.stringContaining('signed by') });
  expect((await command('audit', 'verify', '--export', file, '--public-key', key)).text).toMatch(/^the audit is whole: \d+ entries, 1 to \d+\n/);
  const json = await command('audit', 'verify', ...dir, '--public-key', key, '--checkpoints', paths().auditCheckpoints, '--json');
  expect([json.exit, JSON.parse(json.text)]).toEqual([0, expect.objectContaining({ ok: true, keyIsKnown: true, findings: [] })]);
  writeFileSync(file, readFileSync(file, 'utf8').replace('"server.made"', '"server.mode"'));
  const broken = await command('audit', 'verify', '--export', file);
  expect(broken.exit).toBe(77);
  expect(broken.text).toMatch(/\n1\s+changed\s+server\.mode\s+what it says does not fit its hash\n/);
  expect((await command('audit', 'verify')).refused).toMatch(/--export/);
  expect((await command('audit', 'retain', ...dir, '--before', '2026-11-01', '--reason', 'x')).refused).toMatch(/400 days/);
  expect((await command('audit', 'replace-key', ...dir, '--reason', 'a test')).exit).toBe(0);
  expect((await command('audit', 'verify', ...dir, '--public-key', key)).exit).toBe(0);
  expect((await command('report', 'evidence', ...dir, '--from', '2020-01-01', '--to', '2099-01-01', '--out', pack, '--sample', '10%')).exit).toBe(0);
  expect(unzipped(readFileSync(pack)).has('settings-history.jsonl')).toBe(true);
  expect((await command('report', 'evidence', ...dir, '--from', '2020-01-01', '--to', '2099-01-01', '--out', pack)).refused).toMatch(/exists already/);
  expect((await command('report', 'evidence', ...dir, '--from', '2020-01-01', '--to', '2019-01-01', '--out', join(folder, 'b.zip'))).refused).toMatch(
    /ends before/,
  );
  expect(existsSync(join(folder, 'b.zip'))).toBe(false);
});

test('the files that webhooks name are looked at before a start, all of them', () => {
  const settings = JSON.parse(readFileSync(paths().settings, 'utf8'));
  const short = join(folder, 'short');
  writeFileSync(short, 'x', { mode: 0o600 });
  const [hook] = settings.webhooks;
  const webhooks = [
    { ...hook, secretFile: short },
    { ...hook, name: 'two', secretFile: '/nowhere', trustedCertificatesFile: short },
  ];
  writeFileSync(paths().settings, JSON.stringify({ ...settings, webhooks }));
  const { found } = mistakesOf(given.dir, true);
  writeFileSync(paths().settings, JSON.stringify(settings));
  expect(found.map(({ detail }) => detail).join('; ')).toMatch(
    /webhooks\.0\.secretFile: .*32 characters; webhooks\.1\.secretFile: .*webhooks\.1\.trustedCertificatesFile: /,
  );
});

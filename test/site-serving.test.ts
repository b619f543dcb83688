import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { folderPaths } from '../server/data-folder.ts';
import { readyLine } from '../server/serve-command.ts';
import { makeDataFolder, passphrase } from './made-backend.ts';
import { portalClient } from './portal-client.ts';
import { freePort } from './ports.ts';
import { endServers, runServer, startServer } from './run-server.ts';
import { scratch } from './scratch.ts';

// `sparekey-server serve` with a listener for people, as a process of its own.

const dir = join(scratch('site-serving'), 'data');
const ca = () => readFileSync(folderPaths(dir).tlsCa.certificate, 'utf8');
let url = '';
let port = 0;

beforeAll(async () => {
  port = await freePort();
  url = `https://127.0.0.1:${port}`;
  const devicesPort = await freePort();
  await makeDataFolder(dir, devicesPort);
  const { settings } = folderPaths(dir);
  const chosen = JSON.parse(readFileSync(settings, 'utf8'));
  const people = { url, listen: { host: '127.0.0.1', port } };
  writeFileSync(settings, JSON.stringify({ ...chosen, listen: { host: '127.0.0.1', port: devicesPort }, people }));
});
afterAll(endServers);

test('it says where people find their site, shows it, and nothing on its terminal is Node’s own', async () => {
  const server = startServer(['serve', '--dir', dir, '--json-ready'], { passphrase });
  expect(JSON.parse(await server.ready())).toMatchObject({ ready: true, people: { url, port } });
  const shown = await portalClient(url, ca()).get('/');
  expect([shown.status, shown.path]).toEqual([200, '/sign-in?then=%2Fmacs']);
  server.child.kill('SIGTERM');
  const { code, stderr } = await server.ended;
  expect(code).toBe(0);
  const events = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).event);
  expect(events).toEqual(expect.arrayContaining(['server-started', 'sites-started', 'server-stopped']));
});

test('it says so in words too', () => {
  const macs = { url: 'https://keys.example.org:8443', port: 8443 };
  expect(readyLine({ ...macs, people: { url: 'https://key.example.org', port: 9443 } })).toBe(
    'ready: https://keys.example.org:8443 (port 8443), for people https://key.example.org (port 9443); end it with Ctrl-C',
  );
  expect(readyLine({ ...macs, people: null })).toBe('ready: https://keys.example.org:8443 (port 8443); end it with Ctrl-C');
});

test('where the people’s port is taken it ends, and answers no Mac from half a backend', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve));
  try {
    const ran = await runServer(['serve', '--dir', dir], { passphrase });
    expect([ran.code, ran.stdout]).toEqual([78, '']);
    expect(ran.stderr).toContain(`sparekey-server: PORT_IN_USE`);
  } finally {
    await new Promise((resolve) => taken.close(resolve));
  }
});

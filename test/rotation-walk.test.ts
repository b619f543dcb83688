import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { commandLine } from '../ctl/command-line.ts';
import { login } from '../ctl/commands/login.ts';
import { givenConsole } from './given-console.ts';
import { scratch } from './scratch.ts';

/* The walk of docs/operating.md through one forced replacement: what stands there is typed, and what it says comes. */

const document = readFileSync(join(import.meta.dirname, '..', 'docs', 'operating.md'), 'utf8');
const begin = document.indexOf('## One forced replacement, by each of three ways');
const walk = document.slice(begin, document.indexOf('\n## ', begin + 4));
const blocks = [...walk.matchAll(/```(\w*)\n([\s\S]*?)```/g)].map(([, language = '', text = '']) => ({ language, text: text.trim() }));
const documented = 'C02XK1ZJJGH5';
const line = (begins: string): string => {
  const found = blocks.flatMap(({ text }) => text.split('\n')).find((one) => one.startsWith(begins));
  if (found === undefined) throw new Error(`the walk has no line: ${begins}`);
  return found;
};

test('one forced replacement by console, API and command line is as docs/operating.md has it', async () => {
  const it = await givenConsole({ serial: documented });
  await it.settle();
  await it.checkIn();
  const before = it.mac.recoveryKey;
  const rotator = await it.as('rotator');
  const withdraw = async (orderId: string) => {
    expect(walk).toContain(`POST /v1/devices/${documented}/rotation/withdraw`);
    expect((await rotator.post(`/v1/devices/${documented}/rotation/withdraw`, { orderId, reason: 'it was not needed' })).status).toBe(200);
  };

  // The API: the token as the console makes it, and the request as curl would send it.
  const { token } = (await rotator.post('/v1/tokens', { name: 'a script', roles: [{ role: 'rotator', tags: null }] })).body;
  expect(line('printf')).toMatch(/'authorization: Bearer %s\\n' 'spk_…' > ~\/sparekey-token$/);
  const curl = line('curl');
  const [, path = ''] = /https:\/\/console\.example\.org:8445(\/v1\/\S+)$/.exec(curl) ?? [];
  const [, body = ''] = / -d '([^']+)'/.exec(curl) ?? [];
  const named = [...curl.matchAll(/-H '([^:']+): ([^']+)'/g)].map(([, name = '', value = '']) => [name, value]);
  const headers = { ...Object.fromEntries(named), authorization: `Bearer ${token}` };
  const answer = await it.console.nobody.ask(path, { method: 'POST', body, headers });
  const said = JSON.parse(blocks.find(({ language }) => language === 'json')?.text ?? '{}') as Record<string, unknown>;
  expect(Object.keys(answer.body).toSorted()).toEqual(Object.keys(said).toSorted());
  expect(answer.body).toMatchObject({ serial: said['serial'], waited: said['waited'], says: said['says'] });
  expect((await it.console.nobody.ask(path, { method: 'POST', body, headers })).headers['idempotency-replayed']).toBe('true');
  await withdraw(answer.body.orderId);

  // The command line, by a token instead of the letters.
  const folder = scratch('sparekey-walk');
  const caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, it.console.ca);
  const shown = { out: '', err: '' };
  const terminal = {
    out(text: string) {
      shown.out += text;
    },
    err(text: string) {
      shown.err += text;
    },
    isTerminal: false,
    isErrTerminal: false,
    colour: false,
    width: 0,
    ask: async () => null,
  };
  const now = () => it.backend.clock.now();
  expect(line('sparekeyctl login')).toBe('sparekeyctl login console.example.org:8445');
  await login({ address: it.console.url, ca: caFile, tokenFrom: async () => `${token}\n`, folder, machine: 'a test', terminal, json: true, now });
  const type = async (typed: string): Promise<string> => {
    shown.out = '';
    const words = [...typed.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '').slice(1);
    expect(await commandLine({ argv: ['node', 'sparekeyctl', ...words], terminal, folder, now })).toBe(0);
    return shown.out.trim();
  };
  shown.err = '';
  const out = await type(line('sparekeyctl rotate'));
  expect(blocks.map(({ text }) => text)).toContain(`${out}\n${shown.err.trim()}`);
  const waiting = (await rotator.get(`/v1/devices/${documented}`)).body.orders.find(({ state }: { state: string }) => state === 'waiting');
  await type(line('sparekeyctl orders withdraw').replace('0d2e6a1c-…', waiting.id));

  // The console: what is pressed has those names.
  const list = await rotator.browser.get(`/fleet?q=${documented}`);
  expect(list.content).toContain(documented);
  const page = await rotator.browser.get(`/fleet/${waiting.macId ?? (await it.macId())}`);
  expect(page.content).toContain('Replace its key');
  const form = await rotator.browser.get(`${page.path}/replace`);
  expect(form.content).toContain('Replace the key of');
  const ordered = await rotator.browser.submit(form, `${page.path}/replace`, { reason: 'left in a taxi, found again' });
  const [, words = ''] = /stands: \*([^*]+)\*/.exec(walk.replaceAll('\n', ' ')) ?? [];
  expect(words).not.toBe('');
  expect(ordered.content).toContain(words);
  expect(ordered.content).toContain('Take it back');

  // And then: the key was proved a moment ago, and a Mac is given its key for one reason a day.
  it.pass(25 * 60 * 60);
  await it.checkIn();
  expect(it.mac.recoveryKey).not.toBe(before);
  const timeline = await type(line('sparekeyctl device'));
  const last =
    blocks
      .at(-2)
      ?.text.split('\n')
      .map((one) => one.replace(/^… /, '')) ?? [];
  expect(last).toHaveLength(3);
  for (const one of last) expect(timeline).toContain(one);
});

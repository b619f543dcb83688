import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { z } from 'zod';
import { readCsr } from '../protocol/csr.ts';
import { enrolmentStatement, readEnrolmentStatement, readTicket, ticketProof } from '../protocol/enrolment.ts';
import { readEnvelope } from '../protocol/envelope.ts';
import { grantStatement, verifyGrantSignature } from '../protocol/grant.ts';
import * as messages from '../protocol/messages.ts';
import { errorsDocument } from '../scripts/errors-document.ts';
import { coexistenceSettings } from '../server/coexistence-settings.ts';
import { screenIds, screenOf } from '../web/steps/screens.ts';
import { commandsIn, wrongWith } from './documented-commands.ts';

const root = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

const made = /^(node_modules|dist|try-out|coverage|\.git)$/;
/** Every file of the repository, whether git knows it yet or not. */
const files = readdirSync(root)
  .filter((name) => !made.test(name))
  .flatMap((name) =>
    statSync(join(root, name)).isDirectory() ? readdirSync(join(root, name), { recursive: true, encoding: 'utf8' }).map((inner) => join(name, inner)) : [name],
  )
  .filter((file) => statSync(join(root, file)).isFile() && !file.endsWith('.log'));
const documents = files.filter((file) => file.endsWith('.md'));

test('docs/errors.md has every code with its words and its fix, and no other', () => {
  expect(read('docs/errors.md')).toBe(errorsDocument());
});

test('docs/operating.md says of every alarm what a person does', () => {
  const codes = [...read('server/alarms.ts').matchAll(/^ {2}([A-Z_]+): \w+\(/gm)].map(([, code]) => code ?? '');
  expect(codes.length).toBeGreaterThan(20);
  const text = read('docs/operating.md');
  const rows = text.slice(text.indexOf('| alarm | stops |'), text.indexOf('## Whether the keys are right'));
  expect(codes.filter((code) => !rows.includes(`\`${code}\``))).toEqual([]);
  // And no other.
  const named = [...rows.matchAll(/^\|([^|]*)\|/gm)].flatMap(([, cell]) => [...(cell ?? '').matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code ?? ''));
  expect(named.filter((code) => !codes.includes(code))).toEqual([]);
});

test('docs/coexistence.md has every setting of the backend beside other systems, with its default', () => {
  const text = read('docs/coexistence.md');
  const section = text.slice(text.indexOf('### Settings of the backend'), text.indexOf('## Census'));
  const client = { clientId: 'given', clientSecretFile: '/given' };
  const settings = coexistenceSettings.parse({
    listen: { port: 1 },
    webhook: { hmacKeyFile: '/given' },
    nanomdm: { url: 'https://given.example.org', apiKeyFile: '/given' },
    crypt: { header: { name: 'given', valueFile: '/given' } },
    connectors: {
      intune: { tenant: 'given', ...client },
      jamf: { url: 'https://given.example.org', ...client },
      fleet: { url: 'https://given.example.org', tokenFile: '/given' },
    },
  });
  const leaves = (value: object): [string, unknown][] =>
    Object.entries(value).flatMap(([name, inner]) => [[name, inner], ...(typeof inner === 'object' && inner !== null ? leaves(inner) : [])]);
  const all = leaves(settings);
  expect(all.length).toBeGreaterThan(40);
  const isSaid = ([name, value]: [string, unknown]): boolean =>
    typeof value === 'boolean' || (typeof value === 'number' && value > 1)
      ? new RegExp(`\`${name}\`[ |(]+${value}\\b`).test(section)
      : section.includes(`\`${name}\``) || section.includes(`\`connectors.${name}\``) || name === 'connectors';
  expect(all.filter((leaf) => !isSaid(leaf))).toEqual([]);
});

describe('docs/protocol.md', () => {
  const text = read('docs/protocol.md');
  const examples = new Map([...text.matchAll(/```json (\w+)\n([\s\S]*?)```/g)].map(([, name = '', json = '']) => [name, JSON.parse(json)]));
  const statements = [...text.matchAll(/```\n(sparekey (?:enrolment|grant) 1\n(?!.*<)[\s\S]*?)```/g)].map(([, statement]) => statement);
  const schemas: Record<string, z.ZodObject> = {
    nonceReply: messages.nonceReply,
    enrolRequest: messages.enrolRequest,
    enrolReply: messages.enrolReply,
    checkInRequest: messages.checkInRequest,
    checkInReply: messages.checkInReply,
    beginRequest: messages.beginRequest,
    beginReply: messages.beginReply,
    deliveryRequest: messages.deliveryRequest,
    receipt: messages.receipt,
    grantRequest: messages.grantRequest,
    grantReply: messages.grantReply,
    facts: messages.facts,
  };

  test.each(Object.entries(schemas))('names every field of %s', (_, schema) => {
    expect(Object.keys(schema.shape).filter((field) => !text.includes(`\`${field}\``))).toEqual([]);
  });

  test('has a worked exchange whose messages are what both sides take', () => {
    expect([...examples.keys()]).toEqual([
      'nonceReply',
      'enrolRequest',
      'enrolReply',
      'checkInRequest',
      'checkInReply',
      'deliveryRequest',
      'receipt',
      'grantRequest',
    ]);
    for (const [name, example] of examples) expect([name, schemas[name]?.safeParse(example).error?.issues ?? []]).toEqual([name, []]);
  });

  test('and whose statement, proof, digests and signature are true', () => {
    const { csr, statement, proof } = examples.get('enrolRequest');
    const claims = readEnrolmentStatement(statement);
    const csrDer = Buffer.from(csr, 'base64');
    expect(claims && enrolmentStatement(claims)).toBe(statement);
    expect(statements[0]).toBe(statement);
    expect(claims).toMatchObject({ csrDigest: createHash('sha256').update(csrDer).digest('hex'), nonce: examples.get('nonceReply').nonce });
    const ticket = readTicket(/`(\S+\.\S+)`, a part before the dot/.exec(text)?.[1] ?? '');
    expect(ticket && { id: ticket.id, mac: ticketProof(ticket.secret, statement) }).toEqual({ id: proof.ticketId, mac: proof.mac });

    const envelope = Buffer.from(examples.get('deliveryRequest').envelope, 'base64');
    const id = createHash('sha256').update(envelope).digest('hex');
    expect(text).toContain(`\`PUT /v1/keys/${id}\``);
    expect(examples.get('checkInRequest').offers).toEqual([id]);
    expect(examples.get('checkInReply').wanted).toEqual([id]);
    expect(examples.get('receipt').envelopeId).toBe(id);
    expect(readEnvelope(envelope).recipients).toHaveLength(1);

    const grant = examples.get('grantRequest');
    expect(grantStatement(grant)).toBe(statements[1]);
    expect(verifyGrantSignature(grant, readCsr(csrDer).publicKeyDer)).toBe(true);
  });
});

describe('the README', () => {
  const text = read('README.md');
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

  test('names only commands that exist, and each of them', () => {
    const named = new Set([...text.matchAll(/npm (?:run (?:-s )?([a-z:-]+)|(start|test))\b/g)].map(([, run, short]) => run ?? short ?? ''));
    expect([...named].filter((name) => !(name in scripts))).toEqual([]);
    expect(['start', 'test', 'sparekey', 'server', 'fake-mac', 'profiles', 'bench:agent'].filter((name) => !named.has(name))).toEqual([]);
  });

  test('says how an envelope is opened without Sparekey, and to look at the exit status', () => {
    expect(text).toMatch(/openssl cms -decrypt -inform DER -in \S+ -inkey \S+ -recip \S+/);
    expect(text).toMatch(/OpenSSL 3\.0/);
    expect(text).toMatch(/exit status/);
  });

  test('says of what macOS does whether it was seen, modelled or is unknown', () => {
    const rows = text.split('\n').filter((line) => /^\|.*\| (seen|modelled|unknown)/.test(line));
    expect(rows.length).toBeGreaterThanOrEqual(15);
    for (const kind of ['seen', 'modelled', 'unknown']) expect(rows.some((row) => row.includes(`| ${kind}`))).toBe(true);
  });
});

describe('the documents', () => {
  test('link only to what is there', () => {
    const broken = documents.flatMap((file) =>
      [...read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)]
        .map(([, link = '']) => join(dirname(file), link))
        .filter((link) => !existsSync(join(root, link)))
        .map((link) => `${file}: ${link}`),
    );
    expect(broken).toEqual([]);
  });

  test('name only files of this repository where they name one', () => {
    const broken = documents.flatMap((file) =>
      [...read(file).matchAll(/`((?:agent|protocol|server|web|portal|scripts|profiles|test|docs|launchd)\/[\w./-]+\.\w+)`/g)]
        .filter(([, path = '']) => !existsSync(join(root, path)))
        .map(([, path]) => `${file}: ${path}`),
    );
    expect(broken).toEqual([]);
  });

  test('the changelog has an entry for this version', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string };
    expect(read('CHANGELOG.md')).toMatch(new RegExp(`^## ${version.replaceAll('.', '\\.')}\\b`, 'm'));
  });

  test('the threat model names every threat, and each says what holds', () => {
    const text = read('SECURITY.md');
    const numbers = [...text.matchAll(/^### (\d+)\. /gm)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: 16 }, (_, at) => at + 1));
    for (const threat of text.split(/^### /m).slice(1)) expect(threat).toMatch(/\*\*Holds:?\*\*|\*\*Does not hold:?\*\*/);
  });

  test('each decision has its number, its date, and either what was decided, why and at what cost, or a list of small ones', () => {
    const decisions = readdirSync(join(root, 'docs/decisions'));
    expect(decisions.filter((file) => !/^\d{4}-[a-z0-9-]+\.md$/.test(file))).toEqual([]);
    expect(new Set(decisions.map((file) => file.slice(0, 4))).size).toBe(decisions.length);
    for (const file of decisions) {
      const text = read(`docs/decisions/${file}`);
      expect([file, /^# (\d+)\. .+\n\n\d{4}-\d{2}-\d{2}\n/.exec(text)?.[1]]).toEqual([file, String(Number(file.slice(0, 4)))]);
      const whole = ['## Decided', '## Why', '## What it costs'].every((heading) => text.includes(heading));
      expect([file, whole || /^- \*\*/m.test(text)]).toEqual([file, true]);
    }
  });
});

describe('the documents for deployment', () => {
  test.each(['jamf', 'intune', 'fleet', 'kandji', 'nanomdm'])(
    'docs/deploy/%s.md begins with the census, moves a ring after its keys were proved, and dates its sources',
    (mdm) => {
      const text = read(`docs/deploy/${mdm}.md`);
      const steps = [
        'scripts/assess.sh',
        'profiles -- build',
        'npm run -s package --',
        'sparekey-server import',
        'ring plan',
        'ring start',
        'ring status',
        'outside-check.sh',
      ];
      const places = steps.map((step) => text.indexOf(step));
      expect(places).toEqual(places.toSorted((one, other) => one - other));
      expect(places[0]).toBeGreaterThan(0);
      expect(text).toContain(`--mdm ${mdm}`);
      expect(text).toMatch(/as\s+documented, not seen/);
      expect(text).toMatch(/Never\s+both/);
      expect(text).toMatch(/^## .*uninstall$/m);
      const sources = (text.split('## Sources')[1] ?? '').split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| what'));
      expect(sources.length).toBeGreaterThan(3);
      expect(sources.filter((line) => !/20\d\d|\.md\)|documentation 11\./.test(line))).toEqual([]);
    },
  );

  test('the help desk has the pictures of the portal by their numbers, and gives no key where it is the wrong secret', () => {
    const rows = [...read('docs/deploy/rollout.md').matchAll(/^ *\| ([\d, ]+) \| [^|]+ \| ([^|]+) \|$/gm)];
    const said = new Map(
      rows.flatMap(([, numbers = '', key = '']) => numbers.split(', ').map((number) => [Number(number), key.includes('wrong secret')] as const)),
    );
    expect([...said]).toEqual(screenIds.map(screenOf).map(({ number, leads }) => [number, leads === 'wrong-lock']));
  });
});

describe('command lines in the documents', () => {
  const wrongIn = async (text: string) => (await Promise.all(commandsIn(text).map(wrongWith))).filter((wrong) => wrong !== null);

  test('of deployment and of running the backend name commands and options that exist', async () => {
    const texts = documents.filter((file) => /^docs\/(deploy\/.*|operating|coexistence|portal)\.md$/.test(file)).map((file) => ({ file, text: read(file) }));
    const wrong = [];
    for (const { file, text } of texts) wrong.push(...(await wrongIn(text)).map((what) => `${file}: ${what}`));
    expect(wrong).toEqual([]);
    expect(texts.flatMap(({ text }) => commandsIn(text)).length).toBeGreaterThan(200);
  });

  test('name options of scripts that these scripts have', () => {
    const named = documents.flatMap((file) =>
      [...read(file).matchAll(/([\w-]+\.sh)((?: (?:--[\w-]+|[^\s`|;#-]\S*))*)/g)].flatMap(([, script = '', rest = '']) =>
        [...rest.matchAll(/--[\w-]+/g)].map(([option]) => ({ file, script, option })),
      ),
    );
    expect(named.length).toBeGreaterThan(5);
    const has = ({ script, option }: (typeof named)[number]): boolean =>
      files.filter((file) => file.endsWith(`/${script}`) && file.endsWith('.sh')).some((file) => read(file).includes(option));
    expect(named.filter((one) => !has(one))).toEqual([]);
  });

  test('that are wrong are found: a command, an option, a word too many, a reason that is missing', async () => {
    const block = (line: string) => `\`\`\`\n${line}\n\`\`\`\n`;
    expect(await wrongIn(block('sparekey-server ring strat pilot --reason x'))).toHaveLength(1);
    expect(await wrongIn('As `sparekey-server status --jsn` says.')).toHaveLength(1);
    expect(await wrongIn('As `sudo sparekey doctor --jsn` says.')).toHaveLength(1);
    expect(await wrongIn(block('npm run -s profiles -- biuld --out x'))).toHaveLength(1);
    expect(await wrongIn(block('npm run -s packge -- --out x'))).toHaveLength(1);
    expect(await wrongIn(block('npm run -s package -- --orgs x'))).toHaveLength(1);
    expect(await wrongIn(block('sparekey-server ring status pilot wrong'))).toHaveLength(1);
    expect(await wrongIn(block('sparekey-server ring start pilot'))).toHaveLength(1);
    expect(await wrongIn(block('sudo sparekey check-in > /dev/null; sparekey-server ring start pilot --reason "a b" | jq .'))).toEqual([]);
  });
});

test('nothing in the repository depends on the place where it was built', () => {
  // Written in pieces, so that this file does not find itself.
  const places = [
    ['/', 'work', '/'],
    ['/', 'shared', '/'],
    ['artifact', 'registry'],
    ['registry', '.npmjs'],
    ['pkg', '.dev'],
    ['localhost', ':4873'],
  ].map((parts) => parts.join(''));
  const found = files
    .filter((file) => !/\.(png|ico)$/.test(file))
    .flatMap((file) => places.filter((place) => read(file).includes(place)).map((place) => `${file}: ${place}`));
  expect(found).toEqual([]);
});

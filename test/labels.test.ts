import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { encode } from 'uqr';
import { codeSvg, labelAddress, labelSheets, labelSvg, papers, quietModules } from '../server/labels.ts';
import { labels } from '../server/labels-command.ts';
import { givenPortal } from './given-portal.ts';
import { endServers, runServer } from './run-server.ts';
import { scratch } from './scratch.ts';

afterAll(endServers);

const text = { organisation: 'Example', url: 'https://key.example.org', language: 'en' } as const;

/** The dark modules as they are drawn, the quiet zone included. */
function drawn(svg: string): boolean[][] {
  const size = Number(/viewBox="0 0 (\d+) \1"/.exec(svg)?.[1]);
  const matrix = Array.from({ length: size }, () => new Array<boolean>(size).fill(false));
  for (const [, x, y] of svg.matchAll(/M(\d+) (\d+)h1v1h-1z/g)) (matrix[Number(y)] ?? [])[Number(x)] = true;
  return matrix;
}

describe('the code on a label', () => {
  const address = labelAddress(text.url, 'C02XK1ZJJGH5');
  const matrix = drawn(codeSvg(address, 24));
  const size = matrix.length;

  test('is the address of the Mac’s page, module for module', () => {
    expect(address).toBe('https://key.example.org/label/C02XK1ZJJGH5');
    const inner = matrix.slice(quietModules, -quietModules).map((row) => row.slice(quietModules, -quietModules));
    expect(inner).toEqual(encode(address, { ecc: 'M', border: 0 }).data);
  });

  test('has four white modules around it, and its three finders', () => {
    const isQuiet = (x: number, y: number) => Math.min(x, y, size - 1 - x, size - 1 - y) < quietModules;
    expect(matrix.flatMap((row, y) => row.filter((dark, x) => dark && isQuiet(x, y)))).toEqual([]);
    const finder = ['1111111', '1000001', '1011101', '1011101', '1011101', '1000001', '1111111'];
    const at = (left: number, top: number) => finder.map((_, y) => finder.map((__, x) => (matrix[top + y]?.[left + x] ? '1' : '0')).join(''));
    const far = size - quietModules - 7;
    for (const [left, top] of [
      [quietModules, quietModules],
      [far, quietModules],
      [quietModules, far],
    ] as const)
      expect(at(left, top)).toEqual(finder);
  });

  test('is printed large enough to be read: a module is at least 0.4 mm, also with a long address', () => {
    const long = labelAddress(`https://${'a'.repeat(30)}.example.org`, 'C02XK1ZJJGH5');
    for (const { code } of Object.values(papers)) {
      expect(code / size).toBeGreaterThan(0.5);
      expect(code / drawn(codeSvg(long, code)).length).toBeGreaterThan(0.4);
    }
  });
});

describe('sheets of labels', () => {
  const serials = Array.from({ length: 25 }, (_, at) => `C02SHEET${String(at).padStart(4, '0')}`);

  test('have as many on a page as the paper, and each serial number once', () => {
    const a4 = labelSheets(serials, 'a4', text);
    expect(a4.match(/<ol>/g)).toHaveLength(2);
    expect([...a4.matchAll(/<code>(\w+)<\/code>/g)].map(([, serial]) => serial)).toEqual(serials);
    expect(labelSheets(serials, 'letter', text).match(/<ol>/g)).toHaveLength(1);
    for (const { across, down, width, height, left, top, gap, page } of Object.values(papers)) {
      const [paperWidth, paperHeight] = page === 'A4' ? [210, 297] : [215.9, 279.4];
      expect(left * 2 + width * across + gap * (across - 1)).toBeLessThanOrEqual(paperWidth + 0.5);
      expect(top * 2 + height * down).toBeLessThanOrEqual(paperHeight + 0.5);
    }
  });

  test('take nothing from elsewhere and nothing for markup that a Mac says of itself', () => {
    const sheet = labelSheets(['"><script>1</script>'], 'a4', { ...text, organisation: 'A & B <i>' });
    expect(sheet).not.toMatch(/<script|<i>|src=|href=|@import|url\(/);
    expect(sheet).toContain('A &amp; B &lt;i&gt;');
    expect(labelSvg('"><script>', text)).not.toContain('<script>');
  });

  test('ask in the language that was chosen', () => {
    expect(labelSheets(['A'], 'a4', { ...text, language: 'nl' })).toContain('Kom je niet in deze Mac?');
    expect(labelSvg('A', { ...text, language: 'de' })).toContain('Kein Zugang zu diesem Mac?');
  });
});

describe('on the portal', () => {
  const logo = '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h8v8z"/></svg>';
  let it: Awaited<ReturnType<typeof givenPortal>>;
  let ada: Awaited<ReturnType<(typeof it)['portal']['person']>>;
  beforeAll(async () => {
    const logoFile = join(scratch('logo'), 'logo.svg');
    writeFileSync(logoFile, logo);
    it = await givenPortal({ serial: 'C02LABEL0001', people: { brand: { accent: '#ffcc00', logoFile } } });
    await it.checkIn();
    ada = await it.portal.person('ada@example.org');
    await it.assign(ada);
  });

  test('a label leads its person to the Mac, in whatever case the serial number is typed', async () => {
    for (const serial of ['C02LABEL0001', 'c02label0001']) {
      const shown = await ada.client.get(`/label/${serial}`, { follow: false });
      expect([shown.status, shown.headers['location']]).toEqual([303, `/macs/${await it.macId()}`]);
    }
  });

  test('whoever is not signed in signs in first, and goes on to it', async () => {
    const shown = await it.portal.client().get('/label/C02LABEL0001', { follow: false });
    expect([shown.status, shown.headers['location']]).toEqual([303, `/sign-in?then=${encodeURIComponent('/label/C02LABEL0001')}`]);
  });

  test('somebody else’s label and one of no Mac say the same', async () => {
    const eve = await it.portal.person('eve@example.org');
    const [theirs, none] = [await eve.client.get('/label/C02LABEL0001'), await eve.client.get('/label/C02NOTHERE01')];
    const same = (shown: typeof theirs) => shown.content.replace(/[0-9A-Z]{4}-[0-9A-Z]{2}/g, 'CODE').replace(/C02\w+/g, 'SERIAL');
    expect([theirs.status, none.status]).toEqual([404, 404]);
    expect(same(theirs)).toBe(same(none));
    expect(theirs.text).not.toContain(await it.macId());
  });

  test('the logo is there for everybody, in a sandbox of its own; the colour is in the style sheet', async () => {
    const browser = it.portal.client();
    const page = await browser.get('/sign-in');
    const src = /<img src="(\/logo\?v=[0-9a-f]{12})" alt=""/.exec(page.text)?.[1] ?? '';
    const shown = await browser.get(src);
    expect(shown.text).toBe(logo);
    expect(shown.headers).toMatchObject({
      'content-type': 'image/svg+xml',
      'content-security-policy': expect.stringContaining('sandbox'),
      'x-content-type-options': 'nosniff',
    });
    const css = await browser.get(/<link rel="stylesheet" href="([^"]+)"/.exec(page.text)?.[1] ?? '');
    expect(css.text).toMatch(/:root\{--accent:light-dark\(#[0-9a-f]{6},#ffcc00\)/);
  });

  test('the command prints sheets of all Macs, of one person’s, or single pictures; a person without any is told', async () => {
    const wanted = { user: null, macs: [], paper: 'a4', language: 'en', svgDir: null } as const;
    const { backend } = it;
    expect((await labels(backend, wanted)).text).toContain('<code>C02LABEL0001</code>');
    expect((await labels(backend, { ...wanted, user: 'Ada@Example.org' })).json).toEqual({
      labels: [{ serial: 'C02LABEL0001', address: `${it.portal.url}/label/C02LABEL0001` }],
    });
    await expect(labels(backend, { ...wanted, user: 'eve@example.org' })).rejects.toMatchObject({ code: 'USAGE' });
    const folder = join(scratch('svg'), 'labels');
    await labels(backend, { ...wanted, macs: ['C02LABEL0001'], svgDir: folder });
    expect(readdirSync(folder)).toEqual(['C02LABEL0001.svg']);
    expect(readFileSync(join(folder, 'C02LABEL0001.svg'), 'utf8')).toContain('width="60mm"');
  });

  test('and so it does as a program', async () => {
    const ran = await runServer(['labels', '--user', 'ada@example.org', '--paper', 'letter', '--dir', it.dir]);
    expect([ran.code, ran.stderr]).toEqual([0, '']);
    expect(ran.stdout).toContain('size: letter');
    expect(ran.stdout).toContain('<code>C02LABEL0001</code>');
    expect(ran.stdout.trimEnd().endsWith('</html>')).toBe(true);
  });
});

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { logoOf, mostLogoBytes, readLogo } from '../server/logo.ts';
import { accentOf, contrast, grounds, readBrand } from '../web/brand.ts';
import { scratch } from './scratch.ts';

const colour = fc.integer({ min: 0, max: 0xffffff }).map((value) => `#${value.toString(16).padStart(6, '0')}`);
const channels = (of: string): number[] => [1, 3, 5].map((at) => Number.parseInt(of.slice(at, at + 2), 16));

describe('the organisation’s colour', () => {
  test('whatever it is, it can be read on every ground and under its own signs: 7 to 1, in light and in dark', () => {
    fc.assert(
      fc.property(colour, (given) => {
        const { light, onLight, dark, onDark } = accentOf(given);
        for (const ground of grounds.light) expect(contrast(light, ground)).toBeGreaterThanOrEqual(7);
        for (const ground of grounds.dark) expect(contrast(dark, ground)).toBeGreaterThanOrEqual(7);
        expect(contrast(light, onLight)).toBeGreaterThanOrEqual(7);
        expect(contrast(dark, onDark)).toBeGreaterThanOrEqual(7);
      }),
      { numRuns: 400 },
    );
  });

  test('one that can be read stays as it is, and a corrected one is not corrected again', () => {
    fc.assert(
      fc.property(colour, (given) => {
        const once = accentOf(given);
        if (grounds.light.every((ground) => contrast(given, ground) >= 7)) expect(once.light).toBe(given);
        if (grounds.dark.every((ground) => contrast(given, ground) >= 7)) expect(once.dark).toBe(given);
        expect(accentOf(once.light).light).toBe(once.light);
        expect(accentOf(once.dark).dark).toBe(once.dark);
      }),
      { numRuns: 400 },
    );
  });

  test('its hue stays: red, green and blue keep their order', () => {
    fc.assert(
      fc.property(colour, (given) => {
        const before = channels(given);
        for (const after of [channels(accentOf(given).light), channels(accentOf(given).dark)])
          for (const [a, b] of [
            [0, 1],
            [1, 2],
            [0, 2],
          ] as const)
            if ((before[a] ?? 0) > (before[b] ?? 0)) expect(after[a]).toBeGreaterThanOrEqual(after[b] ?? 0);
      }),
      { numRuns: 400 },
    );
  });

  test('contrast is WCAG’s: black on white 21, a grey that is known 4.54', () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21, 10);
    expect(contrast('#767676', '#ffffff')).toBeCloseTo(4.54, 2);
    expect(contrast('#123456', '#123456')).toBe(1);
  });

  test('the grounds are those of site.css', () => {
    const css = readFileSync(join(import.meta.dirname, '../web/assets/site.css'), 'utf8');
    const long = (text = '') => (text.length === 4 ? `#${[...text.slice(1)].map((sign) => sign + sign).join('')}` : text);
    const tokens = ['ground', 'panel', 'danger-ground', 'amber-ground'].map((name) => new RegExp(`--${name}: light-dark\\((#\\w+), (#\\w+)\\)`).exec(css));
    expect(tokens.map((token) => long(token?.[1]))).toEqual([...grounds.light]);
    expect(tokens.map((token) => long(token?.[2]))).toEqual([...grounds.dark]);
    // The one that stands where the settings name none is as good.
    const [, light = '', dark = ''] = /--accent: light-dark\((#\w+), (#\w+)\)/.exec(css) ?? [];
    for (const ground of grounds.light) expect(contrast(long(light), ground)).toBeGreaterThanOrEqual(7);
    for (const ground of grounds.dark) expect(contrast(long(dark), ground)).toBeGreaterThanOrEqual(7);
  });

  test('it is said as custom properties, and nothing is said where there is none', () => {
    const brand = { accent: '#FFCC00', logoFile: null, privacyPage: null, adminPage: null };
    expect(readBrand(brand).css).toMatch(/^:root \{ --accent: light-dark\(#[0-9a-f]{6}, #ffcc00\); --on-accent: light-dark\(#ffffff, #000000\); \}$/);
    expect(readBrand({ ...brand, accent: null })).toEqual({ css: '', logo: null, logoPath: null });
  });
});

describe('the logo', () => {
  const svg = (inside: string) => Buffer.from(`<?xml version="1.0"?>\n<!-- made -->\n<svg xmlns="http://www.w3.org/2000/svg">${inside}</svg>`);
  const png = Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), Buffer.alloc(40)]);
  const webp = Buffer.concat([Buffer.from('RIFF'), Buffer.alloc(4), Buffer.from('WEBPVP8 ')]);

  test.each([
    ['an SVG', svg('<defs><linearGradient id="a"/></defs><path fill="url(#a)" d="M0 0h1"/><use href="#b"/>'), 'image/svg+xml'],
    ['a PNG', png, 'image/png'],
    ['a WebP', webp, 'image/webp'],
  ])('%s is known by its bytes', (_, bytes, type) => {
    expect(logoOf(bytes)).toEqual({ type, bytes });
  });

  test.each([
    ['a script', svg('<script>1</script>')],
    ['a script of another namespace’s name', svg('<x:script>1</x:script>')],
    ['an event', svg('<path onload="a()"/>')],
    ['an event after a line break', svg('<path\nonclick = "a()"/>')],
    ['foreign content', svg('<foreignObject><p/></foreignObject>')],
    ['a script as an address', svg('<a href="#"><set attributeName="href" to="javascript:a()"/></a>')],
    ['an address elsewhere', svg('<image href="https://example.org/a.png"/>')],
    ['an address without a scheme', svg("<image xlink:href = '//example.org/a'/>")],
    ['a style from elsewhere', svg('<style>@import "a.css"</style>')],
    ['a picture from elsewhere', svg('<rect style="fill:url(https://example.org)"/>')],
    ['an entity', Buffer.from('<!DOCTYPE svg [<!ENTITY a "b">]><svg/>')],
    ['HTML', Buffer.from('<!doctype html><svg></svg>')],
    ['a GIF', Buffer.from('GIF89a')],
    ['nothing', Buffer.alloc(0)],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x3c])],
    ['too much', Buffer.concat([png, Buffer.alloc(mostLogoBytes)])],
  ])('%s is refused, in words', (_, bytes) => {
    expect(typeof logoOf(bytes)).toBe('string');
  });

  test('its address changes with its content; a file that is not there is named', () => {
    const folder = scratch('logo');
    const file = join(folder, 'logo.svg');
    const brand = { accent: null, logoFile: file, privacyPage: null, adminPage: null };
    expect(() => readLogo(file)).toThrow(/people\.brand\.logoFile: .* cannot be read \(ENOENT\)/);
    writeFileSync(file, svg('<path d="M0 0"/>'));
    const { logoPath } = readBrand(brand);
    expect(logoPath).toMatch(/^\/logo\?v=[0-9a-f]{12}$/);
    writeFileSync(file, svg('<path d="M1 1"/>'));
    expect(readBrand(brand).logoPath).not.toBe(logoPath);
  });
});

import { createHash } from 'node:crypto';
import { type Logo, readLogo } from '../server/logo.ts';
import type { PeopleSettings } from '../server/people-settings.ts';
import type { SitesGround } from '../server/serve.ts';

/** Of light in linear sRGB, 0 to 1. */
type Linear = readonly [number, number, number];

/** What links and buttons of assets/site.css stand on, in light and in dark: the page, its panels, what is said in red and in amber. */
export const grounds = {
  light: ['#ffffff', '#f2f4f6', '#fdf0ef', '#fdf5e3'],
  dark: ['#15171b', '#20242a', '#391b1b', '#33280f'],
} as const;
/** Signs on the accent itself, in light and in dark. */
const onAccent = { light: '#ffffff', dark: '#000000' } as const;
/** WCAG's AAA for text: the accent is the colour of links as well as of buttons, and of a button's rim 4.5 would do. */
const leastContrast = 7;

const channels = (colour: string): number[] => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
const linear = (channel: number): number => (channel / 255 <= 0.040_45 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4);
const encoded = (light: number): number => 255 * (light <= 0.003_130_8 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055);
const linearOf = (colour: string): Linear => channels(colour).map(linear) as unknown as Linear;
const luminanceOf = ([red, green, blue]: Linear): number => 0.2126 * red + 0.7152 * green + 0.0722 * blue;
const written = (colour: Linear, round: (value: number) => number): string =>
  `#${colour
    .map((light) =>
      Math.min(255, Math.max(0, round(encoded(light))))
        .toString(16)
        .padStart(2, '0'),
    )
    .join('')}`;

/** WCAG 2.2: 1 to 21. */
export function contrast(one: string, other: string): number {
  const [darker = 0, lighter = 0] = [one, other].map((colour) => luminanceOf(linearOf(colour))).toSorted((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

/** Less light of the same colour. Light is scaled, not the encoded value, so that the hue stays and the contrast is reached exactly. */
function darkened(colour: string, most: number): string {
  const given = linearOf(colour);
  const luminance = luminanceOf(given);
  if (luminance <= most) return colour;
  return written(given.map((light) => (light * most) / luminance) as unknown as Linear, Math.floor);
}

/** More light, mixed with white. */
function lightened(colour: string, least: number): string {
  const given = linearOf(colour);
  const luminance = luminanceOf(given);
  if (luminance >= least) return colour;
  const white = (least - luminance) / (1 - luminance);
  return written(given.map((light) => light + white * (1 - light)) as unknown as Linear, Math.ceil);
}

export interface Accent {
  light: string;
  onLight: string;
  dark: string;
  onDark: string;
}

/** The organisation's colour, moved no further than it takes to be read on every ground and under its own signs, in light and in dark. */
export function accentOf(colour: string): Accent {
  const lights = (colours: readonly string[]) => colours.map((ground) => luminanceOf(linearOf(ground)));
  const most = (Math.min(...lights(grounds.light)) + 0.05) / leastContrast - 0.05;
  const least = (Math.max(...lights(grounds.dark)) + 0.05) * leastContrast - 0.05;
  const given = colour.toLowerCase();
  return { light: darkened(given, most), onLight: onAccent.light, dark: lightened(given, least), onDark: onAccent.dark };
}

export interface Brand {
  /** Custom properties, appended to assets/site.css; empty where the settings name no colour. */
  css: string;
  logo: Logo | null;
  /** Its address, which changes with its content; null where there is no logo. */
  logoPath: string | null;
}

export function readBrand({ accent, logoFile }: PeopleSettings['brand']): Brand {
  const colours = accent === null ? null : accentOf(accent);
  const logo = logoFile === null ? null : readLogo(logoFile);
  return {
    css: colours ? `:root { --accent: light-dark(${colours.light}, ${colours.dark}); --on-accent: light-dark(${colours.onLight}, ${colours.onDark}); }` : '',
    logo,
    logoPath: logo && `/logo?v=${createHash('sha256').update(logo.bytes).digest('hex').slice(0, 12)}`,
  };
}

/** An SVG is a document where it is opened by itself: it gets no scripts, no addresses and no origin. */
const logoHeaders = {
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'cache-control': 'public, max-age=86400',
};

/** GET /logo, to whoever comes: it is on the sign-in page too. */
export function addLogo(ground: SitesGround, { logo }: Brand): void {
  if (!logo) return;
  ground.http.app.get('/logo', async (_, reply) => reply.headers(logoHeaders).type(logo.type).send(logo.bytes));
}

import { type Html, html, unescaped } from './html.ts';
import type { ScreenId } from './steps/screens.ts';

/*
 * What a Mac shows, as a few lines on a screen of 96 × 60: no copy of Apple's pictures, only where things are. Colours come from
 * the classes; what is said under a picture says the same in words.
 */

const line = (d: string) => `<path class="line" d="${d}"/>`;
const box = (x: number, y: number, width: number, height: number, round = 4) =>
  `<rect class="line" x="${x}" y="${y}" width="${width}" height="${height}" rx="${round}"/>`;
const full = (x: number, y: number, width: number, height: number) => `<rect class="full" x="${x}" y="${y}" width="${width}" height="${height}" rx="1"/>`;
const circle = (x: number, y: number, r: number, kind: 'line' | 'full' = 'line') => `<circle class="${kind}" cx="${x}" cy="${y}" r="${r}"/>`;
const letters = (x: number, y: number, size: number, text: string) =>
  `<text class="full" x="${x}" y="${y}" font-size="${size}" text-anchor="middle">${text}</text>`;

const head = `${circle(48, 17, 7)}${circle(48, 15, 2.5, 'full')}${line('M43.5 21.5a5 4 0 0 1 9 0')}`;
const lock = (y: number) => `${box(41, y, 14, 11, 2)}${line(`M44 ${y}v-4a4 4 0 0 1 8 0v4`)}`;
const dots = (x: number, y: number, count: number) => Array.from({ length: count }, (_, at) => circle(x + at * 5, y, 1.4, 'full')).join('');

const drawings: Readonly<Record<ScreenId, string>> = {
  'password-field': `${head}${box(28, 32, 32, 9)}${circle(67, 36.5, 4.5)}${letters(67, 39.3, 8, '?')}`,
  'reset-options': `${head}${box(28, 29, 40, 8)}${full(22, 43, 44, 2)}${full(28, 47, 32, 2)}${circle(73, 46, 4)}${line('M71 46h4m-2-2 2 2-2 2')}`,
  'key-field': `${circle(40, 17, 5)}${line('M45 17h14m-3 0v4m-5-4v3')}${box(14, 30, 68, 10, 2)}${full(18, 37, 7, 1)}${full(29, 37, 7, 1)}${full(40, 37, 7, 1)}${full(51, 37, 7, 1)}${full(62, 37, 7, 1)}${full(72, 37, 7, 1)}`,
  'login-window': `${circle(36, 20, 6)}${circle(60, 20, 6)}${box(32, 31, 32, 8)}${full(66, 9, 6, 2)}${line('M76 11a6 5 0 0 1 8 0m-6 2a3 3 0 0 1 4 0')}${full(30, 47, 8, 2)}${full(44, 47, 8, 2)}${full(58, 47, 8, 2)}`,
  'lock-screen': `${letters(48, 22, 14, '9:41')}${circle(48, 34, 4)}${box(34, 42, 28, 7)}${dots(38, 45.5, 4)}`,
  pin: `${lock(18)}${[20, 30, 40, 50, 60, 70].map((x) => box(x, 38, 7, 9, 1)).join('')}`,
  'activation-lock': `${lock(16)}${box(24, 33, 48, 7, 2)}${letters(32, 39, 7, '@')}${box(24, 43, 48, 7, 2)}${dots(29, 46.5, 5)}`,
  'recovery-lock': `${circle(48, 16, 7)}${circle(48, 16, 2.5)}${line('M48 6v3m0 14v3m10-10h-3m-14 0h-3')}${box(28, 34, 40, 9, 2)}${dots(34, 38.5, 5)}`,
  firmware: `${box(37, 22, 22, 17, 2)}${line('M41 22v-5a7 7 0 0 1 14 0v5')}${circle(48, 30, 2, 'full')}${box(30, 44, 36, 7, 1)}`,
  globe: `${circle(48, 27, 14)}${line('M34 27h28M48 13c-8 8-8 20 0 28m0-28c8 8 8 20 0 28')}${full(36, 47, 24, 2)}`,
  folder: `${line('M30 40V18h12l4 5h20v17z')}${letters(48, 37, 13, '?')}`,
  other: `${circle(34, 28, 3, 'full')}${circle(48, 28, 3, 'full')}${circle(62, 28, 3, 'full')}`,
};

/** `title`: what is drawn, for those who do not see it. */
export const picture = (id: ScreenId, title: string): Html => html`<svg class="screen" viewBox="0 0 96 60" role="img" aria-labelledby="drawn-${id}">
<title id="drawn-${id}">${title}</title>${unescaped(`${box(1, 1, 94, 58, 5)}${drawings[id]}`)}</svg>`;

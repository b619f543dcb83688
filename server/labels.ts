import { encode } from 'uqr';

/** Modules of white around a code, by its standard (ISO/IEC 18004). */
export const quietModules = 4;

export type LabelLanguage = 'en' | 'nl' | 'de' | 'fr';
export const labelLanguages: readonly LabelLanguage[] = ['en', 'nl', 'de', 'fr'];
const lockedOut: Record<LabelLanguage, string> = {
  en: 'Locked out of this Mac?',
  nl: 'Kom je niet in deze Mac?',
  de: 'Kein Zugang zu diesem Mac?',
  fr: 'Bloqué hors de ce Mac ?',
};

/** Sheets of labels as they are sold; millimetres. */
export const papers = {
  a4: { page: 'A4', across: 3, down: 7, width: 63.5, height: 38.1, left: 7.2, top: 15.1, gap: 2.5, code: 24 },
  letter: { page: 'letter', across: 3, down: 10, width: 66.7, height: 25.4, left: 4.8, top: 12.7, gap: 3.2, code: 20 },
} as const;
export type Paper = keyof typeof papers;

export interface LabelText {
  organisation: string;
  /** The portal's address. */
  url: string;
  language: LabelLanguage;
}

/** What the code says: an address that is of no use to whoever is not signed in as the person whose Mac it is. */
export const labelAddress = (url: string, serial: string): string => `${url}/label/${encodeURIComponent(serial)}`;

const signs: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (sign) => signs[sign] ?? sign);
const shortOf = (url: string): string => url.replace(/^https:\/\//, '');

/** The dark modules as one path, with the quiet zone around them. */
function code(text: string): { size: number; path: string } {
  const { data, size } = encode(text, { ecc: 'M', border: quietModules });
  const path = data
    .flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : '')))
    .filter((step) => step !== '')
    .join('');
  return { size, path };
}

/** The code alone, `side` millimetres wide, in black on white whatever the page's colours. */
export function codeSvg(text: string, side: number): string {
  const { size, path } = code(text);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${side}mm" height="${side}mm" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><rect width="${size}" height="${size}" fill="#fff"/><path d="${path}" fill="#000"/></svg>`;
}

/** One label as a picture of its own, for label printers: 60 × 30 mm. */
export function labelSvg(serial: string, { organisation, url, language }: LabelText): string {
  const { size, path } = code(labelAddress(url, serial));
  const line = (y: number, height: number, text: string, more = '') =>
    `<text x="29" y="${y}" font-size="${height}" font-family="sans-serif"${more} ${text.length * height * 0.55 > 29.5 ? 'textLength="29.5" lengthAdjust="spacingAndGlyphs"' : ''}>${escaped(text)}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="60mm" height="30mm" viewBox="0 0 60 30"><rect width="60" height="30" fill="#fff"/><svg x="1" y="1.5" width="27" height="27" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><path d="${path}"/></svg>${line(7, 3, organisation, ' font-weight="bold"')}${line(13, 2.6, lockedOut[language])}${line(18, 2.6, shortOf(url))}${line(25, 3.2, serial, ' font-weight="bold"')}</svg>\n`;
}

/** Sheets to print: a page of HTML without anything from elsewhere. No secret is in it: serial numbers stand on the cases. */
export function labelSheets(serials: readonly string[], paper: Paper, label: LabelText): string {
  const { page, across, down, width, height, left, top, gap, code: side } = papers[paper];
  const perSheet = across * down;
  const one = (serial: string): string =>
    `<li>${codeSvg(labelAddress(label.url, serial), side)}<div><b>${escaped(label.organisation)}</b><span>${lockedOut[label.language]}</span><span>${escaped(shortOf(label.url))}</span><code>${escaped(serial)}</code></div></li>`;
  const sheets = Array.from(
    { length: Math.ceil(serials.length / perSheet) },
    (_, at) =>
      `<ol>${serials
        .slice(at * perSheet, (at + 1) * perSheet)
        .map(one)
        .join('\n')}</ol>`,
  );
  return `<!doctype html>
<html lang="${label.language}">
<head>
<meta charset="utf-8">
<title>${escaped(label.organisation)}: ${serials.length}</title>
<style>
@page { size: ${page}; margin: 0 }
* { box-sizing: border-box }
body { margin: 0; background: #fff; color: #000; font: 8pt/1.25 system-ui, sans-serif }
ol { list-style: none; margin: 0; padding: ${top}mm 0 0 ${left}mm; display: grid; grid-template-columns: repeat(${across}, ${width}mm); grid-auto-rows: ${height}mm; column-gap: ${gap}mm; break-after: page }
ol:last-child { break-after: auto }
li { display: flex; gap: 2mm; align-items: center; padding: 1mm; overflow: hidden }
li svg { flex: none }
li div { min-width: 0; display: grid; gap: 0.6mm; overflow-wrap: anywhere }
code { font: bold 9pt ui-monospace, monospace }
</style>
</head>
<body>
${sheets.join('\n')}
</body>
</html>`;
}

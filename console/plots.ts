import { type Html, html } from '../web/html.ts';
import { number } from './fleet-parts.ts';

/*
 * Pictures of numbers over time, drawn here: each answers one question and is called by its answer. Axes begin at zero, what a
 * line is stands beside it, lines differ by their dashes too, and the numbers are in a table under it.
 */

interface Series {
  name: string;
  /** In the order of the labels; null where nothing is known. */
  values: readonly (number | null)[];
}

interface Plot {
  /** In addresses and of the page's ids. */
  id: string;
  /** The answer, one sentence. */
  title: string;
  /** What is drawn, for whoever does not see it. */
  says: string;
  labels: readonly string[];
  /** How a label stands under the axis and in the table. */
  head: string;
  unit: string;
  series: readonly Series[];
  kind: 'lines' | 'bars';
}

const [width, height] = [400, 190];
/** Around the field: the numbers at the left, the names of lines at the right, the labels below. */
const at = { left: 44, right: 312, top: 14, bottom: 158 };

/** A round number that is not below any value: 1, 2 or 5 and noughts. */
export function roundTop(most: number): number {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [1, 2, 5, 10].find((one) => one * power >= most) ?? 10;
  return Math.max(step * power, 1);
}

const short = (value: number): string =>
  value >= 10_000 ? `${number(Math.round(value / 100) / 10)}k` : number(value >= 10 ? Math.round(value) : Math.round(value * 10) / 10);
const rounded = (value: number): string => String(Math.round(value * 10) / 10);

/** One line; where nothing is known it is broken. */
function line(values: readonly (number | null)[], x: (at: number) => number, y: (value: number) => number): string {
  let isOpen = false;
  return values
    .map((value, index) => {
      if (value === null) {
        isOpen = false;
        return '';
      }
      const command = `${isOpen ? 'L' : 'M'}${rounded(x(index))} ${rounded(y(value))}`;
      isOpen = true;
      return command;
    })
    .join('');
}

/** Names of lines stand at their ends, apart from each other. */
function nameplates(ends: readonly { name: string; y: number }[]): { name: string; y: number }[] {
  const placed: { name: string; y: number }[] = [];
  for (const end of ends.toSorted((one, other) => one.y - other.y)) placed.push({ ...end, y: Math.max(end.y, (placed.at(-1)?.y ?? 0) + 13) });
  const over = (placed.at(-1)?.y ?? 0) - at.bottom;
  return over > 0 ? placed.map((one) => ({ ...one, y: one.y - over })) : placed;
}

function picture({ id, title, says, labels, series, kind }: Plot): Html {
  const top = roundTop(Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0))));
  const y = (value: number): number => at.bottom - (value / top) * (at.bottom - at.top);
  const end = kind === 'bars' ? width - 8 : at.right;
  const slot = (end - at.left) / Math.max(1, labels.length);
  const x = (index: number): number => (labels.length < 2 ? at.left : at.left + (index / (labels.length - 1)) * (end - at.left));
  const grid = [0, top / 2, top].map(
    (value) =>
      html`<line class="grid" x1="${at.left}" x2="${end}" y1="${rounded(y(value))}" y2="${rounded(y(value))}"/><text class="scale" x="${at.left - 6}" y="${rounded(y(value) + 4)}">${short(value)}</text>`,
  );
  const last = labels.length - 1;
  const feet =
    kind === 'bars' && labels.length <= 6
      ? labels.map((label, index) => html`<text class="foot-middle" x="${rounded(at.left + slot * (index + 0.5))}" y="${at.bottom + 18}">${label}</text>`)
      : [
          html`<text x="${at.left}" y="${at.bottom + 18}">${labels[0]}</text>`,
          last > 0 ? html`<text class="foot-end" x="${end}" y="${at.bottom + 18}">${labels[last]}</text>` : null,
        ];
  const drawn =
    kind === 'bars'
      ? (series[0]?.values ?? []).map((value, index) => {
          const from = at.left + slot * index + slot * 0.15;
          // Twelve bars have room for one number each, more have not.
          const label =
            value !== null && labels.length <= 12
              ? html`<text class="foot-middle" x="${rounded(from + slot * 0.35)}" y="${rounded(y(value) - 4)}">${short(value)}</text>`
              : null;
          return html`<rect class="bar" x="${rounded(from)}" width="${rounded(slot * 0.7)}" y="${rounded(y(value ?? 0))}" height="${rounded(at.bottom - y(value ?? 0))}"/>${label}`;
        })
      : series.map(({ values }, index) => html`<path class="line line-${index + 1}" d="${line(values, x, y)}"/>`);
  const ends = series.flatMap(({ name, values }) => {
    const value = values.findLast((one) => one !== null);
    return value === undefined || value === null ? [] : [{ name: `${name} ${short(value)}`, y: y(value) + 4 }];
  });
  const names = kind === 'bars' ? [] : nameplates(ends).map((one) => html`<text x="${at.right + 6}" y="${rounded(one.y)}">${one.name}</text>`);
  return html`<svg class="plot" role="img" aria-labelledby="${id}-title ${id}-says" viewBox="0 0 ${width} ${height}"><title id="${id}-title">${title}</title><desc id="${id}-says">${says}</desc>${grid}${drawn}${names}${feet}</svg>`;
}

/** The answer, the picture, and the numbers one click away. */
export function plot(made: Plot): Html {
  const { id, title, head, labels, series, unit } = made;
  const isEmpty = series.every(({ values }) => values.every((value) => value === null));
  return html`<section class="plotted" aria-labelledby="${id}-head"><h2 id="${id}-head">${title}</h2>${
    isEmpty ? html`<p class="soft">Nothing is known yet; this fills by itself from day to day.</p>` : html`<p class="soft small">${unit}</p>${picture(made)}`
  }<details><summary>The numbers</summary><div class="scroll" tabindex="0" role="region" aria-label="${title}"><table><thead><tr><th scope="col">${head}</th>${series.map(({ name }) => html`<th scope="col" class="number">${name}</th>`)}</tr></thead><tbody>
${labels.map((label, index) => html`<tr><th scope="row">${label}</th>${series.map(({ values }) => html`<td class="number">${values[index] === null || values[index] === undefined ? '–' : number(values[index])}</td>`)}</tr>`)}</tbody></table></div></details></section>`;
}

/** How one number went, beside it: the words say what it shows. */
export function sparkline(values: readonly number[], says: string): Html | null {
  if (values.length < 2) return null;
  const top = roundTop(Math.max(...values));
  const path = line(
    values,
    (index) => (index / (values.length - 1)) * 118 + 1,
    (value) => 27 - (value / top) * 26,
  );
  return html`<svg class="plot spark" role="img" aria-label="${says}" viewBox="0 0 120 28"><path class="line line-1" d="${path}"/></svg>`;
}

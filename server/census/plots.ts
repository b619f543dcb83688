import { escapeHtml } from './escape.ts';
import { type Figure, number, percent } from './figures.ts';

/**
 * Bars from zero to the whole fleet, each under its name and its figure. The words are text and wrap as text does; only the bars
 * are drawn, as wide as the page lets them.
 */
export function plot({ about, bars, of }: Figure): string {
  if (bars.length === 0) return '';
  const rows = bars.map(
    ({ label, count }) =>
      `<li><span>${escapeHtml(label)}</span><span class="number">${number(count)} · ${percent(count, of)}</span><svg aria-hidden="true" width="100%" height="14"><rect class="ground" width="100%" height="14" rx="2"/><rect class="bar" width="${((100 * count) / of).toFixed(2)}%" height="14" rx="2"/></svg></li>`,
  );
  return `<ul class="plot" aria-label="${escapeHtml(about)}">${rows.join('')}</ul>`;
}

/** The same figures as a table, one click away, with what each of them means. */
export function figureTable({ id, about, bars, of }: Figure): string {
  const says = bars.some((one) => one.says !== '');
  const column = id === 'obstacles' || id === 'notes' ? 'What to do' : 'That is';
  const rows = bars.map(
    (one) =>
      `<tr><th scope="row">${escapeHtml(one.label)}</th><td class="number">${number(one.count)}</td><td class="number">${percent(one.count, of)}</td>${says ? `<td>${escapeHtml(one.says)}</td>` : ''}</tr>`,
  );
  return `<details><summary>The figures as a table${says ? ', and what they mean' : ''}</summary><div class="wide" tabindex="0" role="region" aria-label="${escapeHtml(about)}, figures"><table><thead><tr><th scope="col">What</th><th scope="col" class="number">Macs</th><th scope="col" class="number">Share</th>${says ? `<th scope="col">${column}</th>` : ''}</tr></thead><tbody>${rows.join('')}</tbody></table></div></details>`;
}

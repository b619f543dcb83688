import { createHash } from 'node:crypto';
import { escapeHtml as e } from './escape.ts';
import { type Figure, figuresOf, headline, macs, number, totalsOf } from './figures.ts';
import { type Census, standingOf } from './fleet.ts';
import { obstacleTitles } from './obstacles.ts';
import { pageStyle } from './page-style.ts';
import { figureTable, plot } from './plots.ts';
import { sourceText } from './report-text.ts';

/** Under each step; --csv has all. */
const mostMacs = 200;
const mostBroken = 200;

/** One page without scripts that loads nothing from anywhere, so that it can be mailed and kept. */
export function reportPage(census: Census): string {
  const totals = totalsOf(census);
  const figures = figuresOf(census);
  const rings = figures.find(({ id }) => id === 'rings');
  const style = createHash('sha256').update(pageStyle).digest('base64');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-${style}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${e(headline(totals))} – Sparekey census</title>
<style>${pageStyle}</style>
</head>
<body>
<header>
<h1>${e(headline(totals))}</h1>
<p class="soft">${e(sourceText(census)).replace('--ours', '<code>--ours</code>')}</p>
</header>
<main>
<ul class="totals">
<li><strong class="good">${number(totals.ready)}</strong> can come as they are</li>
<li><strong class="amber">${number(totals.first)}</strong> need something first</li>
<li><strong class="danger">${number(totals.stopped)}</strong> cannot come yet</li>
</ul>
<div class="figures">
${figures
  .filter(({ id, bars }) => id !== 'rings' && !(id === 'notes' && bars.length === 0))
  .map(figureSection)
  .join('\n')}
</div>
${rings ? ringSection(rings) : ''}
${macSection(census)}
${brokenSection(census)}
</main>
<footer><p>Made by <code>sparekey-server census</code> from answers of <code>assess.sh</code>. No recovery key and no user name is in it; serial numbers are.</p></footer>
</body>
</html>
`;
}

const figureSection = (figure: Figure): string =>
  `<section aria-labelledby="${figure.id}"><p class="about">${e(figure.about)}</p><h2 id="${figure.id}">${e(figure.title)}</h2>${plot(figure)}${figure.bars.length > 0 ? figureTable(figure) : ''}</section>`;

const ringSection = ({ about, title, bars }: Figure): string =>
  `<section class="whole" aria-labelledby="rings"><p class="about">${e(about)}</p><h2 id="rings">${e(title)}</h2><ol class="rings">${bars
    .map(({ label, count, says }) => `<li><span>${e(label)}</span><span class="number">${macs(count)}</span><span class="soft">${e(says)}</span></li>`)
    .join('')}</ol></section>`;

/** Each Mac under the worst that stands in its way: that is what has to be done first. */
function macSection(census: Census): string {
  const groups = new Map<string, string[]>();
  for (const { mac, judgement } of census.macs) {
    const [worst] = judgement.obstacles;
    if (worst && worst.weight !== 'note') groups.set(worst.code, [...(groups.get(worst.code) ?? []), mac.serial]);
  }
  const needy = census.macs.filter((one) => standingOf(one) !== 'ready').length;
  if (needy === 0) return '';
  const ordered = [...groups].sort(([, one], [, other]) => other.length - one.length);
  return `<section class="whole" aria-labelledby="macs"><p class="about">What to do, and where</p><h2 id="macs">${macs(needy)} ${needy === 1 ? 'needs' : 'need'} somebody</h2><ul class="steps">
${ordered.map(([code, serials]) => stepOf(code, serials)).join('\n')}
</ul></section>`;
}

function stepOf(code: string, serials: readonly string[]): string {
  const known = obstacleTitles.get(code);
  const more = serials.length - mostMacs;
  return `<li><div class="head"><strong>${e(known?.title ?? code)}</strong><span class="number">${macs(serials.length)}</span></div><p>${e(known?.next ?? '')}</p><details><summary>Which Macs</summary><ul class="serials">${serials
    .slice(0, mostMacs)
    .map((serial) => `<li>${e(serial)}</li>`)
    .join('')}</ul>${more > 0 ? `<p>And ${number(more)} more: <code>--csv FILE</code> has every one.</p>` : ''}</details></li>`;
}

function brokenSection({ broken }: Census): string {
  if (broken.length === 0) return '';
  const more = broken.length - mostBroken;
  return `<section class="whole" aria-labelledby="broken"><p class="about">Not read</p><h2 id="broken">${number(broken.length)} ${broken.length === 1 ? 'place says' : 'places say'} nothing</h2><ul>${broken
    .slice(0, mostBroken)
    .map(({ file, line, because }) => `<li><code>${e(file)}:${line}</code>: ${e(because)}</li>`)
    .join('')}</ul>${more > 0 ? `<p>And ${number(more)} more: <code>--json</code> has every one.</p>` : ''}</section>`;
}

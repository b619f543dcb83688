import { tokenBuckets } from '../server/limits.ts';
import { helpCodeOf } from './help-codes.ts';
import { type Html, html } from './html.ts';
import { signInWords } from './sign-in-words.ts';
import type { Site } from './visit.ts';
import type { Language } from './words.ts';

/** Per network: each page is a code that is kept for the service desk. */
const rate = { perMinute: 6, burst: 20 };
/** Whoever has many addresses: the codes of others are not used up, nor the disk. */
const rateOfAll = { perMinute: 120, burst: 400 };

/** Whom somebody calls who cannot sign in, without signing in. `card`: the service desk; without a code its words alone. */
export function addCannotSignIn(site: Site, card: (code: string | null, language: Language) => Html): void {
  const bucket = tokenBuckets(rate);
  const all = tokenBuckets(rateOfAll);
  site.page('/cannot-sign-in', 'nobody', async (visit) => {
    const words = signInWords[visit.language];
    const isOften = bucket.take(visit.network) !== null || all.take('') !== null;
    const code = isOften ? null : await helpCodeOf(site.ground, visit, { page: '/cannot-sign-in' });
    return {
      title: words.cannotTitle,
      body: html`<h1>${words.cannotTitle}</h1>
<p>${words.cannotLead}</p>
${card(code, visit.language)}
${code === null ? html`<p class="note" role="status">${words.tooOften}</p>` : null}
<h2>${words.cannotFirst.title}</h2>
<ul>${words.cannotFirst.steps.map((step) => html`<li>${step}</li>`)}</ul>
<p class="ways"><a href="/sign-in">${words.back}</a></p>`,
    };
  });
}

import { raise } from '../server/alarms.ts';
import { openRelease } from '../server/approvals/releases.ts';
import { audit } from '../server/audit.ts';
import { tokenBuckets } from '../server/limits.ts';
import { html } from '../web/html.ts';
import type { Answer, Page, Site, Visit } from '../web/visit.ts';
import { contactCard } from './contact-card.ts';
import { addReleaseKey } from './release-page.ts';
import { releaseCookie, releasePath } from './release-parts.ts';
import { releaseWords } from './release-words.ts';

/** Wrong codes, from one network and from all of them together; and after how many in an hour somebody is told. Good ones are not counted. */
export interface ReleaseRates {
  network: { perMinute: number; burst: number };
  all: { perMinute: number; burst: number };
}
const rates: ReleaseRates = { network: { perMinute: 4, burst: 10 }, all: { perMinute: 60, burst: 300 } };
const wrongAnHour = { perMinute: 0.5, burst: 30 };
const openSeconds = 60 * 60;

function codePage({ ground }: Site, visit: Visit, wrong: string | null = null, status = 200): Page {
  const words = releaseWords[visit.language];
  return {
    title: words.title,
    status,
    body: html`<h1>${words.title}</h1>
<p>${words.lead}</p>
<form method="post" action="${releasePath}">${visit.token(releasePath)}
<label for="code">${words.code}</label>
<p class="hint" id="code-hint">${words.codeHint}</p>
${wrong && html`<p class="wrong" id="code-wrong">${wrong}</p>`}
<input id="code" name="code" maxlength="24" autocomplete="off" autocapitalize="characters" spellcheck="false" required aria-describedby="code-hint${wrong === null ? '' : ' code-wrong'}"${wrong && html` aria-invalid="true"`}>
<button>${words.goOn}</button></form>
${contactCard(ground.settings, null, {}, visit.language)}`,
  };
}

/** Where somebody types a code of the desk. Of one that is not good they learn no more than that. */
export function addRelease(site: Site, limits: ReleaseRates = rates): void {
  const { backend, log } = site.ground;
  const [network, all, wrongOnes] = [tokenBuckets(limits.network), tokenBuckets(limits.all), tokenBuckets(wrongAnHour)];

  async function noteWrong(visit: Visit): Promise<void> {
    const isMany = wrongOnes.take('') !== null;
    await backend.store.write(async (tx) => {
      const at = await backend.clock.persist(tx);
      await audit(tx, { at, actor: 'somebody', act: 'release.refused', details: { network: visit.network, browser: visit.browser } });
      if (isMany) await raise({ log }, tx, at, null, 'RELEASES_UNUSUAL', `many wrong codes, ${new Date(at).toISOString().slice(0, 10)}`);
    });
  }

  async function take(visit: Visit): Promise<Answer> {
    const words = releaseWords[visit.language];
    if (network.left(visit.network) < 1 || all.left('') < 1) return codePage(site, visit, words.tooOften, 429);
    // Before anything is waited for: many at once are as many.
    network.take(visit.network);
    all.take('');
    const opened = await backend.store.write(async (tx) => openRelease(tx, await backend.clock.persist(tx), backend.secrets, visit.form['code'] ?? ''));
    if (!opened) {
      await noteWrong(visit);
      return codePage(site, visit, words.wrong, 422);
    }
    network.give(visit.network);
    all.give('');
    return { to: `${releasePath}/key`, cookies: [{ name: releaseCookie, value: opened.token, maxAgeSeconds: openSeconds }] };
  }

  site.page(releasePath, 'nobody', async (visit) => codePage(site, visit));
  site.act(releasePath, 'nobody', take);
  addReleaseKey(site);
}

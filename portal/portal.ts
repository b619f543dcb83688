import type { SitesGround } from '../server/serve.ts';
import { addLogo, readBrand } from '../web/brand.ts';
import { addCannotSignIn } from '../web/cannot-sign-in.ts';
import { html } from '../web/html.ts';
import { addSignIn } from '../web/sign-in.ts';
import { createSite, type SiteRates } from '../web/site.ts';
import { contactCard } from './contact-card.ts';
import { addDevices } from './devices.ts';
import { addKeyPages } from './key-page.ts';
import { addLabels } from './labels.ts';
import { addRefused } from './refused.ts';
import { addRelease } from './release.ts';
import { releasePath } from './release-parts.ts';
import { releaseWords } from './release-words.ts';
import { addRequests } from './requests.ts';
import { addUnlock } from './unlock.ts';
import { watch } from './watch.ts';

/** The users' site: each part adds its pages. */
export async function mountPortal(ground: SitesGround, rates?: SiteRates): Promise<void> {
  const brand = readBrand(ground.settings.brand);
  const site = createSite(ground, { brand: brand.css, logoPath: brand.logoPath, ...(rates ? { rates } : {}) });
  addLogo(ground, brand);
  site.page('/', 'nobody', async () => ({ to: '/macs' }));
  await addSignIn(site);
  addCannotSignIn(
    site,
    (code, language) => html`${contactCard(ground.settings, null, code === null ? {} : { code }, language)}
<p><a class="button second" href="${releasePath}">${releaseWords[language].link}</a></p>`,
  );
  addRelease(site);
  addDevices(site);
  addLabels(site);
  addUnlock(site);
  addKeyPages(site);
  addRefused(site);
  addRequests(site);
  watch(ground);
}

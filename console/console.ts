import { grantsInWords } from '../server/admins/grants.ts';
import { beginLearning } from '../server/fleet/alarm-care.ts';
import type { SitesGround } from '../server/serve.ts';
import { remindOfEmergencyAccounts } from '../web/admin-mails.ts';
import { addLogo, readBrand } from '../web/brand.ts';
import { html } from '../web/html.ts';
import { addSignIn } from '../web/sign-in.ts';
import { createSite, type SiteRates } from '../web/site.ts';
import { addAlarmsPage } from './alarms-page.ts';
import { type ApiRates, addApi } from './api.ts';
import { addAuditPage } from './audit-page.ts';
import { addBroughtPage } from './brought-page.ts';
import { addCannotSignIn } from './cannot-sign-in.ts';
import { addDeviceActsPages } from './device-acts-page.ts';
import { addDevicePage } from './device-page.ts';
import { addDisclosuresPage } from './disclosures-page.ts';
import { addDocs } from './docs-page.ts';
import { addEmergencyPage } from './emergency-page.ts';
import { addFiguresPage } from './figures-page.ts';
import { addFirstPage } from './first-page.ts';
import { addFleetChosenPage } from './fleet-chosen-page.ts';
import { addFleetPage } from './fleet-page.ts';
import { consoleErrorPage, consoleFrame } from './frame.ts';
import { addHealth } from './health.ts';
import { addKeyPage } from './key-page.ts';
import { addLoginPage } from './login-page.ts';
import { addOpenOperations } from './open-operation.ts';
import { openOperations } from './operations/session.ts';
import { allOperations } from './operations.ts';
import { addPeoplePage } from './people-page.ts';
import { addPoliciesPages } from './policies-page.ts';
import { addReleasesPage } from './releases-page.ts';
import { addRotationsPages } from './rotations-page.ts';
import { addRotationsStartPages } from './rotations-start-page.ts';
import { addTokensPage } from './tokens-page.ts';
import { consoleSite } from './visit.ts';
import { watchApprovals } from './watch.ts';

/** What programs ask: of them nobody is told anything by a page. */
const programs = ['/v1/', '/healthz', '/readyz', '/metrics'] as const;

/** The admins' site and their API: each part adds its pages; every act and question is an operation. */
export async function mountConsole(ground: SitesGround, rates: { site?: SiteRates; api?: ApiRates } = {}): Promise<void> {
  const brand = readBrand(ground.settings.brand);
  const site = createSite(ground, {
    brand: brand.css,
    logoPath: brand.logoPath,
    language: 'en',
    frame: consoleFrame,
    errorPage: consoleErrorPage,
    programs,
    ...(rates.site ? { rates: rates.site } : {}),
  });
  addLogo(ground, brand);
  const admins = consoleSite(site);
  await addSignIn(site);
  addCannotSignIn(site);
  await beginLearning(ground.backend);
  addHealth(ground);
  addApi(site, allOperations, rates.api);
  addOpenOperations(site, openOperations);
  addDocs(admins, allOperations);
  addFirstPage(admins);
  addFiguresPage(admins);
  addFleetPage(admins);
  addFleetChosenPage(admins);
  addDevicePage(admins);
  addDeviceActsPages(admins);
  addAlarmsPage(admins);
  addRotationsPages(admins);
  addRotationsStartPages(admins);
  addPoliciesPages(admins);
  addPeoplePage(admins);
  addTokensPage(admins);
  addLoginPage(admins);
  addDisclosuresPage(admins);
  addKeyPage(admins);
  addBroughtPage(admins);
  addReleasesPage(admins);
  addEmergencyPage(admins);
  ground.every(30_000, 'approvals', () => watchApprovals(ground));
  ground.every(10 * 60_000, 'reminders', () => remindOfEmergencyAccounts(ground.backend));
  addAuditPage(admins);
  admins.page('/you', 'signed-in', async (visit) => ({
    title: 'Your roles',
    body: html`<h1>What you may do here</h1>
<div class="scroll" tabindex="0" role="region" aria-label="What you may do"><table><thead><tr><th scope="col">Permission</th><th scope="col">You may</th><th scope="col">For</th></tr></thead>
<tbody>${grantsInWords(visit.admin).map(({ permission, says, where }) => html`<tr><td><code>${permission}</code></td><td>${says}</td><td>${where}</td></tr>`)}</tbody></table></div>`,
  }));
}

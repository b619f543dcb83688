import type { PeopleSettings } from '../server/people-settings.ts';
import { frameWords } from './frame-words.ts';
import { type Html, html } from './html.ts';
import type { Page, Visit } from './visit.ts';
import { type Language, languageNames, languages } from './words.ts';

/** What every page of a site has in common. */
export interface FrameParts {
  organisation: string;
  settings: PeopleSettings;
  /** Null: the organisation has its name only. */
  logoPath: string | null;
  /** The address of a style or script. */
  assetPath(name: string): string;
}

/** Right-to-left where a language is; none of ours is yet. */
const direction = (_: Language): 'ltr' | 'rtl' => 'ltr';

/** Closed until it is wanted: four names would take the first screen of a telephone. */
const languageSwitch = (
  visit: Visit,
  back: string,
): Html => html`<details class="languages"><summary><span class="hidden-words">${frameWords[visit.language].language}: </span>${languageNames[visit.language]}</summary>
<form method="post" action="/language">${visit.token('/language')}<input type="hidden" name="then" value="${back}">
<ul class="links">${languages
  .filter((language) => language !== visit.language)
  .map((language) => html`<li><button name="language" value="${language}" lang="${language}" class="quiet">${languageNames[language]}</button></li>`)}</ul>
</form></details>`;

function person(visit: Visit): Html | null {
  const words = frameWords[visit.language];
  if (!visit.session) return null;
  return html`<div class="person"><nav><ul class="links"><li><a href="/macs">${words.home}</a></li><li><a href="/account">${words.account}</a></li></ul></nav>
<form method="post" action="/sign-out">${visit.token('/sign-out')}<button class="quiet">${words.signOut}</button></form>
<p>${words.signedInAs(visit.session.person.displayName)}</p></div>`;
}

function footer({ settings }: FrameParts, visit: Visit): Html {
  const words = frameWords[visit.language];
  const { privacyPage, adminPage } = settings.brand;
  const links = [
    { to: '/cannot-sign-in', words: words.forHelp },
    ...(privacyPage ? [{ to: privacyPage, words: words.privacy }] : []),
    ...(adminPage ? [{ to: adminPage, words: words.forAdmins }] : []),
  ];
  return html`<footer class="foot"><ul class="links">${links.map(({ to, words: text }) => html`<li><a href="${to}">${text}</a></li>`)}</ul></footer>`;
}

/** A whole page. `back`: where to be again after a change of language. */
export function frame(parts: FrameParts, visit: Visit, page: Page, back: string): string {
  const { language } = visit;
  const words = frameWords[language];
  const bodyLanguage = page.language ?? language;
  // A script is asked for before anything is painted: not where it has nothing to do.
  const hasTimes = page.body.toString().includes('<time');
  const scripts = (page.scripts ?? [])
    .filter((name) => name !== 'times' || hasTimes)
    .map((name) => html`<script type="module" src="${parts.assetPath(`${name}.js`)}"></script>`);
  // The name stands beside it, so the picture itself is for nobody who cannot see it.
  const logo = parts.logoPath === null ? null : html`<img src="${parts.logoPath}" alt="" height="36">`;
  return html`<!doctype html>
<html lang="${language}" dir="${direction(language)}">
<head>
<meta charset="utf-8">
<title>${page.title} – ${parts.organisation}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="${parts.assetPath('icon.svg')}">
<link rel="stylesheet" href="${parts.assetPath('site.css')}">
${scripts}</head>
<body>
<a class="skip" href="#content">${words.skip}</a>
<header class="head"><p class="brand">${logo}${parts.organisation}</p>${languageSwitch(visit, back)}${person(visit)}</header>
<main id="content" tabindex="-1"${bodyLanguage === language ? null : html` lang="${bodyLanguage}" dir="${direction(bodyLanguage)}"`}>
${page.body}
</main>
<p class="print-refusal">${words.noPrint}</p>
${footer(parts, visit)}
</body>
</html>
`.toString();
}

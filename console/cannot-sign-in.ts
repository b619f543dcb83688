import { html } from '../web/html.ts';
import type { Site } from '../web/visit.ts';

/** Whom an admin asks who cannot sign in: nobody is told by a page that anybody may open who the owners are. */
export function addCannotSignIn(site: Site): void {
  const { contact } = site.ground.settings;
  site.page('/cannot-sign-in', 'nobody', async () => ({
    title: 'Help with signing in',
    body: html`<h1>Help with signing in</h1>
<p>You sign in here with your work account, as in the portal, or with an account that was made for you.</p>
<ul>
<li>Signed in, and it says that you have no role: an owner of Sparekey gives you one.</li>
<li>The provider of your organisation is down: the owners keep two emergency accounts with passkeys.</li>
<li>Nobody can sign in: the operator of this server gives a role with <code>sparekey-server role give</code>.</li>
</ul>
${
  contact &&
  html`<section class="note"><h2>${contact.name}</h2><dl class="facts">${contact.phone === undefined ? null : html`<dt>Telephone</dt><dd>${contact.phone}</dd>`}${contact.hours === undefined ? null : html`<dt>Hours</dt><dd>${contact.hours}</dd>`}${contact.email === undefined ? null : html`<dt>Mail</dt><dd><a href="mailto:${contact.email}">${contact.email}</a></dd>`}</dl></section>`
}
<p class="ways"><a href="/sign-in">Sign in</a></p>`,
  }));
}

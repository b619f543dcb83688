import { createHash, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { AxeBuilder } from '@axe-core/playwright';
import { type Browser, type BrowserContext, type CDPSession, chromium, type Page } from 'playwright-core';

/*
 * A real Chromium before the portal. Knows nothing of jest: the scripts use it too. Whatever a page says on its console, every
 * breach of its content security policy and every request to somewhere else is a complaint, and a test with one has failed.
 */

/** The browser of this machine: as it is told, as Debian installs it, or as playwright keeps it. Null: there is none. */
export function findChromium(): string | null {
  const told = process.env['CHROMIUM'];
  if (told !== undefined && told !== '') return existsSync(told) ? told : null;
  const kept = join(homedir(), '.cache', 'ms-playwright');
  const builds = existsSync(kept) ? readdirSync(kept).filter((name) => name.startsWith('chromium-')) : [];
  const places = [
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    ...builds.map((name) => join(kept, name, 'chrome-linux', 'chrome')),
  ];
  return places.find(existsSync) ?? null;
}

export const noChromium = 'there is no Chromium here (install Debian’s chromium, or name one with CHROMIUM=/path)';

export interface Looks {
  language?: string;
  javaScript?: boolean;
  /** CSS pixels. */
  width?: number;
  height?: number;
  colours?: 'light' | 'dark';
  /** A finger, and the screen of a phone. */
  phone?: boolean;
  zoom?: number;
  reducedMotion?: boolean;
  forcedColours?: boolean;
}

export interface Visitor {
  context: BrowserContext;
  page: Page;
  /** What the pages should not have said or done. */
  complaints: string[];
  /** A path of the portal, in the page. */
  go(path: string): Promise<void>;
  /** One more tab of the same browser: same cookies. */
  tab(): Promise<Page>;
  close(): Promise<void>;
}

export interface OpenBrowser {
  browser: Browser;
  visit(looks?: Looks): Promise<Visitor>;
  close(): Promise<void>;
}

/** Chromium takes a certificate by the digest of its public key, so nothing else is trusted that would not be. */
const keyDigest = (der: Buffer): string =>
  createHash('sha256')
    .update(new X509Certificate(der).publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64');

/** The digest of the key with which this very listener on loopback answers now. */
function keyOf(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve(keyDigest(socket.getPeerCertificate(false).raw));
      socket.end();
    });
    socket.on('error', reject);
  });
}

/**
 * `url`: the portal's address, whose name leads to 127.0.0.1 here. `elsewhere`: origins of sign-in providers.
 * `keepPages`: pages that were left are kept whole for the back button, as people's browsers do and playwright does not.
 */
export async function openBrowser(options: { url: string; elsewhere?: readonly string[]; keepPages?: boolean }): Promise<OpenBrowser> {
  const executablePath = findChromium();
  if (executablePath === null) throw new Error(noChromium);
  const { hostname, origin, port } = new URL(options.url);
  const numeric = /^[\d.]+$/.test(hostname);
  const browser = await chromium.launch({
    executablePath,
    chromiumSandbox: process.getuid?.() !== 0,
    ...(options.keepPages ? { ignoreDefaultArgs: ['--disable-back-forward-cache'] } : {}),
    args: [
      `--ignore-certificate-errors-spki-list=${await keyOf(Number(port || 443))}`,
      ...(numeric ? [] : [`--host-resolver-rules=MAP ${hostname} 127.0.0.1`]),
      '--disable-gpu',
      '--disable-dev-shm-usage',
    ],
  });
  const allowed = new Set([origin, ...(options.elsewhere ?? [])]);

  async function visit(looks: Looks = {}): Promise<Visitor> {
    const { width = 1280, height = 900, zoom = 1 } = looks;
    const context = await browser.newContext({
      baseURL: origin,
      locale: looks.language ?? 'en-GB',
      timezoneId: 'Europe/Amsterdam',
      javaScriptEnabled: looks.javaScript ?? true,
      colorScheme: looks.colours ?? 'light',
      reducedMotion: looks.reducedMotion ? 'reduce' : 'no-preference',
      forcedColors: looks.forcedColours ? 'active' : 'none',
      // A page at 200 % has half the width in its own pixels.
      viewport: { width: Math.round(width / zoom), height: Math.round(height / zoom) },
      deviceScaleFactor: zoom,
      ...(looks.phone ? { isMobile: true, hasTouch: true } : {}),
    });
    context.setDefaultTimeout(10_000);
    if (looks.javaScript === false) scriptless.add(context);
    const complaints: string[] = [];
    context.on('page', (page) => listen(page, allowed, origin, complaints));
    const page = await context.newPage();
    return {
      context,
      page,
      complaints,
      go: async (path) => void (await page.goto(path)),
      tab: () => context.newPage(),
      close: () => context.close(),
    };
  }
  return { browser, visit, close: () => browser.close() };
}

const scriptless = new WeakSet<BrowserContext>();

function listen(page: Page, allowed: ReadonlySet<string>, origin: string, complaints: string[]): void {
  const ours = (url: string) => url === '' || url.startsWith(`${origin}/`);
  page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error.message}`));
  page.on('console', (message) => {
    // A page that says no does so with a status, which Chromium repeats on the console: of pages that is no complaint.
    const statusOfPage = /^Failed to load resource: the server responded with a status/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && ours(message.location().url) && !statusOfPage)
      complaints.push(`${page.url()}: ${message.type()}: ${message.text()}`);
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (['data:', 'blob:', 'about:'].includes(url.protocol)) return;
    if (!allowed.has(url.origin) || (url.origin !== origin && ours(page.url()) && request.resourceType() !== 'document'))
      complaints.push(`${page.url()}: asks ${url.origin} for a ${request.resourceType()}`);
  });
  page.on('response', (response) => {
    if (ours(response.url()) && response.status() >= 400 && ['stylesheet', 'script', 'image', 'font'].includes(response.request().resourceType()))
      complaints.push(`${page.url()}: ${response.url()} → ${response.status()}`);
  });
  page.on('requestfailed', (request) => {
    const type = request.resourceType();
    if (ours(request.url()) && ['stylesheet', 'script', 'image', 'font'].includes(type))
      complaints.push(`${page.url()}: ${type} ${request.url()}: ${request.failure()?.errorText}`);
  });
}

const standards = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice'];

/** What axe-core has against the page as it is now: one line each. Empty is the only good answer. */
export async function axeViolations(page: Page): Promise<string[]> {
  return scriptless.has(page.context()) ? axeOnCopy(page) : axeOn(page);
}

async function axeOn(page: Page): Promise<string[]> {
  // One frame: the simple way of axe, which opens no page of its own.
  const { violations } = await new AxeBuilder({ page }).withTags(standards).setLegacyMode().analyze();
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, html, any }) => `${id}: ${help}: ${target.join(' ')}: ${any[0]?.message ?? html.slice(0, 120)}`),
  );
}

/** Axe is a script: where none may run, it looks at the same markup with the same style in a page in which only axe runs. */
async function axeOnCopy(page: Page): Promise<string[]> {
  const body = (await page.content()).replace(/<script[^>]*><\/script>/g, '');
  const url = page.url();
  const context = await page.context().browser()?.newContext({ viewport: page.viewportSize() });
  if (!context) throw new Error('no browser');
  try {
    const copy = await context.newPage();
    await copy.route(url, (route) => route.fulfill({ body, contentType: 'text/html; charset=utf-8' }));
    await copy.goto(url);
    return await axeOn(copy);
  } finally {
    await context.close();
  }
}

// What runs in the page is text: nothing else here may take one of a browser's names for its own.

/** Whether anything on the page is wider than the window: what a small screen would have to be scrolled sideways for. */
export const tooWide = (page: Page): Promise<string[]> =>
  page.evaluate(`(() => {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room) return [];
    // What is hidden from sight and said by screen readers lies one pixel small somewhere.
    const isOver = ({ right, width }) => width > 1 && right > room + 1;
    const over = [...document.querySelectorAll('body *')].filter((one) => isOver(one.getBoundingClientRect()));
    return over.slice(0, 5).map((one) => one.tagName.toLowerCase() + '.' + one.className);
  })()`);

/** What is made to be touched and is smaller than a fingertip: 44 px, as look and Apple's guidelines have it. Links in a sentence are as high as it. */
export const tooSmall = (page: Page): Promise<string[]> =>
  page.evaluate(`(() => {
    const touched = [...document.querySelectorAll('button, summary, input:not([type=hidden], [type=radio], [type=checkbox]), textarea, select, a.button')];
    const isSmall = ({ width, height }) => width > 0 && height > 0 && height < 43.5;
    return touched.filter((one) => one.checkVisibility() && isSmall(one.getBoundingClientRect())).slice(0, 5)
      .map((one) => one.tagName.toLowerCase() + ' “' + (one.textContent || one.name).trim().slice(0, 30) + '” ' + one.getBoundingClientRect().height);
  })()`);

/** Every place of the browser in which something of a page may stay, as one text. */
export async function leftBehind(page: Page): Promise<string> {
  const inPage = await withScripts(page, () =>
    page.evaluate<string>(`(async () => {
      const kept = [{ ...localStorage }, { ...sessionStorage }, history.state, document.title, location.href, document.referrer, document.cookie];
      return JSON.stringify([...kept, await indexedDB.databases(), await caches.keys()]);
    })()`),
  );
  const cookies = await page.context().cookies();
  return [inPage, JSON.stringify(cookies)].join('\n');
}

const timekeepers = new WeakMap<Page, CDPSession>();
/**
 * The browser's own time passes: its timers, its clock, and the `Refresh` of a page without scripts, all without being waited
 * for. From then on time stands still in this page, until it is moved again or goes on.
 */
export async function passInBrowser(page: Page, seconds: number): Promise<void> {
  const session = timekeepers.get(page) ?? (await page.context().newCDPSession(page));
  timekeepers.set(page, session);
  const over = new Promise<void>((resolve) => session.once('Emulation.virtualTimeBudgetExpired', () => resolve()));
  await session.send('Emulation.setVirtualTimePolicy', { policy: 'advance', budget: seconds * 1000 });
  await over;
}

/** Time goes on in it by itself again: while nothing is being fetched much faster than usual, so that nothing is waited for. */
export async function letTimeGoOn(page: Page): Promise<void> {
  await timekeepers.get(page)?.send('Emulation.setVirtualTimePolicy', { policy: 'pauseIfNetworkFetchesPending', budget: 1e9 });
}

/** Ours may run in a browser whose pages' scripts do not; those have not been started, and are not started now. */
async function withScripts<T>(page: Page, work: () => Promise<T>): Promise<T> {
  if (!scriptless.has(page.context())) return work();
  const session = await page.context().newCDPSession(page);
  await session.send('Emulation.setScriptExecutionDisabled', { value: false });
  try {
    return await work();
  } finally {
    await session.send('Emulation.setScriptExecutionDisabled', { value: true });
    await session.detach();
  }
}

/** A passkey that the browser itself keeps and that is always confirmed: stands for Face ID or a fingerprint. */
export async function givePasskeys(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send('WebAuthn.enable');
  await session.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
}

/** A picture for whoever looks at the pages: `SPAREKEY_SCREENSHOTS` names the folder. */
export async function picture(page: Page, name: string, folder: string | undefined = process.env['SPAREKEY_SCREENSHOTS']): Promise<void> {
  if (folder === undefined || folder === '') return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

import { createHash, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
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

/** `moreArgs`: of Chromium's command line. */
async function launchOptions(url: string, moreArgs: readonly string[] = []) {
  const executablePath = findChromium();
  if (executablePath === null) throw new Error(noChromium);
  const { hostname, port } = new URL(url);
  const numeric = /^[\d.]+$/.test(hostname);
  return {
    executablePath,
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      `--ignore-certificate-errors-spki-list=${await keyOf(Number(port || 443))}`,
      ...(numeric ? [] : [`--host-resolver-rules=MAP ${hostname} 127.0.0.1`]),
      '--disable-gpu',
      '--disable-dev-shm-usage',
      ...moreArgs,
    ],
  };
}

/**
 * `url`: the portal's address, whose name leads to 127.0.0.1 here. `elsewhere`: origins of sign-in providers.
 * `keepPages`: pages that were left are kept whole for the back button, as people's browsers do and playwright does not.
 */
export async function openBrowser(options: { url: string; elsewhere?: readonly string[]; keepPages?: boolean }): Promise<OpenBrowser> {
  const { origin } = new URL(options.url);
  const browser = await chromium.launch({
    ...(await launchOptions(options.url)),
    ...(options.keepPages ? { ignoreDefaultArgs: ['--disable-back-forward-cache'] } : {}),
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
    context.setDefaultTimeout(60_000);
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

/**
 * A Chromium whose tabs are duplicated, closed and opened again by its own means, which only an extension reaches, and an
 * extension only a browser with a profile of its own.
 */
export async function openTabs(url: string) {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-tabs-'));
  const extension = join(folder, 'extension');
  mkdirSync(extension);
  const manifest = { manifest_version: 3, name: 'tabs', version: '1', permissions: ['tabs', 'sessions'], background: { service_worker: 'tabs.js' } };
  writeFileSync(join(extension, 'manifest.json'), JSON.stringify(manifest));
  writeFileSync(join(extension, 'tabs.js'), '');
  const context = await chromium.launchPersistentContext(join(folder, 'profile'), {
    ...(await launchOptions(url, [`--load-extension=${extension}`, `--disable-extensions-except=${extension}`])),
    ignoreDefaultArgs: ['--disable-extensions', '--disable-back-forward-cache'],
    baseURL: url,
  });
  context.setDefaultTimeout(60_000);
  const complaints: string[] = [];
  context.on('page', (page) => listen(page, new Set([url]), url, complaints));
  const worker = context.serviceWorkers()[0] ?? (await context.waitForEvent('serviceworker'));
  /** Runs in the extension; the page that comes is ready. */
  async function comes(script: string): Promise<Page> {
    const coming = context.waitForEvent('page');
    await worker.evaluate(script);
    const page = await coming;
    await page.waitForLoadState('load').catch(() => undefined);
    await page.waitForFunction("document.readyState === 'complete' && location.href !== 'about:blank'");
    return page;
  }
  const tabOf = (page: Page): string => `chrome.tabs.query({}).then((tabs) => tabs.find(({ url }) => url === ${JSON.stringify(page.url())}).id)`;
  return {
    context,
    complaints,
    duplicate: (page: Page) => comes(`${tabOf(page)}.then((id) => chrome.tabs.duplicate(id))`),
    /** As its button does; the browser goes on with another tab. */
    async close(page: Page): Promise<void> {
      await context.newPage();
      await worker.evaluate(`${tabOf(page)}.then((id) => chrome.tabs.remove(id))`);
    },
    reopen: () => comes('chrome.sessions.restore()'),
    async end(): Promise<void> {
      await context.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
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

/** What depends on colours and sizes, and may differ where the same page is only drawn differently. */
const ofDrawing = ['color-contrast', 'link-in-text-block', 'target-size'];

/** What axe-core has against the page as it is now: one line each. Empty is the only good answer. */
export async function axeViolations(page: Page, about: 'all' | 'drawing' = 'all'): Promise<string[]> {
  return scriptless.has(page.context()) ? axeOnCopy(page) : axeOn(page, about);
}

async function axeOn(page: Page, about: 'all' | 'drawing' = 'all'): Promise<string[]> {
  // One frame: the simple way of axe, which opens no page of its own.
  const axe = new AxeBuilder({ page }).setLegacyMode();
  const { violations } = await (about === 'all' ? axe.withTags(standards) : axe.withRules(ofDrawing)).analyze();
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

/** Text of which a part is cut off, and text that lies on other text: one line each. What is hidden from sight is left out. */
export const crowded = (page: Page): Promise<string[]> =>
  page.evaluate(`(() => {
    const found = [];
    const seen = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !one.closest('.hidden-words, .skip');
    const short = (text) => '“' + text.trim().replace(/\\s+/g, ' ').slice(0, 40) + '”';
    for (const one of document.querySelectorAll('body *')) {
      // What scrolls by itself, and is reached by the keyboard, shows all of it.
      const clips = /hidden|clip|auto|scroll/.test(getComputedStyle(one).overflow) && one.tagName !== 'TEXTAREA' && one.tagName !== 'INPUT' && !one.matches('.scroll[tabindex="0"]');
      if (clips && seen(one) && (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1))
        found.push('cut off: ' + one.tagName.toLowerCase() + ' ' + short(one.textContent));
    }
    const lines = [];
    // What is scrolled away lies on nothing.
    const isIn = (scrolled, of) => {
      const box = scrolled?.getBoundingClientRect();
      return !box || (of.left >= box.left - 1 && of.right <= box.right + 1 && of.top >= box.top - 1 && of.bottom <= box.bottom + 1);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      if (text.data.trim() === '' || !seen(text.parentElement)) continue;
      const range = document.createRange();
      range.selectNodeContents(text);
      for (const { left, right, top, bottom } of range.getClientRects())
        if (right - left > 1 && isIn(text.parentElement.closest('.scroll[tabindex="0"]'), { left, right, top, bottom })) lines.push({ left, right, top: top + scrollY, bottom: bottom + scrollY, text, layer: text.parentElement.closest('.languages form') });
    }
    const room = document.documentElement.clientWidth;
    for (const { left, right, text } of lines) if (left < -1 || right > room + 1) found.push('cut off: ' + short(text.data));
    lines.sort((a, b) => a.top - b.top);
    lines.forEach((one, at) => {
      for (let next = at + 1; next < lines.length && lines[next].top < one.bottom; next++) {
        const two = lines[next];
        const across = Math.min(one.right, two.right) - Math.max(one.left, two.left);
        // A line may reach a little into the next one: letters do not fill it.
        const down = Math.min(one.bottom, two.bottom) - two.top;
        const least = Math.min(one.bottom - one.top, two.bottom - two.top) / 4;
        if (across > 2 && down > least && one.layer === two.layer) found.push(short(one.text.data) + ' lies on ' + short(two.text.data));
      }
    });
    return [...new Set(found)].slice(0, 5);
  })()`);

/** What moves: animations that run, and transitions that would. For whoever has asked their system for less of it. */
export const moving = (page: Page): Promise<string[]> =>
  page.evaluate(`(() => {
    const long = (times) => times.split(',').some((time) => parseFloat(time) * (/ms$/.test(time.trim()) ? 1 : 1000) > 10);
    const all = [...document.querySelectorAll('*')].flatMap((one) => ['', '::before', '::after'].map((part) => [one, part, getComputedStyle(one, part || null)]));
    const would = all.filter(([, , style]) => long(style.transitionDuration) || long(style.animationDuration) || style.scrollBehavior === 'smooth');
    const runs = document.getAnimations().filter((one) => one.playState === 'running' && one.effect?.getComputedTiming().activeDuration > 10);
    return [...would.map(([one, part]) => one.tagName.toLowerCase() + '.' + one.className + part), ...runs.map(() => 'an animation runs')].slice(0, 5);
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

/** What a screen reader is given, in its order: one line each, `heading 2: Group 1 of 6`, `text: A Alfa`. */
export async function heardOn(page: Page): Promise<string[]> {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  await session.detach();
  const byId = new Map(nodes.map((node) => [node.nodeId, node]));
  const linesOf = (id: string): string[] => {
    const node = byId.get(id);
    if (!node) return [];
    const role = String(node.role?.value);
    const level = role === 'heading' ? ` ${node.properties?.find(({ name }) => name === 'level')?.value.value}` : '';
    const own = node.ignored || role === 'InlineTextBox' ? [] : [`${role === 'StaticText' ? 'text' : role}${level}: ${node.name?.value ?? ''}`];
    return [...own, ...(node.childIds ?? []).flatMap(linesOf)];
  };
  return linesOf(nodes[0]?.nodeId ?? '');
}

/** A browser that is driven says to each page that it has the focus; from now on only the one in front has it. */
export async function mayLoseFocus(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  for (const enabled of [true, false]) await session.send('Emulation.setFocusEmulationEnabled', { enabled });
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

import { cpus } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Page } from 'playwright-core';
import { mountPortal } from '../portal/portal.ts';
import type { MountSites } from '../server/serve.ts';
import { findChromium, noChromium, type OpenBrowser, openBrowser } from '../test/browser.ts';
import { givenPages, type PageState } from '../test/portal-states.ts';
import { closeAll } from '../test/together.ts';

/*
 * What a page of the portal weighs, and when its first words are seen: in Chromium, on a listener with real TLS on loopback,
 * in a browser that has seen nothing of it before. The measure is the ratio to a static page of the same server: the sign-in
 * page as it was once, without its script, sent as it is. The rounds are interleaved, so that a busy moment falls on all of them
 * alike; the median counts, and what missed its aim is painted again before it is said. Three static pages of two sentences tell
 * what a page's words, the headers and the style cost a browser that is cold: nothing is hidden in the basis.
 */

const help = `npm run bench:portal [-- --rounds N] [--only PATTERN] [--json]

  --rounds N       how often each page is painted (default 9)
  --only PATTERN   states whose name matches this regular expression; the last line then tells of these alone
  --json           the last line is one JSON object
`;
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    only: { type: 'string', default: '' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 3 || rounds > 100) {
  process.stderr.write('bench:portal: error: --rounds must be a whole number from 3 to 100\n');
  process.exit(64);
}
if (findChromium() === null) {
  process.stderr.write(`bench:portal: error: ${noChromium}\n`);
  process.exit(75);
}

const mostBytes = 30 * 1024;
const mostRatio = 1.5;

interface Weight {
  /** As it came over the wire, without headers. */
  sent: number;
  /** As the browser has it. */
  plain: number;
  html: number;
  styles: number;
  scripts: number;
}
interface Measured extends Weight {
  paint: number[];
}

const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};

/** What every page of the site is sent with; what belongs to one answer alone is not of it. */
const ofOneAnswer = ['set-cookie', 'content-length', 'content-type', 'date', 'x-request-id', 'connection', 'keep-alive'];

/** Pages that no program writes: a whole one as the site has them, and one of two sentences with its style and headers, with its style only, and with nothing. */
const staticPages: MountSites = async (ground) => {
  const page = (head: string) =>
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Static</title>${head}</head><body><main><h1>A page</h1><p>It was written once and is sent as it is.</p></main></body></html>`;
  const least = { 'content-security-policy': "default-src 'none'; style-src 'self'", 'cache-control': 'no-store' };
  /** As the sign-in page has them. Looked at once, when all routes are there: in the first round, which is not timed. */
  let ofSite: { whole: string; style: string; headers: Record<string, string> } | null = null;
  async function lookAtSite() {
    const { headers, payload } = await ground.http.app.inject({ method: 'GET', url: '/sign-in' });
    const kept = Object.entries(headers).flatMap(([name, value]) => (ofOneAnswer.includes(name) ? [] : [[name, String(value)]]));
    const whole = payload.replace(/<script[\s\S]*?<\/script>/g, '');
    return { whole, style: /<link rel="stylesheet"[^>]*>/.exec(payload)?.[0] ?? '', headers: Object.fromEntries(kept) };
  }
  const add = (name: string, has: { style: boolean; headers: boolean }) =>
    ground.http.app.get(`/static/${name}`, async (_, reply) => {
      ofSite ??= await lookAtSite();
      return reply
        .headers(has.headers ? ofSite.headers : least)
        .type('text/html; charset=utf-8')
        .send(page(has.style ? ofSite.style : ''));
    });
  await mountPortal(ground);
  ground.http.app.get('/static/whole', async (_, reply) => {
    ofSite ??= await lookAtSite();
    return reply.headers(ofSite.headers).type('text/html; charset=utf-8').send(ofSite.whole);
  });
  add('same-headers', { style: true, headers: true });
  add('styled', { style: true, headers: false });
  add('bare', { style: false, headers: false });
};

/** Resolves when the first words have been painted: milliseconds since the navigation began. */
const firstPaint = (page: Page): Promise<number> =>
  page.evaluate(`new Promise((resolve) => {
    new PerformanceObserver((list) => {
      const first = list.getEntriesByName('first-contentful-paint')[0];
      if (first) resolve(first.startTime);
    }).observe({ type: 'paint', buffered: true });
  })`);

async function weigh(page: Page, go: () => Promise<void>): Promise<Weight> {
  const weight: Weight = { sent: 0, plain: 0, html: 0, styles: 0, scripts: 0 };
  const waiting: Promise<void>[] = [];
  const listen = (response: import('playwright-core').Response): void => {
    const kind = response.request().resourceType();
    const field = kind === 'document' ? 'html' : kind === 'stylesheet' ? 'styles' : 'scripts';
    waiting.push(
      (async () => {
        if (response.status() >= 300 && response.status() < 400) return;
        const [{ responseBodySize }, body] = [await response.request().sizes(), await response.body()];
        weight.sent += responseBodySize;
        weight.plain += body.length;
        weight[field] += body.length;
      })(),
    );
  };
  page.on('response', listen);
  await go();
  await page.waitForLoadState('networkidle');
  page.off('response', listen);
  await Promise.all(waiting);
  return weight;
}

/** After this a browser has a process ready for the next site, as it has for people, who do not type as fast. */
const settleMilliseconds = 300;

/**
 * People come from a page of somewhere else: a start page, a mail, a search. A browser changes the process then in any case. Out
 * of an empty tab it would do so for a page with `Cross-Origin-Opener-Policy` alone, and have none ready.
 */
async function comeFromElsewhere(page: Page, url: string): Promise<void> {
  const elsewhere = new URL('/static/bare', url);
  // The same listener, another site.
  elsewhere.hostname = elsewhere.hostname === '127.0.0.1' ? 'localhost' : '127.0.0.1';
  await page.goto(elsewhere.href);
  await page.waitForTimeout(settleMilliseconds);
}

/** Chromium now and then does not paint a page of a new process at all, and says nothing: nobody waits for that for ever. */
const longestVisit = 30_000;
const mostTries = 3;

async function paintOnce(browser: OpenBrowser, url: string, state: PageState, taken: Map<string, Measured>): Promise<void> {
  for (let tries = 1; ; tries++) {
    // A browser that has seen nothing: every style and script is asked for.
    const visitor = await browser.visit({ language: 'en-GB' });
    const late = new AbortController();
    try {
      const visit = async (): Promise<'seen'> => {
        await visitor.context.addCookies([...state.cookies]);
        await comeFromElsewhere(visitor.page, url);
        for (const step of state.steps.slice(0, -1)) await step(visitor.page);
        const last = state.steps.at(-1) ?? (async () => undefined);
        if (!taken.has(state.name)) taken.set(state.name, { ...(await weigh(visitor.page, () => last(visitor.page))), paint: [] });
        else {
          await last(visitor.page);
          taken.get(state.name)?.paint.push(await firstPaint(visitor.page));
        }
        return 'seen';
      };
      const seen = visit();
      // Closing the page ends what waits in it, and that is heard here already.
      seen.catch(() => undefined);
      const tooLong = wait(longestVisit, 'late' as const, { signal: late.signal }).catch(() => 'late' as const);
      if ((await Promise.race([seen, tooLong])) === 'seen') return;
      if (tries === mostTries) throw new Error(`${state.name} was not painted within ${longestVisit / 1000} s, ${mostTries} times`);
      process.stderr.write(`\n${state.name} was not painted within ${longestVisit / 1000} s: once more\n`);
    } finally {
      late.abort();
      await visitor.close();
    }
  }
}

async function measure(browser: OpenBrowser, url: string, basis: PageState, states: readonly PageState[], taken: Map<string, Measured>): Promise<void> {
  // Before every third page the basis again: what the machine does besides then weighs on both alike.
  const order = states.flatMap((state, at) => (at % 3 === 0 ? [basis, state] : [state]));
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`\rround ${round + 1} of ${rounds}`);
    for (const state of order) await paintOnce(browser, url, state, taken);
  }
  process.stderr.write('\n');
}

const paintOf = (taken: Map<string, Measured>, name: string): number => median(taken.get(name)?.paint ?? []);
const missedBy = (taken: Map<string, Measured>, name: string): boolean => paintOf(taken, name) / paintOf(taken, 'static') > mostRatio;

/** Of many medians of a few samples some are high by chance: those pages are painted again, beside the basis, and all of their samples count. */
async function measureAll(browser: OpenBrowser, url: string, basis: PageState, states: readonly PageState[]): Promise<Map<string, Measured>> {
  const taken = new Map<string, Measured>();
  await measure(browser, url, basis, states, taken);
  for (let again = 0; again < 2; again++) {
    const missed = states.filter(({ name }) => missedBy(taken, name));
    if (missed.length === 0) break;
    process.stderr.write(`${missed.length} painted again\n`);
    await measure(browser, url, basis, missed, taken);
  }
  return taken;
}

const go = (name: string, path: string): PageState => ({ name, cookies: [], alike: false, steps: [async (page) => void (await page.goto(path))] });

try {
  const { url, states: all } = await givenPages({ mountSites: staticPages });
  const states = all.filter(({ name }) => new RegExp(values.only).test(name));
  const browser = await openBrowser({ url });
  try {
    const others = [go('headers', '/static/same-headers'), go('styled', '/static/styled'), go('bare', '/static/bare')];
    print(await measureAll(browser, url, go('static', '/static/whole'), [...others, ...states.filter(({ alike }) => !alike)]));
  } finally {
    await browser.close();
  }
} finally {
  await closeAll();
}

function print(all: Map<string, Measured>): void {
  const basis = paintOf(all, 'static');
  const kilobytes = (bytes: number) => (bytes / 1024).toFixed(1).padStart(6);
  process.stdout.write(`${rounds} rounds, the first for the weight, then the median; node ${process.version}, ${cpus()[0]?.model ?? 'unknown processor'}\n\n`);
  process.stdout.write('page                        html  styles scripts |  plain   sent KiB | paint ms  ratio\n');
  let largestBytes = 0;
  let largestSentBytes = 0;
  let slowest = 0;
  for (const [name, { html, styles, scripts, plain, sent, paint }] of all) {
    const milliseconds = median(paint);
    const ratio = milliseconds / basis;
    if (!['static', 'headers', 'styled', 'bare'].includes(name)) {
      largestBytes = Math.max(largestBytes, plain);
      largestSentBytes = Math.max(largestSentBytes, sent);
      slowest = Math.max(slowest, milliseconds);
    }
    const missed = plain > mostBytes || ratio > mostRatio ? '  missed' : '';
    process.stdout.write(
      `${name.padEnd(26)} ${kilobytes(html)} ${kilobytes(styles)} ${kilobytes(scripts)} | ${kilobytes(plain)} ${kilobytes(sent)}     | ${milliseconds.toFixed(1).padStart(8)} ${ratio.toFixed(2).padStart(6)}${missed}\n`,
    );
  }
  process.stdout.write(
    `\nAims: each page at most ${mostBytes} bytes, all in; its first words within ${mostRatio} times those of *static*, the sign-in page as a file, without its script.\nTwo sentences: *headers* with style and headers of the site, *styled* with its style, *bare* is nothing but HTML.\n`,
  );
  if (values.json) {
    const ratioTo = (milliseconds: number) => Number((slowest / milliseconds).toFixed(2));
    const paintMs = { static: basis, headers: paintOf(all, 'headers'), styled: paintOf(all, 'styled'), bare: paintOf(all, 'bare'), slowest };
    const others = { paintRatioHeaders: ratioTo(paintMs.headers), paintRatioStyled: ratioTo(paintMs.styled), paintRatioBare: ratioTo(paintMs.bare) };
    process.stdout.write(`${JSON.stringify({ pages: all.size - 4, paintMs, largestSentBytes, ...others, largestBytes, paintRatio: ratioTo(basis) })}\n`);
  }
}

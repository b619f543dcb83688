import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../protocol/problems.ts';
import { sendProblem } from '../server/http.ts';
import { networkOf, type Rate, tokenBuckets } from '../server/limits.ts';
import type { SitesGround } from '../server/serve.ts';
import { addAssets, readAssets } from './assets.ts';
import { browserName } from './browser-name.ts';
import { readCookies, writeCookie } from './cookies.ts';
import { errorPage, unreadablePage } from './errors.ts';
import { checkFormToken, makeFormToken, tokenField, tokenHeader } from './form-token.ts';
import { mostBodyBytes, readFields, takeForms } from './forms.ts';
import { type FrameParts, frame } from './frame.ts';
import { helpCodeOf } from './help-codes.ts';
import { html } from './html.ts';
import { createPaths, isLocalPath } from './paths.ts';
import { isSessionCookie, sessionCookieOf, sessionOf, visitorCookie } from './sessions.ts';
import type { Answer, Needs, Site, Visit, VisitOf } from './visit.ts';
import { chooseLanguage, type Language } from './words.ts';

/** Per address, behind which a whole organisation may be: what is sent, and pages that went wrong and are kept for the service desk. */
export interface SiteRates {
  sent: Rate;
  helpCodes: Rate;
}
const siteRates: SiteRates = { sent: { perMinute: 240, burst: 240 }, helpCodes: { perMinute: 20, burst: 40 } };

const yearSeconds = 365 * 24 * 60 * 60;
const languageCookie = 'language';

/** Nothing from elsewhere, nothing inline, in nobody's frame; scripts cannot make markup out of text. */
const pageHeaders = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'",
  'cache-control': 'no-store',
  // To other sites nothing. Not `no-referrer`, by which a browser would hide from us too where a form was sent from.
  'referrer-policy': 'same-origin',
  'permissions-policy':
    'accelerometer=(), autoplay=(), camera=(), clipboard-read=(), clipboard-write=(self), display-capture=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), identity-credentials-get=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-create=(self), publickey-credentials-get=(self), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
  'strict-transport-security': 'max-age=31536000',
  'x-content-type-options': 'nosniff',
} as const;

/** What is known of a request besides what its page sees. */
interface Known {
  visit: Visit;
  cookies: Readonly<Record<string, string>>;
  /** Whom forms are made for; a visitor gets a cookie for it with the first form. */
  holder(): string;
  /** Set where the first form of a visitor has been made. */
  newVisitor(): string | null;
}

interface SiteOptions {
  /** The organisation's own custom properties, as css. */
  brand?: string;
  logoPath?: string | null;
  rates?: SiteRates;
  /** Every page in this language, whatever the browser would like. */
  language?: Language;
  /** What stands around every page; default the portal's. */
  frame?: typeof frame;
  /** The page for what went wrong; default the portal's. */
  errorPage?: typeof errorPage;
  /** Beginnings of paths that programs ask: what goes wrong there is said as problem+json, and what is sent there is counted there. */
  programs?: readonly string[];
}

export function createSite(ground: SitesGround, options: SiteOptions = {}): Site {
  const { app } = ground.http;
  const { programs = [] } = options;
  const isForPrograms = (url: string): boolean => programs.some((path) => url.startsWith(path));
  const sessionCookie = sessionCookieOf(ground.site);
  const { clock, secrets, settings: serverSettings } = ground.backend;
  const assets = readAssets(options.brand ?? '');
  const parts: FrameParts = {
    organisation: serverSettings.organisation,
    settings: ground.settings,
    logoPath: options.logoPath ?? null,
    assetPath: assets.pathOf,
  };
  const { sent, helpCodes } = options.rates ?? siteRates;
  // Whoever has many addresses fills no table either, and uses up no codes: of six million that are kept for a week.
  const ofAll = { perMinute: 5 * helpCodes.perMinute, burst: 5 * helpCodes.burst };
  const buckets = { sent: tokenBuckets(sent), helpCodes: tokenBuckets(helpCodes), allHelpCodes: tokenBuckets(ofAll) };
  const paths = createPaths();
  const knownOf = new WeakMap<FastifyRequest, Known>();

  /** `without`: what could not be read, so that the page that says so does without it. */
  async function know(request: FastifyRequest, without: readonly ('query' | 'session')[] = []): Promise<Known> {
    const before = knownOf.get(request);
    if (before) return before;
    const cookies = readCookies(request.headers.cookie);
    // The token of a session is for nobody to see but sessions.ts.
    const { [sessionCookie]: token } = cookies;
    const pageCookies = Object.fromEntries(Object.entries(cookies).filter(([name]) => !isSessionCookie(name)));
    const at = clock.now();
    const [, query = ''] = request.url.split(/\?(.*)/s);
    const session = without.includes('session') ? null : await sessionOf(ground, token, at);
    let visitor = cookies[visitorCookie] ?? null;
    let newVisitor: string | null = null;
    const holder = (): string => {
      // As it is when the form is made: an act may have ended the session.
      if (visit.session) return `session:${visit.session.id}`;
      if (visitor === null) {
        newVisitor = randomBytes(16).toString('base64url');
        visitor = newVisitor;
      }
      return `visitor:${visitor}`;
    };
    const visit: Visit = {
      site: ground.site,
      params: (request.params ?? {}) as Record<string, string>,
      query: request.is404 || without.includes('query') ? {} : readFields(query),
      form: request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ? ((request.body ?? {}) as Record<string, string>) : {},
      path: isLocalPath(request.url) ? request.url : '/',
      language: options.language ?? chooseLanguage(cookies[languageCookie], request.headers['accept-language']),
      session,
      cookies: pageCookies,
      network: networkOf(ground.http.addressOf(request)),
      browser: browserName(request.headers['user-agent']),
      requestId: request.id,
      at,
      token: (act, once = false) =>
        html`<input type="hidden" name="${tokenField}" value="${makeFormToken(secrets.nonce, { holder: holder(), act }, at, once)}">`,
    };
    const known: Known = { visit, cookies, holder, newVisitor: () => newVisitor };
    knownOf.set(request, known);
    return known;
  }

  const backOf = (request: FastifyRequest, visit: Visit): string => (request.method === 'GET' && !request.is404 ? visit.path : paths.pageOf(visit.path));

  function send(request: FastifyRequest, reply: FastifyReply, known: Known, answer: Answer): FastifyReply {
    const cookies = [...(answer.cookies ?? [])];
    if ('to' in answer) {
      if (!answer.away && !isLocalPath(answer.to)) throw new Problem('SERVER_BUG', 'not a path of this site');
      reply.headers(pageHeaders).header('location', answer.to).code(303);
    } else if ('file' in answer) {
      const { name, type, content } = answer.file;
      const disposition = `attachment; filename="${name.replace(/[^\w.-]/g, '-')}"`;
      return reply.headers(pageHeaders).type(type).header('content-disposition', disposition).send(Readable.from(content));
    } else {
      const text = (options.frame ?? frame)(parts, known.visit, answer, backOf(request, known.visit));
      if (answer.refresh && !isLocalPath(answer.refresh.to)) throw new Problem('SERVER_BUG', 'not a path of this site');
      reply
        .headers({ ...answer.headers, ...pageHeaders })
        .type('text/html; charset=utf-8')
        .code(answer.status ?? 200);
      if (answer.refresh) reply.header('refresh', `${answer.refresh.seconds}; url=${answer.refresh.to}`);
      const visitor = known.newVisitor();
      if (visitor !== null && !cookies.some(({ name }) => name === visitorCookie)) cookies.push({ name: visitorCookie, value: visitor });
      reply.header('set-cookie', cookies.map(writeCookie));
      return reply.send(text);
    }
    reply.header('set-cookie', cookies.map(writeCookie));
    return reply.send('');
  }

  /** Null where the visitor may come; otherwise where they sign in first, and come back from. */
  function signInFirst(needs: Needs, known: Known, request: FastifyRequest): string | null {
    const { session } = known.visit;
    if (needs === 'nobody' || (session && (needs === 'person' || session.fresh))) return null;
    const then = encodeURIComponent(backOf(request, known.visit));
    const ended = !session && known.cookies[sessionCookie] !== undefined ? '&ended=1' : '';
    return `/sign-in?then=${then}${session ? '&again=1' : ended}`;
  }

  /** Every browser says where a form comes from; what says nothing is not one that has shown our page. */
  function checkOrigin(request: FastifyRequest): void {
    const { origin, 'sec-fetch-site': site } = request.headers;
    const isOurs = origin === ground.settings.url;
    if (site === undefined ? !isOurs : site !== 'same-origin' || !(isOurs || origin === undefined || origin === 'null')) throw new Problem('ORIGIN_REFUSED');
  }

  async function checkSent(request: FastifyRequest, known: Known, token: string | undefined): Promise<void> {
    checkFormToken(secrets.nonce, { holder: known.holder(), act: request.url.split('?')[0] ?? '' }, token, known.visit.at);
  }

  function limit(request: FastifyRequest): void {
    const wait = buckets.sent.take(networkOf(ground.http.addressOf(request)));
    if (wait !== null) throw new Problem('TOO_MANY_REQUESTS', undefined, { retryAfterSeconds: wait });
  }

  takeForms(app);
  addAssets(app, assets);
  app.addHook('onRequest', async (request) => {
    if (request.method === 'POST' && !isForPrograms(request.url)) limit(request);
  });

  ground.http.sayProblems(async (problem, request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const there = request.is404 ? paths.methodsOf(path) : [];
    // An address that cannot be decoded may look like one that there is.
    const allowed = there.includes(request.method) ? [] : there;
    const said = allowed.length > 0 ? new Problem('METHOD_NOT_ALLOWED') : problem;
    if (allowed.length > 0) reply.header('allow', allowed.join(', '));
    if (isForPrograms(request.url)) return sendProblem(reply, said, request.id);
    if (said.code === 'BODY_TOO_LARGE') reply.header('connection', 'close');
    const known = await know(request, ['query']).catch(() => know(request, ['query', 'session']));
    if (request.routeOptions.config && 'asks' in request.routeOptions.config) {
      const to = said.code === 'SIGNED_OUT' ? signInFirst('fresh', known, request) : null;
      reply.headers(pageHeaders).type('application/json; charset=utf-8').code(said.kind.status);
      return reply.send(JSON.stringify({ code: said.code, ...(to === null ? {} : { to }) }));
    }
    // Only where there is somebody to read it out.
    const isRead = /\btext\/html\b/.test(request.headers.accept ?? '');
    const code = isRead ? await keepForDesk(said, known.visit).catch(() => null) : null;
    const back = request.is404 ? '/' : backOf(request, known.visit);
    // Whoever is here by another name of this machine finds the one that forms are taken from.
    const goOn = said.code === 'ORIGIN_REFUSED' ? `${ground.settings.url}${back}` : back;
    const hasCookies = known.cookies[sessionCookie] !== undefined || known.cookies[visitorCookie] !== undefined;
    return send(request, reply, known, (options.errorPage ?? errorPage)(said, known.visit, { code, goOn, hasCookies }));
  }, unreadablePage(serverSettings.organisation));

  /** Null where somebody makes more mistakes than a service desk would ever be told. */
  async function keepForDesk(problem: Problem, visit: Visit): Promise<string | null> {
    if (problem.code === 'STORE_FAILED' || buckets.helpCodes.take(visit.network) !== null || buckets.allHelpCodes.take('') !== null) return null;
    return helpCodeOf(ground, visit, { page: `${problem.code} ${visit.path.split('?')[0]}` });
  }

  const site: Site = {
    ground,
    addPath: paths.add,
    visitOf: async (request) => (await know(request)).visit,
    async checkSent(request) {
      checkOrigin(request);
      const token = request.headers[tokenHeader];
      await checkSent(request, await know(request), typeof token === 'string' ? token : undefined);
    },
    page(path, needs, answer) {
      paths.add('GET', path);
      app.get(path, { exposeHeadRoute: true }, async (request, reply) => {
        const known = await know(request);
        const to = signInFirst(needs, known, request);
        return send(request, reply, known, to === null ? await answer(known.visit as VisitOf<typeof needs>) : { to });
      });
    },
    act(path, needs, answer) {
      paths.add('POST', path);
      app.post(path, { bodyLimit: mostBodyBytes }, async (request, reply) => {
        checkOrigin(request);
        const known = await know(request);
        const to = signInFirst(needs, known, request);
        if (to !== null) return send(request, reply, known, { to });
        await checkSent(request, known, known.visit.form[tokenField]);
        return send(request, reply, known, await answer(known.visit as VisitOf<typeof needs>));
      });
    },
    ask(path, needs, answer) {
      paths.add('POST', path);
      app.post(path, { bodyLimit: mostBodyBytes, config: { asks: true } }, async (request, reply) => {
        checkOrigin(request);
        const known = await know(request);
        if (signInFirst(needs, known, request) !== null) throw new Problem('SIGNED_OUT');
        const token = request.headers[tokenHeader];
        await checkSent(request, known, typeof token === 'string' ? token : undefined);
        const visit = Object.assign(known.visit, { json: request.body as unknown });
        const said = await answer(visit as VisitOf<typeof needs> & { json: unknown });
        reply.headers(pageHeaders).type('application/json; charset=utf-8');
        return reply.send(JSON.stringify(said ?? null));
      });
    },
  };
  if (options.language) return site;
  site.act('/language', 'nobody', async ({ form }) => ({
    to: isLocalPath(form['then'] ?? '') ? (form['then'] ?? '/') : '/',
    cookies: [{ name: languageCookie, value: chooseLanguage(form['language'], undefined), maxAgeSeconds: yearSeconds }],
  }));
  return site;
}

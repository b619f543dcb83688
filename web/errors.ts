import type { Problem, ProblemCode } from '../protocol/problems.ts';
import { frameWords } from './frame-words.ts';
import { html } from './html.ts';
import type { Page, Visit } from './visit.ts';
import { languages } from './words.ts';

type Said = keyof (typeof frameWords)['en']['errors'];

const saidOf: Partial<Record<ProblemCode, Said>> = {
  NOT_FOUND: 'notFound',
  METHOD_NOT_ALLOWED: 'notFound',
  FORM_REFUSED: 'formOld',
  SIGNED_OUT: 'formOld',
  FORM_SPENT: 'formSpent',
  ORIGIN_REFUSED: 'elsewhere',
  TOO_MANY_REQUESTS: 'tooMany',
  MESSAGE_INVALID: 'notUnderstood',
  BODY_TOO_LARGE: 'notUnderstood',
  STORE_FAILED: 'later',
  SERVER_STOPPING: 'later',
};

/** What happened, what it means, where to go on; the code after the words, small. */
export function errorPage(problem: Problem, visit: Visit, { code, goOn, hasCookies }: { code: string | null; goOn: string; hasCookies: boolean }): Page {
  const words = frameWords[visit.language];
  // Each page with a form brings a cookie: a form without one comes from a browser that keeps none.
  const said = problem.code === 'FORM_REFUSED' && !hasCookies ? 'noCookies' : saidOf[problem.code];
  const { title, text } = words.errors[said ?? 'broken'];
  const { retryAfterSeconds } = problem;
  return {
    title,
    status: problem.kind.status,
    ...(retryAfterSeconds === undefined ? {} : { headers: { 'retry-after': String(retryAfterSeconds) } }),
    body: html`<h1>${title}</h1>
<p>${text}</p>
<p><a class="button" href="${goOn}">${goOn === '/' ? words.home : words.goOn}</a></p>
${code === null ? null : html`<p class="code">${words.readOut} <strong>${code}</strong></p>`}`,
  };
}

/** For what never becomes a request, such as headers that are too long: nothing is known of whoever reads it. */
export const unreadablePage = (organisation: string): string =>
  html`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${organisation}</title><body><main><h1>${organisation}</h1>${languages.map(
    (language) =>
      html`<section lang="${language}"><h2>${frameWords[language].errors.unreadable.title}</h2><p>${frameWords[language].errors.unreadable.text}</p></section>`,
  )}</main>`.toString();

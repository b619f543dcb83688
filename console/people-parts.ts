import { Problem } from '../protocol/problems.ts';
import { type Html, html } from '../web/html.ts';

export const scopeWords = (tags: readonly string[] | null): string => (tags === null ? 'all Macs' : `Macs tagged ${tags.join(', ')}`);

/** Tags as they are typed: separated by commas; none is all Macs. */
export function tagsFrom(text: string | undefined): string[] | null {
  const tags = (text ?? '')
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  return tags.length === 0 ? null : tags;
}

/** What somebody can mend stands on the page with their form; what nobody foresaw goes on. */
export async function orProblem<T>(act: Promise<T>): Promise<T | Problem> {
  try {
    return await act;
  } catch (error) {
    if (error instanceof Problem && error.kind.status >= 400 && error.kind.status < 500 && error.code !== 'SIGNED_OUT') return error;
    throw error;
  }
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;

/** What a program is told of a message is no help for whoever filled in a form: they are told which part of it is wrong. */
export const problemBox = (problem: Problem | null): Html | null =>
  problem?.code === 'MESSAGE_INVALID'
    ? html`<div class="error" role="alert" id="trouble"><h2>This cannot be taken as it is</h2><p>${sentence(problem.detail ?? 'a part of it is missing')} Nothing was done.</p></div>`
    : problem &&
      html`<div class="error" role="alert" id="trouble"><h2>${sentence(problem.kind.title)}</h2><p>${problem.detail === undefined ? null : html`${sentence(problem.detail)} `}${sentence(problem.kind.fix)}</p></div>`;

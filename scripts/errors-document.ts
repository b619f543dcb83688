import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ProblemKind, problems, type Retry } from '../protocol/problems.ts';

/** Where the document lies; `node scripts/errors-document.ts` writes it anew after a change of the table. */
export const errorsFile = join(import.meta.dirname, '..', 'docs', 'errors.md');

const again: Record<Retry, string> = {
  now: 'the agent tries again at once',
  'next-check-in': 'the agent tries again at its next check-in',
  'after-help': 'the agent waits until somebody has helped',
  never: 'it is not tried again by itself',
};
const exits: Record<ProblemKind['exit'], string> = {
  64: 'not understood',
  69: 'the backend, or the way to it',
  70: 'a mistake of ours',
  75: 'try again later',
  77: 'needs a person',
  78: 'settings',
};

const capital = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;

/** docs/errors.md, from the table that both sides use. */
export function errorsDocument(): string {
  const table: Record<string, ProblemKind> = problems;
  const entries = Object.entries(table)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([code, { title, fix, status, exit, retry }]) =>
        `## \`${code}\`\n\n${capital(title)}.\n\n**Fix:** ${fix}.\n\nExit status ${exit} · HTTP ${status} · ${again[retry]}.\n`,
    );
  return `# Errors

Every failure of the agent and the backend has one of these codes. A command says it on standard error:

\`\`\`
sparekey: error: <what happened>
sparekey: fix: <what one named person can do>
sparekey: <CODE>; more: docs/errors.md
\`\`\`

The backend answers with \`application/problem+json\`: \`code\`, \`title\`, \`fix\`, where it helps \`detail\`, and \`requestId\`, by
which an operator finds the request in the log. Programs rely on the code, never on the words: codes are never renamed and never
used for something else.

Exit statuses: 0 done, ${Object.entries(exits)
    .map(([exit, means]) => `${exit} ${means}`)
    .join(', ')}.

This file is made from \`protocol/problems.ts\` by \`node scripts/errors-document.ts\`; a test compares the two.

${entries.join('\n')}`;
}

if (import.meta.main) writeFileSync(errorsFile, errorsDocument());

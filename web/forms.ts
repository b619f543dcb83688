import type { FastifyInstance } from 'fastify';
import { Problem } from '../protocol/problems.ts';

/** More than any form or question of a site needs: a passkey's answer is the longest. */
export const mostBodyBytes = 16 * 1024;
const mostFields = 64;
const mostNameLength = 64;

/** Tab and line ends are typed by people; other control characters only by programs. */
const isTyped = (text: string): boolean => !/\p{Cc}/u.test(text.replace(/[\t\r\n]/g, ''));

function decoded(text: string): string {
  try {
    // Refuses a bad escape and what is no UTF-8, both of which URLSearchParams would let pass changed.
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new Problem('MESSAGE_INVALID', 'a field of the form cannot be read');
  }
}

/** Names and values of a form or a query; of a name that came twice the last. */
export function readFields(text: string): Readonly<Record<string, string>> {
  const fields: Record<string, string> = Object.create(null);
  if (text === '') return fields;
  const parts = text.split('&');
  if (parts.length > mostFields) throw new Problem('MESSAGE_INVALID', 'too many fields');
  for (const part of parts) {
    const at = part.indexOf('=');
    const name = decoded(at < 0 ? part : part.slice(0, at));
    const value = decoded(at < 0 ? '' : part.slice(at + 1));
    if (name.length > mostNameLength || !isTyped(name) || !isTyped(value)) throw new Problem('MESSAGE_INVALID', 'a field of the form cannot be read');
    fields[name] = value;
  }
  return fields;
}

/** Forms as browsers send them, and nothing else: no files. */
export function takeForms(app: FastifyInstance): void {
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'buffer', bodyLimit: mostBodyBytes }, (_request, body, done) => {
    try {
      done(null, readFields(new TextDecoder('utf-8', { fatal: true }).decode(body as Buffer)));
    } catch (error) {
      done(error instanceof Problem ? error : new Problem('MESSAGE_INVALID', 'the form is not UTF-8'));
    }
  });
}

import { z } from 'zod';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Backend } from '../server/backend.ts';
import type { Log } from '../server/log.ts';
import type { Tx } from '../server/parts.ts';
import { type Admin, type Permission, type Scope, scopeOf } from '../server/permissions.ts';

/** What an operation has to work with. */
export interface Acting {
  admin: Admin;
  backend: Backend;
  log: Log;
  /** Server time at which it was asked for, milliseconds. */
  at: number;
  requestId: string;
  /** For which Macs the operation's permission was given; `null` for all. Whatever asks for Macs passes it on. */
  scope: Scope;
  /** More of the act's own transaction, by the page that asks: what it throws refuses the act. Here a form's token is spent. */
  before?: (tx: Tx, at: number) => Promise<void>;
}

/**
 * One act or question of admins: the API route, its document, the console's page and the command line are all made from it, so
 * that none of them can do what the others cannot, and none checks less.
 */
export interface Operation<In = unknown, Out = unknown> {
  /** The operationId, such as `devices.list`. */
  name: string;
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `{id}` for what stands in the path; those names are among the input's. */
  path: `/v1/${string}`;
  /** One sentence, for the document. */
  says: string;
  /** `signed-in`: whoever has any role at all. */
  permission: Permission | 'signed-in';
  /** People sign in again where their last proof is not recent. */
  fresh?: true;
  /** Its reply holds what is shown once (a key, a new token): it is kept for no repeat, which is answered `ALREADY_SHOWN`. */
  shownOnce?: true;
  /** A POST that only asks: its answer is kept for no repeat. */
  changesNothing?: true;
  /** The reply is a file of this type and not JSON: `output` is then `download`. */
  sends?: 'text/csv' | 'application/x-ndjson' | 'application/zip';
  /** Path, query (GET, DELETE) and body in one object. */
  input: z.ZodType<In>;
  output: z.ZodType<Out>;
  run(acting: Acting, input: In): Promise<Out>;
}

/** What an operation with `sends` answers: a file that is made while it is sent. */
export interface Download {
  /** As it is kept, such as `devices.csv`. */
  fileName: string;
  content: AsyncIterable<string | Uint8Array>;
}
export const download = z.custom<Download>((given) => typeof given === 'object' && given !== null && 'fileName' in given && 'content' in given);

/** An operation in a list of many. */
// biome-ignore lint/suspicious/noExplicitAny: each has types of its own; `perform` holds them to their schemas.
export type AnyOperation = Operation<any, any>;

export const operation = <In, Out>(made: Operation<In, Out>): Operation<In, Out> => made;

/** What of it is wrong, and where. */
export function mistakes(error: z.ZodError): string {
  return error.issues
    .slice(0, 8)
    .map((issue) => `${issue.path.join('.') || 'the message'}: ${issue.code === 'unrecognized_keys' ? `there is no ${issue.keys.join(', ')}` : issue.message}`)
    .join('; ');
}

/** Throws where an admin may not perform it at all; for which Macs they may. */
export function scopeFor(made: Pick<AnyOperation, 'permission' | 'fresh'>, admin: Admin): Scope {
  const scope = made.permission === 'signed-in' ? null : scopeOf(admin, made.permission);
  if (scope === false || admin.grants.length === 0) throw new Problem('NOT_ALLOWED', made.permission);
  if (made.fresh && !admin.fresh) throw new Problem('SIGNED_OUT', 'sign in again for this');
  return scope;
}

/** A recovery key that somebody has pasted into a reason, or into the field of a serial number. Nothing that is asked for is one. */
function holdsKey(value: unknown): boolean {
  if (typeof value === 'string') return RecoveryKey.findIn(value.toUpperCase().replace(/[\p{Pd}\u2212]/gu, '-')) !== null;
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsKey);
}

/** Runs an operation for an admin, after all checks that do not depend on what it is about. The one way in which any is run. */
export async function perform<In, Out>(made: Operation<In, Out>, { admin, ...rest }: Omit<Acting, 'scope'>, given: unknown): Promise<Out> {
  const scope = scopeFor(made, admin);
  const read = made.input.safeParse(given);
  if (!read.success) throw new Problem('MESSAGE_INVALID', mistakes(read.error));
  if (holdsKey(read.data)) throw new Problem('KEY_IN_WORDS');
  return made.run({ ...rest, admin, scope }, read.data);
}

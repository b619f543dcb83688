import type { Operation } from '../console/operation.ts';

/** What an operation of the API answers, by the operation itself: nothing is written twice. */
// biome-ignore lint/suspicious/noExplicitAny: any input.
export type OutOf<O> = O extends Operation<any, infer Out> ? Out : O extends { output: { _output: infer Out } } ? Out : never;
/** One entry of a list that it answers. */
export type ItemOf<O> = OutOf<O> extends { items: readonly (infer Item)[] } ? Item : never;

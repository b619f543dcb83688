import { z } from 'zod';
import { Problem } from '../protocol/problems.ts';

/** A JSON Schema, as far as it is looked into here. */
export interface JsonSchema {
  type?: string | readonly string[];
  properties?: Readonly<Record<string, JsonSchema>>;
  required?: readonly string[];
  items?: JsonSchema;
  anyOf?: readonly JsonSchema[];
  enum?: readonly unknown[];
  default?: unknown;
  description?: string;
  $ref?: string;
  [more: string]: unknown;
}

/** What comes in or goes out, as JSON Schema 2020-12; what cannot be said in it is anything. */
export function jsonSchemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...made } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    reused: 'inline',
    // The format says it shorter, and no reader of documents needs both.
    override: ({ jsonSchema }) => {
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  });
  return made as JsonSchema;
}

/** The names that stand in a path such as `/v1/devices/{id}`. */
export const namesInPath = (path: string): string[] => [...path.matchAll(/\{([A-Za-z]+)\}/g)].map(([, name = '']) => name);

/** Whether its input comes in a body; else in the query. */
export const hasBody = ({ method }: { method: string }): boolean => method === 'POST' || method === 'PUT' || method === 'PATCH';

/** Whether an `Idempotency-Key` counts for it: it acts, and is told in a body. What is ended twice is ended. */
export const isRepeatable = (made: { method: string; changesNothing?: true }): boolean => hasBody(made) && !made.changesNothing;

const kindsOf = (schema: JsonSchema | undefined): string[] =>
  schema === undefined ? [] : [...(schema.anyOf ?? []).flatMap(kindsOf), ...(schema.type === undefined ? [] : [schema.type].flat())];

/** One word of an address as what its schema wants. What does not fit is left as it is: the schema says what is wrong with it. */
function read(schema: JsonSchema | undefined, text: string): unknown {
  const kinds = kindsOf(schema);
  if ((kinds.includes('integer') || kinds.includes('number')) && /^-?\d{1,15}(\.\d{1,9})?$/.test(text)) return Number(text);
  if (kinds.includes('boolean') && (text === 'true' || text === 'false')) return text === 'true';
  if (kinds.includes('object')) {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return text;
    }
  }
  return text;
}

/** What stands in the query, as the input of an operation: lists by a name that occurs again, objects as JSON. */
export function fromQuery(schema: JsonSchema, query: string): Record<string, unknown> {
  const found: Record<string, unknown> = Object.create(null);
  let fields: [string, string][];
  try {
    fields =
      query === ''
        ? []
        : query.split('&').map((part) => {
            const at = part.indexOf('=');
            const decoded = (text: string) => decodeURIComponent(text.replaceAll('+', ' '));
            return at < 0 ? [decoded(part), ''] : [decoded(part.slice(0, at)), decoded(part.slice(at + 1))];
          });
  } catch {
    throw new Problem('MESSAGE_INVALID', 'the query cannot be read');
  }
  for (const [name, text] of fields) {
    const wanted = schema.properties && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    if (kindsOf(wanted).includes('array')) {
      const items = wanted?.items ?? wanted?.anyOf?.find((one) => one.items)?.items;
      found[name] = [...((found[name] as unknown[] | undefined) ?? []), read(items, text)];
    } else if (name in found) throw new Problem('MESSAGE_INVALID', `${name.slice(0, 60)}: stands in the query twice`);
    else found[name] = read(wanted, text);
  }
  return { ...found };
}

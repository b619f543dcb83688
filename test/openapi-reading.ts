// The admin API's document as a client's generator reads it: independent of what has made it.

export interface Schema {
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  format?: string;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  minimum?: number;
  exclusiveMinimum?: number;
  pattern?: string;
  $ref?: string;
}

export interface Route {
  id: string;
  method: string;
  path: string;
  permission: string;
  parameters: { name: string; in: string; required: boolean; schema?: Schema }[];
  body: Schema | null;
  responses: Record<string, unknown>;
}

// biome-ignore lint/suspicious/noExplicitAny: JSON as it came.
export type Document = any;

export const routesOf = (document: Document): Route[] =>
  Object.entries(document.paths as Record<string, Record<string, Document>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => ({
      id: one.operationId,
      method: method.toUpperCase(),
      path,
      permission: one['x-permission'],
      parameters: one.parameters ?? [],
      body: one.requestBody?.content['application/json'].schema ?? null,
      responses: one.responses,
    })),
  );

/** What fits a schema and is as little as that. A pattern is met by luck alone. */
export function sample(schema: Schema | undefined): unknown {
  if (schema === undefined) return 'x';
  if ('const' in schema) return schema.const;
  if (schema.enum) return schema.enum[0];
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return sample(either[0]);
  switch ([schema.type].flat()[0]) {
    case 'object':
      return Object.fromEntries((schema.required ?? []).map((name) => [name, sample(schema.properties?.[name])]));
    case 'array':
      return Array.from({ length: schema.minItems ?? 0 }, () => sample(schema.items));
    case 'integer':
    case 'number':
      return schema.minimum ?? (schema.exclusiveMinimum ?? 0) + 1;
    case 'boolean':
      return false;
    case 'null':
      return null;
    default:
      if (schema.format === 'uuid') return '00000000-0000-4000-8000-000000000000';
      if (schema.format === 'date-time') return '2026-11-23T10:00:00Z';
      if (schema.format === 'date') return '2026-11-23';
      return 'a test'.padEnd(schema.minLength ?? 0, '.').slice(0, schema.maxLength ?? 100);
  }
}

/** The address of a route with these values in its path, and what it needs in its query. */
export function addressOf(route: Route, inPath: string): string {
  const query = route.parameters
    .filter((one) => one.in === 'query' && one.required)
    .map(({ name, schema }) => `${name}=${encodeURIComponent(String(sample(schema)))}`);
  return `${route.path.replace(/\{[A-Za-z]+\}/g, inPath)}${query.length > 0 ? `?${query.join('&')}` : ''}`;
}

/** What is wrong with the document, in words; by OpenAPI 3.1 and what our own clients need. */
export function mistakesIn(document: Document): string[] {
  const found: string[] = [];
  const say = (where: string, what: string) => void found.push(`${where}: ${what}`);
  const resolve = (ref: string): unknown =>
    ref.startsWith('#/')
      ? ref
          .slice(2)
          .split('/')
          .reduce<Document>((at, part) => at?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], document)
      : undefined;
  const walk = (at: unknown, where: string): void => {
    if (typeof at !== 'object' || at === null) return;
    if ('$ref' in at && typeof at.$ref === 'string' && resolve(at.$ref) === undefined) say(where, `nothing is at ${at.$ref}`);
    if ('type' in at && 'properties' in at && Array.isArray((at as Schema).required))
      for (const name of (at as Schema).required ?? [])
        if (!Object.hasOwn((at as Schema).properties ?? {}, name)) say(where, `${name} is required and not described`);
    for (const [name, value] of Object.entries(at)) walk(value, `${where}/${name}`);
  };
  walk(document, '#');
  if (!/^3\.1\.\d+$/.test(document.openapi)) say('openapi', String(document.openapi));
  if (typeof document.info?.title !== 'string' || typeof document.info?.version !== 'string') say('info', 'has no title or version');
  const ids = new Set<string>();
  for (const [path, methods] of Object.entries(document.paths as Record<string, Record<string, Document>>)) {
    const names = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
    for (const [method, one] of Object.entries(methods)) {
      const where = `${method.toUpperCase()} ${path}`;
      if (!['get', 'post', 'put', 'patch', 'delete'].includes(method)) say(where, 'is no method');
      if (typeof one.operationId !== 'string' || ids.has(one.operationId)) say(where, `operationId ${one.operationId} is missing or there twice`);
      ids.add(one.operationId);
      if (typeof one.summary !== 'string' || one.summary.length < 8) say(where, 'has no summary');
      const inPath = one.parameters.filter((parameter: Document) => parameter.in === 'path');
      for (const name of names)
        if (!inPath.some((parameter: Document) => parameter.name === name && parameter.required === true)) say(where, `{${name}} is not declared`);
      for (const { name } of inPath) if (!names.includes(name)) say(where, `${name} is declared and not in the path`);
      const keys = one.parameters.map((parameter: Document) => `${parameter.in} ${parameter.name}`);
      if (new Set(keys).size !== keys.length) say(where, 'a parameter is there twice');
      for (const parameter of one.parameters) if (!parameter.schema === !parameter.content) say(where, `${parameter.name} needs a schema or a content`);
      if (one.requestBody && ['get', 'delete'].includes(method)) say(where, 'has a body');
      if (!Object.keys(one.responses).some((status) => /^2\d\d$/.test(status))) say(where, 'has no answer that is good');
      for (const status of ['400', '401', '403', '404', '429'])
        if (!(resolve(one.responses[status]?.$ref ?? '') as Document)?.content?.['application/problem+json']) say(where, `does not say what ${status} is`);
    }
  }
  return found;
}

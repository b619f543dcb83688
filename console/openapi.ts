import { type ProblemCode, problems } from '../protocol/problems.ts';
import { permissions } from '../server/permissions.ts';
import { serverVersion } from '../server/settings.ts';
import type { AnyOpenOperation } from './open-operation.ts';
import type { AnyOperation } from './operation.ts';
import { hasBody, isRepeatable, type JsonSchema, jsonSchemaOf, namesInPath } from './schema.ts';

interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required: boolean;
  description?: string;
  schema?: JsonSchema;
  style?: 'form';
  explode?: true;
  content?: Record<string, { schema: JsonSchema }>;
}

export interface OpenApiOperation {
  operationId: string;
  summary: string;
  description: string;
  tags: readonly string[];
  'x-permission': string;
  security?: readonly Record<string, readonly string[]>[];
  parameters: readonly Parameter[];
  requestBody?: { required: boolean; content: Record<string, { schema: JsonSchema }> };
  responses: Record<string, unknown>;
}

export interface OpenApi {
  openapi: '3.1.0';
  jsonSchemaDialect: string;
  info: Record<string, unknown>;
  servers: readonly { url: string }[];
  security: readonly Record<string, readonly string[]>[];
  paths: Record<string, Record<string, OpenApiOperation>>;
  components: Record<string, unknown>;
}

/** What any operation may answer instead. */
const refusals: readonly { status: string; name: string; says: string; codes: readonly ProblemCode[] }[] = [
  { status: '400', name: 'NotUnderstood', says: 'What was sent is not what this takes; `detail` names each place.', codes: ['MESSAGE_INVALID'] },
  { status: '401', name: 'SignedOut', says: 'No token, one that has ended, or a sign-in that is not recent enough.', codes: ['SIGNED_OUT', 'TOKEN_REFUSED'] },
  {
    status: '403',
    name: 'NotAllowed',
    says: 'No role of this admin allows it, or it came from elsewhere. Nothing was changed.',
    codes: ['NOT_ALLOWED', 'FORM_REFUSED', 'ORIGIN_REFUSED', 'NETWORK_REFUSED'],
  },
  {
    status: '404',
    name: 'NotFound',
    says: 'There is no such thing, or none within the scope of this admin: the two are not told apart.',
    codes: ['NOT_FOUND', 'MAC_UNKNOWN'],
  },
  { status: '409', name: 'Conflict', says: 'It cannot be done as things are; `detail` says why.', codes: ['IDEMPOTENCY_UNSETTLED', 'ALREADY_SHOWN'] },
  { status: '413', name: 'TooLarge', says: 'The body is larger than 256 KiB.', codes: ['BODY_TOO_LARGE'] },
  { status: '415', name: 'WrongType', says: 'The body is not application/json.', codes: ['MEDIA_TYPE_REFUSED'] },
  { status: '422', name: 'KeyReused', says: 'The Idempotency-Key came before with another request.', codes: ['IDEMPOTENCY_KEY_REUSED'] },
  { status: '429', name: 'TooOften', says: 'Go on after the seconds in Retry-After.', codes: ['TOO_OFTEN'] },
  { status: '503', name: 'NotNow', says: 'The backend stops, or its database refuses.', codes: ['SERVER_STOPPING', 'STORE_FAILED'] },
];

const problemSchema: JsonSchema = {
  type: 'object',
  description: 'RFC 9457, with a code that never changes and what one named person can do.',
  required: ['type', 'title', 'status', 'code', 'fix', 'requestId'],
  properties: {
    type: { type: 'string', description: 'urn:sparekey:problem:CODE' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', description: 'One of docs/errors.md.' },
    fix: { type: 'string' },
    detail: { type: 'string' },
    requestId: { type: 'string', description: 'As in the header x-request-id, the log and the audit.' },
  },
};

function example(code: ProblemCode) {
  const { title, status, fix } = problems[code];
  return { summary: title, value: { type: `urn:sparekey:problem:${code}`, title, status, code, fix, requestId: '0b9c2f5e-8d6d-4c6e-9f0e-5a1f4f7c2d11' } };
}

const headers = {
  RequestId: { description: 'Of this request, in the log and the audit too.', schema: { type: 'string' } },
  RateLimit: { description: 'What is left, as `"admin";r=299;t=60`.', schema: { type: 'string' } },
  RateLimitPolicy: { description: 'What there is, as `"admin";q=300;w=60`.', schema: { type: 'string' } },
};
const rateHeaders = Object.fromEntries(
  Object.entries({ 'x-request-id': 'RequestId', RateLimit: 'RateLimit', 'RateLimit-Policy': 'RateLimitPolicy' }).map(([name, of]) => [
    name,
    { $ref: `#/components/headers/${of}` },
  ]),
);

function parametersOf(made: AnyOperation, schema: JsonSchema): Parameter[] {
  const inPath = namesInPath(made.path);
  const properties = Object.entries(schema.properties ?? {});
  const found: Parameter[] = properties
    .filter(([name]) => inPath.includes(name) || !hasBody(made))
    .map(([name, { description, ...of }]) => {
      const about = { name, ...(description === undefined ? {} : { description }) };
      if (inPath.includes(name)) return { ...about, in: 'path' as const, required: true, schema: of };
      const required = schema.required?.includes(name) ?? false;
      if (of.type === 'object') return { ...about, in: 'query' as const, required, content: { 'application/json': { schema: of } } };
      return { ...about, in: 'query' as const, required, schema: of, ...(of.type === 'array' ? { style: 'form' as const, explode: true as const } : {}) };
    });
  const key: Parameter = {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description: 'Chosen by you for this one act: whoever sends it again within 24 hours with the same body gets the same answer, and it is done once.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  };
  return isRepeatable(made) && !made.sends ? [...found, key] : found;
}

function bodyOf(made: AnyOperation, schema: JsonSchema): Pick<OpenApiOperation, 'requestBody'> {
  if (!hasBody(made)) return {};
  const inPath = namesInPath(made.path);
  const properties = Object.fromEntries(Object.entries(schema.properties ?? {}).filter(([name]) => !inPath.includes(name)));
  const required = (schema.required ?? []).filter((name) => !inPath.includes(name));
  if (Object.keys(properties).length === 0 && schema.properties) return {};
  const rest = { ...schema, ...(schema.properties ? { properties } : {}), ...(schema.required ? { required } : {}) };
  return { requestBody: { required: required.length > 0, content: { 'application/json': { schema: rest } } } };
}

function operationOf(made: AnyOperation): OpenApiOperation {
  const input = jsonSchemaOf(made.input, 'input');
  const content = made.sends
    ? { [made.sends]: { schema: { type: 'string', ...(made.sends === 'application/zip' ? { contentMediaType: made.sends } : {}) } } }
    : { 'application/json': { schema: jsonSchemaOf(made.output, 'output') } };
  const who = made.permission === 'signed-in' ? 'Whoever has any role.' : `Permission \`${made.permission}\`: who may ${permissions[made.permission]}.`;
  const more = [
    made.fresh ? 'People sign in again for it, if their last sign-in is some time ago.' : '',
    made.shownOnce ? 'What it answers is shown once and not kept.' : '',
  ];
  return {
    operationId: made.name,
    summary: made.says,
    description: [who, ...more].filter((text) => text !== '').join(' '),
    tags: [made.name.split('.')[0] ?? made.name],
    'x-permission': made.permission,
    parameters: parametersOf(made, input),
    ...bodyOf(made, input),
    responses: {
      200: { description: 'Done.', headers: rateHeaders, content },
      ...Object.fromEntries(refusals.map(({ status, name }) => [status, { $ref: `#/components/responses/${name}` }])),
    },
  };
}

function openOperationOf({ name, says, input, output }: AnyOpenOperation): OpenApiOperation {
  return {
    operationId: name,
    summary: says,
    description: 'Asked without a token.',
    tags: [name.split('.')[0] ?? name],
    'x-permission': 'nobody',
    security: [],
    parameters: [],
    requestBody: { required: true, content: { 'application/json': { schema: jsonSchemaOf(input, 'input') } } },
    responses: {
      200: { description: 'Done.', content: { 'application/json': { schema: jsonSchemaOf(output, 'output') } } },
      ...Object.fromEntries(refusals.map(({ status, name: refusal }) => [status, { $ref: `#/components/responses/${refusal}` }])),
    },
  };
}

/** The OpenAPI document, from the very schemas that what comes in is held to. */
export function openApi(operations: readonly AnyOperation[], url: string, open: readonly AnyOpenOperation[] = []): OpenApi {
  const paths: OpenApi['paths'] = {};
  for (const made of operations) paths[made.path] = { ...paths[made.path], [made.method.toLowerCase()]: operationOf(made) };
  for (const made of open) paths[made.path] = { ...paths[made.path], [made.method.toLowerCase()]: openOperationOf(made) };
  return {
    openapi: '3.1.0',
    jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
    info: {
      title: 'Sparekey admin API',
      version: serverVersion(),
      description:
        'All that admins can do and ask. The console and sparekeyctl use nothing else. Times are ISO 8601 in UTC. Lists go on by `cursor`. No request gives the keys of many Macs.',
      license: { name: 'Apache License 2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url }],
    security: [{ token: [] }, { session: [], formToken: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A token of yours: made in the console or by `sparekeyctl login`.' },
        session: { type: 'apiKey', in: 'cookie', name: '__Host-console-session', description: 'For the pages of the console.' },
        formToken: { type: 'apiKey', in: 'header', name: 'form-token', description: 'With the session, for all but GET: made by the page for this very path.' },
      },
      schemas: { Problem: problemSchema },
      headers,
      responses: Object.fromEntries(
        refusals.map(({ name, says, codes }) => [
          name,
          {
            description: says,
            content: {
              'application/problem+json': {
                schema: { $ref: '#/components/schemas/Problem' },
                examples: Object.fromEntries(codes.map((code) => [code, example(code)])),
              },
            },
          },
        ]),
      ),
    },
  };
}

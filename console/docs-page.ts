import { permissions, type Role, roles } from '../server/permissions.ts';
import { type Html, html } from '../web/html.ts';
import { type OpenApi, type OpenApiOperation, openApi } from './openapi.ts';
import type { AnyOperation } from './operation.ts';
import { openOperations } from './operations/session.ts';
import type { JsonSchema } from './schema.ts';
import type { ConsoleSite } from './visit.ts';

const rolesWith = (permission: string): string =>
  permission === 'signed-in'
    ? 'every role'
    : permission === 'nobody'
      ? 'nobody has to be signed in'
      : (Object.keys(roles) as Role[]).filter((role) => (roles[role].may as readonly string[]).includes(permission)).join(', ');

/** A type in a few words: `string`, `integer 1 to 200`, `one of a, b`. */
function typeIn(schema: JsonSchema | undefined): string {
  if (schema === undefined) return 'anything';
  if (schema.enum) return `one of ${schema.enum.map(String).join(', ')}`;
  if ('const' in schema) return JSON.stringify(schema['const']);
  if (schema.anyOf) return schema.anyOf.map(typeIn).join(' or ');
  if (schema.type === 'array') return `list of ${typeIn(schema.items)}`;
  const { minimum, maximum } = schema as { minimum?: number; maximum?: number };
  const range = [minimum, maximum].every((bound) => bound !== undefined && Math.abs(bound) < 2 ** 53 - 1) ? ` ${minimum} to ${maximum}` : '';
  return `${schema.type === undefined ? 'anything' : [schema.type].flat().join(' or ')}${range}`;
}

interface Field {
  name: string;
  where: string;
  type: string;
  required: boolean;
  says: string;
}

function fieldsOf(one: OpenApiOperation): Field[] {
  const parameters = one.parameters
    .filter(({ in: where }) => where !== 'header')
    .map(({ name, in: where, required, schema, content, description = '' }) => ({
      name,
      where,
      type: typeIn(schema ?? content?.['application/json']?.schema),
      required,
      says: description,
    }));
  const body = one.requestBody?.content['application/json']?.schema;
  const inBody = Object.entries(body?.properties ?? {}).map(([name, schema]) => ({
    name,
    where: 'body',
    type: typeIn(schema),
    required: body?.required?.includes(name) ?? false,
    says: schema.description ?? '',
  }));
  return [...parameters, ...inBody];
}

/** A line for a shell; what stands in capitals is filled in. */
function curlOf(url: string, method: string, path: string, one: OpenApiOperation): string {
  const fields = fieldsOf(one);
  const filled = path.replace(/\{([A-Za-z]+)\}/g, (_, name: string) => name.toUpperCase());
  const query = fields.filter(({ where, required }) => where === 'query' && required).map(({ name }) => `${name}=${name.toUpperCase()}`);
  const body = fields.filter(({ where, required }) => where === 'body' && required).map(({ name }) => `"${name}":…`);
  const address = `'${url}${filled}${query.length > 0 ? `?${query.join('&')}` : ''}'`;
  const how = method === 'get' ? '' : ` -X ${method.toUpperCase()}`;
  const json = one.requestBody ? ` -H 'content-type: application/json' -d '{${body.join(',')}}'` : '';
  return `curl -H @token.txt${how}${json} ${address}`;
}

function section(url: string, path: string, method: string, one: OpenApiOperation): Html {
  const fields = fieldsOf(one);
  return html`<section aria-labelledby="${one.operationId}">
<h3 id="${one.operationId}"><code>${method.toUpperCase()} ${path}</code></h3>
<p>${one.summary}</p>
<p class="soft small">${one.operationId} · ${one.description.replaceAll('`', '')} Roles: ${rolesWith(one['x-permission'])}.</p>
${
  fields.length === 0
    ? null
    : html`<div class="scroll" tabindex="0" role="region" aria-label="What ${one.operationId} takes"><table><thead><tr><th scope="col">Name</th><th scope="col">In</th><th scope="col">Type</th><th scope="col">Meaning</th></tr></thead><tbody>
${fields.map(
  ({ name, where, type, required, says }) =>
    html`<tr><th scope="row"><code>${name}</code>${required ? null : html` <span class="soft">optional</span>`}</th><td>${where}</td><td>${type}</td><td>${says}</td></tr>`,
)}</tbody></table></div>`
}
<pre class="scroll" tabindex="0"><code>${curlOf(url, method, path, one)}</code></pre>
</section>`;
}

function pageOf(document: OpenApi, url: string): Html {
  const all = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, one]) => ({ path, method, one })));
  const groups = [...new Set(all.flatMap(({ one }) => one.tags))];
  return html`<h1>The admin API</h1>
<p>All that the console and <code>sparekeyctl</code> do, they do by this. The document itself: <a href="/v1/openapi.json">/v1/openapi.json</a> (OpenAPI 3.1).</p>
<p>Every request carries a token: <code>Authorization: Bearer …</code>. In the lines below it lies in <code>token.txt</code>, which nobody else may read: <code>authorization: Bearer spk_…</code>, one line.</p>
<p>What goes wrong is <code>application/problem+json</code> with a code, what happened, and what to do. <code>RateLimit</code> says how much is left; <code>Idempotency-Key</code> lets an act be sent twice and be done once; <code>x-request-id</code> is in the log and in the audit too.</p>
<nav aria-label="Parts of the API"><ul class="links">${groups.map((group) => html`<li><a href="#part-${group}">${group}</a></li>`)}<li><a href="#permissions">permissions</a></li></ul></nav>
${groups.map(
  (group) => html`<h2 id="part-${group}">${group}</h2>
${all.filter(({ one }) => one.tags.includes(group)).map(({ path, method, one }) => section(url, path, method, one))}`,
)}
<h2 id="permissions">Permissions</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Permissions"><table><thead><tr><th scope="col">Permission</th><th scope="col">Who has it may</th><th scope="col">Roles</th></tr></thead>
<tbody>${Object.entries(permissions).map(([permission, says]) => html`<tr><th scope="row"><code>${permission}</code></th><td>${says}</td><td>${rolesWith(permission)}</td></tr>`)}</tbody></table></div>`;
}

/** The API's document, for programs, and as a page. It says nothing of anybody, so it is for everybody who reaches the console. */
export function addDocs({ site, page }: ConsoleSite, operations: readonly AnyOperation[]): void {
  const { url } = site.ground.settings;
  const document = openApi(operations, url, openOperations);
  const text = JSON.stringify(document);
  const body = pageOf(document, url);
  site.addPath('GET', '/v1/openapi.json');
  site.ground.http.app.get('/v1/openapi.json', { exposeHeadRoute: true }, async (_request, reply) => reply.type('application/json; charset=utf-8').send(text));
  page('/docs', 'signed-in', async () => ({ title: 'API', body }));
}

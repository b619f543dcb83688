import { type DisclosurePolicy, disclosurePolicy } from '../server/approvals/disclosure-policy.ts';
import type { PolicyRules } from '../server/policies/policy.ts';
import { plainRotation, type RotationPolicy, rotationEvents } from '../server/policies/rotation-policy.ts';
import { type Html, html } from '../web/html.ts';
import { sentence } from './fleet-parts.ts';
import { usualZone } from './local-time.ts';
import { tagsFrom } from './people-parts.ts';
import { quietFields, quietForm, quietFrom } from './quiet-fields.ts';
import { type JsonSchema, jsonSchemaOf } from './schema.ts';

/*
 * A policy as the fields of a form, and back. The section about disclosures is made from its schema, so that what it comes to
 * know is here without a word; what is wrong with a field is said by the operation.
 */

type Form = Readonly<Record<string, string>>;

const disclosureFields = Object.entries(jsonSchemaOf(disclosurePolicy, 'input').properties ?? {});
const eventWords = { 'user-left': 'its person has left', 'mac-lost': 'it was marked as lost' } as const satisfies Record<
  (typeof rotationEvents)[number],
  string
>;

const numberIn = (text: string | undefined): number | null => ((text ?? '').trim() === '' ? null : Number(text));

function rotationFrom(form: Form): Record<string, unknown> {
  return {
    afterDisclosureMinutes: numberIn(form['afterDisclosureMinutes']) ?? plainRotation.afterDisclosureMinutes,
    everyDays: numberIn(form['everyDays']),
    spreadDays: numberIn(form['spreadDays']),
    perHour: numberIn(form['perHour']) ?? plainRotation.perHour,
    quietHours: quietFrom(form),
    onEvents: rotationEvents.filter((event) => form[event] === '1'),
  };
}

function valueFrom({ type }: JsonSchema, text: string | undefined): unknown {
  if (type === 'boolean') return text === '1';
  return type === 'integer' || type === 'number' ? Number(text) : text;
}

/** What `policies.put` and `policies.dryRun` take of it. */
export function draftFrom(form: Form): { rank: number; tags: string[] | null; rules: Record<string, unknown> } {
  const disclosure = Object.fromEntries(disclosureFields.map(([name, schema]) => [name, valueFrom(schema, form[`disclosure-${name}`])]));
  return {
    rank: Number(form['rank']),
    tags: tagsFrom(form['tags']),
    rules: { ...(form['rotation'] === '1' ? { rotation: rotationFrom(form) } : {}), ...(form['disclosure'] === '1' ? { disclosure } : {}) },
  };
}

/** The fields of a policy as it is; what it says nothing of has the built-in rules in it. */
export function formOf(
  policy: { name: string; rank: number; tags: readonly string[] | null; rules: PolicyRules; version: number },
  builtIn: Required<PolicyRules>,
): Form {
  const rotation: RotationPolicy = policy.rules.rotation ?? (builtIn.rotation as RotationPolicy);
  const disclosure = Object.entries(policy.rules.disclosure ?? builtIn.disclosure ?? {});
  const text = (value: unknown): string => (value === null ? '' : value === true ? '1' : value === false ? '' : String(value));
  return {
    name: policy.name,
    rank: String(policy.rank),
    tags: policy.tags?.join(', ') ?? '',
    version: String(policy.version),
    ...(policy.rules.rotation ? { rotation: '1' } : {}),
    ...(policy.rules.disclosure ? { disclosure: '1' } : {}),
    afterDisclosureMinutes: text(rotation.afterDisclosureMinutes),
    everyDays: text(rotation.everyDays),
    spreadDays: text(rotation.spreadDays),
    perHour: text(rotation.perHour),
    ...quietForm(rotation.quietHours),
    ...Object.fromEntries(rotation.onEvents.map((event) => [event, '1'])),
    ...Object.fromEntries(disclosure.map(([name, value]) => [`disclosure-${name}`, text(value)])),
  };
}

const checked = (form: Form, name: string): Html | null => (form[name] === '1' ? html` checked` : null);

const number = (form: Form, name: string, words: string, hint: string, [least, most]: readonly [number, number]): Html =>
  html`<div><label for="${name}">${words}</label><p class="hint" id="${name}-hint">${hint}</p><input id="${name}" name="${name}" type="number" min="${String(least)}" max="${String(most)}" aria-describedby="${name}-hint" value="${form[name]}"></div>`;

function rotationFields(form: Form): Html {
  return html`<fieldset><legend>Replacing keys</legend>
<p><label><input type="checkbox" name="rotation" value="1"${checked(form, 'rotation')}> This policy says something of it</label></p>
<p>A key that was shown or used is always replaced. A policy may have that wait, and may have keys replaced for more reasons.</p>
<div class="grid">${number(form, 'afterDisclosureMinutes', 'Minutes after a key was first shown', 'Not before this; looking again does not put it off. 0: as soon as its person is back in.', [0, 10_080])}
${number(form, 'everyDays', 'Days that a key is in use at most', 'Empty: age is no reason, which is the safer choice.', [30, 3650])}
${number(form, 'spreadDays', 'Spread over so many days', 'Empty: a quarter of the days above.', [1, 365])}
${number(form, 'perHour', 'Keys in an hour, at most', 'Of those that are replaced by age or for an event.', [1, 5000])}</div>
<fieldset><legend>Replace the key of a Mac when</legend>${rotationEvents.map((event) => html`<p><label><input type="checkbox" name="${event}" value="1"${checked(form, event)}> ${eventWords[event]}</label></p>`)}</fieldset>
${quietFields(form, usualZone())}</fieldset>`;
}

/** What each is called by people; the schema says what it means, and its own name is what the API calls it. */
const disclosureNames: Readonly<Record<string, string>> = {
  needs: 'To be shown a key',
  quorum: 'Others who have to agree',
  grantMinutes: 'Minutes of an agreement',
  views: 'An agreement is good',
  requestHours: 'Hours of a request',
  service: 'Programs',
  breakGlass: 'Break glass',
  reviewHours: 'Hours for looking at it afterwards',
  assisted: 'Codes of the desk',
  historyNeeds: 'To be shown a key that was replaced',
  viewsPerHour: 'Keys in an hour for one admin',
};
const valueWords: Readonly<Record<string, string>> = {
  none: 'any word is reason enough',
  reason: 'a reason',
  'second-person': 'a second person',
  'within-time': 'as often as wanted in its time',
  once: 'once for each key',
  never: 'are shown none',
  allowed: 'may be shown keys',
  'two-people': 'by two people',
};

/** Settings of disclosing by what people call them, with what each would be; where there are no rules any more, the names alone. */
export const sayFields = (names: readonly string[], rules: DisclosurePolicy | undefined): string =>
  names
    .map((name) => {
      const value = rules?.[name as keyof DisclosurePolicy];
      const called = disclosureNames[name] ?? name;
      return value === undefined ? called : `${called}: ${value === true ? 'on' : (valueWords[String(value)] ?? String(value))}`;
    })
    .join('; ');

function disclosureField(form: Form, [field, schema]: [string, JsonSchema]): Html {
  const name = `disclosure-${field}`;
  const words = sentence(schema.description ?? field);
  const called = disclosureNames[field] ?? field;
  if (schema.type === 'boolean')
    return html`<p><label><input type="checkbox" name="${name}" value="1"${checked(form, name)}> ${called}</label><span class="hint">${words}</span></p>`;
  const label = html`<label for="${name}">${called}</label><p class="hint" id="${name}-hint">${words}</p>`;
  if (schema.enum)
    return html`<div>${label}<select id="${name}" name="${name}" aria-describedby="${name}-hint">${schema.enum.map((value) => html`<option value="${String(value)}"${form[name] === value ? html` selected` : null}>${valueWords[String(value)] ?? String(value)}</option>`)}</select></div>`;
  return html`<div>${label}<input id="${name}" name="${name}" type="number" aria-describedby="${name}-hint" value="${form[name]}"></div>`;
}

/** Everything but the token and the buttons. */
export const policyFields = (
  form: Form,
): Html => html`<div class="grid"><div><label for="name">Name</label><input id="name" name="name" required maxlength="100" autocomplete="off" value="${form['name']}"></div>
<div><label for="rank">Rank</label><p class="hint" id="rank-hint">Of the policies that are for a Mac, the one of the lowest rank counts.</p><input id="rank" name="rank" type="number" min="1" max="9999" required aria-describedby="rank-hint" value="${form['rank']}"></div>
<div><label for="tags">For Macs with one of these tags</label><p class="hint" id="tags-hint">Separated by commas. Empty: for all Macs.</p><input id="tags" name="tags" maxlength="5000" autocomplete="off" aria-describedby="tags-hint" value="${form['tags']}"></div></div>
${rotationFields(form)}
<fieldset><legend>Showing keys to admins</legend>
<p><label><input type="checkbox" name="disclosure" value="1"${checked(form, 'disclosure')}> This policy says something of it</label></p>
<div class="grid">${disclosureFields.map((field) => disclosureField(form, field))}</div></fieldset>
<label for="reason">Reason</label><p class="hint" id="reason-hint">Auditors find it beside what was changed.</p><input id="reason" name="reason" required maxlength="500" autocomplete="off" aria-describedby="reason-hint" value="${form['reason']}">`;

/** A policy in a few words. */
export function sayRules({ rotation, disclosure }: PolicyRules): string {
  const said = [];
  if (rotation) {
    said.push(rotation.everyDays === null ? 'no key replaced by its age' : `keys replaced within ${rotation.everyDays} days`);
    if (rotation.afterDisclosureMinutes > 0) said.push(`not before ${rotation.afterDisclosureMinutes} minutes after a key was shown`);
    for (const event of rotation.onEvents) said.push(`when ${eventWords[event]}`);
  }
  if (disclosure) said.push(`to be shown a key: ${disclosure.needs.replaceAll('-', ' ')}`);
  return said.length === 0 ? 'says nothing' : said.join('; ');
}

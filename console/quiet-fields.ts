import type { QuietHours } from '../server/policies/quiet-hours.ts';
import { type Html, html } from '../web/html.ts';

const weekdays = { mon: 'Mon', tue: 'Tue', wed: 'Wed', thu: 'Thu', fri: 'Fri', sat: 'Sat', sun: 'Sun' } as const;
const dayNames = Object.keys(weekdays) as (keyof typeof weekdays)[];
/** Rows that are there to be filled in; as many as there are where there are more. */
const leastRows = 2;
const mostRows = 21;

type Form = Readonly<Record<string, string>>;

function rowsOf(form: Form): number {
  const filled = Object.keys(form).map((name) => Number(/^quiet-(\d{1,2})-from$/.exec(name)?.[1] ?? 0));
  return Math.min(mostRows, Math.max(leastRows, ...filled));
}

/** What the fields of a form say; null where none is filled in. What is wrong with it is said by the operation. */
export function quietFrom(form: Form): unknown {
  const hours = [];
  for (let row = 1; row <= rowsOf(form); row += 1) {
    const days = dayNames.filter((day) => form[`quiet-${row}-${day}`] === '1');
    const [from, to] = [form[`quiet-${row}-from`] ?? '', form[`quiet-${row}-to`] ?? ''];
    if (from !== '' || to !== '' || days.length > 0) hours.push({ days, from, to });
  }
  return hours.length === 0 ? null : { timeZone: form['zone'] ?? '', hours };
}

/** As `quietFrom` reads it. */
export function quietForm(quiet: QuietHours | null): Record<string, string> {
  const form: Record<string, string> = {};
  for (const [index, { days, from, to }] of (quiet?.hours ?? []).entries()) {
    form[`quiet-${index + 1}-from`] = from;
    form[`quiet-${index + 1}-to`] = to;
    for (const day of days) form[`quiet-${index + 1}-${day}`] = '1';
  }
  return quiet === null ? form : { ...form, zone: quiet.timeZone };
}

export function quietFields(form: Form, usualZone: string): Html {
  const row = (index: number): Html => {
    const name = (field: string) => `quiet-${index}-${field}`;
    const box = (day: keyof typeof weekdays) =>
      html`<label><input type="checkbox" name="${name(day)}" value="1"${form[name(day)] === '1' ? html` checked` : null}> ${weekdays[day]}</label> `;
    return html`<fieldset><legend>Quiet hours ${index}</legend><p class="days">${dayNames.map(box)}</p>
<label for="${name('from')}">From</label><input id="${name('from')}" name="${name('from')}" type="time" value="${form[name('from')]}">
<label for="${name('to')}">Until</label><input id="${name('to')}" name="${name('to')}" type="time" value="${form[name('to')]}"></fieldset>`;
  };
  return html`<label for="zone">Time zone</label><input id="zone" name="zone" list="zones" maxlength="64" autocomplete="off" spellcheck="false" value="${form['zone'] ?? usualZone}">
<datalist id="zones">${Intl.supportedValuesOf('timeZone').map((zone) => html`<option value="${zone}">`)}</datalist>
<details${quietFrom(form) === null ? null : html` open`}><summary>Quiet hours</summary>
<p class="hint">By the clock on the wall there. In quiet hours nothing is begun; hours that end before they begin go past midnight. Empty: at any hour.</p>
${Array.from({ length: rowsOf(form) }, (_, index) => row(index + 1))}</details>`;
}

export const sayQuiet = (quiet: QuietHours | null): string =>
  quiet === null
    ? 'at any hour'
    : `not ${quiet.hours.map(({ days, from, to }) => `${days.length === 7 ? 'every day' : days.map((day) => weekdays[day]).join(', ')} ${from}–${to}`).join('; ')} (${quiet.timeZone})`;

/* Times as people write them: by the clock on the wall of a zone. */

const parts = new Map<string, Intl.DateTimeFormat>();

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = parts.get(zone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  parts.set(zone, made);
  return made;
}

/** As a field of a form has it: 2026-11-23T19:00. */
function onTheWall(zone: string, at: number): string {
  const of = Object.fromEntries(
    formatOf(zone)
      .formatToParts(at)
      .map(({ type, value }) => [type, value]),
  );
  return `${of['year']}-${of['month']}-${of['day']}T${of['hour']}:${of['minute']}`;
}

/** Null for what is no time, or a zone that there is not. An hour that the clocks leave out is the one after it. */
export function fromTheWall(zone: string, text: string): number | null {
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/.test(text)) return null;
  const wanted = Date.parse(`${text}:00Z`);
  if (Number.isNaN(wanted)) return null;
  try {
    const offset = (at: number) => Date.parse(`${onTheWall(zone, at)}:00Z`) - at;
    const near = wanted - offset(wanted);
    const found = wanted - offset(near);
    return Date.parse(`${onTheWall(zone, found)}:00Z`) === wanted ? found : Math.max(near, found);
  } catch {
    return null;
  }
}

/** Of the machine: where its people are, most often. */
export const usualZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

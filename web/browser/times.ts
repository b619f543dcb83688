/* Times in the reader's own zone, where the page has them in the backend's. Without this they are there too, with the zone's name. */

const shapes: Record<string, Intl.DateTimeFormatOptions> = {
  clock: { hour: '2-digit', minute: '2-digit' },
  moment: { day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit' },
  date: { day: 'numeric', month: 'long', year: 'numeric' },
};

export function localTimes(within: ParentNode): void {
  const language = document.querySelector('main')?.lang || document.documentElement.lang;
  const tag = language === 'en' ? 'en-GB' : language;
  for (const time of within.querySelectorAll('time')) {
    const at = new Date(time.dateTime);
    const shape = shapes[time.dataset['shape'] ?? ''];
    if (Number.isNaN(at.getTime())) continue;
    time.title = new Intl.DateTimeFormat(tag, { dateStyle: 'long', timeStyle: 'short' }).format(at);
    const today = at.toDateString() === new Date().toDateString();
    if (shape) time.textContent = new Intl.DateTimeFormat(tag, shape === shapes['clock'] && !today ? shapes['moment'] : shape).format(at);
  }
}

// After the first words are painted: the browser's own calendar takes 15 ms to begin with, and the times can be read before.
requestAnimationFrame(() => setTimeout(() => localTimes(document)));

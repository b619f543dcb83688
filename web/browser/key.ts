// Countdown, one group at a time, reading aloud, copying, taking the key away. The words stand in the page; nothing is stored.

const find = <E extends HTMLElement = HTMLElement>(selector: string): E | null => document.querySelector<E>(selector);
const all = (selector: string): HTMLElement[] => [...document.querySelectorAll<HTMLElement>(selector)];
const key = find('#key');
if (key) run(key);

function run(key: HTMLElement): void {
  const { mac = '', gone = '/', seconds = '0' } = key.dataset;
  const tiles = all('.tile');
  const channel = new BroadcastChannel('key');
  let place = 0;
  // Also by the page before this one, whose next five minutes these are.
  let copied = key.dataset['copied'] === 'yes';
  let goesOn = false;
  let over = false;

  // Its time began with the answer. In a phone that sleeps a clock may stop: the faster of two counts.
  const [arrived] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
  const steady = arrived?.responseStart ?? 0;
  const wall = Date.now() - performance.now() + steady;
  const left = (): number => Number(seconds) - Math.max(Date.now() - wall, performance.now() - steady) / 1000;

  function wipe(): void {
    over = true;
    window.speechSynthesis?.cancel();
    for (const it of all('.secret')) it.textContent = '';
    for (const it of all('.time, .note, .hide, .more-time')) it.hidden = true;
    for (const it of all('.gone')) it.hidden = false;
    // Where nothing can be loaded, this page stays: whoever hears it hears what became of the key.
    if (!navigator.onLine) find('.gone h2')?.focus();
  }

  /** Browsers let a page write there just after a tap only; without one the page that comes asks for the next tap. */
  const clearClipboard = (): Promise<string> =>
    copied && navigator.userActivation?.isActive === false
      ? Promise.resolve('kept')
      : copied
        ? navigator.clipboard.writeText('').then(
            () => 'cleared',
            () => 'kept',
          )
        : Promise.resolve('');

  /** What comes then takes the place of this page in the history: whoever goes back does not come here. */
  async function leave(first?: () => Promise<unknown>): Promise<void> {
    if (over) return;
    const clearing = clearClipboard();
    wipe();
    await first?.().catch(() => undefined);
    const to = `${gone}&place=${place}&clipboard=${await clearing}`;
    if (navigator.onLine) location.replace(to);
  }

  // Seen in words; heard at 5, 2 and 1 minutes and at 30 seconds only.
  const steps = JSON.parse(key.dataset['left'] ?? '[]') as [number, string][];
  const [seen, said] = [find('.left'), find('.said')];
  let heard = 301;
  function tick(): void {
    const now = left();
    // Before the page goes by itself, as it does without a script: that would leave the clipboard as it is.
    if (now <= 1) void leave();
    if (over) return;
    // Rounded up, as people count: in the first minute five are left, and nobody is told less than they have.
    const words = (steps.findLast(([at]) => at >= now) ?? steps[0])?.[1];
    if (seen && words && seen.textContent !== words) seen.textContent = words;
    const due = [30, 60, 120, 300].find((at) => now <= at);
    if (said && due && due < heard) {
      heard = due;
      said.textContent = steps.find(([at]) => at === due)?.[1] ?? '';
    }
    document.body.classList.toggle('nearly-over', now <= 60);
  }
  // The timers of a machine that slept go on where they were: whatever tells first that it is awake is not waited beyond.
  setInterval(tick, 250);
  for (const event of ['focus', 'pageshow']) addEventListener(event, tick);
  for (const event of ['visibilitychange', 'resume']) document.addEventListener(event, tick);
  tick();

  const swap = (button: HTMLElement | null): void => {
    if (button) [button.textContent, button.dataset['other']] = [button.dataset['other'] ?? '', button.textContent ?? ''];
  };

  /** One group, or with 0 all of them. The place goes along in the forms that show the key again. */
  function show(group: number): void {
    if (group > 0 !== place > 0) swap(find('.one'));
    place = group;
    key.classList.toggle('one-by-one', place > 0);
    tiles.forEach((tile, at) => {
      tile.hidden = place > 0 && at + 1 !== place;
    });
    for (const turn of all('.turn')) turn.hidden = place === 0;
    for (const button of all('.back, .next') as HTMLButtonElement[]) button.disabled = place === (button.matches('.back') ? 1 : 6);
    for (const field of all('[name="place"]') as HTMLInputElement[]) field.value = String(place);
    find('.tile:not([hidden]) h2')?.focus();
  }
  const move = (by: number): void => show(Math.min(6, Math.max(1, place + by)));
  const press = (selector: string, act: () => void): void => find(selector)?.addEventListener('click', act);
  press('.one', () => show(place > 0 ? 0 : 1));
  press('.next', () => move(1));
  press('.back', () => move(-1));
  addEventListener('keydown', (pressed) => {
    if (over || place === 0 || pressed.altKey || pressed.ctrlKey || pressed.metaKey) return;
    if (pressed.key === 'ArrowRight') move(1);
    if (pressed.key === 'ArrowLeft') move(-1);
  });

  const read = find('.read');
  if (!('speechSynthesis' in window)) for (const it of all('.read, .headphones')) it.remove();
  press('.read', () => {
    const wasReading = speechSynthesis.speaking;
    speechSynthesis.cancel();
    if (wasReading) return;
    const words = new SpeechSynthesisUtterance(
      all('.tile:not([hidden]) :is(h2, .spoken)')
        .map((it) => it.textContent)
        .join('. '),
    );
    words.lang = find('main')?.lang || document.documentElement.lang;
    words.rate = 0.7;
    words.onend = words.onerror = () => swap(read);
    swap(read);
    speechSynthesis.speak(words);
  });

  const copy = find('.copy');
  press('.copy', () => {
    const say = (name: string): void => {
      copied ||= name === 'done';
      for (const field of all('[name="copied"]') as HTMLInputElement[]) field.value = copied ? 'yes' : '';
      for (const it of all('.copied')) it.textContent = copy?.dataset[name] ?? '';
    };
    Promise.resolve()
      .then(() =>
        navigator.clipboard.writeText(
          all('.signs')
            .map((it) => it.textContent)
            .join('-'),
        ),
      )
      .then(
        () => say('done'),
        () => say('failed'),
      );
  });

  // *Hide now* hides in every tab, then tells the backend.
  const hide = find<HTMLFormElement>('form.hide');
  hide?.addEventListener('submit', (event) => {
    event.preventDefault();
    channel.postMessage(mac);
    const body = new URLSearchParams([...new FormData(hide)] as [string, string][]);
    void leave(() => fetch(hide.action, { method: 'POST', body, redirect: 'manual' }));
  });
  // Whoever goes elsewhere takes the key out of the clipboard first; over the next five minutes it stays there.
  addEventListener('click', (event) => {
    const link = (event.target as Element).closest<HTMLAnchorElement>('a[href^="/"]');
    if (!link || !copied || over || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    void clearClipboard().then(() => location.assign(link.href));
  });
  addEventListener('submit', (event) => {
    const form = event.target as HTMLFormElement;
    goesOn = form.matches('.more-time');
    if (goesOn || !copied || over || event.defaultPrevented) return;
    event.preventDefault();
    void clearClipboard().then(() => {
      copied = false;
      form.requestSubmit(event.submitter);
    });
  });
  channel.addEventListener('message', ({ data }) => data === mac && void leave());
  // A page is kept for *back* as it was left: it is left without the key.
  addEventListener('pagehide', () => {
    if (!goesOn && !over) void clearClipboard();
    wipe();
  });
  addEventListener('pageshow', ({ persisted }) => persisted && location.replace(gone));

  for (const it of all('.left, .tools')) it.hidden = false;
  const before = Number(key.dataset['place']);
  if (before > 0) show(before);
}

// The list with a keyboard alone: / j k x Enter ?

const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
const search = document.querySelector<HTMLInputElement>('[data-search]');
const help = document.querySelector<HTMLDialogElement>('#keys');
const button = document.querySelector<HTMLElement>('[data-keys]');
let here = -1;

/** The link of the row has the focus: so Enter opens it, and whoever listens hears which it is. */
function move(by: number): void {
  if (rows.length === 0) return;
  const focused = rows.findIndex((row) => row.contains(document.activeElement));
  here = Math.min(rows.length - 1, Math.max(0, (focused >= 0 ? focused : here) + by));
  for (const [at, row] of rows.entries()) row.classList.toggle('here', at === here);
  const link = rows[here]?.querySelector<HTMLElement>('th a');
  link?.focus({ preventScroll: true });
  rows[here]?.scrollIntoView({ block: 'nearest' });
}

const acts: Record<string, () => void> = {
  '/': () => {
    search?.focus();
    search?.select();
  },
  j: () => move(1),
  k: () => move(-1),
  x: () => rows[here]?.querySelector<HTMLElement>('[type="checkbox"]')?.click(),
  '?': () => help?.showModal(),
};

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || help?.open) return;
  // What is typed is typed.
  if ((event.target as Element).closest('input:not([type="checkbox"]), textarea, select, [contenteditable]')) return;
  const act = acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

if (button && help) {
  button.hidden = false;
  button.addEventListener('click', () => help.showModal());
}

export {};

/// <reference lib="dom" />
// The key was copied and its time ran out without a tap: the next tap anywhere on this page takes it out of the clipboard.

const note = document.querySelector<HTMLElement>('.clipboard');

addEventListener(
  'click',
  (event) => {
    const clearing = navigator.clipboard.writeText('').then(
      () => {
        if (note) note.textContent = note.dataset['cleared'] ?? '';
      },
      () => undefined,
    );
    const link = (event.target as Element).closest<HTMLAnchorElement>('a[href]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    void clearing.then(() => location.assign(link.href));
  },
  { once: true },
);

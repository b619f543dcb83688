// Which Macs of a list are chosen, also over its pages: in this tab alone, until something was done with them.

const place = 'sparekey-chosen';
const boxes = [...document.querySelectorAll<HTMLInputElement>('[name^="mac-"]')];
const form = document.querySelector<HTMLFormElement>('#chosen');
/** As many as a form takes by name. */
const most = 500;

function read(): Set<string> {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(place) ?? '[]');
    return new Set(Array.isArray(kept) ? kept.filter((one) => typeof one === 'string') : []);
  } catch {
    return new Set();
  }
}

const chosen = read();
function keep(): void {
  try {
    if (chosen.size === 0) sessionStorage.removeItem(place);
    else sessionStorage.setItem(place, JSON.stringify([...chosen]));
  } catch {
    // Where nothing may be kept, this page alone counts.
  }
}

if (document.querySelector('[data-done]')) {
  chosen.clear();
  keep();
}

if (form) {
  const said = form.querySelector<HTMLElement>('[data-chosen]');
  const go = form.querySelector('button');
  const forget = form.querySelector<HTMLElement>('[data-forget]');
  const others = form.elements.namedItem('others') as HTMLInputElement;
  const here = new Set(boxes.map((box) => box.value));

  const show = (): void => {
    for (const box of boxes) {
      box.checked = chosen.has(box.value);
      box.closest('tr')?.setAttribute('aria-selected', String(box.checked));
    }
    const elsewhere = [...chosen].filter((one) => !here.has(one));
    others.value = elsewhere.join(' ');
    const many = chosen.size === 1 ? '1 Mac' : `${chosen.size} Macs`;
    if (go) {
      go.disabled = chosen.size === 0;
      go.textContent = chosen.size === 0 ? 'Go on with the chosen Macs' : `Go on with ${many}`;
    }
    if (said)
      said.textContent =
        chosen.size >= most ? `${many} chosen: no more at once by name` : `${many} chosen${elsewhere.length > 0 ? `, ${elsewhere.length} on other pages` : ''}`;
    if (forget) forget.hidden = chosen.size === 0;
    keep();
  };
  for (const box of boxes)
    box.addEventListener('change', () => {
      if (!box.checked) chosen.delete(box.value);
      else if (chosen.size < most) chosen.add(box.value);
      show();
    });
  forget?.addEventListener('click', () => {
    chosen.clear();
    show();
    boxes[0]?.focus();
  });
  // Browsers fill in what was chosen when they go back.
  addEventListener('pageshow', () => {
    chosen.clear();
    for (const one of read()) chosen.add(one);
    show();
  });
  said?.classList.remove('hidden-words');
  show();
}

export {};

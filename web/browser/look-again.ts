import { localTimes } from './times.ts';

/*
 * While something is awaited, the part of the page that tells of it is fetched anew; nothing else moves, so that nobody loses
 * their place, and a screen reader says what is new when it is done speaking.
 */

const everySeconds = 30;
/** For an hour: a page that was forgotten does not keep its person signed in. */
let left = 120;

/** As a document: markup is made by the browser from our own answer, never from text. */
function fetchPage(): Promise<Document | null> {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open('GET', location.href);
    request.responseType = 'document';
    request.timeout = 20_000;
    const end = () => resolve(request.status === 200 ? request.responseXML : null);
    request.addEventListener('loadend', end);
    request.send();
  });
}

/** Words and moments: that a minute has passed since one of them is no news. */
function newsOf(part: Element): string {
  const copy = part.cloneNode(true) as Element;
  for (const time of copy.querySelectorAll('time')) time.textContent = time.dateTime;
  return copy.textContent;
}

async function lookAgain(): Promise<void> {
  if (document.visibilityState === 'visible') {
    left -= 1;
    const page = await fetchPage();
    const now = document.querySelector('[data-look-again]');
    const next = page?.querySelector('[data-look-again]');
    // Only what is new: a live region that is filled with the same words may be read again.
    if (now && next) {
      localTimes(next);
      const busy = now.contains(document.activeElement);
      if (!busy && newsOf(now) !== newsOf(next)) now.replaceChildren(...next.childNodes);
    }
    // All has come, or its person is signed out.
    if (page && ![...page.scripts].some((script) => script.src.endsWith('/look-again.js'))) return;
  }
  if (left > 0) setTimeout(lookAgain, everySeconds * 1000);
}

setTimeout(lookAgain, everySeconds * 1000);

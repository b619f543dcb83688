import { Agent, request } from 'node:https';

/** A form of a page, as a browser would send it: fields with what they hold, and its buttons. */
interface Form {
  action: string;
  method: string;
  fields: Record<string, string>;
  buttons: { name: string; value: string; words: string }[];
}

export interface Shown {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  /** As it came. */
  text: string;
  /** What stands between the tags, in one line. */
  words: string;
  /** Of `main` alone. */
  content: string;
  /** Where it was, after what was followed. */
  path: string;
  forms: Form[];
}

const entities: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" };
const plain = (text: string): string => text.replace(/&(amp|lt|gt|quot|#39);/g, (entity) => entities[entity] ?? entity);
const attribute = (tag: string, name: string): string | null => {
  const found = new RegExp(`\\s${name}(?:="([^"]*)")?(?=[\\s>/])`).exec(tag);
  return found ? plain(found[1] ?? '') : null;
};
const wordsOf = (text: string): string =>
  plain(
    text
      .replace(/<(head|script|style)\b.*?<\/\1>/gs, ' ')
      .replace(/<[^>]*>/g, ' ')
      .replace(/\s+/g, ' ')
      .trim(),
  );

function formsOf(text: string): Form[] {
  return [...text.matchAll(/<form\b[^>]*>.*?<\/form>/gs)].map(([form]) => {
    const open = /^<form\b[^>]*>/.exec(form)?.[0] ?? '';
    const fields: Record<string, string> = {};
    const buttons: Form['buttons'] = [];
    for (const [tag] of form.matchAll(/<input\b[^>]*>/g)) {
      const name = attribute(tag, 'name');
      const isChoice = /\stype="(checkbox|radio)"/.test(tag);
      if (name !== null && (!isChoice || attribute(tag, 'checked') !== null)) fields[name] = attribute(tag, 'value') ?? (isChoice ? 'on' : '');
    }
    for (const [, tag = '', value = ''] of form.matchAll(/(<textarea\b[^>]*>)(.*?)<\/textarea>/gs)) fields[attribute(tag, 'name') ?? ''] = plain(value);
    for (const [, tag = '', options = ''] of form.matchAll(/(<select\b[^>]*>)(.*?)<\/select>/gs)) {
      const all = [...options.matchAll(/<option\b[^>]*>/g)].map(([option]) => option);
      fields[attribute(tag, 'name') ?? ''] = attribute(all.find((option) => attribute(option, 'selected') !== null) ?? all[0] ?? '', 'value') ?? '';
    }
    for (const [, tag = '', inside = ''] of form.matchAll(/(<button\b[^>]*>)(.*?)<\/button>/gs))
      buttons.push({ name: attribute(tag, 'name') ?? '', value: attribute(tag, 'value') ?? '', words: wordsOf(inside) });
    return { action: attribute(open, 'action') ?? '', method: (attribute(open, 'method') ?? 'get').toLowerCase(), fields, buttons };
  });
}

export interface Sending {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** False: an answer that leads elsewhere is what is wanted. */
  follow?: boolean;
}

/** A browser without scripts: real TLS, a cookie jar, forms as they stand in the page. */
export function portalClient(url: string, ca: string, options: { language?: string; userAgent?: string; localAddress?: string } = {}) {
  const jar = new Map<string, string>();
  // As browsers do: a handshake for each request would be most of a test's time.
  const agent = new Agent({ keepAlive: true, timeout: 20_000 });
  const { hostname, port } = new URL(url);

  function keep(cookies: readonly string[]): void {
    for (const line of cookies) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/Max-Age=0(;|$)/.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
  }

  function ask(path: string, sending: Sending): Promise<Shown> {
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: hostname,
          port,
          path,
          method: sending.method ?? 'GET',
          ca,
          agent,
          ...(options.localAddress ? { localAddress: options.localAddress } : {}),
          headers: {
            accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8',
            'accept-language': options.language ?? 'en',
            'user-agent':
              options.userAgent ?? 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/18.6 Mobile/15E148 Safari/604.1',
            ...(cookies === '' ? {} : { cookie: cookies }),
            ...(sending.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(sending.body)) }),
            ...sending.headers,
          },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.on('error', reject);
          answer.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            keep(answer.headers['set-cookie'] ?? []);
            const content = wordsOf(/<main\b.*?<\/main>/s.exec(text)?.[0] ?? '');
            resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, words: wordsOf(text), content, path, forms: formsOf(text) });
          });
        },
      );
      sent.on('error', reject);
      sent.end(sending.body);
    });
  }

  async function go(path: string, sending: Sending = {}): Promise<Shown> {
    const { follow = true } = sending;
    let shown = await ask(path, sending);
    for (let times = 0; follow && shown.status === 303 && times < 5; times++) {
      const to = String(shown.headers['location']);
      // Elsewhere is not ours to follow.
      if (!to.startsWith('/')) return shown;
      shown = await ask(to, {});
    }
    return shown;
  }

  const post = (path: string, fields: Record<string, string>, sending: Sending = {}): Promise<Shown> =>
    go(path, {
      ...sending,
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: url, 'sec-fetch-site': 'same-origin', ...sending.headers },
      body: new URLSearchParams(fields).toString(),
    });

  return {
    jar,
    url,
    /** Its connections go, as of a browser that was closed. */
    close: () => agent.destroy(),
    get: (path: string, sending: Sending = {}) => go(path, sending),
    /** Fields as they are, with the headers of a browser: for what a page would not send. */
    post,
    /** Sends the form of a page with this address, changed by `fields`; `button` picks one by its words. */
    submit(page: Shown, action: string, fields: Record<string, string> = {}, sending: Sending & { button?: string } = {}): Promise<Shown> {
      const form = page.forms.find((one) => one.action === action);
      if (!form) throw new Error(`no form for ${action} on ${page.path} (${page.status}): ${page.forms.map((one) => one.action).join(', ')} | ${page.words}`);
      const { button } = sending;
      const pressed = form.buttons.find((one) => (button === undefined ? true : one.words === button));
      if (!pressed && button !== undefined) throw new Error(`no button ${button}: ${form.buttons.map((one) => one.words).join(', ')}`);
      const all = { ...form.fields, ...(pressed && pressed.name !== '' ? { [pressed.name]: pressed.value } : {}), ...fields };
      if (form.method === 'get') return go(`${form.action}?${new URLSearchParams(all)}`, sending);
      return post(form.action, all, sending);
    },
    /** What a script of ours asks: JSON, with the token of a form that stands in the page. */
    ask: (path: string, json: unknown, token: string, headers: Record<string, string> = {}) =>
      go(path, {
        method: 'POST',
        follow: false,
        headers: { 'content-type': 'application/json', origin: url, 'sec-fetch-site': 'same-origin', 'form-token': token, ...headers },
        body: JSON.stringify(json),
      }),
  };
}
export type PortalClient = ReturnType<typeof portalClient>;

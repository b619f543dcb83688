import type { HttpRequest } from '../server/http.ts';
import type { SitesGround } from '../server/serve.ts';
import type { Html } from './html.ts';
import type { Method } from './paths.ts';
import type { Language } from './words.ts';

/** Somebody who is signed in. */
export interface Person {
  id: string;
  /** Lower case: what assignments name. */
  userName: string;
  displayName: string;
  email: string | null;
  /** As the provider said at the last sign-in; null where it could not say: then the strictest of all groups counts. */
  groups: readonly string[] | null;
  /** The emergency accounts are for the day when the provider is down. */
  emergency: boolean;
}

export interface Session {
  id: string;
  person: Person;
  /** `password`, `passkey`, or the id of a provider. */
  way: string;
  /** Server time of the last proof of who they are, milliseconds. */
  freshAt: number;
  /** Whether that is recent enough for a key. */
  fresh: boolean;
}

/** Sessions are for one of them. */
export type SiteName = SitesGround['site'];

/** One request, as a page sees it. */
export interface Visit {
  site: SiteName;
  params: Readonly<Record<string, string>>;
  query: Readonly<Record<string, string>>;
  /** The fields of a form; of a name that came twice the last. */
  form: Readonly<Record<string, string>>;
  /** The cookies that came with it, by their whole names. */
  cookies: Readonly<Record<string, string>>;
  /** Path and query, as it was asked for: where to go on after signing in. */
  path: string;
  language: Language;
  session: Session | null;
  /** The address, or the /64 that one subscriber has: what limits count. */
  network: string;
  /** The browser, in a few words of ours. */
  browser: string;
  requestId: string;
  /** Server time, milliseconds. */
  at: number;
  /**
   * A field that every form with `method="post"` has to have: ties it to this session, and to one act: the path that the form
   * is sent to, such as `/macs/0b9c…/key`. `once`: good for an hour, and spent by that act. Scripts send it as `form-token`.
   */
  token(act: string, once?: boolean): Html;
}

/** A visit of somebody who is signed in. */
export interface SignedIn extends Visit {
  session: Session;
}

export interface Page {
  /** In the title of the window, before the organisation's name. Never a key. */
  title: string;
  /** The content of `<main>`, its `<h1>` included. */
  body: Html;
  /** The language of the body, where it is not the visit's. */
  language?: Language;
  status?: number;
  /** Modules of web/browser that this page runs. */
  scripts?: readonly string[];
  /** Without a script too: after so many seconds the browser goes there. */
  refresh?: { seconds: number; to: string };
  headers?: Readonly<Record<string, string>>;
  /** Cookies to set: name and value; null removes. All are `__Host-`, HttpOnly, Secure. */
  cookies?: readonly { name: string; value: string | null; maxAgeSeconds?: number }[];
}

/** Somewhere else: a path of this site, or for `away` an address of a provider in the settings. */
export interface Elsewhere {
  to: string;
  away?: true;
  cookies?: Page['cookies'];
}

/** A file that is made while it is sent. */
interface SentFile {
  file: { name: string; type: string; content: AsyncIterable<string | Uint8Array> };
  cookies?: Page['cookies'];
}

export type Answer = Page | Elsewhere | SentFile;

/** Who may come: anybody; whoever is signed in; whoever has signed in a short time ago. */
export type Needs = 'nobody' | 'person' | 'fresh';
export type VisitOf<N extends Needs> = N extends 'nobody' ? Visit : SignedIn;

/** What a part of the sites adds its pages to. */
export interface Site {
  ground: SitesGround;
  /** For routes that are added to the app itself: so that other methods are refused in words. */
  addPath(method: Method, path: string): void;
  /** Who asks by such a route. */
  visitOf(request: HttpRequest): Promise<Visit>;
  /** Throws where no page of ours has sent it, with a token for this very path in the header `form-token`. */
  checkSent(request: HttpRequest): Promise<void>;
  page<N extends Needs>(path: string, needs: N, answer: (visit: VisitOf<N>) => Promise<Answer>): void;
  /**
   * A form that changes something. Its token has been checked when `answer` is called; `once`: the answer spends it itself,
   * in the transaction of its act, by `spendForm`.
   */
  act<N extends Needs>(path: string, needs: N, answer: (visit: VisitOf<N>) => Promise<Answer>): void;
  /** For scripts of ours: JSON in, JSON out, with the same checks. */
  ask<N extends Needs>(path: string, needs: N, answer: (visit: VisitOf<N> & { json: unknown }) => Promise<unknown>): void;
}

/** Why somebody is not signed in; each is said as what happened, and what to do. */
export type SignInTrouble =
  | 'wrong'
  | 'off'
  | 'emptied'
  | 'otherPerson'
  | 'flowOld'
  | 'denied'
  | 'down'
  | 'loginRequired'
  | 'notFresh'
  | 'nameless'
  | 'refused'
  | 'passkeyRefused'
  | 'passkeyUnknown'
  | 'passkeyOld';

export interface SignInWords {
  title: string;
  lead: string;
  again: { title: string; lead: (minutes: number) => string };
  ended: string;
  signedOut: string;
  with: (provider: string) => string;
  passkey: string;
  passkeyMeans: string;
  passkeyFailed: string;
  or: string;
  userName: string;
  password: string;
  show: string;
  signIn: string;
  setUp: string;
  cannot: string;
  wait: (seconds: number) => { title: string; text: string };
  trouble: Record<SignInTrouble, { title: string; text: string }>;
  cannotTitle: string;
  cannotLead: string;
  cannotFirst: { title: string; steps: readonly string[] };
  tooOften: string;
  back: string;
}

export const minutes = (seconds: number): number => Math.ceil(seconds / 60);

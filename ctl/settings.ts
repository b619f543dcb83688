import { homedir, hostname } from 'node:os';
import { join } from 'node:path';

/** Where the command line keeps what it knows: one folder of the person who runs it. */
export const configFolder = (environment: NodeJS.ProcessEnv = process.env): string =>
  environment['SPAREKEYCTL_CONFIG'] || join(environment['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'sparekey');

/** What this machine calls itself: shown to the person who lets it in. */
export const machineName = (): string => hostname().slice(0, 200);

/** Whether colours are wanted: never without a terminal (no-color.org). */
export const wantsColour = (isTerminal: boolean, environment: NodeJS.ProcessEnv = process.env): boolean =>
  isTerminal && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb';

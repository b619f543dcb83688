import { writeFileSync } from 'node:fs';
import { doorProgram } from './background.ts';
import { built } from './built.ts';

const banner = { js: "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);" };

/** The second door's program as one file beside the state: a command that no answer lies ready for starts in a third of the time. */
export const writeDoorProgram = (root: string): void => writeFileSync(doorProgram(root), built('command-main', { format: 'esm', banner }), { mode: 0o600 });

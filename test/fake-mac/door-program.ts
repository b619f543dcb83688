import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { doorProgram } from './background.ts';

let made: string | null = null;

/** The second door's program as one file beside the state: a command that no answer lies ready for starts in a third of the time. */
export const writeDoorProgram = (root: string): void => {
  made ??=
    buildSync({
      entryPoints: [fileURLToPath(new URL('./command-main.ts', import.meta.url))],
      bundle: true,
      platform: 'node',
      target: 'node26',
      format: 'esm',
      write: false,
      banner: { js: "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);" },
    }).outputFiles[0]?.text ?? '';
  writeFileSync(doorProgram(root), made, { mode: 0o600 });
};

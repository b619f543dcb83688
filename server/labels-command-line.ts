import { Problem } from '../protocol/problems.ts';
import type { Commands } from './parts-command-line.ts';

/** The command for labels; what it does is loaded when it is asked for. */
export function addLabelCommand({ program, add, inBackend }: Commands): void {
  add(
    program,
    'labels [mac...]',
    'prints labels with a code that opens a Mac’s page after sign-in; of all Macs where none is named',
    'labels > labels.html',
    'folder',
  )
    .option('--user <user>', 'of the Macs that are said to be this person’s')
    .option('--paper <paper>', 'a4 (3 × 7 labels of 63.5 × 38.1 mm) or letter (3 × 10 of 66.7 × 25.4 mm)', 'a4')
    .option('--language <language>', 'en, nl, de or fr', 'en')
    .option('--svg-dir <folder>', 'one picture of 60 × 30 mm for each Mac in this folder, for label printers')
    .action(async (macs: string[], options) => {
      const { labelLanguages, papers } = await import('./labels.ts');
      const language = labelLanguages.find((one) => one === options.language);
      if (language === undefined) throw new Problem('USAGE', `--language is one of ${labelLanguages.join(', ')}`);
      const paper = (Object.keys(papers) as (keyof typeof papers)[]).find((one) => one === options.paper);
      if (paper === undefined) throw new Problem('USAGE', '--paper is a4 or letter');
      const { labels } = await import('./labels-command.ts');
      await inBackend(options, (backend) => labels(backend, { user: options.user ?? null, macs, paper, language, svgDir: options.svgDir ?? null }));
    });
}

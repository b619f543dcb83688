import { readFileSync } from 'node:fs';

/** One place of one file of the backend that is otherwise in another release. */
interface Change {
  /** As it lies in the repository, such as `server/database.ts`. */
  file: string;
  from: string;
  to: string;
}

const root = new URL('../../', import.meta.url);

/** Arguments of Node by which the program of this clone runs as if it were another release. Nothing is written to the disk. */
function asRelease(changes: readonly Change[]): string[] {
  for (const { file, from } of changes)
    if (readFileSync(new URL(file, root), 'utf8').split(from).length !== 2) throw new Error(`${file} has not once: ${from}`);
  const known = JSON.stringify(changes.map((change) => ({ ...change, url: new URL(change.file, root).href })));
  const hook = `import { registerHooks } from 'node:module';
const changes = ${known};
registerHooks({ load(url, context, next) {
  const loaded = next(url, context);
  const here = changes.filter((change) => change.url === url);
  if (here.length === 0) return loaded;
  let source = String(loaded.source instanceof Uint8Array ? Buffer.from(loaded.source) : loaded.source);
  for (const { from, to } of here) source = source.replace(from, () => to);
  return { ...loaded, source };
} });`;
  return ['--import', `data:text/javascript,${encodeURIComponent(hook)}`];
}

/** The release after this one: its database has a table more, and a column more in a table that every check-in writes. */
export const nextRelease = (during = ''): string[] =>
  asRelease([
    {
      file: 'server/database.ts',
      from: 'export const newestSchema = migrations.length;',
      to: `(migrations as unknown as ((db: Kysely<unknown>) => Promise<void>)[]).push(async (db) => {
  await db.schema.createTable('made_up').addColumn('id', 'text', (column) => column.primaryKey()).execute();
  await db.schema.alterTable('mac').addColumn('made_up', 'text').execute();
  ${during}
});
export const newestSchema = migrations.length;`,
    },
  ]);

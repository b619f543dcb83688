import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Copies of the whole data folder, each made just before a newer program brought its database to another shape. */
export const upgradeFolder = (dir: string): string => join(dir, 'before-upgrades');

const form = /^schema-(\d{1,4})-(\d{8}T\d{6}Z)\.tar$/;

export const upgradeCopyName = (schema: number, at: Date): string => `schema-${schema}-${at.toISOString().replace(/\.\d+/, '').replace(/[-:]/g, '')}.tar`;

/** Those that are there, the newest first. */
export function upgradeCopies(dir: string): { path: string; schema: number; made: string }[] {
  const folder = upgradeFolder(dir);
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names
    .flatMap((name) => {
      const [, schema, made] = form.exec(name) ?? [];
      return schema === undefined || made === undefined ? [] : [{ path: join(folder, name), schema: Number(schema), made }];
    })
    .sort((one, other) => other.made.localeCompare(one.made));
}

/** What a program that knows this schema can go back to; null where there is nothing. */
export const copyFor = (dir: string, schema: number): string | null => upgradeCopies(dir).find((copy) => copy.schema <= schema)?.path ?? null;

// Property lists as macOS writes them: binary on disk, and XML with tabs and sorted keys as plutil and fdesetup print it.
import makeBinary from 'bplist-creator';
import { parseBuffer } from 'bplist-parser';
import type { Setting, Settings } from './state.ts';

export type Plain = string | number | boolean | Date | Uint8Array | Plain[] | { [key: string]: Plain };

/** Settings as values: `{ data }` becomes bytes. */
export const toPlain = (value: Setting): Plain => {
  // Copied: the binary writer knows an array by its constructor, and a cloned one can be of another realm.
  if (Array.isArray(value)) return [...value].map(toPlain);
  if (typeof value !== 'object') return value;
  const entries = Object.entries(value);
  if (entries.length === 1 && typeof value['data'] === 'string') return Buffer.from(value['data'], 'base64');
  return Object.fromEntries(entries.map(([key, inner]) => [key, toPlain(inner)]));
};

export const binaryPlist = (value: Settings): Buffer => Buffer.from(makeBinary(toPlain(value) as Record<string, unknown>));

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

const lines = (value: Plain, indent: string): string[] => {
  if (typeof value === 'string') return [`${indent}<string>${escaped(value)}</string>`];
  if (typeof value === 'number') return [Number.isInteger(value) ? `${indent}<integer>${value}</integer>` : `${indent}<real>${value}</real>`];
  if (typeof value === 'boolean') return [`${indent}<${value}/>`];
  if (value instanceof Date) return [`${indent}<date>${value.toISOString().replace(/\.\d+/, '')}</date>`];
  if (value instanceof Uint8Array)
    return [
      `${indent}<data>`,
      ...(
        Buffer.from(value)
          .toString('base64')
          .match(/.{1,68}/g) ?? []
      ).map((line) => `${indent}${line}`),
      `${indent}</data>`,
    ];
  if (Array.isArray(value))
    return value.length ? [`${indent}<array>`, ...value.flatMap((inner) => lines(inner, `${indent}\t`)), `${indent}</array>`] : [`${indent}<array/>`];
  const keys = Object.keys(value).sort();
  if (!keys.length) return [`${indent}<dict/>`];
  return [
    `${indent}<dict>`,
    ...keys.flatMap((key) => [`${indent}\t<key>${escaped(key)}</key>`, ...lines(value[key] ?? '', `${indent}\t`)]),
    `${indent}</dict>`,
  ];
};

export const xmlPlist = (value: Plain): string =>
  [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    '<plist version="1.0">',
    ...lines(value, ''),
    '</plist>',
    '',
  ].join('\n');

/** Throws where the bytes are no binary property list. */
export const readBinaryPlist = (bytes: Buffer): Plain => parseBuffer(bytes)[0] as Plain;

/**
 * The dictionary of strings that a command takes on stdin, or null where it is none. Callers send flat XML
 * (`<key>Password</key><string>…</string>`, with or without header); anything richer is bad input here.
 */
export const readCredentials = (stdin: Buffer): Record<string, string> | null => {
  const text = stdin.toString('utf8');
  const body = /<plist\b[^>]*>\s*<dict>([\s\S]*)<\/dict>\s*<\/plist>\s*$/.exec(text)?.[1];
  if (body === undefined) return null;
  const found: Record<string, string> = {};
  const rest = body.replace(/<key>([^<]*)<\/key>\s*<string>([^<]*)<\/string>/g, (_, key: string, value: string) => {
    const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
    found[key] = value.replace(/&(amp|lt|gt|quot|apos);/g, (whole, name: string) => entities[name] ?? whole);
    return '';
  });
  return rest.trim() === '' ? found : null;
};

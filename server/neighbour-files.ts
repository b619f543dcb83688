import { readFileSync } from 'node:fs';
import { pem, readPem } from './certificates.ts';
import { readPrivate } from './private-files.ts';

/** What a file holds, without the line end that every editor puts there. */
export const secretIn = (file: string): Buffer => Buffer.from(readPrivate(file).toString('utf8').trim());

/** Certificates to believe besides the public roots. */
export const trustedIn = (file: string | null): string[] => (file === null ? [] : readPem(readFileSync(file, 'utf8')).map((der) => pem('CERTIFICATE', der)));

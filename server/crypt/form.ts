import { RecoveryKey } from '../../protocol/recovery-key.ts';

/** What a Crypt client says at its check-in. The name of the Mac is read by nobody here, and not kept. */
export interface CryptSent {
  serial: string;
  username: string;
  key: RecoveryKey;
}

/** Nobody has longer names; what comes back to the client is one of them. */
const longestName = 256;
const mostFields = 20;
/** RFC 2046: 1 to 70 characters. */
const boundaryOf = /^multipart\/form-data\s*;.*?\bboundary=(?:"([^"\r\n]{1,70})"|([^\s;,"]{1,70}))/is;
const fieldName = /^content-disposition:\s*form-data\s*;.*?\bname="([^"\r\n]*)"/im;
const isFile = /^content-disposition:.*\bfilename\*?=/im;

/** The fields, or in words why there are none. */
function fieldsOf(contentType: string, body: Buffer): [string, string][] | string {
  if (/^application\/x-www-form-urlencoded\s*(;|$)/i.test(contentType)) return [...new URLSearchParams(new TextDecoder().decode(body))];
  const [, quoted, bare] = boundaryOf.exec(contentType) ?? [];
  const boundary = quoted ?? bare;
  if (boundary === undefined) return 'it is neither an URL-encoded form nor a form in parts';
  const [before = '', ...parts] = `\r\n${body.toString('latin1')}`.split(`\r\n--${boundary}`);
  if (before !== '' || parts.pop()?.startsWith('--') !== true) return 'the form in parts is not complete';
  const fields: [string, string][] = [];
  for (const part of parts) {
    const end = part.indexOf('\r\n\r\n');
    const head = part.slice(0, Math.max(end, 0));
    const name = fieldName.exec(head)?.[1];
    if (end < 0 || name === undefined || isFile.test(head)) return 'the form has a part that is no field';
    fields.push([name, Buffer.from(part.slice(end + 4), 'latin1').toString('utf8')]);
  }
  return fields;
}

/** Reads what a client posted; what cannot be kept is said in words in which nothing of it stands. */
export function readSent(contentType: string | undefined, body: Buffer): CryptSent | string {
  const fields = fieldsOf(contentType ?? '', body);
  if (typeof fields === 'string') return fields;
  if (fields.length > mostFields) return `the form has more than ${mostFields} fields`;
  const ours = ['serial', 'recovery_password', 'username', 'secret_type'];
  const sent = new Map<string, string>();
  for (const [name, value] of fields) {
    if (ours.includes(name) && sent.has(name)) return `the field ${name} is there twice`;
    sent.set(name, value);
  }
  const type = sent.get('secret_type')?.trim() ?? 'recovery_key';
  if (type !== 'recovery_key') return 'only recovery keys are kept here: secret_type is another';
  const serial = sent.get('serial')?.trim().toUpperCase() ?? '';
  if (serial === '') return 'the field serial is missing';
  const password = sent.get('recovery_password')?.trim() ?? '';
  if (password === '') return 'the field recovery_password is missing';
  const username = sent.get('username')?.trim() ?? '';
  if (username.length > longestName) return `the field username has more than ${longestName} characters`;
  const key = RecoveryKey.normalise(password);
  return key ? { serial, username, key } : 'the field recovery_password is no recovery key of FileVault';
}

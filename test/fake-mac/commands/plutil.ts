// plutil. The words of its errors are modelled after captures of other files ("… (Property List error …)"); the agent is
// not to read them, only that there is no XML.
import { readFileSync } from 'node:fs';
import { type Plain, readBinaryPlist, xmlPlist } from '../property-list.ts';
import { type Asked, complains, hasNo, inTheRoot, type Outcome, says } from './outcome.ts';

export const plutil = ({ root }: Asked, args: readonly string[], stdin: Buffer): Outcome => {
  const [convert, format, output, to, ...files] = args;
  const [file, ...more] = files[0] === '--' ? files.slice(1) : files;
  if (convert !== '-convert' || format !== 'xml1' || output !== '-o' || to !== '-' || file === undefined || more.length) return hasNo('/usr/bin/plutil', args);
  let bytes: Buffer;
  try {
    bytes = file === '-' ? stdin : readFileSync(inTheRoot(root, file));
  } catch {
    return complains(1, `${file}: file does not exist or is not readable or is not a regular file (Error Domain=NSCocoaErrorDomain Code=260)`);
  }
  if (bytes.subarray(0, 5).toString() === '<?xml') return says(bytes);
  try {
    const value: Plain = readBinaryPlist(bytes);
    return says(xmlPlist(value));
  } catch {
    return complains(1, `${file}: Property List error: Unexpected character at line 1 / JSON error: JSON text did not start with array or object`);
  }
};

/** Clients send one; a long first message may need a second. */
const mostRecords = 16;

export interface Hello {
  /** The server name (RFC 6066) in small letters; null where the client names nobody. */
  name: string | null;
  /** The protocols that it would speak (RFC 7301). */
  protocols: readonly string[];
}

/**
 * What the first message of TLS asks for, from the bytes that have come so far: `more` where it is not whole yet, `other` where
 * it is no ClientHello. What is wrong inside is for TLS itself to refuse.
 */
export function readHello(bytes: Buffer): Hello | 'more' | 'other' {
  const records: Buffer[] = [];
  let at = 0;
  let have = 0;
  let wanted = 4;
  // A handshake message may lie in several records.
  while (have < wanted) {
    if (bytes.length > at && bytes[at] !== 22) return 'other';
    if (bytes.length < at + 5) return 'more';
    const length = bytes.readUInt16BE(at + 3);
    if (bytes[at + 1] !== 3 || length === 0 || length > 16_384) return 'other';
    // Cut into crumbs it would cost more to read than to send.
    if (records.length === mostRecords) return 'other';
    const record = bytes.subarray(at + 5, at + 5 + length);
    records.push(record);
    have += record.length;
    const head = Buffer.concat(records);
    if (head.length > 0 && head[0] !== 1) return 'other';
    if (head.length >= 4) wanted = 4 + head.readUIntBE(1, 3);
    if (record.length < length && have < wanted) return 'more';
    at += 5 + length;
  }
  try {
    return helloIn(Buffer.concat(records).subarray(4, wanted));
  } catch {
    return 'other';
  }
}

function helloIn(hello: Buffer): Hello {
  // Version, random; then three lists of their own lengths.
  let at = 2 + 32;
  at += 1 + hello.readUInt8(at);
  at += 2 + hello.readUInt16BE(at);
  at += 1 + hello.readUInt8(at);
  let name: string | null = null;
  const protocols: string[] = [];
  if (at >= hello.length) return { name, protocols };
  const end = at + 2 + hello.readUInt16BE(at);
  for (at += 2; at + 4 <= end; ) {
    const [type, length] = [hello.readUInt16BE(at), hello.readUInt16BE(at + 2)];
    at += 4;
    if (at + length > hello.length) throw new RangeError('extension');
    // Of the list, the first entry: a host name (0), after its length.
    if (type === 0 && name === null && hello.readUInt8(at + 2) === 0) {
      const bytes = hello.readUInt16BE(at + 3);
      if (bytes + 5 > length) throw new RangeError('server_name');
      name = hello.toString('latin1', at + 5, at + 5 + bytes).toLowerCase();
    }
    // Names after their lengths, after the length of all of them.
    if (type === 16)
      for (let one = at + 2; one < at + length; one += 1 + hello.readUInt8(one))
        protocols.push(hello.toString('latin1', one + 1, one + 1 + hello.readUInt8(one)));
    at += length;
  }
  return { name, protocols };
}

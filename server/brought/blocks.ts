import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import { broughtBlocksAmong, broughtWithEnvelope, noteBroughtBlocks } from '../store/brought.ts';
import { envelopeOfMac, keyBlocksAmong } from '../store/keys.ts';
import { macById } from '../store/macs.ts';
import type { Tables } from '../tables.ts';
import type { BroughtTrust } from './sources.ts';

/*
 * What others bring: a sealed block is a serial number's as soon as somebody has brought it for that, and a Mac's
 * when it is a record there. Copies of the bytes are about (backups, `leave`, the MDM itself), and whoever delivers one of
 * them as a Mac of his own must not be given the key for it.
 */

interface Sealed {
  envelopeId: string;
  blocks: readonly string[];
}

interface Who {
  macId: string;
  serial: string;
}

/**
 * `free`: nobody has brought it. `own`: this Mac has it. `said`: others brought it for the Mac's serial number, or as a record of
 * the Mac that had that number before: it is this Mac's where it is beyond doubt that it is that one. `anothers`: it came in
 * another envelope, under another Mac, or for another serial number.
 */
export type BlockOwner = 'free' | 'own' | 'said' | 'anothers';

/** Whose a sealed block is to this Mac: decided here, and nowhere else. */
export async function whoseBlocks(db: Kysely<Tables>, { envelopeId, blocks }: Sealed, who: Who): Promise<BlockOwner> {
  const serial = who.serial.trim().toUpperCase();
  const own = new Set<string>();
  let isSaid = false;
  for (const block of await keyBlocksAmong(db, blocks)) {
    if (block.envelope_id !== envelopeId) return 'anothers';
    if (block.mac_id === who.macId) own.add(block.digest);
    else if (await isOfMacBefore(db, block, serial)) isSaid = true;
    else return 'anothers';
  }
  const left = blocks.filter((digest) => !own.has(digest));
  for (const block of await broughtBlocksAmong(db, left)) {
    if (block.serial !== serial || block.envelope_id !== envelopeId) return 'anothers';
    isSaid = true;
  }
  if (isSaid) return 'said';
  return own.size > 0 ? 'own' : 'free';
}

/** A Mac of this serial number that others brought it for, and that never delivered it itself: it may have been set up anew since. */
async function isOfMacBefore(db: Kysely<Tables>, { mac_id: macId, envelope_id: id }: Tables['key_block'], serial: string): Promise<boolean> {
  if ((await macById(db, macId))?.serial.toUpperCase() !== serial) return false;
  return (await envelopeOfMac(db, macId, id))?.enrolment_id === null;
}

/** What comes by the word of others, and becomes a record of its Mac, stays that serial number's whatever becomes of the record. */
export async function noteSerialOf(tx: Tx, { envelopeId, blocks }: Sealed, macId: string): Promise<void> {
  const serial = (await macById(tx, macId))?.serial.toUpperCase();
  const noted = new Set((await broughtBlocksAmong(tx, blocks)).map(({ digest }) => digest));
  const left = serial === undefined ? [] : blocks.filter((digest) => !noted.has(digest));
  await noteBroughtBlocks(
    tx,
    left.map((digest) => ({ digest, serial: serial ?? '', envelope_id: envelopeId })),
  );
}

/**
 * Notes whose they are, or says why they are not. What was taken back belongs to nobody, and only an admin says whose it is
 * after all: a device of the MDM may say what it likes.
 */
export async function claimBlocks(
  tx: Tx,
  { envelopeId, blocks, isNew }: Sealed & { isNew: boolean },
  serial: string,
  trust: BroughtTrust,
): Promise<string | null> {
  const note = (digests: readonly string[]): Promise<void> =>
    noteBroughtBlocks(
      tx,
      digests.map((digest) => ({ digest, serial, envelope_id: envelopeId })),
    );
  // Sealed here, just now: nobody has seen it before.
  if (isNew) {
    await note(blocks);
    return null;
  }
  const others = (await broughtBlocksAmong(tx, blocks)).filter((block) => block.serial !== serial || block.envelope_id !== envelopeId);
  for (const { envelope_id: id } of others)
    if (trust !== 'admin' || (await broughtWithEnvelope(tx, id)).length > 0) return 'its sealed block came in another envelope, or for another serial number';
  const ofMacs = await keyBlocksAmong(tx, blocks);
  for (const { mac_id: macId, envelope_id: id } of ofMacs)
    if (id !== envelopeId || (await macById(tx, macId))?.serial.toUpperCase() !== serial)
      return 'its sealed block is one of another Mac, or came in another envelope';
  // A block that is a Mac's already is guarded there.
  await note(blocks.filter((digest) => !ofMacs.some((block) => block.digest === digest)));
  return null;
}

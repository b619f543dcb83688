interface Said {
  organisation: string;
  from: string;
  to: string;
  keyId: string;
  seed: string;
  drawn: number;
  of: number;
  isWhole: boolean;
}

const wholeFiles = `  access-review.csv       Roles and tokens on the day of this pack: who has them, for which Macs, since when, by
                          whom and why, and when they were used last.
  settings-history.jsonl  Each version of each policy, and every record of the period about settings, roles, tokens,
                          accounts and keys of this audit.
`;
const selection = `  This pack is of a part of the fleet. Roles, tokens, policies and settings are of the whole one and are not in it, and
  audit.jsonl is a selection: each record in it can be checked by itself, and its gaps mean nothing.
`;

/** How each file is checked by somebody who has no Sparekey; and which question of which standard it answers. */
export const evidenceReadme = ({ organisation, from, to, keyId, seed, drawn, of, isWhole }: Said): string => `Sparekey: evidence on FileVault recovery keys
Of ${organisation}, ${from} to ${to} (the end is not part of it). All times are UTC.

THE FILES

  population.csv          Every Mac that was known before the end of the period, those that were silent in it too (lastSeenAt);
                          not those that were retired before it. With it whether its key was in keeping at the end
                          (custodyAtEnd: held, candidate = not yet confirmed, none; candidate or held = it has changed
                          since, and nothing that is kept says which of the two it was). It follows from when each key came,
                          and from the last change of its state; custodyNow and because are of the day of this pack.
  sample.csv              ${drawn} of the ${of}, drawn with the seed below.
  accesses.csv            Every time a key was shown, or was to be shown: who, for whom, in which way, why, who agreed,
                          when the key was replaced after it, when the next one was proved, what the review said.
                          No key is in any of these files.
  rotation-lag.csv        Every replacement that came to be owed: why, since when, and when it was done.
  rotation-lag-summary.json  The same by reason: how many, how many open, hours (median, 95 %, longest).
${isWhole ? wholeFiles : selection}  audit.jsonl             The record of the period, one act a line, each holding the hash of the one before.
  audit-checkpoints.jsonl Signed statements: up to this record the audit has this hash.
  public-key.pem, audit-keys.json  The keys that sign: the present one, and all of them.
  SHA256SUMS, manifest.json, manifest.sig  Digests of all files above, and the signature.

WHO SIGNED IT

  Ed25519 key ${keyId}
  (SHA-256 of its SubjectPublicKeyInfo). Ask the organisation for its public key in another way than this file, or take
  the one of an earlier pack; audit-keys.json says how one key followed from another.

HOW IT IS CHECKED, with OpenSSL 3 and nothing of ours

  1. The manifest is signed:
     openssl pkeyutl -verify -pubin -inkey public-key.pem -rawin -in manifest.json -sigfile manifest.sig
  2. The key is the one that you know:
     openssl pkey -pubin -in public-key.pem -outform DER | openssl dgst -sha256
  3. The files are those of the manifest:
     sha256sum -c SHA256SUMS
     openssl dgst -sha256 SHA256SUMS README.txt        # compare a few with manifest.json
  4. The record is whole, and nothing in it was changed, removed or put in:
     sparekey-server audit verify --export audit.jsonl --checkpoints audit-checkpoints.jsonl --public-key public-key.pem
     By hand, of any line of audit.jsonl: take "hash" away, write "details" as the text of its JSON (names sorted, no
     spaces), and the whole again so. Its SHA-256 is "hash", and "previous" is the hash of the line before.
     A checkpoint: take "signature" away, write the rest with names sorted and no spaces; the signature (base64) is over
     these bytes, checked as in step 1.
  5. The sample was not chosen: of each Mac in population.csv the lot is SHA-256 of the seed, a line end and its macId;
     the ${drawn} lowest are the sample. Name a seed of your own before the next pack (--seed).
     Seed: ${seed}
     printf '%s\\n%s' '${seed.replaceAll("'", '')}' MAC-ID | openssl dgst -sha256

WHICH QUESTION IT ANSWERS

  Access to keys is limited and given for a reason   SOC 2 CC6.1, CC6.3; ISO/IEC 27001:2022 A.5.15, A.5.18, A.8.2;
                                                     NIST SP 800-53 AC-2, AC-6        ${isWhole ? 'access-review.csv, accesses.csv' : 'accesses.csv'}
  Nobody agrees to what they asked for themselves    SOC 2 CC6.1; ISO A.5.3; NIST AC-5          accesses.csv (who, approvals)
  Every access is recorded, and the record is whole  SOC 2 CC7.2; ISO A.8.15; NIST AU-3, AU-9, AU-10; CIS 8  audit.jsonl, checkpoints
  Keys are managed: in keeping, replaced, proved     SOC 2 CC6.1, CC6.7; ISO A.8.24; NIST SC-12, SC-28; CIS 3.6  population.csv, rotation-lag.csv
  What was shown is replaced in time                 SOC 2 CC6.1; ISO A.5.17; NIST IA-5         accesses.csv, rotation-lag-summary.json
  Changes of settings are known                      SOC 2 CC8.1; ISO A.8.9, A.8.32; NIST CM-3  ${isWhole ? 'settings-history.jsonl' : '(not in this pack)'}
  Population and sample                              all of them                                population.csv, sample.csv

  Numbers of controls are a help to find the place, not a claim that a control is met: that is the auditor's to say.
`;

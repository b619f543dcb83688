// What the agent and our payload would do to one Mac, what stands in the way, and what to do next. Pure: a line in, words out.
import type { CensusMac, Payload } from './line.ts';
import { type Obstacle, obstaclesOf } from './obstacles.ts';
import { majorOf, makesKeyItself, type Ours, type Owner, oldestMacos, ownerOf } from './standing.ts';

/** By docs/coexistence.md: who owns the escrow payload, and who replaces keys. */
export type Mode = 'M0' | 'M1' | 'M2' | 'M3' | 'M4' | 'M5';
/** What macOS does the moment our payload is there. */
export type AtPayload = 'nothing-new' | 'new-key-at-once' | 'one-ordered-rotation' | 'first-key' | 'refused' | 'unknown';

export const modes: Record<Mode, { name: string; means: string }> = {
  M1: { name: 'our payload', means: 'our payload seals every new key to us; the agent replaces keys' },
  M2: { name: 'MDM’s payload, we rotate', means: 'the MDM’s payload stays, its keys are imported and proved here; only the agent replaces keys' },
  M3: { name: 'MDM’s payload, it rotates', means: 'the MDM’s payload stays and somebody else replaces keys; we prove and disclose what was imported' },
  M4: { name: 'our payload, MDM as witness', means: 'as M1, and NanoMDM or MicroMDM tells of every new key a second time' },
  M5: { name: 'MDM only, no agent', means: 'our payload without an agent: keys come through NanoMDM or MicroMDM' },
  M0: { name: 'observe', means: 'the agent looks and reports; it replaces nothing and asks nobody' },
};

export const atPayload: Record<AtPayload, { label: string; says: string }> = {
  'nothing-new': { label: 'nothing new', says: 'the payload is ours already' },
  'new-key-at-once': { label: 'a new key at once', says: 'macOS makes it and seals it to us; every copy of the present key is dead from that moment' },
  'one-ordered-rotation': { label: 'nothing until one ordered rotation', says: 'a key that was imported and proved authorizes it' },
  'first-key': { label: 'nothing until a key is made', says: 'when FileVault is turned on, or its user makes one: that key is sealed to us' },
  refused: { label: 'macOS refuses it', says: 'it takes one escrow payload: the ones that are there have to go first' },
  unknown: { label: 'not known', says: 'the line does not say enough' },
};

/** What the agent does once it is installed, under its default settings. */
export type AgentComes = 'observes' | 'keeps-the-key' | 'waits-for-a-key' | 'finds-no-payload' | 'waits-for-filevault' | 'does-not-install';

export const agentComes: Record<AgentComes, { label: string; says: string; rotates: boolean; proves: boolean; prompts: false }> = {
  observes: {
    label: 'observes',
    says: 'reports whose payload it is and proves a key that was imported; replaces nothing, asks nobody',
    rotates: false,
    proves: true,
    prompts: false,
  },
  'keeps-the-key': {
    label: 'keeps the key',
    says: 'delivers macOS’s escrow file, proves its key, and replaces it after a disclosure; asks nobody',
    rotates: true,
    proves: true,
    prompts: false,
  },
  'waits-for-a-key': {
    label: 'waits for a key',
    says: 'our payload is there and has seen no key: one ordered rotation makes one',
    rotates: false,
    proves: true,
    prompts: false,
  },
  'finds-no-payload': {
    label: 'finds no payload',
    says: 'reports that new keys go nowhere and proves a key that was imported; replaces nothing, asks nobody',
    rotates: false,
    proves: true,
    prompts: false,
  },
  'waits-for-filevault': { label: 'waits for FileVault', says: 'reports that FileVault is off', rotates: false, proves: false, prompts: false },
  'does-not-install': { label: 'does not install', says: `it is made for macOS ${oldestMacos} and newer`, rotates: false, proves: false, prompts: false },
};

export const sentenceOf = (at: AtPayload): string => `${atPayload[at].label}: ${atPayload[at].says}`;

export interface Judgement {
  owner: Owner;
  /** Of the payload, as people know it: organisation, or place, or identifier. */
  ownerName: string;
  mode: Mode;
  /** What the agent does under its default settings once it is installed. */
  agent: AgentComes;
  payload: AtPayload;
  /** The worst first. */
  obstacles: Obstacle[];
  next: string;
}

const shownName = (payload: Payload): string => payload.organisation || payload.location || payload.profile || payload.payload || 'without a name';

function ownerNameOf(mac: CensusMac, owner: Owner): string {
  if (owner === 'ours') return 'Sparekey';
  if (owner === 'none') return 'no escrow payload';
  if (owner === 'unknown') return mac.payloadHint ? `${mac.payloadHint} (profiles not readable)` : 'not readable';
  if (owner === 'several') return 'several payloads';
  return mac.payloads?.[0] ? shownName(mac.payloads[0]) : 'not readable';
}

function modeOf(mac: CensusMac, owner: Owner, ours: Ours): Mode {
  const major = majorOf(mac.macos);
  if (owner === 'several' || owner === 'unknown') return 'M0';
  if (major !== null && major < oldestMacos) return ours.witness && mac.mdm.enrolled === 'yes' ? 'M5' : 'M0';
  if (owner === 'foreign') {
    // Where there is no key yet, there is nothing to import.
    if (mac.fileVault === 'off') return 'M0';
    return mac.rotators.byThemselves.length > 0 ? 'M3' : 'M2';
  }
  return ours.witness ? 'M4' : 'M1';
}

function whenPayloadComes(mac: CensusMac, owner: Owner): AtPayload {
  if (owner === 'ours') return 'nothing-new';
  if (owner === 'several') return 'refused';
  if (mac.fileVault === 'off' || mac.personalKey === 'no') return 'first-key';
  const major = majorOf(mac.macos);
  if (owner === 'unknown' || major === null || mac.fileVault === 'unknown') return 'unknown';
  if (major < makesKeyItself || mac.bootstrapToken.escrowed === 'no') return 'one-ordered-rotation';
  return mac.bootstrapToken.escrowed === 'yes' && mac.personalKey === 'yes' ? 'new-key-at-once' : 'unknown';
}

/** With `escrowOwner: auto`, `rotator: sparekey`, and no asking for passwords: what the settings are where nobody chose. */
function whenAgentComes(mac: CensusMac, owner: Owner): AgentComes {
  if (majorOf(mac.macos) !== null && (majorOf(mac.macos) ?? 0) < oldestMacos) return 'does-not-install';
  if (mac.fileVault === 'off') return 'waits-for-filevault';
  if (owner === 'none') return 'finds-no-payload';
  if (owner !== 'ours') return 'observes';
  return mac.escrowFile === null ? 'waits-for-a-key' : 'keeps-the-key';
}

const stepOf: Record<Mode, (owner: Owner) => string> = {
  M0: () => 'install the agent: it observes',
  M1: (owner) => (owner === 'ours' ? 'install the agent' : 'install the agent, then our escrow profile'),
  M2: () => 'import its key from the MDM, install the agent, have the key proved; then its ring can move to our payload',
  M3: () => 'import its key from the MDM and install the agent; it proves, and the other one goes on replacing',
  M4: (owner) =>
    owner === 'ours' ? 'install the agent, and connect the MDM’s webhook' : 'install the agent, connect the MDM’s webhook, then our escrow profile',
  M5: () => 'connect the MDM’s webhook; update macOS, so that the agent can come',
};

export function judge(mac: CensusMac, ours: Ours): Judgement {
  const owner = ownerOf(mac, ours);
  const mode = modeOf(mac, owner, ours);
  const obstacles = obstaclesOf(mac, owner);
  const first = obstacles.find((one) => one.weight !== 'note');
  return {
    owner,
    ownerName: ownerNameOf(mac, owner),
    mode,
    agent: whenAgentComes(mac, owner),
    payload: whenPayloadComes(mac, owner),
    obstacles,
    next: first?.next ?? stepOf[mode](owner),
  };
}

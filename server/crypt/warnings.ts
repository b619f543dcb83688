import type { CoexistenceSettings } from '../coexistence-settings.ts';

/** What whoever looks at the settings or the fleet has to know of the way in for Crypt's clients; shown in red. */
export function cryptWarnings(coexistence: CoexistenceSettings | null): string[] {
  const { crypt, listen } = coexistence ?? {};
  if (!crypt || !listen || crypt.identity !== 'none') return [];
  return [
    `coexistence.crypt.identity is "none": whoever reaches port ${listen.port} may bring a key for any serial number, keep the true one of a Mac out, and ask whether there is one; no such key counts or is shown before the Mac itself has proved it`,
  ];
}

/** Right for a transition, and to be thought of. */
export function cryptNotes(coexistence: CoexistenceSettings | null, deviceCas: number): string[] {
  const { crypt } = coexistence ?? {};
  if (!crypt) return [];
  if (crypt.identity === 'certificate' && deviceCas === 0)
    return ['coexistence.crypt.identity: is "certificate", and there is no device CA in the data folder: no client can get in'];
  if (crypt.identity === 'header')
    return ['coexistence.crypt.identity: "header" is one secret for all Macs: a key that comes by it counts once its Mac has proved it'];
  return [];
}

import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { macInScope } from '../../server/fleet/in-scope.ts';
import { isWithin, scopeOf } from '../../server/permissions.ts';
import { latestShown } from '../../server/store/disclosures.ts';
import { type AnyOperation, operation } from '../operation.ts';

/** Of one Mac. */
const whichMac = z.string().min(1).max(128).describe('the id of a Mac, or its serial number');
export const reason = z.string().trim().min(1).max(500).describe('goes into the audit');
export const iso = (at: number): string => new Date(at).toISOString();
const time = z.iso.datetime();

export const orderRotation = operation({
  name: 'rotations.order',
  method: 'POST',
  path: '/v1/devices/{id}/rotation',
  says: 'Orders that the key of one Mac is replaced at its next check-in; an order that waits already is not doubled.',
  permission: 'rotation.order',
  input: z.strictObject({
    id: whichMac,
    reason,
    withoutLogin: z.boolean().default(false).describe('for a Mac where nobody logs in: an hour of uptime is enough'),
    overrideHold: z.boolean().default(false).describe('also while somebody may be typing the key; needs rotation.override and the serial number in `serial`'),
    serial: z.string().max(64).optional().describe('the serial number of the Mac, typed once more, where a hold is to be ended'),
  }),
  output: z.strictObject({
    orderId: z.string(),
    serial: z.string(),
    expiresAt: time,
    waited: z.boolean().describe('an order waited already: this is it'),
    says: z.string(),
  }),
  async run({ admin, backend, scope }, { id, serial, ...order }) {
    const mac = await macInScope(backend, scope, id);
    if (order.overrideHold) {
      if (!isWithin(scopeOf(admin, 'rotation.override'), mac.tags)) throw new Problem('NOT_ALLOWED', 'rotation.override');
      if (serial?.trim().toUpperCase() !== mac.serial.toUpperCase()) throw new Problem('SERIALS_NOT_NAMED', `not named: ${mac.serial}`);
    }
    const { orderId, expiresAt, waitedOf } = await backend.custody.orderOnce({ macId: mac.id, actor: admin.name, ...order });
    return {
      orderId,
      serial: mac.serial,
      expiresAt: iso(expiresAt),
      waited: waitedOf !== null,
      says: waitedOf === null ? `${mac.serial} replaces its key when it is next online` : `an order of ${waitedOf} waits for ${mac.serial} already`,
    };
  },
});

export const withdrawOrder = operation({
  name: 'rotations.withdraw',
  method: 'POST',
  path: '/v1/devices/{id}/rotation/withdraw',
  says: 'Takes an order back while it waits; what is owed for another reason stays.',
  permission: 'rotation.order',
  input: z.strictObject({ id: whichMac, orderId: z.string().max(64), reason }),
  output: z.strictObject({ orderId: z.string(), serial: z.string(), says: z.string() }),
  async run({ admin, backend, scope }, { id, orderId, reason: why }) {
    const mac = await macInScope(backend, scope, id);
    await backend.custody.withdrawOrder({ orderId, macId: mac.id, actor: admin.name, reason: why });
    return { orderId, serial: mac.serial, says: `the order for ${mac.serial} is taken back` };
  },
});

export const orderProofs = operation({
  name: 'proofs.order',
  method: 'POST',
  path: '/v1/devices/{id}/proofs',
  says: 'Has a Mac asked whether its keys open it: each that may be the valid one.',
  permission: 'rotation.order',
  input: z.strictObject({ id: whichMac, reason }),
  output: z.strictObject({ serial: z.string(), orders: z.array(z.strictObject({ orderId: z.string(), recordId: z.string(), notBefore: time })) }),
  async run({ admin, backend, scope }, { id, reason: why }) {
    const mac = await macInScope(backend, scope, id);
    return { serial: mac.serial, orders: await backend.custody.orderProofs({ macId: mac.id, actor: admin.name, reason: why }) };
  },
});

export const endHold = operation({
  name: 'holds.end',
  method: 'POST',
  path: '/v1/devices/{id}/hold/end',
  says: 'Ends the hold of a Mac in the words of its person: they are back in, or it was not they who were shown the key.',
  // The key is replaced from then on, whoever may be typing it.
  permission: 'rotation.override',
  input: z.strictObject({
    id: whichMac,
    because: z.enum(['back-in', 'not-me']).describe('not-me: the key that was shown last is replaced at once, and an alarm is raised'),
    serial: z.string().max(64).describe('the serial number of the Mac, typed once more'),
    reason,
  }),
  output: z.strictObject({ serial: z.string(), ended: z.boolean().describe('false: there was no hold'), says: z.string() }),
  async run({ admin, backend, scope }, { id, because, serial, reason: why }) {
    const mac = await macInScope(backend, scope, id);
    if (serial.trim().toUpperCase() !== mac.serial.toUpperCase()) throw new Problem('SERIALS_NOT_NAMED', `not named: ${mac.serial}`);
    const actor = admin.name;
    if (because === 'back-in') {
      const ended = await backend.custody.endHold({ macId: mac.id, actor, because, reason: why });
      return { serial: mac.serial, ended, says: ended ? `the hold of ${mac.serial} has ended; what is owed is replaced` : `there is no hold of ${mac.serial}` };
    }
    const disclosureId = await latestShown(backend.store.db, mac.id);
    if (disclosureId === null) throw new Problem('NOT_FOUND', 'no key of this Mac was shown');
    const { holdEnded, key } = await backend.custody.notMe({ macId: mac.id, personId: admin.personId ?? '', actor, disclosureId, reason: why });
    return {
      serial: mac.serial,
      ended: holdEnded,
      says: key === 'ordered' ? `the key of ${mac.serial} is replaced at its next check-in` : 'the key that was shown had been replaced before',
    };
  },
});

export const orderOperations: readonly AnyOperation[] = [orderRotation, withdrawOrder, orderProofs, endHold];

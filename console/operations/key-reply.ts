import { z } from 'zod';
import { discloseToAdmin } from '../../server/approvals/disclose.ts';
import { discloseBroughtToAdmin } from '../../server/approvals/disclose-brought.ts';
import { isoTime } from '../../server/custody-parts.ts';
import { recordNamed } from '../../server/fleet/in-scope.ts';
import { recordById } from '../../server/store/keys.ts';
import { macById } from '../../server/store/macs.ts';
import { tellOwner } from '../../web/admin-mails.ts';
import { type AnyOperation, operation } from '../operation.ts';
import { deviceId } from './disclosures.ts';
import { deviceEvidence } from './evidence.ts';

const time = z.string().describe('ISO 8601');

/** What every wish to be shown a key says. */
const asked = {
  id: deviceId,
  reason: z.string().trim().min(1).max(500),
  ticket: z.string().trim().min(1).max(120).optional().describe('where the reason is written down'),
  requestId: z.string().max(64).optional().describe('what others agreed to, where the policy asks for it'),
};

/** The two replies of the API that hold a key: one Mac, one key, with a reason. There is none for two keys. */
export const deviceKey = operation({
  name: 'device.key',
  method: 'POST',
  path: '/v1/devices/{id}/key',
  says: 'Shows the recovery key of one Mac: a disclosure, in the audit before the key leaves, and followed by a replacement.',
  permission: 'key.disclose',
  fresh: true,
  shownOnce: true,
  input: z.strictObject({
    ...asked,
    breakGlass: z.boolean().default(false).describe('go first where others would have to agree, if the policy allows; they look at it afterwards'),
    refused: z.array(z.string().max(64)).max(10).default([]).describe('record ids that were shown and did not open the Mac: the next one is offered'),
    volume: z.string().min(1).max(64).optional().describe('another volume than the one that the Mac started from last'),
    recordId: z.string().max(64).optional().describe('only this one'),
    history: z.boolean().default(false).describe('`recordId` is a key that was replaced; needs key.history'),
  }),
  output: z.strictObject({
    serial: z.string(),
    deviceId: z.string(),
    recoveryKey: z.string(),
    recordId: z.string(),
    disclosureId: z.string(),
    volume: z.string(),
    shownAt: time,
    hideAt: time.describe('whoever shows it on a screen hides it then'),
    custody: z.string(),
    rotationOpen: z.boolean().describe('the Mac is just replacing its key: this one may be old in a minute'),
    others: z.int().describe('how many more keys could be offered if this one is refused'),
    unprovedFrom: z.string().nullable().describe('others had it, and the Mac has not been asked about it yet'),
    replacedAt: time.nullable().describe('of the history: when another one took its place'),
    reviewBy: time.nullable().describe('by when somebody else looks at this disclosure'),
  }),
  async run({ backend, admin, scope, before }, { id, ticket, requestId, volume, recordId, ...wanted }) {
    const macId = await recordNamed(backend, scope, id, { recordId, volume });
    const shown = await discloseToAdmin(
      backend,
      admin,
      {
        ...wanted,
        macId,
        ticket: ticket ?? null,
        requestId: requestId ?? null,
        volume: volume?.toUpperCase() ?? null,
        recordId: recordId ?? null,
      },
      {
        ...(before ? { before } : {}),
        after: (tx, at, disclosureId) => tellOwner(tx, at, { macId, disclosureId, by: admin.name, personId: admin.personId }),
      },
    );
    const { db } = backend.store;
    const [mac, record] = [await macById(db, macId), await recordById(db, shown.recordId)];
    return {
      serial: mac?.serial ?? '',
      deviceId: macId,
      recoveryKey: shown.key.reveal(),
      recordId: shown.recordId,
      disclosureId: shown.disclosureId,
      volume: shown.volume,
      shownAt: isoTime(shown.at),
      hideAt: isoTime(shown.endsAt),
      custody: shown.custody,
      rotationOpen: shown.rotationOpen,
      others: shown.others,
      unprovedFrom: shown.unprovedFrom,
      replacedAt: record?.state === 'superseded' ? isoTime(record.state_at) : null,
      reviewBy: shown.reviewBy === null ? null : isoTime(shown.reviewBy),
    };
  },
});

export const broughtKey = operation({
  name: 'device.broughtKey',
  method: 'POST',
  path: '/v1/devices/{id}/brought-key',
  says: 'Shows a key that only others had (an import, an MDM) and that no Mac has proved: where a Mac has none of its own, each of its own was refused, or no Mac has that serial number yet.',
  permission: 'key.disclose',
  fresh: true,
  shownOnce: true,
  input: z.strictObject({
    ...asked,
    refused: z.array(z.string().max(64)).max(20).default([]).describe('record ids and brought key ids that were shown and did not open the Mac'),
  }),
  output: z.strictObject({
    serial: z.string(),
    deviceId: z.string().nullable().describe('null: no Mac has this serial number yet'),
    recoveryKey: z.string(),
    broughtKeyId: z.string(),
    provedAt: z.null().describe('never: nobody knows whether it opens the Mac'),
    source: z.string(),
    madeAt: time.nullable().describe('when its source says that it was made'),
    broughtAt: time,
    shownAt: time,
    hideAt: time.describe('whoever shows it on a screen hides it then'),
    others: z.int().describe('how many more were brought, if this one is refused'),
    replaceUntil: time.nullable().describe('by when somebody has to have the MDM replace it; null: the Mac does once it has said true to it'),
  }),
  async run({ backend, admin, scope, before }, { id, ticket, requestId, ...wanted }) {
    const shown = await discloseBroughtToAdmin(
      backend,
      admin,
      scope,
      { ...wanted, named: id, ticket: ticket ?? null, requestId: requestId ?? null },
      {
        ...(before ? { before } : {}),
        after: async (tx, at, { keyId, macId }) => {
          if (macId !== null) await tellOwner(tx, at, { macId, disclosureId: keyId, by: admin.name, personId: admin.personId });
        },
      },
    );
    return {
      serial: shown.serial,
      deviceId: shown.macId,
      recoveryKey: shown.key.reveal(),
      broughtKeyId: shown.keyId,
      provedAt: null,
      source: shown.source,
      madeAt: shown.madeAt === null ? null : isoTime(shown.madeAt),
      broughtAt: isoTime(shown.broughtAt),
      shownAt: isoTime(shown.at),
      hideAt: isoTime(shown.endsAt),
      others: shown.others,
      replaceUntil: shown.dueAt === null ? null : isoTime(shown.dueAt),
    };
  },
});

export const keyOperations: readonly AnyOperation[] = [deviceKey, broughtKey, deviceEvidence];

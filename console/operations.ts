import type { AnyOperation } from './operation.ts';
import { alarmsOperations } from './operations/alarms.ts';
import { auditOperations } from './operations/audit.ts';
import { deviceEditOperations } from './operations/device-edit.ts';
import { devicesOperations } from './operations/devices.ts';
import { disclosureOperations } from './operations/disclosures.ts';
import { emergencyOperations } from './operations/emergency.ts';
import { figuresOperations } from './operations/figures.ts';
import { keyOperations } from './operations/key-reply.ts';
import { orderOperations } from './operations/orders.ts';
import { peopleOperations } from './operations/people.ts';
import { policyOperations } from './operations/policies.ts';
import { releaseOperations } from './operations/releases.ts';
import { reportOperations } from './operations/reports.ts';
import { rotationOperations } from './operations/rotations.ts';
import { sessionOperations } from './operations/session.ts';
import { tagsOperations } from './operations/tags.ts';
import { tokenOperations } from './operations/tokens.ts';
import { weakerDisclosureOperations } from './operations/weaker-disclosure.ts';

/** Everything that admins can do and ask: what is not here, no page and no program can. */
export const allOperations: readonly AnyOperation[] = [
  ...sessionOperations,
  ...tagsOperations,
  ...devicesOperations,
  ...deviceEditOperations,
  ...figuresOperations,
  ...alarmsOperations,
  ...orderOperations,
  ...rotationOperations,
  ...policyOperations,
  ...weakerDisclosureOperations,
  ...keyOperations,
  ...disclosureOperations,
  ...releaseOperations,
  ...emergencyOperations,
  ...peopleOperations,
  ...tokenOperations,
  ...auditOperations,
  ...reportOperations,
];

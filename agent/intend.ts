import { randomUUID } from 'node:crypto';
import type { JournalRotation } from './journal.ts';
import { outputFile } from './paths.ts';
import type { Run } from './run-of-agent.ts';

/** The first write of every change, whoever authorizes it: from here on a run that dies leaves its id, and has changed nothing. */
export function intendRotation(run: Run, by: Pick<JournalRotation, 'because' | 'authorizedBy' | 'oldItem' | 'oldRecordId'>): JournalRotation {
  const id = randomUUID();
  const rotation: JournalRotation = {
    id,
    because: by.because,
    state: 'intended',
    boot: run.facts.boot,
    authorizedBy: by.authorizedBy,
    oldItem: by.oldItem,
    oldRecordId: by.oldRecordId,
    enrolmentId: run.enrolmentId,
    outputFile: outputFile(id),
    escrowIdBefore: run.journal.value.escrowSeen?.digest ?? null,
    changingUptime: null,
    looks: {},
    refuted: [],
  };
  run.journal.write({ rotation });
  run.log('rotation-intended', { rotationId: id, because: by.because, authorizedBy: by.authorizedBy });
  return rotation;
}

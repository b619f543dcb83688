/**
 * Among the `problems` of a check-in: why the agent has not done what it owes, in its words; by the second code it does not pass by
 * itself. They are no field of their own, because a backend of before refuses a field that it does not know, and takes every code.
 */
export const waitsCodes = { passing: 'ROTATION_WAITS', lasting: 'ROTATION_NEEDS_HELP' } as const;

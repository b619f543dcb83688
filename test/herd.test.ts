import { describe, expect, test } from '@jest/globals';
import { predictOneRun, runHerd } from '../scripts/herd-model.ts';

/** The quick form of `npm run herd`: the agent's and the backend's own decisions, in virtual time. */

const chance = () => {
  let x = 0.137;
  return () => {
    x = (x * 16807 + 0.0001) % 1;
    return x;
  };
};
const herd = { macs: 2000, costs: { handshake: 20, checkIn: 5, delivery: 30 }, checkInMinutes: 15 };

describe('a herd', () => {
  test('that spreads is heard in its time: the peak is no more than its share, nobody is sent away', async () => {
    const row = await runHerd({ ...herd, course: 'all at 09:00', spreadSeconds: 100, random: chance() });
    expect(row.peakPerSecond).toBeLessThan(60);
    expect([row.shed, row.refused]).toEqual([0, 0]);
    expect(row.allHeard).toBeLessThan(110);
    expect(row.urgentDone).toBeLessThan(10);
  });

  test('that does not comes in one second, more than a backend answers in time: most of it comes again and again', async () => {
    const row = await runHerd({ ...herd, course: 'all at 09:00', spreadSeconds: 0, random: chance() });
    expect(row.peakPerSecond).toBe(2000);
    expect(row.refused).toBeGreaterThan(1000);
    expect(row.allHeard ?? Number.POSITIVE_INFINITY).toBeGreaterThan(900);
  });

  test('after a restore delivers what the backend has lost, with two backends in less time than with one', async () => {
    const course = 'after a restore' as const;
    const costs = { handshake: 100, checkIn: 50, delivery: 300 };
    const [one, two] = [
      await runHerd({ ...herd, costs, course, spreadSeconds: 60, random: chance() }),
      await runHerd({ ...herd, costs, course, spreadSeconds: 60, backends: 2, random: chance() }),
    ];
    expect(two.allHeard).not.toBeNull();
    expect(two.mostHeard ?? 0).toBeLessThan(one.mostHeard ?? Number.POSITIVE_INFINITY);
  });

  test('of which one of two backends is lost goes on at the other: all are heard, and no used key waits longer than the balancer and six tries take', async () => {
    const row = await runHerd({ ...herd, course: 'one of the backends is lost', spreadSeconds: 60, backends: 2, random: chance() });
    expect(row.allHeard).not.toBeNull();
    expect(row.longestUsed).toBeLessThan(60);
    expect(row.refused).toBe(0);
  });

  test('that comes at once fills the line of the kernel, and what it has not heard in its three tries it leaves to its next run', async () => {
    const run = await predictOneRun({ macs: 3000, costs: { handshake: 10, checkIn: 5, delivery: 20 }, random: chance() });
    expect(run.answered.length + run.later).toBe(3000);
    // Ten seconds at 67 a second; then its turn is for those that have gone.
    expect(run.answered.length).toBeGreaterThan(600);
    expect(run.answered.length).toBeLessThan(1500);
    expect(run.refused).toBeGreaterThan(run.later);
  });
});

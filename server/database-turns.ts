/** So many at once; the others wait in their order, and no longer than until their time (`performance.now()`). */
export function atMost(most: number, refuse: () => Error): <T>(until: number, work: () => Promise<T>) => Promise<T> {
  const line: (() => void)[] = [];
  let free = most;
  const wait = (until: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const go = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const giveUp = (): void => {
        line.splice(line.indexOf(go), 1);
        reject(refuse());
      };
      const timer = setTimeout(giveUp, Math.max(0, until - performance.now()));
      line.push(go);
    });
  return async (until, work) => {
    if (free > 0) free -= 1;
    else await wait(until);
    try {
      return await work();
    } finally {
      const next = line.shift();
      if (next) next();
      else free += 1;
    }
  };
}

/** A path of this site with its query: nothing that a browser would take for another host, and no control characters. */
export const isLocalPath = (text: string): boolean => text.length <= 2048 && /^\/(?![/\\])[!-[\]-~]*$/.test(text);

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
export type Method = (typeof methods)[number];

interface Known {
  method: Method;
  pattern: RegExp;
}

/** Which addresses there are, and how they may be asked. */
export function createPaths() {
  const all: Known[] = [];
  const asked = (method: Method, path: string): boolean => all.some((one) => one.method === method && one.pattern.test(path));

  return {
    add(method: Method, path: string): void {
      const source = path
        .split('/')
        .map((part) => (part.startsWith(':') ? '[^/]+' : part.replace(/[^\w-]/g, '\\$&')))
        .join('/');
      all.push({ method, pattern: new RegExp(`^${source}$`) });
    },
    methodsOf: (path: string): string[] => methods.filter((method) => asked(method, path)).flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])),
    /** The page that a form belongs to: its own address where that can be looked at, else the nearest above. */
    pageOf(path: string): string {
      let at = path.split('?')[0] ?? '/';
      while (at !== '' && !asked('GET', at)) at = at.slice(0, at.lastIndexOf('/'));
      return at === '' ? '/' : at;
    },
  };
}

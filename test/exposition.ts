// The text format of Prometheus, version 0.0.4, read strictly and apart from what writes it: whatever the format does not allow is an error.

export interface Metric {
  type: string;
  help: string;
  samples: { labels: Record<string, string>; value: number }[];
}

const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const labelName = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

function labelsIn(text: string, line: string): Record<string, string> {
  const found: Record<string, string> = {};
  let at = 0;
  while (at < text.length) {
    const equals = text.indexOf('=', at);
    const label = text.slice(at, equals);
    if (!labelName.test(label) || label.startsWith('__')) throw new Error(`no name of a label: ${line}`);
    if (label in found) throw new Error(`a label twice: ${line}`);
    if (text[equals + 1] !== '"') throw new Error(`a value without quotes: ${line}`);
    let value = '';
    at = equals + 2;
    for (; text[at] !== '"'; at++) {
      if (at >= text.length) throw new Error(`a value without an end: ${line}`);
      if (text[at] === '\\') {
        at += 1;
        const meant = { '\\': '\\', '"': '"', n: '\n' }[text[at] ?? ''];
        if (meant === undefined) throw new Error(`an escape that there is not: ${line}`);
        value += meant;
      } else value += text[at];
    }
    found[label] = value;
    at += 1;
    if (at < text.length && text[at] !== ',') throw new Error(`no comma between labels: ${line}`);
    at += 1;
  }
  return found;
}

function numberIn(text: string, line: string): number {
  if (text === 'NaN') return Number.NaN;
  if (/^[+-]Inf$/.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) throw new Error(`no number: ${line}`);
  return Number(text);
}

export function readExposition(text: string): Map<string, Metric> {
  if (!text.endsWith('\n') || text.includes('\r')) throw new Error('each line ends with a line feed');
  const all = new Map<string, Metric>();
  const seen = new Set<string>();
  let present: string | null = null;
  for (const line of text.slice(0, -1).split('\n')) {
    const about = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (about) {
      const [, kind, of = '', rest = ''] = about;
      if (!name.test(of)) throw new Error(`no name: ${line}`);
      if (of !== present && all.has(of)) throw new Error(`one group for each metric: ${line}`);
      present = of;
      const metric = all.get(of) ?? { type: '', help: '', samples: [] };
      all.set(of, metric);
      if (metric.samples.length > 0) throw new Error(`said after its samples: ${line}`);
      if (kind === 'HELP') {
        if (metric.help !== '') throw new Error(`HELP twice: ${line}`);
        metric.help = rest;
      } else {
        if (metric.type !== '' || !['counter', 'gauge', 'histogram', 'summary', 'untyped'].includes(rest)) throw new Error(`TYPE: ${line}`);
        metric.type = rest;
      }
      continue;
    }
    if (line.startsWith('#')) continue;
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!sample) throw new Error(`no sample: ${JSON.stringify(line)}`);
    const [, of = '', labels = '', value = ''] = sample;
    const metric = all.get(of);
    if (!metric || of !== present) throw new Error(`without TYPE, or apart from its group: ${line}`);
    const read = labelsIn(labels, line);
    const key = `${of} ${JSON.stringify(Object.entries(read).toSorted())}`;
    if (seen.has(key)) throw new Error(`the same sample twice: ${line}`);
    seen.add(key);
    const number = numberIn(value, line);
    if (metric.type === 'counter' && !(number >= 0)) throw new Error(`a counter below zero: ${line}`);
    metric.samples.push({ labels: read, value: number });
  }
  return all;
}

/** Text has at least 7:1 on its ground in either scheme; what is pressed is 44 px high; nothing moves, nothing is loaded. */
export const pageStyle = `
:root { color-scheme: light dark; --text: light-dark(#1a1c20, #eceef1); --soft: light-dark(#43484f, #c0c6ce); --ground: light-dark(#fff, #15171b);
  --panel: light-dark(#f2f4f6, #20242a); --line: light-dark(#d6dade, #383e46); --accent: light-dark(#0a4f7a, #8ecbf5);
  --danger: light-dark(#98101a, #ffb4ae); --amber: light-dark(#644300, #f3c878); --good: light-dark(#17572a, #9fdcae); }
* { box-sizing: border-box; }
html { font: 100%/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 64rem; padding: 0 1rem 3rem; background: var(--ground); color: var(--text); overflow-wrap: break-word; }
h1, h2 { line-height: 1.2; text-wrap: balance; }
h1 { font-size: 1.728rem; margin: 1.5rem 0 .5rem; max-width: 48rem; }
h2 { font-size: 1.2rem; margin: 0 0 1rem; }
p { max-width: 48rem; margin: .5rem 0; }
.soft { color: var(--soft); }
.totals { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; margin: 1.5rem 0 0; padding: 0; list-style: none; }
.totals li { background: var(--panel); border-radius: .5rem; padding: .75rem 1rem; }
.totals strong { display: block; font-size: 2.074rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.good { color: var(--good); } .amber { color: var(--amber); } .danger { color: var(--danger); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 2.5rem 3rem; margin-top: 2.5rem; align-items: start; }
section { min-width: 0; }
section.whole { margin-top: 2.5rem; }
.about { color: var(--soft); font-size: .875rem; margin: 0 0 .25rem; }
.plot { margin: 0; padding: 0; list-style: none; }
.plot li { display: grid; grid-template-columns: 1fr auto; gap: 0 1rem; align-items: end; margin-bottom: .75rem; font-size: .875rem; }
.plot svg { display: block; grid-column: 1 / -1; margin-top: .15rem; }
.plot .number { color: var(--soft); }
svg .bar { fill: var(--accent); } svg .ground { fill: var(--panel); }
details { margin-top: .5rem; }
summary { color: var(--accent); cursor: pointer; min-height: 2.75rem; padding: .6rem 0; width: fit-content; }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: start; vertical-align: top; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } tbody th { font-weight: 400; }
thead th { color: var(--soft); }
.number { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; }
.serials { columns: 11rem; margin: 0 0 .5rem; padding: 0; list-style: none; }
.steps > li { padding: .75rem 0; border-bottom: 1px solid var(--line); max-width: 48rem; }
.steps { margin: 0; padding: 0; list-style: none; }
.steps .head { display: grid; grid-template-columns: 1fr auto; gap: 0 1rem; }
.steps p { margin: .15rem 0 0; }
.serials, code { font-size: .875rem; font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { white-space: nowrap; }
li code { white-space: normal; overflow-wrap: anywhere; }
ol.rings { margin: 0; padding: 0; list-style: none; counter-reset: ring; max-width: 48rem; }
ol.rings li { counter-increment: ring; display: grid; grid-template-columns: 1.75rem 1fr auto; gap: 0 .75rem; padding: .6rem 0; border-bottom: 1px solid var(--line); }
ol.rings li::before { content: counter(ring); color: var(--soft); font-variant-numeric: tabular-nums; }
ol.rings .soft { grid-column: 2 / -1; font-size: .875rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
footer { margin-top: 3rem; color: var(--soft); font-size: .875rem; }
@media (forced-colors: active) { svg .bar { fill: CanvasText; } svg .ground { fill: none; stroke: CanvasText; } }
@media print { .wide { overflow: visible; } details:not([open]) { display: none; } section { break-inside: avoid; } section.whole { break-inside: auto; } }
`;

type Cell = string | number | boolean | null | undefined;

/** Macs and people say some of it: a spreadsheet must not take a cell for a formula, nor a line end for a new row. */
function cell(value: Cell): string {
  const flat = String(value ?? '').replace(/\p{C}+/gu, ' ');
  const begun = /^\s*[=+\-@＝＋－＠]/u.test(flat) && typeof value !== 'number' ? `'${flat}` : flat;
  // Where the list separator is a semicolon, another cell begins at each.
  const text = begun.replace(/;(?=["\s]*[=+\-@＝＋－＠])/gu, "$&'");
  return /[",;']/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** RFC 4180: a row ends with CR LF. */
export const csvRow = (cells: readonly Cell[]): string => `${cells.map(cell).join(',')}\r\n`;

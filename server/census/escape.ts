/** For text and for quoted attributes. What runs from right to left, or is no sign at all, is a question mark. */
export const escapeHtml = (text: string): string =>
  text.replace(/\p{C}/gu, '?').replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');

// CSV in the browser: for the preview and for files that spreadsheets open. The server reads the file itself.

// Returns rows of cells, at most so many.
export function parseCsv(text, delimiter, most = Infinity) {
  const rows = [];
  let [row, cell, quoted, at] = [[], "", false, text.startsWith("\ufeff") ? 1 : 0];
  const endRow = () => {
    if (row.length || cell) rows.push([...row, cell]);
    [row, cell] = [[], ""];
  };
  for (; at < text.length && rows.length < most; at += 1) {
    const character = text[at];
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[at + 1] === '"') cell += text[(at += 1)];
      else quoted = false;
    } else if (character === '"' && cell === "") quoted = true;
    else if (character === delimiter) [row, cell] = [[...row, cell], ""];
    else if (character === "\n" || character === "\r") endRow();
    else cell += character;
  }
  if (rows.length < most) endRow();
  return rows;
}

// The character between the cells of a header.
export function delimiterOf(text) {
  const header = text.slice(0, text.search(/[\r\n]|$/)).replace(/"[^"]*"/g, "");
  const counts = [",", ";", "\t"].map((one) => [header.split(one).length, one]);
  return counts.reduce((best, one) => (one[0] > best[0] ? one : best))[1];
}

// Counts rows of CSV that arrives in pieces: line ends outside quotes.
export class RowCounter {
  #quoted = false;
  rows = 0;

  add(piece) {
    for (const character of piece) {
      if (character === '"') this.#quoted = !this.#quoted;
      else if (character === "\n" && !this.#quoted) this.rows += 1;
    }
  }
}

// A spreadsheet would compute these cells; an apostrophe keeps them text. Numbers stay numbers.
export function forSpreadsheet(rows) {
  const lines = rows.map((row) => row.map((cell) => quoted(harmless(cell))).join(","));
  return `\ufeff${lines.join("\r\n")}\r\n`;
}

function harmless(cell) {
  const isNumber = /^[+-]?\d+([.,]\d+)?(e[+-]?\d+)?$/i.test(cell);
  return /^\s*[=+\-@]|^[\t\r\n]/.test(cell) && !isNumber ? `'${cell}` : cell;
}

function quoted(cell) {
  return /[",\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

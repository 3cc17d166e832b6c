// The labels of a head as bars.

import { element, unseen } from "./dom.js";
import { percent } from "./words.js";

const SHOWN = 5;
// A ladder of levels is easier to read whole.
const SHOWN_IN_ORDER = 9;
// More bars than anybody reads.
export const MOST = 200;

// Rows are {label, score, chosen, threshold, chip}; a score of null is one that is not known yet. Total is the number
// of labels, of which the rows are the most probable ones.
export function labelBars(rows, inOrder, total) {
  const shown = inOrder ? SHOWN_IN_ORDER : SHOWN;
  const list = element("ul", { className: "labels" }, ...rows.map(bar));
  if (rows.length <= shown + 1) return [list];
  const rest = [...list.children].slice(shown);
  rest.forEach((item) => (item.hidden = true));
  return [list, element("p", { className: "more" }, toggle(rest, wordsFor(rows.length, total), shown))];
}

function bar(row) {
  const share = element("span", { className: "share" });
  const track = element("span", { className: "track" }, share);
  if (row.score !== null) share.style.setProperty("--share", row.score);
  if (row.threshold != null) track.append(threshold(row.threshold));
  const shown = row.score === null ? "" : percent(row.score);
  return element(
    "li",
    { className: row.chosen ? "chosen" : "" },
    labelOf(row),
    element("span", { className: "percent" }, shown),
    track,
  );
}

function labelOf(row) {
  const mark = row.chosen ? element("span", { className: "mark", "aria-hidden": "true" }, "✓") : null;
  const name = element("bdi", {}, String(row.label));
  const told = row.chosen ? unseen(" (predicted)") : null;
  const chip = row.chip ? element("span", { className: "chip" }, row.chip) : null;
  return element("span", { className: "label" }, name, mark, told, chip);
}

function threshold(at) {
  const told = `predicted from ${percent(at)} on`;
  const line = element("span", { className: "threshold", title: told }, unseen(told));
  line.style.setProperty("--at", at);
  return line;
}

function wordsFor(rows, total) {
  return rows < total ? `Show ${rows} of ${total.toLocaleString("en")}` : `Show all ${total}`;
}

function toggle(rest, words, shown) {
  const button = element("button", { type: "button", className: "link", "aria-expanded": "false" }, words);
  button.addEventListener("click", () => {
    const opens = rest[0].hidden;
    rest.forEach((item) => (item.hidden = !opens));
    button.setAttribute("aria-expanded", String(opens));
    button.textContent = opens ? `Show the first ${shown}` : words;
  });
  return button;
}

// A table with some rows.

import { element } from "./dom.js";

const LONGEST = 160;

export function drawTable(place, columns, rows, added) {
  const head = columns.map((name) =>
    element("th", { scope: "col", className: added.includes(name) ? "added" : "" }, name),
  );
  const body = rows.map((row) =>
    element("tr", {}, ...columns.map((name, at) => cellOf(row[at] ?? "", added.includes(name) && name))),
  );
  place.replaceChildren(
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)),
  );
}

function cellOf(text, name) {
  const isNumber = text !== "" && Number.isFinite(Number(text));
  const shown = isNumber && name ? Number(Number(text).toPrecision(4)).toString() : shortened(text);
  const className = name === "error" ? "failed" : "";
  return element("td", { className, title: shown === text ? "" : text }, element("bdi", {}, shown));
}

function shortened(text) {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text;
}

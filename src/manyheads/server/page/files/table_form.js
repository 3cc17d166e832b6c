// The form that scores a table.

import { progressOf, whileBusy } from "./busy.js";
import { showCall } from "./calls.js";
import { delimiterOf, forSpreadsheet, parseCsv, RowCounter } from "./csv.js";
import { byId, element } from "./dom.js";
import { textOf } from "./events.js";
import { drawTable } from "./preview.js";
import { ask, Problem } from "./server.js";
import { count } from "./words.js";

const IDS = { start: "score", stop: "cancel", status: "table-status", problem: "table-problem" };
const PREVIEW_ROWS = 5;
const PREVIEW_BYTES = 1 << 18;

// The chosen file, and the scored one.
const state = { file: null, columns: [], scored: null };

export function startTableForm(info) {
  fillHeads(Object.keys(info.heads));
  startDropping(info);
  byId("file").addEventListener("change", () => open(byId("file").files[0], info));
  byId("table-form").addEventListener("submit", (event) => {
    event.preventDefault();
    score();
  });
  byId("save").addEventListener("click", () => save(state.scored, "scored.csv"));
  byId("save-spreadsheet").addEventListener("click", () =>
    save(forSpreadsheet(parseCsv(state.scored, ",")), "scored-spreadsheet.csv"),
  );
}

function fillHeads(names) {
  const boxes = names.map((name) =>
    element("label", {}, element("input", { type: "checkbox", value: name, checked: true }), name),
  );
  byId("table-heads").append(...boxes);
  byId("table-heads").hidden = names.length < 2;
}

function startDropping(info) {
  const drop = byId("drop");
  const over = (event) => {
    event.preventDefault();
    drop.classList.toggle("over", event.type === "dragover");
  };
  drop.addEventListener("dragover", over);
  drop.addEventListener("dragleave", over);
  drop.addEventListener("drop", (event) => {
    over(event);
    open(event.dataTransfer.files[0], info);
  });
}

async function open(file, info) {
  if (!file) return;
  byId("file-problem").textContent = "";
  byId(IDS.problem).textContent = "";
  const beginning = await file.slice(0, PREVIEW_BYTES).text();
  const rows = parseCsv(beginning, isTsv(file) ? "\t" : delimiterOf(beginning), PREVIEW_ROWS + 1);
  if (rows.length < 2 || beginning.includes("\0")) {
    byId("file-problem").textContent =
      "This file is no CSV or TSV table with a header and rows. Export it as CSV (UTF-8) first.";
    return;
  }
  Object.assign(state, { file, columns: rows[0], scored: null });
  showFile(file, rows, info);
}

function showFile(file, rows, info) {
  byId("drop-text").replaceChildren(element("strong", {}, file.name), ` (${size(file.size)}) · choose another`);
  byId("table-options").hidden = false;
  byId("preview-title").textContent = "The first rows of the file";
  drawTable(byId("preview"), rows[0], rows.slice(1), []);
  fillColumns(rows, info);
  finished(false);
  byId("table-progress").value = 0;
  byId(IDS.status).textContent = "";
}

function fillColumns(rows, info) {
  const trained = Object.values(info.heads)
    .map((head) => head.text)
    .find((text) => text !== null && text !== undefined);
  const wanted = Array.isArray(trained) ? trained : [trained];
  const options = () => rows[0].map((name) => element("option", { value: name }, name));
  byId("column").replaceChildren(...options());
  byId("second-column").replaceChildren(...options());
  byId("column").value = rows[0].includes(wanted[0]) ? wanted[0] : longest(rows);
  byId("second-column-field").hidden = wanted.length < 2;
  byId("second-column").value = rows[0].includes(wanted[1]) ? wanted[1] : rows[0].at(-1);
}

// Texts are longer than other cells.
function longest(rows) {
  const lengths = rows[0].map((_, place) => rows.slice(1).reduce((sum, row) => sum + (row[place] ?? "").length, 0));
  return rows[0][lengths.indexOf(Math.max(...lengths))];
}

async function score() {
  const heads = [...document.querySelectorAll("#table-heads input:checked")].map((input) => input.value);
  if (!heads.length) {
    byId(IDS.problem).textContent = "Choose at least one head.";
    return;
  }
  const path = pathOf(heads);
  const type = isTsv(state.file) ? "text/tab-separated-values" : "text/csv";
  finished(false);
  await whileBusy(IDS, "Scoring the table:", async (signal) => {
    const response = await ask(path, { method: "POST", body: state.file, headers: { "Content-Type": type }, signal });
    showCall({ path, file: state.file.name, type });
    return receive(response);
  });
}

function pathOf(heads) {
  const query = new URLSearchParams(textColumns().map((name) => ["text", name]));
  const all = document.querySelectorAll("#table-heads input").length;
  if (heads.length < all) query.append("heads", heads.join(","));
  return `predict/table?${query.toString().replaceAll("+", "%20").replaceAll("%2C", ",")}`;
}

function textColumns() {
  const second = byId("second-column-field").hidden ? [] : [byId("second-column").value];
  return [byId("column").value, ...second];
}

async function receive(response) {
  const total = Number(response.headers.get("x-manyheads-rows"));
  const counter = new RowCounter();
  const pieces = [];
  try {
    for await (const piece of textOf(response)) {
      pieces.push(piece);
      counter.add(piece);
      if (pieces.length === 1) showScored(piece);
      progress(counter.rows - 1, total);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw broken(counter.rows - 1, total);
  }
  if (counter.rows - 1 < total) throw broken(counter.rows - 1, total);
  state.scored = pieces.join("");
  showScored(state.scored);
  finished(true);
  return summary(state.scored, total);
}

function broken(rows, total) {
  return new Problem(
    `The connection broke after ${rows.toLocaleString("en")} of ${count(total, "row")}. Score the table again.`,
    0,
  );
}

function progress(rows, total) {
  byId("table-progress").value = total ? rows / total : 0;
  progressOf(IDS, ` ${rows.toLocaleString("en")} of ${count(total, "row")}`, "rows");
}

// The text first, then the answers, then the other columns.
function showScored(text) {
  const rows = parseCsv(text, ",", PREVIEW_ROWS + 1);
  const added = rows[0].filter((name) => !state.columns.includes(name));
  const texts = textColumns();
  const names = [...texts, ...added, ...state.columns.filter((name) => !texts.includes(name))];
  const places = names.map((name) => rows[0].indexOf(name)).filter((place) => place >= 0);
  const ordered = rows.map((row) => places.map((place) => row[place]));
  byId("preview-title").textContent = "The first rows, scored";
  drawTable(byId("preview"), ordered[0], ordered.slice(1), added);
}

function summary(scored, total) {
  const rows = parseCsv(scored, ",");
  const place = rows[0].lastIndexOf("error");
  const failed = rows.slice(1).filter((row) => row[place]).length;
  const told = failed ? ` The column error says why ${count(failed, "row")} could not be scored.` : "";
  return `${count(total, "row")} scored.${told}`;
}

function finished(isComplete) {
  for (const id of ["save", "save-spreadsheet", "save-hint"]) byId(id).hidden = !isComplete;
}

function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function isTsv(file) {
  return file.name.toLowerCase().endsWith(".tsv");
}

function size(bytes) {
  return bytes < 1024
    ? count(bytes, "byte")
    : bytes < 1 << 20
      ? `${Math.round(bytes / 1024)} KB`
      : `${(bytes / (1 << 20)).toFixed(1)} MB`;
}

// The page starts here: it asks the server what it serves, and for a key if the server needs one.

import { startCalls } from "./calls.js";
import { byId } from "./dom.js";
import { startGenerateForm } from "./generate_form.js";
import { drawHeads } from "./heads.js";
import { ask, Problem, setKey } from "./server.js";
import { startTableForm } from "./table_form.js";
import { startKeys, startTextForm } from "./text_form.js";
import { count } from "./words.js";

async function start() {
  try {
    show(await (await ask("info")).json());
  } catch (error) {
    if (error.status === 401) askForKey();
    else tell(error.message);
    // A fault of the page itself belongs in the browser's console too.
    if (!(error instanceof Problem)) throw error;
  }
}

function tell(message) {
  byId("model").textContent = "Not connected";
  byId("start-problem").hidden = false;
  byId("start-problem").textContent = message;
}

function askForKey() {
  byId("model").textContent = "Locked";
  byId("about").textContent = "Give the key to see the model.";
  byId("key-form").hidden = false;
  byId("key").focus();
}

async function useKey(event) {
  event.preventDefault();
  setKey(byId("key").value);
  byId("key-problem").textContent = "";
  try {
    const info = await (await ask("info")).json();
    byId("key-form").hidden = true;
    byId("key").value = "";
    show(info);
    byId("text").focus();
  } catch (error) {
    setKey(null);
    byId("key-problem").textContent = error.status === 401 ? "This is not the key." : error.message;
    byId("key").select();
  }
}

function show(info) {
  const heads = Object.keys(info.heads);
  document.title = `${info.model} · manyheads`;
  byId("model").textContent = info.model;
  byId("about").textContent = aboutOf(info, heads);
  byId("main").hidden = false;
  startCalls();
  startKeys();
  if (heads.length) {
    drawHeads(info.heads);
    startTextForm(info);
    startTableForm(info);
  } else hideHeads();
  if (info.language_model) startGenerateForm(heads.length > 0);
}

function aboutOf(info, heads) {
  const parts = [heads.length ? count(heads.length, "head") : "no heads"];
  if (info.language_model) parts.push("a language model");
  if (info.max_tokens !== null) parts.push(`reads up to ${info.max_tokens.toLocaleString("en")} tokens`);
  return `${parts.join(" · ")} · fingerprint ${info.fingerprint}`;
}

function hideHeads() {
  for (const id of ["answers", "table", "table-link", "send"]) byId(id).hidden = true;
}

byId("key-form").addEventListener("submit", useKey);
start();

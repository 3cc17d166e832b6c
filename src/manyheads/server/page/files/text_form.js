// The form that asks the heads about one text, or a pair of texts.

import { MOST } from "./bars.js";
import { whileBusy } from "./busy.js";
import { showCall } from "./calls.js";
import { bringIntoView, byId } from "./dom.js";
import { drawAnswers } from "./heads.js";
import { askJson, Problem, problemOf, sentence } from "./server.js";
import { count, flagOf } from "./words.js";

const IDS = { start: "send", stop: "stop", status: "text-status", problem: "text-problem", bar: "text-progress" };

export function startTextForm(info) {
  const pairs = headsOfPairs(info);
  if (pairs.length) nameFields(info.heads[pairs[0]].text);
  byId("text-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send(info, pairs);
  });
  showCall(callOf(info, bodyOf(info, pairs, "A text", "Another text")));
}

// A head that was trained on pairs records two columns.
function headsOfPairs(info) {
  return Object.keys(info.heads).filter((name) => Array.isArray(info.heads[name].text));
}

function nameFields([first, second]) {
  byId("second-field").hidden = false;
  byId("asking-title").textContent = "A pair of texts";
  byId("text-label").textContent = `The first text: ${first}`;
  byId("second-label").textContent = `The second text: ${second}`;
}

export function startKeys() {
  for (const id of ["text", "second"]) byId(id).addEventListener("keydown", sendOnEnter);
}

// Without heads, the language model is asked.
function sendOnEnter(event) {
  const isBusy = !byId("stop").hidden || !byId("generate-stop").hidden;
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || isBusy) return;
  event.preventDefault();
  byId(byId("send").hidden ? "generate-form" : "text-form").requestSubmit();
}

async function send(info, pairs) {
  const [text, second] = [byId("text").value, byId("second").value];
  if (!text && !second) {
    byId(IDS.problem).textContent = "Write or paste a text first.";
    byId("text").focus();
    return;
  }
  const body = bodyOf(info, pairs, text, second);
  const error = await whileBusy(IDS, "The heads read the text …", async (signal) => {
    const response = await askJson("predict", body, signal);
    return show(info, await response.json(), text, body);
  });
  // The answers to another text would be taken for those to this one.
  if (error !== null) drawAnswers(info.heads, {}, text);
}

function show(info, answer, text, body) {
  const answers = answer.predictions[0];
  if (answers.error) throw new Problem(sentence(problemOf(answers.error)), 422);
  drawAnswers(info.heads, answers, text);
  bringIntoView(byId("answers-title"));
  showCall(callOf(info, body));
  const told = [`Answered by ${count(Object.keys(answers).length, "head")}.`, flagOf(answer.flags[0], info.max_tokens)];
  if (answer.fingerprint !== info.fingerprint) told.push("The server has loaded another model: reload this page.");
  return told.join(" ").trim();
}

function bodyOf(info, pairs, text, second) {
  const names = Object.keys(info.heads);
  const body = asksPairs(names, pairs, second) ? { pairs: [[text, second]] } : { text };
  if (body.pairs && pairs.length < names.length) body.heads = pairs;
  const most = Math.max(...names.map((name) => info.heads[name].labels.length));
  return most ? { ...body, top_k: Math.min(most, MOST) } : body;
}

// Heads of single texts are asked about the first text while the second is empty.
function asksPairs(names, pairs, second) {
  return pairs.length > 0 && (pairs.length === names.length || second !== "");
}

function callOf(info, body) {
  return { path: "predict", body, answer: '["predictions"][0]' };
}

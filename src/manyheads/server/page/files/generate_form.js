// The form that continues the text with the language model.

import { whileBusy } from "./busy.js";
import { showCall } from "./calls.js";
import { bringIntoView, byId, element } from "./dom.js";
import { eventsOf } from "./events.js";
import { askJson, messageOf, Problem, sentence } from "./server.js";
import { count } from "./words.js";

const IDS = {
  start: "generate",
  stop: "generate-stop",
  status: "generate-status",
  problem: "generate-problem",
  bar: "generate-progress",
};
const MISSING = "This server does not offer to generate text.";

export function startGenerateForm(hasHeads) {
  if (!hasHeads) showCall(callOf({ text: "A text", max_new_tokens: byId("tokens").valueAsNumber }));
  byId("generate-form").hidden = false;
  byId("generate-form").addEventListener("submit", (event) => {
    event.preventDefault();
    generate(byId("text").value);
  });
}

async function generate(text) {
  if (!text) {
    byId(IDS.problem).textContent = "Write or paste a text first.";
    return;
  }
  const body = { text, max_new_tokens: byId("tokens").valueAsNumber };
  const error = await whileBusy(IDS, "The model writes …", (signal) => stream(body, signal));
  if (error?.status === 404) byId(IDS.problem).textContent = MISSING;
}

async function stream(body, signal) {
  const response = await askJson("generate", { ...body, stream: true }, signal);
  const written = begin(body.text);
  showCall(callOf(body));
  for await (const event of eventsOf(response)) {
    if (event.name === "text") written.append(pieceOf(event.data));
    if (event.name === "error") throw new Problem(sentence(messageOf(event.data)), 0);
    if (event.name === "end") return ended(event.data);
  }
  throw new Problem("The connection ended before the text did.", 0);
}

function callOf(body) {
  return { path: "generate", body, answer: '["texts"][0]' };
}

function begin(prompt) {
  const written = element("span", {});
  byId("generated-text").replaceChildren(element("span", { className: "prompt" }, prompt), written);
  bringIntoView(byId("generated-text"));
  return written;
}

function pieceOf(data) {
  return typeof data === "string" ? data : data.text;
}

function ended(data) {
  const tokens = data.usage?.output_tokens;
  return tokens === undefined ? "The text is complete." : `${count(tokens, "token")} generated.`;
}

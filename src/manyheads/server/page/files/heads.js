// One card for each head: drawn before anything is asked, so that nothing moves when the answers arrive.

import { labelBars, MOST } from "./bars.js";
import { byId, element } from "./dom.js";
import { markedText } from "./spans.js";
import { count, kindOf, number, percent, rulesOf } from "./words.js";

export function drawHeads(heads) {
  byId("heads").replaceChildren(...Object.entries(heads).map(([name, head]) => card(name, head)));
}

// Answers are {head: answer} for the text that was asked, or {error}.
export function drawAnswers(heads, answers, text) {
  for (const [name, head] of Object.entries(heads)) {
    const body = byId("heads").querySelector(`[data-head="${name}"] .body`);
    body.replaceChildren(...(name in answers ? answered(head, answers[name], text) : notAsked(head)));
  }
}

function card(name, head) {
  const kind = element("span", { className: "muted" }, kindOf(head));
  const reads = element("p", { className: "reads" }, "Reads ", element("code", {}, head.reads.join(", ")));
  const made = element(
    "article",
    { className: "card", "aria-label": `Head ${name}` },
    element("header", {}, element("h3", {}, name), kind),
    element("div", { className: "body" }, ...notAsked(head)),
    reads,
  );
  made.dataset.head = name;
  return made;
}

function notAsked(head) {
  const parts = [line("—", "none"), ...rulesOf(head).map((rule) => note(rule))];
  if (head.labels.length && head.kind !== "tokens")
    parts.push(...barsOf(head, head.labels.slice(0, MOST).map(unknown)));
  return parts;
}

function answered(head, answer, text) {
  if (answer.entities) return entities(head, answer, text);
  if ("value" in answer) return [valueLine(answer.value)];
  return answer.labels ? severalLabels(head, answer) : oneLabel(head, answer);
}

function entities(head, answer, text) {
  const found = answer.entities.length;
  const first = found ? line(count(found, "span")) : line("No spans", "none");
  return [first, markedText(text, answer.entities, head.labels)];
}

function valueLine(value) {
  const made = line(number(value));
  made.title = String(value);
  return made;
}

function severalLabels(head, answer) {
  const chosen = new Set(answer.labels.map((one) => one.label));
  const names = answer.labels.map((one) => String(one.label)).join(", ");
  const thresholds = new Map(head.labels.map((label, place) => [label, head.decision.thresholds?.[place] ?? 0.5]));
  const rows = answer.scores.map((one) => ({
    ...one,
    chosen: chosen.has(one.label),
    threshold: thresholds.get(one.label),
  }));
  return [
    chosen.size ? line(names) : line("None of the labels", "none"),
    ...rulesOf(head).map((rule) => note(rule)),
    ...barsOf(head, rows),
  ];
}

function oneLabel(head, answer) {
  const inSet = new Set(answer.set ?? []);
  const rows = answer.scores.map((one) => ({
    ...one,
    chosen: one.label === answer.label && !answer.abstained,
    chip: inSet.has(one.label) ? "in the set" : null,
  }));
  if (head.kind === "ordinal")
    rows.sort((one, other) => head.labels.indexOf(one.label) - head.labels.indexOf(other.label));
  const first = answer.abstained ? line("Abstained") : line(String(answer.label), "", percent(answer.score));
  return [first, ...notes(head, answer), ...barsOf(head, rows)];
}

// A note for each rule, so that the card keeps its height.
function notes(head, answer) {
  const told = rulesOf(head).map((rule) => note(rule));
  if (answer.abstained)
    told[0] = note(`Too unsure to answer. Its best label is ${answer.label}, with ${percent(answer.score)}.`, "strong");
  if (answer.set) told[head.decision.abstain_below === undefined ? 0 : 1] = note(setSentence(answer.set));
  return told;
}

function setSentence(labels) {
  if (labels.length > 3) return `The set has ${labels.length} labels, marked below.`;
  return `The set: ${labels.map(String).join(", ") || "no label"}.`;
}

function barsOf(head, rows) {
  return labelBars(rows, head.kind === "ordinal", head.labels.length);
}

function line(text, kind = "", score = "") {
  const shown = score ? element("span", { className: "score" }, score) : null;
  return element("p", { className: `answer ${kind}` }, element("bdi", {}, text), shown);
}

function note(text, kind = "") {
  return element("p", { className: `note ${kind}` }, text);
}

function unknown(label) {
  return { label, score: null, chosen: false };
}

// Spans of words, marked in their text.

import { element, unseen } from "./dom.js";
import { percent } from "./words.js";

const COLORS = 6;

// The server counts characters as Unicode does, JavaScript in units of UTF-16.
export function markedText(text, entities, labels) {
  const characters = Array.from(text);
  const paragraph = element("p", { className: "spans", dir: "auto", tabIndex: 0 });
  let at = 0;
  for (const entity of [...entities].sort((one, other) => one.start - other.start)) {
    paragraph.append(characters.slice(at, entity.start).join(""), mark(characters, entity, labels));
    at = entity.end;
  }
  paragraph.append(characters.slice(at).join(""));
  return paragraph;
}

function mark(characters, entity, labels) {
  const tag = element("span", { className: "tag" }, `${entity.entity_group} ${percent(entity.score)}`);
  const words = characters.slice(entity.start, entity.end).join("");
  const made = element("mark", {}, words, unseen(" ("), tag, unseen(") "));
  const place = Math.max(0, labels.map(String).indexOf(String(entity.entity_group)));
  made.style.setProperty("--span", `var(--span-${place % COLORS})`);
  return made;
}

// Work that takes a while: a line that moves, a button that stops it, and a sentence for waiting readers.

import { byId, element } from "./dom.js";

const PATIENCE_MS = 2000;

// Runs work(signal) and shows its progress; ids are those of the parts {start, stop, status, problem, bar}.
export async function whileBusy(ids, words, work) {
  const control = new AbortController();
  const stop = () => control.abort();
  const started = Date.now();
  byId(ids.problem).textContent = "";
  byId(ids.status).textContent = words;
  toggle(ids, true);
  byId(ids.stop).addEventListener("click", stop);
  const timer = setInterval(() => tellTime(ids, started), 1000);
  try {
    byId(ids.status).textContent = (await work(control.signal)) ?? "";
  } catch (error) {
    byId(ids.status).textContent = error.name === "AbortError" ? "Stopped." : "";
    if (error.name !== "AbortError") byId(ids.problem).textContent = error.message;
    return error;
  } finally {
    clearInterval(timer);
    byId(ids.stop).removeEventListener("click", stop);
    toggle(ids, false);
  }
  return null;
}

function toggle(ids, isBusy) {
  const hadFocus = [byId(ids.start), byId(ids.stop)].includes(document.activeElement);
  byId(ids.start).hidden = isBusy;
  byId(ids.stop).hidden = !isBusy;
  if (ids.bar) byId(ids.bar).classList.toggle("busy", isBusy);
  if (hadFocus) byId(isBusy ? ids.stop : ids.start).focus();
}

function tellTime(ids, started) {
  const elapsed = Date.now() - started;
  if (elapsed > PATIENCE_MS && !byId(ids.status).querySelector(".rows"))
    progressOf(ids, ` ${Math.round(elapsed / 1000)} s`, "time");
}

// What changes often is seen, but not read aloud each time.
export function progressOf(ids, text, className) {
  const shown = element("span", { className, "aria-hidden": "true" }, text);
  byId(ids.status).querySelector("[aria-hidden]")?.remove();
  byId(ids.status).append(shown);
}

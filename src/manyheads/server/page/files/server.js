// Requests to the server. The key is kept in this variable and nowhere else.

let key = null;

export class Problem extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function setKey(value) {
  key = value;
}

export function hasKey() {
  return key !== null;
}

export function urlOf(path) {
  return new URL(path, document.baseURI).href;
}

// Returns the response, or throws a Problem with a sentence for the reader.
export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(urlOf(path), { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached. Is it still running?", 0);
  }
  if (!response.ok) throw new Problem(await reason(response), response.status);
  return response;
}

export async function askJson(path, body, signal) {
  const options = {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
    signal,
  };
  return ask(path, options);
}

async function reason(response) {
  const seconds = response.headers.get("retry-after");
  if (response.status === 429) return `The server is busy. Try again in ${seconds ?? "a few"} s.`;
  if (response.status === 503) return "The server is shutting down or starting. Try again in a moment.";
  if (response.status === 504) return "The server did not answer in time. Try a shorter text, or try again later.";
  try {
    return sentence(messageOf(await response.json()));
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

// What the server's errors have in common: a list of problems, or one message.
export function messageOf(answer) {
  const detail = answer.detail ?? answer.error ?? answer;
  if (Array.isArray(detail)) return detail.map(problemOf).join("; ");
  return typeof detail === "string" ? detail : detail.message;
}

// The server says where a problem is; the reader knows these places by other names.
const PLACES = { text: "the text", pairs: "the pair of texts", max_new_tokens: "the number of tokens" };

export function problemOf(problem) {
  const place = problem.loc.findLast((part) => typeof part === "string");
  return /^(has|is) /.test(problem.msg) ? `${PLACES[place] ?? place} ${problem.msg}` : problem.msg;
}

export function sentence(text) {
  const trimmed = String(text).trim();
  const first = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

// The last call as a program would make it. It has the place of the key, never the key.

import { byId } from "./dom.js";
import { hasKey, urlOf } from "./server.js";

let last = null;

// A call is {path, body, answer} with JSON, or {path, file, type} with a table; "answer" is an expression for the part
// to print.
export function showCall(call) {
  last = call;
  draw();
}

export function startCalls() {
  document.querySelectorAll("input[name=language]").forEach((input) => input.addEventListener("change", draw));
  byId("copy").addEventListener("click", copy);
}

export function codeOf(language, call) {
  const makers =
    call.file === undefined
      ? { curl, python, javascript }
      : { curl: curlTable, python: pythonTable, javascript: javascriptTable };
  return makers[language](call, urlOf(call.path));
}

function draw() {
  if (last === null) return;
  byId("code").textContent = codeOf(document.querySelector("input[name=language]:checked").value, last);
  byId("code-hint").hidden = !hasKey();
}

async function copy() {
  const text = byId("code").textContent;
  byId("copy-status").textContent = (await copied(text)) ? "The call is copied." : "Select the code and copy it.";
  byId("copy").textContent = byId("copy-status").textContent.startsWith("The call") ? "Copied" : "Selected";
  setTimeout(() => (byId("copy").textContent = "Copy"), 2000);
}

// Browsers allow the clipboard on HTTPS and on this machine only; elsewhere the code is selected for the reader.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(byId("code"));
    return document.execCommand("copy");
  }
}

function curl(call, url) {
  const lines = [
    `curl ${shellWord(url)}`,
    "-H 'Content-Type: application/json'",
    ...curlKey(),
    `-d ${shellWord(JSON.stringify(call.body))}`,
  ];
  return lines.join(" \\\n  ");
}

function curlTable(call, url) {
  const lines = [
    `curl ${shellWord(url)}`,
    `-H 'Content-Type: ${call.type}'`,
    ...curlKey(),
    `--data-binary ${shellWord(`@${call.file}`)}`,
    "-o scored.csv",
  ];
  return lines.join(" \\\n  ");
}

function curlKey() {
  return hasKey() ? ['-H "Authorization: Bearer $MANYHEADS_KEY"'] : [];
}

function shellWord(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function python(call, url) {
  return [
    "import json",
    ...(hasKey() ? ["import os"] : []),
    "import urllib.request",
    "",
    `body = ${pythonValue(call.body)}`,
    ...pythonRequest(url, "json.dumps(body).encode()", "application/json"),
    "with urllib.request.urlopen(request) as response:",
    "    answer = json.load(response)",
    `print(answer${call.answer})`,
  ].join("\n");
}

function pythonTable(call, url) {
  return [
    ...(hasKey() ? ["import os"] : []),
    "import shutil",
    "import urllib.request",
    "",
    `with open(${JSON.stringify(call.file)}, "rb") as file:`,
    "    table = file.read()",
    ...pythonRequest(url, "table", call.type),
    'with urllib.request.urlopen(request) as response, open("scored.csv", "wb") as file:',
    "    shutil.copyfileobj(response, file)",
  ].join("\n");
}

function pythonRequest(url, data, type) {
  const key = hasKey() ? ['        "Authorization": "Bearer " + os.environ["MANYHEADS_KEY"],'] : [];
  return [
    "request = urllib.request.Request(",
    `    ${JSON.stringify(url)},`,
    `    data=${data},`,
    "    headers={",
    `        "Content-Type": ${JSON.stringify(type)},`,
    ...key,
    "    },",
    ")",
  ];
}

function pythonValue(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonValue).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, one]) => `${JSON.stringify(name)}: ${pythonValue(one)}`)
    .join(", ")}}`;
}

function javascript(call, url) {
  return [
    ...javascriptRequest(url, `JSON.stringify(${JSON.stringify(call.body)})`, "application/json"),
    "const answer = await response.json();",
    `console.log(answer${call.answer});`,
  ].join("\n");
}

function javascriptTable(call, url) {
  return [
    '// file: a File, such as that of <input type="file">',
    ...javascriptRequest(url, "file", call.type),
    "const scored = await response.text();",
  ].join("\n");
}

function javascriptRequest(url, body, type) {
  return [
    ...(hasKey() ? ['const key = "…"; // your key'] : []),
    `const response = await fetch(${JSON.stringify(url)}, {`,
    '  method: "POST",',
    "  headers: {",
    `    "Content-Type": ${JSON.stringify(type)},`,
    ...(hasKey() ? ['    "Authorization": `Bearer ${key}`,'] : []),
    "  },",
    `  body: ${body},`,
    "});",
  ];
}

// Elements of the page. Text is always set as text, never as markup.

export function byId(id) {
  return document.getElementById(id);
}

export function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Words for screen readers alone.
export function unseen(text) {
  return element("span", { className: "hidden" }, text);
}

// On a phone the answers are below what is seen.
export function bringIntoView(part) {
  if (part.getBoundingClientRect().top > innerHeight * 0.8) part.scrollIntoView({ block: "start" });
}

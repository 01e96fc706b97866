// Text of documents, file names and models on the page: always as text, never as markup, and without what steers.

// Escape sequences of terminals; control characters but tab and line feed; what turns the direction of writing.
const SEQUENCES = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export function plain(text) {
  return String(text).replace(SEQUENCES, "").replace(CONTROLS, "");
}

// An element with attributes and children; strings among these become text.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(key, value);
    else made.setAttribute(key, plain(value));
  }
  made.append(...children.map((child) => (typeof child === "string" ? plain(child) : child)));
  return made;
}

export const $ = (id) => document.getElementById(id);

// The documents: which there are, adding and removing them, choosing one, and watching it being condensed.

import { ask, askJson, events } from "./api.js";
import { $, element, plain } from "./text.js";

export const shelf = { documents: [], chosen: undefined };
const ALL = Symbol("all documents");
// Words of the server, four a second, that waiting is not worth mentioning for.
const SHORT = 4;
let most = 0;
let watching;

export function chosenNames() {
  return shelf.chosen === ALL ? shelf.documents.map((each) => each.name) : shelf.chosen ? [shelf.chosen] : [];
}

export function isPdf(name) {
  return shelf.documents.some((each) => each.name === name && each.pdf);
}

// Fetch the list, and show it.
export async function load(told) {
  const about = await (await ask("/documents")).json();
  shelf.documents = about.documents;
  most = about.most_bytes;
  $("model").textContent = plain(about.model);
  $("adding").hidden = !most;
  $("file").accept = about.suffixes.join(",");
  if (!shelf.chosen && shelf.documents.length === 1) choose(shelf.documents[0].name, told);
  else draw(told);
}

function draw(told) {
  const items = shelf.documents.map((each) => item(each.name, each.name, each.dropped, told));
  if (items.length > 1) items.unshift(item(ALL, "All documents", false, told));
  const focused = document.activeElement?.dataset?.name;
  $("documents").replaceChildren(...items);
  if (focused) [...$("documents").querySelectorAll("button")].find((each) => each.dataset.name === focused)?.focus();
  const named = shelf.chosen === ALL ? "all documents" : shelf.chosen;
  $("about").textContent = plain(named ? `Question about ${named}` : "Question");
  $("welcome").hidden = Boolean(named);
}

function item(key, name, dropped, told) {
  const pressed = String(shelf.chosen === key);
  const choosing = element("button", { type: "button", class: "document", "data-name": name, "aria-pressed": pressed,
    title: name, onclick: () => choose(key, told) }, name);
  const removing = element("button", { type: "button", class: "quiet remove", "aria-label": `Remove ${name}`,
    title: "Remove: the file, and what it was condensed to", onclick: () => remove(name, told) }, "✕");
  return element("li", {}, choosing, ...(dropped ? [removing] : []));
}

export function choose(key, told) {
  shelf.chosen = key;
  told.chosen();
  draw(told);
  watch(told);
}

// Have what is chosen read, and show how far that is. A question waits for it by itself.
async function watch(told) {
  watching?.abort();
  const mine = (watching = new AbortController());
  const names = chosenNames();
  told.error("");
  let waits = 0;
  try {
    for await (const step of events(await askJson("/documents/reading", { documents: names }, mine.signal))) {
      if (step.stage === "ready") told.said(`${names.length > 1 ? "All documents are" : `${names[0]} is`} ready.`);
      // What is in memory is ready at once: nothing flashes up for that.
      if (step.stage === "waiting" && ++waits < SHORT) continue;
      progress(step.stage === "ready" ? undefined : step);
    }
  } catch (error) {
    if (error.name !== "AbortError") told.error(error.message);
  } finally {
    if (watching === mine) progress(undefined);
  }
}

function progress(step) {
  $("progress").hidden = !step;
  if (!step) return;
  const bar = $("progress").querySelector("progress");
  if (step.stage === "waiting") {
    bar.removeAttribute("value");
    $("progress-text").textContent = "Waiting for the model …";
    return;
  }
  bar.value = step.share;
  const done = `${Math.floor(100 * step.share)} %`;
  const doing = step.stage === "reading" ? "Reading" : "Condensing";
  const left = step.seconds_left === null || step.seconds_left === undefined ? "" : `, ${duration(step.seconds_left)} left`;
  $("progress-text").textContent = plain(`${doing} ${step.document}: ${done}, page ${step.page} of ${step.pages}${left}`);
}

function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  return whole < 3600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${(whole / 3600).toFixed(1)} h`;
}

// Bring files to the server, one after the other; the last that could be read is chosen.
export async function add(files, told) {
  told.error("");
  let last;
  const refused = [];
  for (const file of files) {
    told.said(`Sending ${file.name}.`);
    $("adding").setAttribute("aria-busy", "true");
    try {
      if (file.size > most) throw new Error(`${file.name} has more than ${Math.floor(most / 1e6)} MB.`);
      const query = new URLSearchParams({ name: file.name });
      const headers = { "Content-Type": "application/octet-stream" };
      last = (await (await ask(`/documents?${query}`, { method: "POST", headers, body: file })).json()).name;
    } catch (error) {
      refused.push(error.message);
    } finally {
      $("adding").removeAttribute("aria-busy");
    }
  }
  await load(told);
  if (last) choose(last, told);
  if (refused.length) told.error(refused.join("\n"));
}

async function remove(name, told) {
  if (shelf.chosen === name || shelf.chosen === ALL) {
    watching?.abort();
    shelf.chosen = undefined;
    told.chosen();
  }
  try {
    await ask(`/documents?${new URLSearchParams({ name })}`, { method: "DELETE" });
    told.said(`${name} was removed.`);
  } catch (error) {
    told.error(error.message);
  }
  await load(told);
}

// Questions and answers: asked of OpenAI's API, shown as they come, with the places where they stand.

import { askJson, events } from "./api.js";
import { chosenNames, isPdf } from "./shelf.js";
import { $, element, plain } from "./text.js";
import { show } from "./viewer.js";

// What was said so far and goes on, as messages.
let said = [];
let running;

const SUPPORT = {
  true: "It stands in the text:",
  partly: "The text says this of it, or says it of something else:",
  false: "It was not found in the text; do not rely on it.",
};

export function forget() {
  running?.abort();
  said = [];
  $("talk").replaceChildren();
  $("more").hidden = true;
  $("follow").checked = false;
}

export function stop() {
  running?.abort();
}

export async function question(text, told) {
  const names = chosenNames();
  const several = names.length > 1;
  const answer = element("p", { class: "answer" });
  const places = element("div", { class: "places" });
  const turn = element("li", { "aria-busy": "true" }, element("p", { class: "question" }, text), answer, places);
  $("talk").append(turn);
  turn.scrollIntoView({ block: "end" });
  working(true);
  const mine = (running = new AbortController());
  // A small model answers a question better by itself: what was said before is told it only where it is meant to be.
  if (!$("follow").checked) said = [];
  const messages = [...said, { role: "user", content: text }];
  let whole = "";
  try {
    const body = { model: "beacon", documents: names, messages, stream: true };
    for await (const chunk of events(await askJson("/v1/chat/completions", body, mine.signal))) {
      whole += chunk.choices[0]?.delta.content ?? "";
      answer.textContent = plain(whole);
      if (chunk.beacon) places.replaceChildren(...judged(chunk.beacon, several));
    }
    said = [...messages, { role: "assistant", content: whole }];
    told.said(`Answer: ${whole}`);
  } catch (error) {
    const stopped = error.name === "AbortError";
    places.replaceChildren(element("p", { class: stopped ? "note" : "note wrong" }, stopped ? "Stopped." : error.message));
  } finally {
    turn.setAttribute("aria-busy", "false");
    if (running === mine) working(false);
    turn.scrollIntoView({ block: "nearest" });
  }
}

function working(on) {
  $("stop").hidden = !on;
  $("ask").querySelector("[type=submit]").hidden = on;
  $("more").hidden = on || !said.length;
}

// What is known of an answer: whether the documents say so, and where; else the places that come closest.
function judged(about, several) {
  if (about.answered && about.citations.length) {
    const word = element("p", { class: `support ${about.supported}` }, SUPPORT[about.supported]);
    return [word, list(about.citations, several)];
  }
  const word = about.answered ? SUPPORT.false : "There is no answer in what was read.";
  const closest = about.closest.length ? [element("p", { class: "note" }, "These places come closest:"), list(about.closest, several)] : [];
  return [element("p", { class: "support false" }, word), ...closest];
}

function list(places, several) {
  return element("ul", {}, ...places.map((place) => element("li", {}, cited(place, several))));
}

function cited(place, several) {
  const label = place.label ?? place.page;
  const where = `${several ? `${place.document}, ` : ""}p. ${label}${place.section ? ` · ${place.section}` : ""}`;
  const target = { name: place.document, pdf: isPdf(place.document), number: place.page, label, quote: place.quote };
  return element("button", { type: "button", class: "place", onclick: () => show(target) },
    element("span", { class: "where" }, where), " ", element("q", {}, place.quote));
}

// The page of a document, with the words of a citation marked: a PDF's drawn by pdf.js, another's as text.

import { ask, authorization } from "./api.js";
import { mark } from "./marking.js";
import { $, element, plain } from "./text.js";

const PDFJS = "/static/pdfjs";
let pdfjs;
// The open PDF, by its name.
let opened = { name: undefined, task: undefined };
// What is shown: { name, pdf, number, last, quote }. A later one ends an earlier one.
let shown;
let opener;
const LARGER = 1.8;
const larger = () => $("larger").getAttribute("aria-pressed") === "true";

export function show(place) {
  opener = document.activeElement;
  $("viewer").hidden = false;
  document.body.classList.add("viewing");
  draw(place);
  $("viewer").focus();
}

export function close() {
  $("viewer").hidden = true;
  document.body.classList.remove("viewing");
  shown = undefined;
  opener?.focus();
}

async function draw(place) {
  shown = place;
  const current = () => shown === place;
  $("place").textContent = plain(`${place.name}, page ${place.label ?? place.number}`);
  say("");
  $("sheet").replaceChildren();
  $("sheet").classList.toggle("larger", larger());
  $("sheet").setAttribute("aria-busy", "true");
  try {
    // The text is there even where a PDF cannot be drawn, and says which page is the last.
    const query = new URLSearchParams({ name: place.name, number: place.number });
    const text = await (await ask(`/documents/page?${query}`)).json();
    place.last = text.last;
    const label = text.label === String(text.number) ? "" : ` (“${text.label}”)`;
    if (!current()) return;
    $("place").textContent = plain(`${place.name}, page ${text.number} of ${text.last}${label}`);
    const drawn = place.pdf && (await drawPdf(place, current));
    if (!current()) return;
    if (!drawn) $("sheet").replaceChildren(paperOf(text));
    let first = place.quote && mark($("sheet").querySelector(".words"), place.quote);
    if (place.quote && !first && drawn) {
      // Written in a form, recognized in a picture, or set in another order than it is read.
      say("The words are not found in the drawing of the page; they are marked in its text, below.");
      const paper = paperOf(text);
      $("sheet").append(paper);
      first = mark(paper, place.quote);
    }
    first?.scrollIntoView({ block: "center", inline: "center" });
  } catch (error) {
    if (current()) say(error.message);
  } finally {
    if (current()) {
      $("sheet").setAttribute("aria-busy", "false");
      // Not disabled: that would take the focus away from who turns pages by the keyboard.
      $("previous").setAttribute("aria-disabled", !within(-1));
      $("next").setAttribute("aria-disabled", !within(1));
    }
  }
}

function say(text) {
  $("viewer-note").textContent = plain(text);
}

function paperOf(page) {
  const heading = page.section ? [element("p", { class: "section" }, page.section)] : [];
  return element("div", { class: "paper" }, ...heading, element("div", { class: "words" }, page.text));
}

// False if it cannot be drawn; what is wrong is said then.
async function drawPdf(place, current) {
  try {
    const page = await (await open(place.name)).getPage(place.number);
    if (!current()) return true;
    const natural = page.getViewport({ scale: 1 });
    const fitting = Math.min($("sheet").clientWidth / natural.width, 2);
    const viewport = page.getViewport({ scale: fitting * (larger() ? LARGER : 1) });
    const dots = window.devicePixelRatio || 1;
    const canvas = element("canvas", { "aria-hidden": "true" });
    canvas.width = Math.floor(viewport.width * dots);
    canvas.height = Math.floor(viewport.height * dots);
    const words = element("div", { class: "words textLayer" });
    const paper = element("div", { class: "paper drawn" }, canvas, words);
    paper.style.width = `${viewport.width}px`;
    paper.style.height = `${viewport.height}px`;
    paper.style.setProperty("--total-scale-factor", viewport.scale);
    $("sheet").replaceChildren(paper);
    const transform = dots === 1 ? undefined : [dots, 0, 0, dots, 0, 0];
    await Promise.all([
      page.render({ canvas, viewport, transform }).promise,
      new pdfjs.TextLayer({ textContentSource: page.streamTextContent(), container: words, viewport }).render(),
    ]);
    return true;
  } catch (error) {
    if (current()) say(`The page cannot be drawn (${error.message}); this is its text.`);
    return false;
  }
}

async function open(name) {
  if (opened.name !== name) {
    opened.task?.destroy();
    opened = { name: undefined, task: undefined };
    pdfjs ??= await import(`${PDFJS}/build/pdf.min.mjs`);
    pdfjs.GlobalWorkerOptions.workerSrc = `${PDFJS}/build/pdf.worker.min.mjs`;
    const task = pdfjs.getDocument({
      url: `/documents/file?${new URLSearchParams({ name })}`,
      httpHeaders: authorization(),
      // Only what a page needs is fetched.
      disableAutoFetch: true,
      disableStream: true,
      cMapUrl: `${PDFJS}/cmaps/`,
      standardFontDataUrl: `${PDFJS}/standard_fonts/`,
      wasmUrl: `${PDFJS}/wasm/`,
    });
    opened = { name, task };
  }
  try {
    return await opened.task.promise;
  } catch (error) {
    opened = { name: undefined, task: undefined };
    throw error;
  }
}

function within(by) {
  return shown.number + by >= 1 && shown.number + by <= (shown.last ?? 0);
}

function turn(by) {
  if (within(by)) draw({ ...shown, number: shown.number + by, label: undefined, quote: undefined });
}

$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("larger").addEventListener("click", () => {
  $("larger").setAttribute("aria-pressed", !larger());
  draw({ ...shown });
});
$("close").addEventListener("click", close);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shown) close();
});

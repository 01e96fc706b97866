// The page: what a person does, and what happens then.

import { asking } from "./api.js";
import { add, chosenNames, load } from "./shelf.js";
import { forget, question, stop } from "./talk.js";
import { $, plain } from "./text.js";
import { close } from "./viewer.js";

// What the parts of the page tell the person.
const told = {
  error: (text) => { $("error").textContent = plain(text); },
  said: (text) => { $("said").textContent = plain(text); },
  chosen: () => { forget(); close(); },
};

asking.token = (again) => new Promise((resolve) => {
  $("token-wrong").textContent = again ? "That is not the token." : "";
  $("token-value").value = "";
  $("token").addEventListener("close", () => resolve($("token-value").value), { once: true });
  $("token").addEventListener("cancel", (event) => event.preventDefault(), { once: true });
  $("token").showModal();
});

function submit() {
  const text = $("question").value.trim();
  if (!text || !$("stop").hidden) return;
  if (!chosenNames().length) {
    told.error("Choose a document first, or drop one here.");
    return;
  }
  told.error("");
  $("question").value = "";
  fit();
  question(text, told);
}

function fit() {
  $("question").style.height = "auto";
  $("question").style.height = `${Math.min($("question").scrollHeight + 2, 200)}px`;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
$("question").addEventListener("input", fit);
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
$("stop").addEventListener("click", stop);
$("clear").addEventListener("click", () => { forget(); $("question").focus(); });
$("file").addEventListener("change", async () => {
  const files = [...$("file").files];
  $("file").value = "";
  await add(files, told);
});

// Files may be dropped anywhere.
const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && !$("adding").hidden;
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", async (event) => {
  document.body.classList.remove("dropping");
  if (!hasFiles(event)) return;
  event.preventDefault();
  await add([...event.dataTransfer.files], told);
});

try {
  await load(told);
} catch (error) {
  told.error(error.message);
}

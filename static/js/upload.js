// The upload form takes dropped files and shows how much has been sent. Without this module it is a plain form.
import { localise as times } from "./times.js";
import { toasts } from "./toasts.js";

const form = document.querySelector("#upload");
const input = form.querySelector("input[type=file]");
const sending = form.querySelector(".sending");
const progress = sending.querySelector("progress");
const words = sending.querySelector("[data-words]");
const megabytes = new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 });

function show(sent, total) {
  progress.value = total ? sent / total : 0;
  words.textContent = `${form.dataset.uploading}: ${megabytes.format(sent / 1e6)} / ${megabytes.format(total / 1e6)}`;
}

function send() {
  const request = new XMLHttpRequest();
  sending.hidden = false;
  form.querySelector("button").disabled = true;
  request.upload.addEventListener("progress", (event) => show(event.loaded, event.total));
  request.addEventListener("load", () => {
    // The answer is a whole page that says what was kept and what was refused: take those parts of it.
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    for (const id of ["refusals", "documents", "toasts"]) document.getElementById(id).replaceWith(document.adoptNode(page.getElementById(id)));
    window.htmx?.process(document.getElementById("documents"));
    toasts();
    times(document);
    sending.hidden = true;
    form.reset();
    form.querySelector("button").disabled = false;
    document.querySelector("#refusals [role=alert]")?.scrollIntoView({ block: "center" });
  });
  request.addEventListener("error", () => {
    words.textContent = form.dataset.broken;
    form.querySelector("button").disabled = false;
  });
  request.open("POST", form.action);
  request.send(new FormData(form));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
form.addEventListener("dragover", (event) => {
  event.preventDefault();
  form.classList.add("over");
});
form.addEventListener("dragleave", () => form.classList.remove("over"));
form.addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("over");
  if (!event.dataTransfer.files.length) return;
  input.files = event.dataTransfer.files;
  form.requestSubmit();
});

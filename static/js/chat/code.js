// A copy button for each finished block of code, and one for a whole answer.
import { announce } from "../copy.js";

const SHOWN_FOR_MS = 1600;

export function codeButtons(root) {
  const template = document.querySelector("#copy-code");
  for (const header of root.querySelectorAll(".code > header:not(:has([data-copy-code]))")) {
    if (!header.closest("[data-growing]")) header.append(template.content.cloneNode(true));
  }
}

async function copy(button, text) {
  await navigator.clipboard.writeText(text);
  announce(button.dataset.copied);
  const use = button.querySelector("use");
  const before = use.getAttribute("href");
  use.setAttribute("href", before.replace(/#.*/, "#check"));
  setTimeout(() => use.setAttribute("href", before), SHOWN_FOR_MS);
}

export function copying() {
  document.addEventListener("click", (event) => {
    const code = event.target.closest("[data-copy-code]");
    if (code) copy(code, code.closest(".code").querySelector("code").textContent);
    const answer = event.target.closest("[data-copy-answer]");
    if (answer) copy(answer, answer.parentElement.querySelector("[data-source-text]").content.textContent);
  });
}

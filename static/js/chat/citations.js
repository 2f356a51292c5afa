// A number in the text shows its passage on hover or focus, and opens the document at it beside the chat.
import { fetchPage } from "./history.js";

export function citations() {
  const preview = document.querySelector("#preview");
  const beside = document.querySelector("#beside");
  let opener = null;

  function show(link) {
    const source = link.closest("[data-message]")?.querySelector(`[data-source="${link.dataset.number}"]`);
    if (!source) return;
    const title = Object.assign(document.createElement("strong"), { textContent: source.querySelector(".clip").textContent });
    const words = Object.assign(document.createElement("p"), { textContent: source.querySelector("blockquote").textContent });
    preview.replaceChildren(title, words);
    preview.showPopover();
    const at = link.getBoundingClientRect();
    const left = Math.min(Math.max(16, at.left - 24), innerWidth - preview.offsetWidth - 16);
    const above = at.top - preview.offsetHeight - 8;
    preview.style.left = `${left}px`;
    preview.style.top = `${above > 8 ? above : at.bottom + 8}px`;
  }

  const hide = () => preview.hidePopover();

  async function open(link) {
    hide();
    const page = await fetchPage(link.href);
    const found = page?.querySelector("#document");
    if (!found) return location.assign(link.href);
    if (!link.closest("#beside")) opener = link;
    const head = Object.assign(document.createElement("header"), { className: "beside-head" });
    const title = Object.assign(document.createElement("h2"), { className: "clip", textContent: found.querySelector("h1").textContent });
    head.append(title, document.querySelector("#close-beside").content.cloneNode(true));
    const body = Object.assign(document.createElement("div"), { className: "beside-body", tabIndex: 0 });
    for (const inner of found.querySelectorAll("a[href]")) inner.href = new URL(inner.getAttribute("href"), link.href);
    body.append(found);
    beside.replaceChildren(head, body);
    beside.hidden = false;
    body.querySelector("mark")?.scrollIntoView({ block: "center" });
    head.querySelector("button").focus();
  }

  function close() {
    if (beside.hidden) return;
    beside.hidden = true;
    opener?.focus();
  }

  for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    document.addEventListener(on, (event) => {
      const link = event.target.closest?.("a.citation");
      if (link && event.pointerType !== "touch") show(link);
    });
    document.addEventListener(off, (event) => event.target.closest?.("a.citation") && hide());
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.citation, a[data-document]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      open(link);
    }
    if (event.target.closest("[data-close-beside]")) close();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) close();
  });
}

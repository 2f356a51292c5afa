// Earlier messages, on demand, out of the page that has them.
import { codeButtons } from "./code.js";

export async function fetchPage(address) {
  try {
    const response = await fetch(address, { headers: { Accept: "text/html" } });
    return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
  } catch {
    return null;
  }
}

export function olderMessages(talk) {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("#older");
    if (!link) return;
    event.preventDefault();
    link.setAttribute("aria-disabled", "true");
    const page = await fetchPage(link.href);
    if (!page) return link.removeAttribute("aria-disabled");
    const earlier = page.querySelectorAll("#older, #transcript > [data-message]");
    const first = earlier[0];
    talk.keepPlace(() => link.replaceWith(...earlier));
    codeButtons(document);
    first?.scrollIntoView({ block: "nearest" });
  });
}

// <button data-copy="#id"> copies that element's text; <button data-copy-text="…"> copies what it says.
const SHOWN_FOR_MS = 1600;

async function copy(button) {
  const source = button.dataset.copy ? document.querySelector(button.dataset.copy) : null;
  const text = source ? (source.value ?? source.textContent) : button.dataset.copyText;
  await navigator.clipboard.writeText(text.trim());
  const use = button.querySelector("use");
  const before = use?.getAttribute("href");
  use?.setAttribute("href", before.replace(/#.*/, "#check"));
  button.classList.add("copied");
  announce(button.dataset.copied);
  setTimeout(() => {
    use?.setAttribute("href", before);
    button.classList.remove("copied");
  }, SHOWN_FOR_MS);
}

/** Says a short thing to screen readers through the page's polite region. */
export function announce(words) {
  const region = document.querySelector("#announcer");
  if (region && words) region.textContent = words;
}

export function copyButtons() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-text]");
    if (button) copy(button);
  });
}

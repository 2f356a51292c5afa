// Good news goes by itself; bad news waits to be closed.
const SHOWN_FOR_MS = 7000;

function settle(toast) {
  toast.querySelector("[data-close]")?.addEventListener("click", () => toast.remove());
  if (!toast.matches(".error, .bad, .warning, [data-keep]")) setTimeout(() => toast.remove(), SHOWN_FOR_MS);
}

export function toasts() {
  document.querySelectorAll(".toast").forEach(settle);
}

/** Shows a toast made in the browser, with the page's own <template id="toast-template">. */
export function toast(words, { level = "info" } = {}) {
  const made = document.querySelector("#toast-template").content.firstElementChild.cloneNode(true);
  made.classList.add(level);
  made.setAttribute("role", level === "error" ? "alert" : "status");
  made.querySelector("[data-words]").textContent = words;
  document.querySelector("#toasts").append(made);
  settle(made);
}

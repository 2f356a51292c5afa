// Keys that work everywhere in the chat.
export function shortcuts() {
  const dialog = document.querySelector("#shortcuts");
  const isWriting = (target) => target.closest?.("input, textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
    if (event.key === "?") dialog.showModal();
    else if (event.key === "/") document.querySelector("#search")?.focus();
    else return;
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-shortcuts]")) dialog.showModal();
  });
}

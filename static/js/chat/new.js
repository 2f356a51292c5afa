// A new chat: its first question is an ordinary form.
import { field } from "./field.js";
import { shortcuts } from "./shortcuts.js";

const form = document.querySelector("#composer");
if (form) {
  const text = field(form, { onSend: () => form.requestSubmit(), draftKey: `draft ${location.pathname}` });
  form.addEventListener("submit", () => sessionStorage.removeItem(`draft ${location.pathname}`));
}
shortcuts();

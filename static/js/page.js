// Small manners every page has. Everything works, if plainly, without them.
import { copyButtons } from "./copy.js";
import { times } from "./times.js";
import { themeSwitch } from "./theme.js";
import { toasts } from "./toasts.js";

/** A menu closes when one clicks elsewhere or presses Escape. */
function menus() {
  const closeAllBut = (keep) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== keep) menu.open = false;
  };
  document.addEventListener("click", (event) => closeAllBut(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = event.target.closest?.("details.menu[open]");
    closeAllBut(null);
    menu?.querySelector("summary").focus();
  });
}

/** Selects marked so send their form at once; their submit button is for those without scripts. */
function autoSubmit() {
  document.addEventListener("change", (event) => {
    if (event.target.closest("[data-submit-on-change]")) event.target.form.requestSubmit();
  });
}

/** A page that was the answer to a form takes the address of the list, so that a reload does not send the form again. */
function replaceAddress() {
  const marked = document.querySelector("[data-replace-address]");
  if (marked) history.replaceState(null, "", marked.dataset.replaceAddress);
}

menus();
autoSubmit();
replaceAddress();
themeSwitch();
copyButtons();
times();
toasts();

// The theme switch goes round: as the system has it, light, dark.
const ORDER = ["auto", "light", "dark"];
const ICONS = { auto: "auto", light: "sun", dark: "moon" };

function current() {
  return document.documentElement.dataset.theme ?? "auto";
}

function choose(theme) {
  if (theme === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
  }
}

function show(button) {
  const theme = current();
  const use = button.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${ICONS[theme]}`));
  button.querySelector("[data-theme-label]").textContent = button.dataset[theme];
}

export function themeSwitch() {
  for (const button of document.querySelectorAll("button[data-theme-switch]")) {
    button.hidden = false;
    show(button);
    button.addEventListener("click", () => {
      choose(ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length]);
      for (const other of document.querySelectorAll("button[data-theme-switch]")) show(other);
    });
  }
}

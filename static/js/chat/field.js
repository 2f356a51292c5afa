// A text field that sends on Enter, grows with its text and keeps a draft over a reload.
export function field(form, { onSend, draftKey }) {
  const area = form.querySelector("textarea");
  const grows = CSS.supports("field-sizing", "content");

  function fit() {
    if (grows) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }

  function remember(text) {
    try {
      if (text) sessionStorage.setItem(draftKey, text);
      else sessionStorage.removeItem(draftKey);
    } catch {
      // Storage may be forbidden; then a reload forgets the draft.
    }
  }

  area.addEventListener("input", () => {
    fit();
    remember(area.value);
  });
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    onSend();
  });
  try {
    area.value ||= sessionStorage.getItem(draftKey) ?? "";
  } catch {
    // As above.
  }
  fit();
  if (matchMedia("(hover: hover)").matches) area.focus();

  return {
    get value() {
      return area.value;
    },
    set value(text) {
      area.value = text;
      fit();
      remember(text);
    },
    remember,
    focus: () => area.focus(),
    hasFocus: () => document.activeElement === area,
  };
}

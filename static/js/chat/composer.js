// The field one writes in. What was written is let go of only when the server has it.
import { field as writing } from "./field.js";
import { newId } from "./ids.js";

export function composer({ ask, stop, place, lastQuestion, toEnd }) {
  const form = document.querySelector("#composer");
  const notice = document.querySelector("#editing");
  const stopButton = form.querySelector(".stop");
  const sendButton = form.querySelector(".send");
  let edited = null;
  let waiting = null;
  let isRunning = false;

  const text = writing(form, { onSend: () => form.requestSubmit(sendButton), draftKey: `draft ${location.pathname}` });

  function send() {
    if (isRunning || waiting || !text.value.trim()) return;
    waiting = { id: newId(), text: text.value, below: place(edited) };
    ask(waiting);
    text.value = "";
    text.remember(waiting.text);
    endEdit();
    toEnd();
  }

  function edit(question) {
    endEdit();
    edited = question;
    question.classList.add("edited");
    notice.hidden = false;
    text.value = question.querySelector("[data-text]").textContent;
    text.focus();
  }

  function endEdit() {
    edited?.classList.remove("edited");
    edited = null;
    notice.hidden = true;
  }

  form.addEventListener("submit", (event) => {
    // Among earlier messages there is no end to write below: the page itself sends, and shows it.
    if (event.submitter === stopButton || document.querySelector(".newer")) return;
    event.preventDefault();
    send();
  });
  stopButton.addEventListener("click", (event) => {
    if (stop()) event.preventDefault();
  });
  form.querySelector("[data-cancel-edit]").addEventListener("click", () => {
    text.value = "";
    endEdit();
    text.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open], .beside:not([hidden])")) return;
    if (event.key === "Escape" && edited) {
      text.value = "";
      endEdit();
    } else if (event.key === "Escape" && isRunning) stop();
    else if (event.key === "ArrowUp" && text.hasFocus() && !text.value && lastQuestion()) {
      event.preventDefault();
      edit(lastQuestion());
    }
  });

  return {
    edit,
    running(running) {
      isRunning = running;
      stopButton.hidden = !running;
      sendButton.hidden = running;
    },
    /** The server has written our question down. */
    accepted(html) {
      if (!waiting || !html.includes(waiting.id)) return;
      waiting = null;
      text.remember(text.value);
    },
    /** The server did not take it: it goes back into the field. */
    refused() {
      if (waiting && !text.value) text.value = waiting.text;
      waiting = null;
    },
    /** After a reconnection: once more, under the same id, so that it is asked once. */
    sendWaiting() {
      if (waiting) ask(waiting);
    },
  };
}

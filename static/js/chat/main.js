// A conversation, live. Every module does one thing; this one introduces them to each other.
import { citations } from "./citations.js";
import { codeButtons, copying } from "./code.js";
import { composer } from "./composer.js";
import { connect } from "./socket.js";
import { fetchPage, olderMessages } from "./history.js";
import { shortcuts } from "./shortcuts.js";
import { transcript } from "./transcript.js";
import { toast } from "../toasts.js";

const room = document.querySelector("#chat");
const status = document.querySelector("#status");
const say = (key) => (status.textContent = status.dataset[key] ?? "");

const talk = transcript({
  onRunning(running) {
    field.running(running);
    if (running) say("answering");
  },
  onSettled: (how) => say({ complete: "complete", stopped: "stopped" }[how] ?? "broken"),
  onLost: () => location.reload(),
});

const line = connect(`${room.dataset.socket}?lang=${document.documentElement.lang}`, {
  async onOpen({ again }) {
    if (again) {
      say("resumed");
      if (!talk.running()) await talk.catchUp(await fetchPage(location.href));
    }
    if (talk.running()) line.say({ type: "resume", ...talk.running() });
    field.sendWaiting();
  },
  onEvent: {
    turn(event) {
      field.accepted(event.html);
      talk.turn(event);
    },
    text: talk.text,
    sources: talk.sources,
    settled: talk.settled,
    title: ({ title }) => rename(title),
    problem({ message }) {
      field.refused();
      toast(message, { level: "error" });
    },
  },
});

const field = composer({
  ask: (question) => line.say({ type: "ask", ...question }),
  stop: () => talk.running() && line.say({ type: "stop", run: talk.running().run }),
  place: talk.place,
  lastQuestion: talk.lastQuestion,
  toEnd: talk.toEnd,
});

function rename(title) {
  document.title = title;
  const places = `[data-title], [data-title-of="${room.dataset.conversation}"] .clip`;
  for (const place of document.querySelectorAll(places)) place.textContent = title;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-regenerate], [data-choose], [data-edit]");
  if (!button) return;
  const message = button.closest("[data-message]");
  if (button.matches("[data-edit]")) return field.edit(message);
  event.preventDefault();
  const asked = button.dataset.choose
    ? { type: "choose", message: button.dataset.choose }
    : { type: "regenerate", message: message.dataset.message };
  if (!line.say(asked)) button.form.requestSubmit(button);
});

codeButtons(document);
copying();
citations();
olderMessages(talk);
shortcuts();
field.running(Boolean(talk.running()));
talk.toEnd();

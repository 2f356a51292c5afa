// The server says times relatively, with the exact time in UTC in the title; here the title is put into the reader's zone.
/** Puts the titles of a part of the page into the reader's zone. */
export function localise(root) {
  const exact = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "full", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[datetime][title]")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) time.title = exact.format(moment);
  }
}

export function times() {
  localise(document);
  document.addEventListener("htmx:afterSwap", (event) => localise(event.target));
}

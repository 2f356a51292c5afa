// One socket that comes back by itself: quickly at first, then more slowly; at once when the network or the tab returns.
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 8000;
const SAY_SO_AFTER_MS = 800;
const FOR_GOOD = 4404;

export function connect(address, { onOpen, onEvent }) {
  const notice = document.querySelector("#connection");
  let socket = null;
  let wait = FIRST_WAIT_MS;
  let again = false;
  let retry = 0;
  let saySo = 0;

  function open() {
    clearTimeout(retry);
    const mine = (socket = new WebSocket(address));
    mine.addEventListener("open", () => {
      if (mine !== socket) return;
      clearTimeout(saySo);
      saySo = 0;
      notice.hidden = true;
      wait = FIRST_WAIT_MS;
      onOpen({ again });
      again = true;
    });
    mine.addEventListener("message", ({ data }) => {
      if (mine !== socket) return;
      const { type, ...event } = JSON.parse(data);
      onEvent[type]?.(event);
    });
    mine.addEventListener("close", ({ code }) => {
      if (mine !== socket) return;
      if (code === FOR_GOOD) return location.reload();
      lost();
    });
  }

  function lost() {
    socket = null;
    saySo ||= setTimeout(() => (notice.hidden = false), SAY_SO_AFTER_MS);
    clearTimeout(retry);
    retry = setTimeout(open, wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }

  // Without a network the end of a closing may not be heard of for long: we do not wait for it.
  function leave() {
    const left = socket;
    if (left === null) return;
    lost();
    left.close();
  }

  function hurry() {
    if (socket !== null || document.hidden) return;
    wait = FIRST_WAIT_MS;
    open();
  }

  addEventListener("online", hurry);
  addEventListener("offline", leave);
  document.addEventListener("visibilitychange", hurry);
  open();

  return {
    /** Says something now; false when nobody can hear it. */
    say(words) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(words));
      return true;
    },
  };
}

// Follows the end of a scrolling box while the reader is at it; else a button says that there is more below.
const NEAR_PX = 24;
const UPWARDS = new Set(["PageUp", "Home", "ArrowUp"]);

export function follower(box, button) {
  let following = true;
  let before = 0;

  const isAtEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
  const show = () => (button.hidden = following || isAtEnd());
  const toEnd = () => {
    following = true;
    box.scrollTop = box.scrollHeight;
    before = box.scrollTop;
    show();
  };
  const letGo = () => {
    following = box.scrollHeight <= box.clientHeight;
  };

  // Whoever moves up lets go at once, before the first pixel; whoever comes down to the end takes hold again.
  box.addEventListener("wheel", (event) => event.deltaY < 0 && letGo(), { passive: true });
  box.addEventListener("touchmove", letGo, { passive: true });
  box.addEventListener("keydown", (event) => UPWARDS.has(event.key) && letGo());
  box.addEventListener(
    "scroll",
    () => {
      if (box.scrollTop < before - 1) letGo();
      else if (box.scrollTop > before && isAtEnd()) following = true;
      before = box.scrollTop;
      show();
    },
    { passive: true },
  );
  button.addEventListener("click", toEnd);
  new ResizeObserver(() => following && toEnd()).observe(box);

  return {
    toEnd,
    /** Does something that may make the box longer. */
    whileFollowing(change) {
      change();
      if (following) toEnd();
      else show();
    },
    /** Does something above, without moving what is in view. */
    keepPlace(change) {
      const fromEnd = box.scrollHeight - box.scrollTop;
      change();
      box.scrollTop = before = box.scrollHeight - fromEnd;
    },
  };
}

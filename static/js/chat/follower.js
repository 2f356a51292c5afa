// Follows the end of a scrolling box while the reader is at it; else a button says that there is more below.
const NEAR_PX = 64;

export function follower(box, button) {
  let following = true;

  const isAtEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
  const show = () => (button.hidden = following || isAtEnd());
  const toEnd = () => {
    following = true;
    box.scrollTop = box.scrollHeight;
    show();
  };

  // Scrolling up lets go at once, even a little; coming back to the end takes hold again.
  let before = 0;
  box.addEventListener(
    "scroll",
    () => {
      following = box.scrollTop < before - 1 ? false : following || isAtEnd();
      if (isAtEnd() && box.scrollTop >= before) following = true;
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

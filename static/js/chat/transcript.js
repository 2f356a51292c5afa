// The transcript: finished blocks stay still, the last one grows, and the view follows the end only while the reader is there.
import { codeButtons } from "./code.js";
import { follower } from "./follower.js";
import { become, fragment } from "./morph.js";

export function transcript({ onRunning, onSettled, onLost }) {
  const log = document.querySelector("#transcript");
  const view = follower(document.querySelector("#scroll"), document.querySelector("#more-below"));
  let openHtml = "";

  const answer = (run) => log.querySelector(`[data-run="${run}"]`);
  const messages = () => log.querySelectorAll("[data-message]");
  const last = () => [...messages()].at(-1);
  const running = () => {
    const { run, seq } = log.querySelector("[data-run]")?.dataset ?? {};
    return run ? { run, seq: Number(seq) } : null;
  };

  /** Turns the growing block into finished ones: its nodes stay, so that a selection in them does. */
  function finish(article, blocks) {
    const growing = article.querySelector("[data-growing]");
    const [first, ...others] = blocks;
    become(growing, first);
    const nodes = [...growing.childNodes, ...others.flatMap((html) => [...fragment(html).childNodes])];
    growing.before(...nodes);
    codeButtons(article.querySelector("[data-prose]"));
  }

  return {
    running,
    toEnd: view.toEnd,
    lastQuestion: () => [...log.querySelectorAll(".question")].at(-1),
    keepPlace: view.keepPlace,

    /** Where a question goes: below the last message, or beside the one that is edited. */
    place: (edited) => (edited ? edited.dataset.above || null : (last()?.dataset.message ?? null)),

    turn({ above, html, run }) {
      const stays = above && log.querySelector(`[data-message="${above}"]`);
      if (above && !stays) return onLost();
      for (const message of messages()) {
        if (!stays || stays.compareDocumentPosition(message) & Node.DOCUMENT_POSITION_FOLLOWING) message.remove();
      }
      openHtml = "";
      log.append(fragment(html));
      codeButtons(log);
      view.toEnd();
      onRunning(Boolean(run));
    },

    text({ run, seq, blocks, keep, open }) {
      const article = answer(run);
      if (!article || seq <= Number(article.dataset.seq)) return;
      view.whileFollowing(() => {
        if (blocks.length) finish(article, blocks);
        openHtml = openHtml.slice(0, keep) + open;
        become(article.querySelector("[data-growing]"), openHtml);
        article.dataset.seq = seq;
      });
    },

    sources({ run, html }) {
      answer(run)?.querySelector("[data-foot]").replaceChildren(fragment(html));
    },

    settled({ run, message, status, foot, html }) {
      const article = answer(run) ?? log.querySelector(`[data-message="${message}"]`);
      if (!article) return;
      view.whileFollowing(() => {
        if (html) return article.replaceWith(fragment(html));
        const growing = article.querySelector("[data-growing]");
        growing?.replaceWith(...growing.childNodes);
        article.querySelector("[data-foot]").replaceChildren(fragment(foot));
        article.removeAttribute("aria-busy");
        delete article.dataset.run;
      });
      codeButtons(log);
      openHtml = "";
      onRunning(false);
      onSettled(status);
    },

    /** After a time without a connection: show what the page has now, if that is something else. */
    async catchUp(page) {
      const theirs = page?.querySelector("#transcript");
      const newest = [...(theirs?.querySelectorAll("[data-message]") ?? [])].at(-1);
      if (!newest || newest.dataset.message === last()?.dataset.message) return;
      log.replaceChildren(...theirs.childNodes);
      openHtml = "";
      codeButtons(log);
      view.toEnd();
      onRunning(Boolean(running()));
    },
  };
}

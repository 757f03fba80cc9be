/**
 * A text that grows, as rendered Markdown, readable by ear while it does.
 *
 * The page's server renders the whole text; here only the blocks that differ are replaced. What is complete
 * stands in a polite live region and is read out once; the block that still grows stands below it, where no
 * screen reader hears each of its states. A block is complete when another has begun.
 */

import { el } from "./dom.js";
import { order } from "./net.js";

const PAUSE_MS = 90;
const SCORE_LINE = /^score:\s*(\d{1,3})\s*(?:\n|$)/i;
const HALF_A_MARK = /\n[ \t]*(?:[-*+#]+|\d+\.)?[ \t]*\**$/; // would be shown as something else for a moment
const HALF_A_SCORE_LINE = /^s(c(o(r(e(:\s*\d*)?)?)?)?)?$/i;

/** The number in a match's first line, once that line is there. */
export function scoreOf(text) {
  const match = text.match(SCORE_LINE);
  return match && text.includes("\n") ? Math.min(100, Number(match[1])) : null;
}

/** Renders several texts at once. */
export async function render(texts) {
  return (await order("/dev/markdown", { texts })).html;
}

/** Puts HTML that the page's server made safe into an element. */
export function place(node, html) {
  node.replaceChildren(...blocksOf(html));
}

function blocksOf(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return [...template.content.children];
}

export class GrowingText {
  #complete = el("div", { class: "complete", role: "log", "aria-live": "polite", "aria-relevant": "additions" });
  #growing = el("div", { class: "growing", "aria-hidden": "true", inert: true });
  #shown = [];
  #wanted = null;
  #isFinal = false;
  #isBusy = false;

  constructor() {
    this.root = el("div", { class: "markdown" }, this.#complete, this.#growing);
  }

  label(text) {
    this.#complete.setAttribute("aria-label", text);
  }

  /** Shows this text; `isFinal` when no more will come. */
  set(text, isFinal) {
    const whole = text.replace(SCORE_LINE, "");
    this.#wanted = isFinal ? whole : whole.replace(HALF_A_SCORE_LINE, "").replace(HALF_A_MARK, "");
    this.#isFinal = isFinal;
    if (!this.#isBusy) this.#work();
  }

  async #work() {
    this.#isBusy = true;
    while (this.#wanted !== null) {
      const [text, isFinal] = [this.#wanted, this.#isFinal];
      this.#wanted = null;
      try {
        this.#show(blocksOf((await render([text]))[0]), isFinal);
      } catch {
        this.#show([el("pre", {}, text)], isFinal); // nobody renders: the words are what counts
      }
      if (!isFinal) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.#isBusy = false;
  }

  #show(blocks, isFinal) {
    const growing = isFinal ? null : blocks.pop();
    const sources = blocks.map((block) => block.outerHTML);
    let same = 0;
    while (same < sources.length && sources[same] === this.#shown[same]) same += 1;
    while (this.#complete.childElementCount > same) this.#complete.lastElementChild.remove();
    this.#complete.append(...blocks.slice(same));
    this.#shown = sources;
    this.#growing.replaceChildren(...(growing ? [growing] : []));
  }
}

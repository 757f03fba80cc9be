/** Three small pictures: the score of a match, a countdown, a level against its limit. */

import { el, setText, svg } from "./dom.js";
import { t } from "./words.js";

const HALF_TURN = Math.PI * 40;
const TURN = 2 * Math.PI * 15;
const STRONG = 85;
const MEDIUM = 60;

const bandOf = (score) => (score >= STRONG ? "strong" : score >= MEDIUM ? "medium" : "challenging");

/** A half circle that fills with the score, and says in words what it means. */
export class ScoreGauge {
  #arc = svg("path", { class: "arc", d: "M10 50 a40 40 0 0 1 80 0", "stroke-dasharray": HALF_TURN });
  #number = svg("text", { x: 50, y: 48, "text-anchor": "middle" });
  #words = el("span", { class: "band" });

  constructor() {
    const picture = svg(
      "svg",
      { viewBox: "0 0 100 56", "aria-hidden": "true" },
      svg("path", { class: "track", d: "M10 50 a40 40 0 0 1 80 0" }),
      this.#arc,
      this.#number,
    );
    this.root = el("div", { class: "score", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100, hidden: true }, picture, this.#words);
  }

  set(score) {
    this.root.hidden = score === null;
    if (score === null) return;
    const band = bandOf(score);
    this.root.dataset.band = band;
    this.root.setAttribute("aria-label", t("task.score"));
    this.root.setAttribute("aria-valuenow", score);
    this.root.setAttribute("aria-valuetext", `${score}, ${t(`task.score.${band}`)}`);
    this.#arc.setAttribute("stroke-dashoffset", HALF_TURN * (1 - score / 100));
    setText(this.#number, String(score));
    setText(this.#words, t(`task.score.${band}`));
  }
}

/** A ring that empties, with the seconds in it. */
export class Countdown {
  #arc = svg("circle", { class: "arc", cx: 18, cy: 18, r: 15, "stroke-dasharray": TURN });
  #number = svg("text", { x: 18, y: 22, "text-anchor": "middle" });

  constructor() {
    this.root = svg(
      "svg",
      { class: "countdown", viewBox: "0 0 36 36", "aria-hidden": "true" },
      svg("circle", { class: "track", cx: 18, cy: 18, r: 15 }),
      this.#arc,
      this.#number,
    );
  }

  set(secondsLeft, whole) {
    this.#arc.setAttribute("stroke-dashoffset", TURN * (1 - secondsLeft / Math.max(1, whole)));
    setText(this.#number, String(secondsLeft));
  }
}

/** A bar: how much of a limit is in use. */
export class Level {
  #bar = el("i");
  #figure = el("span", { class: "figure" });
  #word = el("span", { class: "word" });
  #meter = el("span", { class: "meter", role: "meter", "aria-valuemin": 0 }, this.#bar);

  constructor(kind) {
    this.root = el("div", { class: `level ${kind}` }, this.#word, this.#meter, this.#figure);
  }

  set(used, limit, word, label) {
    const share = limit > 0 ? Math.min(1, used / limit) : 0;
    this.#bar.style.setProperty("inline-size", `${Math.max(used > 0 ? 4 : 0, share * 100)}%`);
    this.root.classList.toggle("full", used >= limit);
    this.#meter.setAttribute("aria-valuemax", limit);
    this.#meter.setAttribute("aria-valuenow", Math.min(used, limit));
    this.#meter.setAttribute("aria-valuetext", t("task.of", { part: used, whole: limit }));
    this.#meter.setAttribute("aria-label", label);
    setText(this.#word, word);
    setText(this.#figure, `${used}/${limit}`);
  }
}

/** Buttons that break something, what to look for, and what happened. */

import { $, clock, el, setText, show } from "./dom.js";
import { config, order } from "./net.js";
import { onLanguage, t } from "./words.js";

const BUTTONS = ["drop", "refuse", "slow", "silence", "hold", "redis"];
const LASTING = new Set(["slow", "hold"]);
const OF_THE_MODEL = new Set(["refuse", "slow", "silence"]);
const MAX_CHAPTERS = 30;

export class Faults {
  #buttons = new Map();
  #story = $("#story");
  #chapters = [];
  #look = null;

  constructor() {
    for (const name of BUTTONS) {
      const button = el("button", { type: "button", "data-fault": name, onclick: () => this.cause(name) });
      if (OF_THE_MODEL.has(name)) button.disabled = !config.hasStandIn;
      this.#buttons.set(name, button);
    }
    $("#faults").replaceChildren(...this.#buttons.values());
    show($("#real-models"), !config.hasStandIn);
    onLanguage(() => this.#repaint());
  }

  async cause(name, lane) {
    this.#look = name;
    this.#paintLook();
    try {
      const state = await order(`/dev/faults/${name}`, { lane });
      this.#paintButtons(state);
    } catch ({ message }) {
      setText($("#look"), t("break.failed", { message }));
    }
  }

  /** Takes in what `/dev/live` said. */
  take({ faults, story }) {
    this.#paintButtons(faults);
    for (const chapter of story) this.#tell(chapter);
  }

  #paintButtons({ slow, hold, away }) {
    const isOn = { slow, hold, drop: away.includes("drop"), redis: away.includes("redis") };
    for (const [name, button] of this.#buttons) {
      if (LASTING.has(name)) button.setAttribute("aria-pressed", String(isOn[name]));
      button.classList.toggle("on", Boolean(isOn[name]));
    }
  }

  #tell(chapter) {
    this.#chapters.push(chapter);
    this.#story.append(el("li", {}, el("time", {}, clock(chapter.at)), " ", el("span", {}, t(`said.${chapter.what}`, chapter))));
    while (this.#story.childElementCount > MAX_CHAPTERS) this.#story.firstElementChild.remove();
    this.#chapters = this.#chapters.slice(-MAX_CHAPTERS);
    this.#story.parentElement.scrollTop = this.#story.parentElement.scrollHeight;
    show($("#story-part"), true);
  }

  #paintLook() {
    setText($("#look"), this.#look ? t(`look.${this.#look}`) : t("break.lead"));
  }

  #repaint() {
    for (const [name, button] of this.#buttons) setText(button, t(`break.${name}`));
    this.#paintLook();
    const chapters = this.#chapters;
    this.#chapters = [];
    this.#story.replaceChildren();
    for (const chapter of chapters) this.#tell(chapter);
  }
}

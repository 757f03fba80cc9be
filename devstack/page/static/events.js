/** The raw events, as they came over the wire: newest first, filterable, each opens, all can be copied. */

import { $, clock, copy, el, say, setText, show } from "./dom.js";
import { onWire } from "./net.js";
import { onLanguage, t } from "./words.js";

const KEPT = 2_000;
const SHOWN = 250;
const ENVELOPE = /"(?:type|taskId|attempt|at|step)":(?:"[^"]*"|\d+),?/g;

export class Events {
  #lines = [];
  #list = $("#events-list");
  #type = $("#events-type");
  #task = $("#events-task");
  #filter = $("#events-filter");
  #isDue = false;

  constructor() {
    onWire((line) => this.#take(line));
    for (const control of [this.#type, this.#task, this.#filter]) control.addEventListener("input", () => this.#rebuild());
    $("#events-copy").addEventListener("click", () => this.#copyAll());
    $("#events-clear").addEventListener("click", () => this.#clear());
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    onLanguage(() => this.#repaint());
  }

  #take(line) {
    this.#lines.push(line);
    if (this.#lines.length > KEPT) this.#lines.shift();
    this.#offer(this.#type, typeOf(line));
    this.#offer(this.#task, line.taskId, line.taskId.slice(0, 8));
    if (this.#fits(line)) {
      this.#list.prepend(this.#row(line));
      while (this.#list.childElementCount > SHOWN) this.#list.lastElementChild.remove();
      this.#keepOneStop();
    }
    this.#count();
  }

  #offer(select, value, words = value) {
    if ([...select.options].some((option) => option.value === value)) return;
    select.append(el("option", { value }, words));
  }

  #fits(line) {
    const words = this.#filter.value.trim().toLowerCase();
    return (
      (!this.#type.value || typeOf(line) === this.#type.value) &&
      (!this.#task.value || line.taskId === this.#task.value) &&
      (!words || `${typeOf(line)} ${line.id ?? ""} ${dataOf(line)}`.toLowerCase().includes(words))
    );
  }

  #row(line) {
    const summary = el(
      "summary",
      { tabindex: -1 },
      el("time", {}, clock(line.at)),
      el("code", { class: "id" }, line.id || "–"),
      el("code", { class: "of" }, line.taskId.slice(0, 8)),
      el("b", { "data-type": typeOf(line) }, typeOf(line)),
      el("span", { class: "data" }, inShort(line)),
    );
    const details = el("details", {}, summary);
    details.addEventListener("toggle", () => details.open && !details.querySelector("pre") && details.append(...this.#opened(line)));
    return el("li", { class: line.kind }, details);
  }

  #opened(line) {
    const text = line.kind === "event" ? `id: ${line.id}\nevent: ${line.type}\ndata: ${pretty(line.data)}` : dataOf(line);
    const onclick = async () => {
      await copy(text);
      say(t("say.copied"));
    };
    return [el("button", { type: "button", class: "small", onclick }, t("task.copy")), el("pre", {}, text)];
  }

  /** One stop for the Tab key; the arrows move inside. */
  #keepOneStop() {
    if (this.#list.contains(document.activeElement)) return;
    for (const stop of this.#list.querySelectorAll('summary[tabindex="0"]')) stop.tabIndex = -1;
    const newest = this.#list.querySelector("summary");
    if (newest) newest.tabIndex = 0;
  }

  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    const summaries = [...this.#list.querySelectorAll("summary")];
    const at = summaries.indexOf(event.target);
    if (step === undefined || at < 0) return;
    event.preventDefault();
    const next = summaries[Math.min(summaries.length - 1, Math.max(0, at + step))];
    summaries[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  #rebuild() {
    const fitting = this.#lines.filter((line) => this.#fits(line)).slice(-SHOWN).reverse();
    this.#list.replaceChildren(...fitting.map((line) => this.#row(line)));
    this.#keepOneStop();
    this.#count();
  }

  #repaint() {
    setText(this.#type.options[0], t("events.allTypes"));
    setText(this.#task.options[0], t("events.allTasks"));
    this.#rebuild();
  }

  #count() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      const { length: total } = this.#lines;
      setText($("#events-count"), total > 0 ? t("events.count", { shown: this.#list.childElementCount, total }) : "");
      show($("#no-events"), total === 0);
    });
  }

  async #copyAll() {
    const fitting = this.#lines.filter((line) => this.#fits(line));
    await copy(fitting.map((line) => JSON.stringify(line)).join("\n"));
    say(t("say.copied"));
  }

  #clear() {
    this.#lines = [];
    this.#rebuild();
  }
}

const typeOf = ({ kind, type }) => (kind === "event" ? type : `· ${kind}`);

function dataOf({ kind, data, after, status }) {
  switch (kind) {
    case "event":
      return data;
    case "opened":
      return after ? t("events.openedAfter", { id: after }) : t("events.opened");
    case "refused":
      return t("events.refused", { status });
    default:
      return t("events.closed");
  }
}

/** Without what every event has: whoever opens the row sees all of it. */
const inShort = (line) => dataOf(line).replace(ENVELOPE, "").replace(/,\}$/, "}");

function pretty(data) {
  try {
    return JSON.stringify(JSON.parse(data), null, 2);
  } catch {
    return data;
  }
}

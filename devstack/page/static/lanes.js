/** The lanes, live: how full each queue is, what runs under which lease, and a chart of the last minutes. */

import { $, el, oneDigit, setText, show, svg } from "./dom.js";
import { Level } from "./gauge.js";
import { config } from "./net.js";
import { onLanguage, t } from "./words.js";

const WINDOW_MS = 180_000;
const WIDTH = 300;
const HEIGHT = 44;
const MIN_TOP = 4;

/** One lane's chart: an area for what runs, a line for the queue, a dot for each first text. */
class Chart {
  #area = svg("path", { class: "area" });
  #running = svg("path", { class: "running" });
  #depth = svg("path", { class: "depth" });
  #firsts = svg("path", { class: "firsts" });

  constructor() {
    const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", role: "img" };
    this.root = svg("svg", box, this.#area, this.#depth, this.#running, this.#firsts);
  }

  /** @param points  `[at, depth, running, firsts]`, oldest first */
  draw(points, now, lane) {
    const top = Math.max(MIN_TOP, ...points.map(([, depth, running]) => Math.max(depth, running)));
    const x = (at) => ((WIDTH - 3) * (1 - (now - at) / WINDOW_MS)).toFixed(1);
    const y = (value) => (HEIGHT - 2 - ((HEIGHT - 6) * value) / top).toFixed(1);
    const line = (index) => points.map((point) => `${x(point[0])} ${y(point[index])}`).join(" L");
    const isDrawn = points.length > 1;
    this.#running.setAttribute("d", isDrawn ? `M${line(2)}` : "");
    this.#depth.setAttribute("d", isDrawn ? `M${line(1)}` : "");
    this.#area.setAttribute("d", isDrawn ? `M${x(points[0][0])} ${HEIGHT} L${line(2)} L${x(points.at(-1)[0])} ${HEIGHT} Z` : "");
    const dots = points.filter(([, , , firsts]) => firsts.length > 0);
    this.#firsts.setAttribute("d", dots.map(([at]) => `M${x(at)} 5 h0`).join(" "));
    const most = (index) => points.reduce((high, point) => Math.max(high, point[index]), 0);
    this.root.setAttribute("aria-label", t("lanes.chart", { lane, depth: most(1), running: most(2) }));
  }
}

/** One lane's row. */
class LaneRow {
  #name;
  #about;
  #first = el("span", { class: "first" });
  #down = el("span", { class: "down", hidden: true });
  #places = new Level("places");
  #slots = new Level("slots");
  #chart = new Chart();
  #kill;
  #points = [];

  constructor(name, about, onKill) {
    this.#name = name;
    this.#about = about;
    this.#kill = el("button", { type: "button", class: "small danger", "data-kill": name, onclick: () => onKill(name) });
    const head = el("div", { class: "lane-head" }, el("h3", { class: "lane", "data-lane": name }, name), this.#down, el("span", { class: "spacer" }), this.#first, this.#kill);
    const levels = el("div", { class: "levels" }, this.#places.root, this.#slots.root);
    this.root = el("li", { class: "lane-row", "data-lane": name }, head, levels, this.#chart.root);
  }

  add({ at, lanes }) {
    this.#points.push([at, ...lanes[this.#name]]);
    while (this.#points[0][0] < at - WINDOW_MS) this.#points.shift();
  }

  paint({ firstMs, isDown }) {
    const lane = this.#name;
    const [, depth, running] = this.#points.at(-1) ?? [0, 0, 0];
    setText(this.#kill, t("lanes.kill"));
    this.#kill.setAttribute("aria-label", t("lanes.killLabel", { lane }));
    this.#kill.setAttribute("aria-disabled", String(isDown));
    setText(this.#down, t("lanes.down"));
    show(this.#down, isDown);
    const kind = this.#about.kind === "stream" ? "stream" : "batch";
    setText(this.#first, firstMs ? `${t(`lanes.first.${kind}`)} ${t("task.seconds", { seconds: oneDigit(firstMs / 1000) })}` : "");
    this.#places.set(depth, this.#about.places, t("lanes.places"), t("lanes.placesLabel", { lane }));
    this.#slots.set(running, this.#about.slots, t("lanes.slots"), t("lanes.slotsLabel", { lane }));
    this.#chart.draw(this.#points, Date.now(), lane);
  }
}

export class Lanes {
  #rows = new Map();
  #tasks = $("#open-tasks");
  #seen = null;

  /** @param onKill  told the lane whose worker is to be killed */
  constructor(onKill) {
    for (const [name, about] of Object.entries(config.lanes)) this.#rows.set(name, new LaneRow(name, about, onKill));
    $("#lanes-list").replaceChildren(...[...this.#rows.values()].map(({ root }) => root));
    onLanguage(() => this.#paint());
  }

  /** Takes in what `/dev/live` said. */
  take(seen) {
    this.#seen = seen;
    for (const sample of seen.samples) for (const row of this.#rows.values()) row.add(sample);
    this.#paint();
  }

  #paint() {
    if (!this.#seen) return;
    const { firstMs, faults, tasks } = this.#seen;
    for (const [name, row] of this.#rows) row.paint({ firstMs: firstMs[name], isDown: faults.down.includes(name) });
    this.#tasks.replaceChildren(...tasks.map((task) => this.#taskRow(task)));
    show($("#no-open-tasks"), tasks.length === 0);
  }

  #taskRow({ taskId, lane, state, attempt, leaseUntil }) {
    const leftSeconds = (leaseUntil - Date.now()) / 1000;
    const lease = state !== "running" ? t("lanes.waiting") : leftSeconds > 0 ? t("lanes.lease", { seconds: oneDigit(leftSeconds) }) : t("lanes.lapsed");
    return el(
      "li",
      { class: state === "running" && leftSeconds <= 0 ? "lapsed" : state },
      el("span", { class: "lane", "data-lane": lane }, lane),
      el("code", {}, taskId.slice(0, 8)),
      el("span", {}, attempt > 0 ? t("lanes.task", { attempt }) : ""),
      el("span", { class: "lease" }, lease),
    );
  }
}

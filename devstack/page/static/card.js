/**
 * One task on the page: what its events say, as a card.
 *
 *     facts   what is known, changed by the client's callbacks alone
 *     paint   facts -> the card; may be called at any time, in any language
 *
 * All times are those of the events, so that a page that was loaded again shows the same.
 */

import { copy, el, oneDigit, say, setText, show } from "./dom.js";
import { Countdown, ScoreGauge } from "./gauge.js";
import { clientOf } from "./net.js";
import { renderResult } from "./results.js";
import { GrowingText, scoreOf } from "./text.js";
import { has, onLanguage, t } from "./words.js";

const ENDED = new Set(["done", "failed", "cancelled", "refused"]);
const NEXT = { "create-service": ["customize-resume", "interview-tips"] };
const POLL_MS = 2_000;
const WAITS = new Set(["backpressure", "retrying", "reconnecting", "network", "queue_full", "user_busy", "rate_limited"]);

export class Card {
  #parts;
  #text = new GrowingText();
  #gauge = new ScoreGauge();
  #countdown = new Countdown();
  #leaving = new AbortController();
  #view = "rendered";
  #stopHearing;
  #owner;
  #timer;

  /**
   * @param known  what is kept of a task across a reload: `{action, user, taskId?, serviceId?, queueId?, isFree?}`
   * @param owner  who is told: `onChange(card)`, `onNext(action, card)`, `onGone(card)`
   */
  constructor(known, owner) {
    this.known = known;
    this.#owner = owner;
    this.facts = {
      state: known.taskId ? "queued" : "sending",
      lane: known.queueId ?? null, step: 0, attempt: 0, template: null, position: null, eta: null,
      wait: null, refusals: 0, connections: 0, text: "", isText: false, result: null, read: null,
      error: null, refunded: false, queuedAt: null, firstAt: null, endedAt: null, restarted: false,
    };
    this.#parts = this.#build();
    this.root = this.#parts.root;
    this.#stopHearing = onLanguage(() => this.#repaint());
    this.#timer = setInterval(() => this.#tick(), 500);
    this.#repaint();
  }

  get title() {
    return t(`start.action.${this.known.action}`);
  }

  get hasEnded() {
    return ENDED.has(this.facts.state);
  }

  // -- its way --------------------------------------------------------------------------------------------

  /** Starts the action, waits as long as Sluice says, and follows what it has become. */
  async submit(input, locale) {
    try {
      const task = await clientOf(this.known.user).submit(this.known.action, input, {
        locale,
        signal: this.#leaving.signal,
        maxWaitSeconds: 180,
        onWait: (wait) => this.#wait(wait, "held"),
      });
      const { taskId, serviceId, queueId, isFree, streamUrl } = task;
      Object.assign(this.known, { taskId, serviceId, queueId, isFree });
      this.#change({ state: "queued", lane: queueId, wait: null });
      say(t("say.accepted", { title: this.title, lane: queueId }));
      await this.follow(streamUrl);
    } catch (error) {
      this.#refused(error);
    }
  }

  /** Follows the task to its end; without an address, from what its status says. */
  async follow(streamUrl) {
    const options = {
      signal: this.#leaving.signal,
      onText: (text, change) => this.#takeText(text, change),
      onEvent: (event) => this.#take(event),
      onWait: (wait) => this.#wait(wait),
    };
    this.#poll();
    try {
      const { state, text, result, error, refunded } = await clientOf(this.known.user).follow(
        { taskId: this.known.taskId, streamUrl },
        options,
      );
      this.#change({ state, result, error, refunded, wait: null, ...(text && { text }) });
      this.#text.set(this.facts.text, true);
      say(t(`say.${state}`, { title: this.title }));
      this.#repaint();
    } catch (error) {
      this.#refused(error);
    }
  }

  #refused(error) {
    if (error.name === "AbortError") return;
    this.#change({ state: "refused", error, wait: null });
    say(t("say.refused", { title: this.title }));
  }

  /** The place in the queue moves without an event: it is asked for while it matters. */
  async #poll() {
    while (!this.hasEnded && !this.#leaving.signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (this.facts.state !== "queued" || document.hidden) continue;
      try {
        const { position, etaSeconds } = await clientOf(this.known.user).status(this.known.taskId, { maxWaitSeconds: 0 });
        if (this.facts.state === "queued" && position !== null) this.#change({ position, eta: etaSeconds });
      } catch {
        // the stream tells how it ends
      }
    }
  }

  // -- what is heard --------------------------------------------------------------------------------------

  #take(event) {
    const changes = this.#changesOf(event);
    if (changes) this.#change(changes);
    const { position, attempt } = this.facts;
    if (["queued", "retrying", "stalled"].includes(event.type)) say(t(`say.${event.type}`, { title: this.title, position }));
    if (event.type === "start") say(t("say.running", { title: this.title, attempt }));
  }

  #changesOf(event) {
    const { facts } = this;
    switch (event.type) {
      case "queued":
        return {
          state: "queued", lane: event.queueId, step: event.step, attempt: 0, position: event.position,
          eta: event.etaSeconds, queuedAt: facts.queuedAt ?? event.at, wait: null,
        };
      case "start":
        return {
          state: "running", lane: event.queueId, step: event.step, attempt: event.attempt, template: event.templateId,
          position: null, wait: null, restarted: event.attempt > 1,
        };
      case "token_batch":
        if (!event.text) return { state: "thinking" };
        return { state: "running", isText: true, wait: null, firstAt: facts.firstAt ?? event.at };
      case "backpressure":
      case "retrying":
        return { state: event.type, refusals: facts.refusals + 1 };
      case "step_result":
        return { read: event.data, state: "queued" };
      case "stalled":
        return { state: "stalled" };
      case "status":
        return { state: event.status.state, position: event.status.position, eta: event.status.etaSeconds };
      case "done":
      case "error":
      case "cancelled":
        return { endedAt: event.at };
      default:
        return null;
    }
  }

  #takeText(text) {
    this.facts.text = text;
    this.facts.isText ||= text !== "";
    this.#text.set(text, false);
    this.paint();
  }

  /** @param state  what the task is in while it waits; without, it stays in its own */
  #wait({ reason, secondsLeft }, state) {
    const before = this.facts.wait;
    const isSame = before?.reason === reason;
    const whole = isSame ? Math.max(before.whole, secondsLeft) : secondsLeft;
    if (reason === "reconnecting" && !isSame) say(t("say.lost", { title: this.title }));
    this.#change({ wait: secondsLeft > 0 ? { reason, secondsLeft, whole } : null, ...(state && { state: secondsLeft > 0 ? state : "sending" }) });
  }

  connected() {
    this.#change({ connections: this.facts.connections + 1 });
  }

  #change(changes) {
    Object.assign(this.facts, changes);
    this.paint();
    this.#owner.onChange(this);
  }

  // -- what is ordered ------------------------------------------------------------------------------------

  async cancel() {
    if (!this.known.taskId) return this.remove();
    const { cancel } = this.#parts;
    if (cancel.getAttribute("aria-disabled") === "true") return null;
    cancel.setAttribute("aria-disabled", "true"); // a disabled button would lose the focus
    try {
      await clientOf(this.known.user).cancel(this.known.taskId);
    } catch (error) {
      say(this.#wordsOf(error));
    }
    cancel.setAttribute("aria-disabled", "false");
    this.paint();
    return null;
  }

  remove() {
    clearInterval(this.#timer);
    this.#stopHearing();
    this.#leaving.abort();
    const next = this.root.nextElementSibling ?? this.root.previousElementSibling;
    const hadFocus = this.root.contains(document.activeElement);
    this.root.remove();
    this.#owner.onGone(this);
    if (hadFocus) (next ?? document.querySelector("#tasks-title")).focus({ preventScroll: true });
  }

  // -- how it looks ---------------------------------------------------------------------------------------

  #build() {
    const parts = {
      state: el("span", { class: "state" }),
      title: el("h3"),
      lane: el("span", { class: "lane" }),
      tier: el("span", { class: "tier" }),
      user: el("span", { class: "soft" }),
      id: el("code", { class: "soft id" }),
      cancel: el("button", { type: "button", class: "quiet", onclick: () => this.cancel() }),
      dismiss: el("button", { type: "button", class: "quiet", onclick: () => this.remove() }),
      facts: el("dl", { class: "facts" }),
      wait: el("p", { class: "wait" }),
      waitWords: el("span"),
      note: el("p", { class: "note" }),
      problem: el("p", { class: "problem", role: "alert" }),
      views: el("div", { class: "segments views", role: "group" }),
      copy: el("button", { type: "button", class: "quiet copy", onclick: () => this.#copy() }),
      read: el("details", { class: "read" }, el("summary"), el("div")),
      source: el("pre", { class: "source", tabindex: 0 }),
      result: el("div"),
      next: el("div", { class: "next" }),
    };
    parts.wait.append(this.#countdown.root, parts.waitWords);
    parts.head = el("header", {}, parts.state, parts.title, el("span", { class: "spacer" }), parts.cancel, parts.dismiss);
    parts.about = el("p", { class: "about" }, parts.lane, parts.tier, parts.user, parts.id);
    parts.bar = el("div", { class: "bar" }, this.#gauge.root, el("span", { class: "spacer" }), parts.views, parts.copy);
    parts.body = el("div", { class: "body" }, parts.bar, this.#text.root, parts.result, parts.source);
    parts.root = el(
      "article",
      { class: "card task", tabindex: -1 },
      parts.head, parts.about, parts.facts, parts.wait, parts.note, parts.problem, parts.read, parts.body, parts.next,
    );
    return parts;
  }

  /** What depends on the language, or on a result, and is made anew. */
  #repaint() {
    const { views, result, read, next } = this.#parts;
    const { facts, known } = this;
    const names = facts.isText || !facts.result ? ["rendered", "source"] : ["rendered", "json"];
    views.setAttribute("aria-label", t("task.view"));
    views.replaceChildren(...names.map((name) => this.#viewButton(name)));
    result.replaceChildren(...(facts.result && !facts.isText ? [renderResult(facts.result)] : []));
    setText(read.firstElementChild, t("task.read"));
    read.lastElementChild.replaceChildren(...(facts.read ? [renderResult(facts.read)] : []));
    const actions = facts.state === "done" ? (NEXT[known.action] ?? []) : [];
    next.replaceChildren(
      ...(actions.length > 0 ? [el("span", { class: "soft" }, t("task.next"))] : []),
      ...actions.map((action) =>
        el("button", { type: "button", onclick: () => this.#owner.onNext(action, this) }, t(`start.action.${action}`)),
      ),
    );
    this.paint();
  }

  #viewButton(name) {
    const choose = () => {
      this.#view = name;
      this.#repaint();
      this.#parts.views.querySelector(`[data-view=${name}]`).focus();
    };
    const pressed = this.#isView(name);
    return el("button", { type: "button", "data-view": name, "aria-pressed": String(pressed), onclick: choose }, t(`task.view.${name}`));
  }

  #isView(name) {
    return name === "rendered" ? this.#view === "rendered" : this.#view !== "rendered";
  }

  paint() {
    const { facts, known } = this;
    const parts = this.#parts;
    this.root.dataset.state = facts.state;
    this.root.dataset.task = known.taskId ?? "";
    this.root.setAttribute("aria-label", `${this.title}, ${t(`task.state.${facts.state}`)}`);
    setText(parts.state, t(`task.state.${facts.state}`));
    setText(parts.title, this.title);
    setText(parts.lane, facts.lane ?? "…");
    parts.lane.dataset.lane = facts.lane ?? "";
    show(parts.tier, known.isFree !== undefined);
    setText(parts.tier, known.isFree ? t("task.tier.free") : t("task.tier.paid"));
    parts.tier.classList.toggle("free", known.isFree === true);
    setText(parts.user, known.user);
    setText(parts.id, known.taskId?.slice(0, 8) ?? "");
    this.#paintButtons();
    this.#paintFacts();
    this.#paintWait();
    this.#paintBody();
  }

  #paintButtons() {
    const { cancel, dismiss } = this.#parts;
    const hadFocus = document.activeElement === cancel;
    setText(cancel, t("task.cancel"));
    cancel.setAttribute("aria-label", t("task.cancelLabel", { title: this.title }));
    show(cancel, !this.hasEnded);
    setText(dismiss, t("task.dismiss"));
    dismiss.setAttribute("aria-label", t("task.dismissLabel", { title: this.title }));
    show(dismiss, this.hasEnded);
    if (hadFocus && cancel.hidden) this.root.focus({ preventScroll: true });
  }

  #paintFacts() {
    const rows = this.#rows();
    const list = this.#parts.facts;
    while (list.childElementCount > rows.length) list.lastElementChild.remove();
    rows.forEach(([name, value], index) => {
      const row = list.children[index] ?? list.appendChild(el("div", {}, el("dt"), el("dd")));
      row.dataset.fact = name;
      setText(row.firstElementChild, t(`task.${name}`));
      setText(row.lastElementChild, value);
    });
    show(list, rows.length > 0);
  }

  #rows() {
    const { facts } = this;
    const seconds = (ms) => t("task.seconds", { seconds: oneDigit(Math.max(0, ms) / 1000) });
    const rows = [];
    if (facts.state === "queued" && facts.position !== null) {
      rows.push(["position", String(facts.position)]);
      rows.push(["eta", facts.eta === null ? t("task.unknown") : t("task.about", { seconds: facts.eta })]);
    }
    if (facts.template) rows.push(["step", facts.template]);
    if (facts.attempt > 0) rows.push(["attempt", String(facts.attempt)]);
    if (facts.firstAt) rows.push(["first", seconds(facts.firstAt - facts.queuedAt)]);
    if (facts.queuedAt) rows.push(["elapsed", seconds((facts.endedAt ?? Date.now()) - facts.queuedAt)]);
    if (facts.isText) rows.push(["length", String([...facts.text].length)]);
    if (facts.refusals > 0) rows.push(["refused.count", String(facts.refusals)]);
    if (facts.connections > 1) rows.push(["connections", String(facts.connections)]);
    return rows;
  }

  #paintWait() {
    const { wait, state, error, refunded, restarted } = this.facts;
    const { waitWords, note, problem } = this.#parts;
    show(this.#parts.wait, wait !== null);
    if (wait) {
      const key = WAITS.has(wait.reason) ? wait.reason : "other";
      setText(waitWords, `${t(`wait.${key}`, { reason: wait.reason })} ${t("task.seconds", { seconds: wait.secondsLeft })}`);
      this.#countdown.set(wait.secondsLeft, wait.whole);
    }
    const notes = [];
    if (state === "stalled") notes.push(t("wait.stalled"));
    if (restarted && !this.hasEnded) notes.push(t("task.restarted"));
    if (refunded) notes.push(t("task.refunded"));
    setText(note, notes.join(" "));
    show(note, notes.length > 0);
    setText(problem, error ? this.#wordsOf(error) : "");
    show(problem, Boolean(error));
  }

  #wordsOf({ code = "", message }) {
    return has(`error.${code}`) && code !== "other" ? t(`error.${code}`) : t("error.other", { code: code || "–", message });
  }

  #paintBody() {
    const { facts } = this;
    const { body, bar, source, result, read, copy: copyButton } = this.#parts;
    const isRendered = this.#view === "rendered";
    const hasSomething = facts.isText || facts.result !== null;
    show(body, hasSomething);
    show(bar, hasSomething);
    show(read, facts.read !== null);
    this.#text.label(t("task.textOf", { title: this.title }));
    show(this.#text.root, facts.isText && isRendered);
    show(result, !facts.isText && isRendered);
    show(source, !isRendered);
    if (!isRendered) setText(source, this.#sourceText());
    this.#gauge.set(facts.isText && this.known.action === "create-service" ? scoreOf(facts.text) : null);
    if (!copyButton.dataset.isBusy) setText(copyButton, t("task.copy"));
    this.root.classList.toggle("growing", facts.isText && !this.hasEnded);
  }

  #sourceText() {
    return this.facts.isText ? this.facts.text : JSON.stringify(this.facts.result, null, 2);
  }

  async #copy() {
    const { copy: button } = this.#parts;
    await copy(this.#sourceText());
    button.dataset.isBusy = "1";
    setText(button, t("task.copied"));
    say(t("say.copied"));
    setTimeout(() => {
      delete button.dataset.isBusy;
      setText(button, t("task.copy"));
    }, 1500);
  }

  #tick() {
    if (!this.hasEnded) this.#paintFacts();
    else clearInterval(this.#timer);
  }
}

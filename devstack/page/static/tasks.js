/** The tasks on the page, newest first. Their ids outlive a reload in sessionStorage, and each is followed again. */

import { Card } from "./card.js";
import { $, show } from "./dom.js";
import { onWire } from "./net.js";

const KEPT = "sluice.tasks";
const MAX_CARDS = 30;

export class Tasks {
  #cards = [];
  #list = $("#tasks-list");
  #owner;

  /** @param owner  told: `onChange(card)` and `onNext(action, card)` */
  constructor(owner) {
    this.#owner = owner;
    onWire(({ taskId, kind }) => kind === "opened" && this.#find(taskId)?.connected());
    $("#clear-tasks").addEventListener("click", () => this.clear());
  }

  start(action, user, input, locale) {
    const card = this.#add({ action, user });
    card.submit(input, locale);
    return card;
  }

  /** Brings back what was on the page before it was loaded again. */
  restore() {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    for (const known of kept.reverse()) this.#add(known).follow();
    this.#keep();
  }

  clear() {
    for (const card of this.#cards.filter(({ hasEnded }) => hasEnded)) card.remove();
    $("#tasks-title").focus({ preventScroll: true });
  }

  #add(known) {
    const card = new Card(known, {
      onChange: (changed) => this.#changed(changed),
      onNext: (action, from) => this.#owner.onNext(action, from),
      onGone: (gone) => this.#gone(gone),
    });
    this.#cards.unshift(card);
    this.#list.prepend(card.root);
    const ended = this.#cards.filter(({ hasEnded }) => hasEnded);
    if (this.#cards.length > MAX_CARDS) ended.at(-1)?.remove();
    this.#changed(card);
    return card;
  }

  #find(taskId) {
    return this.#cards.find(({ known }) => known.taskId === taskId);
  }

  #changed(card) {
    this.#keep();
    this.#owner.onChange(card);
  }

  #gone(card) {
    this.#cards = this.#cards.filter((each) => each !== card);
    this.#keep();
    this.#owner.onChange(card);
  }

  #keep() {
    const kept = this.#cards.map(({ known }) => known).filter(({ taskId }) => taskId);
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
    show($("#tour"), this.#cards.length === 0);
    show($("#clear-tasks"), this.#cards.some(({ hasEnded }) => hasEnded));
  }
}

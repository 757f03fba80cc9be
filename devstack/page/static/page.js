/** Puts the page together: who the user is, what is started, and one look a second at the lanes. */

import { Composer, sampleFile } from "./composer.js";
import { $, setText, show } from "./dom.js";
import { Events } from "./events.js";
import { Faults } from "./faults.js";
import { Lanes } from "./lanes.js";
import { clientOf, order } from "./net.js";
import { Tasks } from "./tasks.js";
import { firstLanguage, getLanguage, haveLetters, onLanguage, setLanguage, t } from "./words.js";

const LOOK_MS = 1_000;
const GRANT = 8;
const THEMES = ["auto", "light", "dark"];
const SETTLE_MS = 300;

/** The user, and the coins: asked for again whenever a task begins or ends. */
class Account {
  #input = $("#user");
  #balance = null;
  #timer = null;

  constructor(onChange) {
    this.#input.value = sessionStorage.getItem("sluice.user") ?? "dev";
    this.#input.addEventListener("change", () => {
      sessionStorage.setItem("sluice.user", this.user);
      onChange();
    });
    $("#grant").addEventListener("click", () => this.#give(GRANT));
    $("#spend").addEventListener("click", () => this.#give(-(this.#balance ?? 0)));
    onLanguage(() => this.#paint());
  }

  get user() {
    return this.#input.value.trim() || "dev";
  }

  /** Asks for the balance soon: several tasks that end at once ask once. */
  look() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), SETTLE_MS);
  }

  async #ask() {
    try {
      this.#balance = (await clientOf(this.user).get("/quota", { maxWaitSeconds: 5 })).balance;
    } catch {
      this.#balance = null;
    }
    this.#paint();
  }

  async #give(coins) {
    if (coins !== 0) await order("/dev/coins", { user: this.user, coins });
    await this.#ask();
  }

  #paint() {
    setText($("#balance"), this.#balance === null ? "–" : t("user.balance", { coins: this.#balance }));
    $("#balance").classList.toggle("empty", this.#balance === 0);
  }
}

function chooseTheme(name) {
  localStorage.setItem("sluice.theme", name);
  document.documentElement.dataset.theme = name;
  setText($("#theme"), { auto: "◐", light: "☀", dark: "☾" }[name]);
  $("#theme").setAttribute("aria-label", t(`page.theme.${name}`));
  $("#theme").title = t(`page.theme.${name}`);
}

const currentTheme = () => localStorage.getItem("sluice.theme") ?? "auto";

function choosePane(name) {
  document.body.dataset.pane = name;
  for (const button of document.querySelectorAll("[data-pane-button]")) {
    button.setAttribute("aria-pressed", String(button.dataset.paneButton === name));
  }
}

async function watch(take) {
  let [after, told] = [0, 0];
  for (;;) {
    try {
      const seen = await (await fetch(`/dev/live?after=${after}&told=${told}`)).json();
      after = seen.samples.at(-1)?.n ?? after;
      told = seen.story.at(-1)?.n ?? told;
      take(seen);
      show($("#away"), false);
    } catch {
      show($("#away"), true);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function start() {
  const states = new Map();
  const faults = new Faults();
  const events = new Events();
  const lanes = new Lanes((lane) => faults.cause("kill", lane));
  const account = new Account(() => {
    account.look();
    composer.loadServices(account.user);
  });
  const begin = (action, input, locale) => {
    tasks.start(action, account.user, input, locale);
    choosePane("tasks");
  };
  const composer = new Composer(begin);
  const tasks = new Tasks({
    onChange(card) {
      const { state } = card.facts;
      if (states.get(card) === state) return;
      states.set(card, state);
      account.look();
      if (state === "done" && card.known.action === "create-service") composer.loadServices(account.user);
    },
    onNext: (action, card) => {
      tasks.start(action, card.known.user, { serviceId: card.known.serviceId }, composer.locale);
    },
  });

  const tour = {
    resume: async () => begin("upload-resume", await sampleFile(`resume.${composer.locale}.pdf`), composer.locale),
    match: async () => begin("create-service", { jobText: await (await sampleFile(`job.${composer.locale}.txt`)).text() }, composer.locale),
    photo: async () => begin("create-service", await sampleFile(`job-photo.${composer.locale}.jpg`), composer.locale),
  };
  for (const button of document.querySelectorAll("[data-tour]")) button.addEventListener("click", tour[button.dataset.tour]);
  for (const button of document.querySelectorAll("[data-pane-button]")) {
    button.addEventListener("click", () => choosePane(button.dataset.paneButton));
  }
  $("#language").addEventListener("click", () => setLanguage(getLanguage() === "zh" ? "en" : "zh"));
  $("#theme").addEventListener("click", () => chooseTheme(THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length]));
  onLanguage(() => chooseTheme(currentTheme()));

  setLanguage(getLanguage());
  choosePane(sessionStorage.getItem("sluice.tasks") ? "tasks" : "start");
  tasks.restore();
  account.look();
  composer.loadServices(account.user);
  watch((seen) => {
    lanes.take(seen);
    faults.take(seen);
  });
  document.body.dataset.ready = "";
  return events;
}

setLanguage(firstLanguage());
haveLetters();
start();

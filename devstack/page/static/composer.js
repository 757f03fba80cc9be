/** The form that starts a task: which action, in which language, from which text, file or match. */

import { $, el, setText, show } from "./dom.js";
import { clientOf, config } from "./net.js";
import { getLanguage, onLanguage, t } from "./words.js";

const PICTURE = "create-service";
const DOCUMENTS = ["upload-resume", "upload-detailed-resume"];
const OF_A_SERVICE = ["customize-resume", "interview-tips"];
const ACCEPTS = {
  document: ".pdf,.docx,.txt,.md,application/pdf,text/plain,text/markdown",
  picture: "image/png,image/jpeg,image/webp",
};
const SAMPLES = {
  "upload-resume": { text: "resume.{locale}.txt", pdf: "resume.{locale}.pdf" },
  "upload-detailed-resume": { text: "history.en.txt", pdf: "resume.{locale}.pdf" },
  "create-service": { text: "job.{locale}.txt", photo: "job-photo.{locale}.jpg" },
};

export async function sampleFile(name) {
  const blob = await (await fetch(`/dev/samples/${name}`)).blob();
  return new File([blob], name, { type: blob.type });
}

export class Composer {
  #form = $("#start");
  #text = $("#text");
  #file = null;
  #chooser = $("#file");
  #services = [];
  #onStart;

  /** @param onStart  told `(action, input, locale)` for each task to start */
  constructor(onStart) {
    this.#onStart = onStart;
    this.#buildActions();
    this.#hearDrops();
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#form.addEventListener("change", (event) => event.target.name === "action" && this.#paint());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
    $("#choose").addEventListener("click", () => this.#chooser.click());
    this.#chooser.addEventListener("change", () => this.#take(this.#chooser.files[0]));
    onLanguage(() => this.#paint());
    this.#form.elements.locale.value = getLanguage();
  }

  get action() {
    return this.#form.elements.action.value;
  }

  get locale() {
    return this.#form.elements.locale.value;
  }

  /** Chooses an action, for a match. */
  choose(action, serviceId) {
    this.#form.elements.action.value = action;
    this.#paint();
    if (serviceId) $("#service").value = serviceId;
  }

  /** Asks which matches this user has. */
  async loadServices(user) {
    try {
      const { services } = await clientOf(user).get("/services");
      this.#services = services.filter(({ matchAt }) => matchAt);
    } catch {
      this.#services = [];
    }
    this.#paintServices();
  }

  // -- its parts ------------------------------------------------------------------------------------------

  #buildActions() {
    const choices = Object.entries(config.actions).map(([action, { cost }], index) =>
      el(
        "label",
        { class: "choice" },
        el("input", { type: "radio", name: "action", value: action, checked: index === 0 }),
        el("span", { "data-t": `start.action.${action}` }),
        el("span", { class: "cost", "data-cost": cost }),
      ),
    );
    $("#actions").append(...choices);
  }

  #paint() {
    const { action } = this;
    const isOfService = OF_A_SERVICE.includes(action);
    const kind = action === PICTURE ? "picture" : "document";
    for (const cost of document.querySelectorAll("[data-cost]")) {
      setText(cost, t("start.cost", { coins: cost.dataset.cost }));
      cost.setAttribute("aria-label", t("start.costLabel", { coins: cost.dataset.cost }));
    }
    show($("#input"), !isOfService);
    show($("#services"), isOfService);
    if (!isOfService) setText($("#text-label"), t(`start.text.${action}`));
    this.#chooser.accept = ACCEPTS[kind];
    setText($("#drop-words"), t(`start.drop.${kind}`));
    if (this.#file && !this.#fits(this.#file)) this.#take(null);
    this.#paintSamples();
    this.#paintFile();
    this.#paintServices();
    this.#problem("");
  }

  #paintSamples() {
    const samples = Object.entries(SAMPLES[this.action] ?? {});
    const buttons = samples.map(([kind, name]) =>
      el("button", { type: "button", class: "small", "data-sample": kind, onclick: () => this.#takeSample(kind, name) }, t(`start.sample.${kind}`)),
    );
    $("#samples").replaceChildren(el("span", { class: "soft" }, t("start.samples")), ...buttons);
  }

  async #takeSample(kind, name) {
    const file = await sampleFile(name.replace("{locale}", this.locale));
    if (kind === "text") {
      this.#take(null);
      this.#text.value = await file.text();
    } else {
      this.#take(file);
    }
  }

  #paintFile() {
    const file = this.#file;
    show($("#file-chip"), file !== null);
    show($("#text"), file === null);
    if (!file) return;
    setText($("#file-name"), file.name);
    setText($("#file-size"), `${Math.ceil(file.size / 1024)} KB`);
    const picture = $("#file-picture");
    show(picture, file.type.startsWith("image/"));
  }

  #take(file) {
    if (file && !this.#fits(file)) {
      this.#problem(t("start.wrongFile"));
      return;
    }
    this.#file = file ?? null;
    this.#chooser.value = "";
    const picture = $("#file-picture");
    if (picture.src) URL.revokeObjectURL(picture.src);
    picture.removeAttribute("src");
    if (file?.type.startsWith("image/")) picture.src = URL.createObjectURL(file);
    this.#problem("");
    this.#paintFile();
  }

  /** Sluice tells files by their content; here only a picture is told from a document. */
  #fits({ type }) {
    return type.startsWith("image/") === (this.action === PICTURE);
  }

  #paintServices() {
    const select = $("#service");
    const chosen = select.value;
    const options = this.#services.map(({ serviceId, title, company, score, createdAt }) => {
      const name = [title, company].filter(Boolean).join(", ") || new Date(createdAt).toLocaleTimeString();
      return el("option", { value: serviceId }, `${name}${score == null ? "" : ` · ${score}`} · ${serviceId.slice(0, 6)}`);
    });
    select.replaceChildren(...options);
    if (options.some(({ value }) => value === chosen)) select.value = chosen;
    show(select, options.length > 0);
    show($("#no-service"), options.length === 0);
  }

  #hearDrops() {
    const zone = this.#form;
    let depth = 0;
    const over = (isOver) => {
      zone.classList.toggle("dropping", isOver);
      const kind = this.action === PICTURE ? "picture" : "document";
      setText($("#drop-words"), t(isOver ? "start.drop.release" : `start.drop.${kind}`));
    };
    zone.addEventListener("dragenter", (event) => {
      event.preventDefault();
      depth += 1;
      over(true);
    });
    zone.addEventListener("dragover", (event) => event.preventDefault());
    zone.addEventListener("dragleave", () => {
      depth -= 1;
      if (depth === 0) over(false);
    });
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      depth = 0;
      over(false);
      const file = event.dataTransfer.files[0];
      if (file) this.#drop(file);
    });
    $("#file-remove").addEventListener("click", () => {
      this.#take(null);
      $("#choose").focus();
    });
  }

  /** A file says what it is for: a picture is an advertisement, a document is not. */
  #drop(file) {
    if (file.type.startsWith("image/")) this.choose(PICTURE);
    else if (!DOCUMENTS.includes(this.action)) this.choose(DOCUMENTS[0]);
    this.#take(file);
  }

  // -- sending --------------------------------------------------------------------------------------------

  #send() {
    const input = this.#input();
    if (input === null) return;
    for (let left = Number($("#times").value); left > 0; left -= 1) this.#onStart(this.action, input, this.locale);
  }

  #input() {
    if (OF_A_SERVICE.includes(this.action)) {
      const serviceId = $("#service").value;
      return serviceId ? { serviceId } : null;
    }
    if (this.#file) return this.#file;
    const text = this.#text.value.trim();
    if (!text) this.#text.focus();
    if (!text) return null;
    return this.action === PICTURE ? { jobText: text } : { text };
  }

  #problem(words) {
    setText($("#start-problem"), words);
  }
}

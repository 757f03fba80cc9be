// The page's logic: starts actions, follows each task with an EventSource, and shows what the events say.
// A task's picture is built from its events alone, as a product's frontend would do it.

const $ = (selector, root = document) => root.querySelector(selector);
const TYPES = ["queued", "start", "token_batch", "backpressure", "retrying", "step_result", "resync", "stalled",
  "done", "error", "cancelled"];
const TERMINAL = new Set(["done", "error", "cancelled"]);
const SAMPLES = {
  "upload-resume": { en: "resume.en", zh: "resume.zh" },
  "upload-detailed-resume": { en: "history.en", zh: "resume.zh" },
  "create-service": { en: "job.en", zh: "job.zh" },
};
const config = await (await fetch("/dev/config")).json();
let imageUrl = null;

async function call(method, path, body) {
  const { token } = await (await fetch("/dev/token?user=" + encodeURIComponent($("#user").value))).json();
  const headers = { Authorization: "Bearer " + token };
  if (body) Object.assign(headers, { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() });
  const response = await fetch(config.actionsUrl + path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) {
    const when = answer.retryAfter ? ` Come back in ${answer.retryAfter} s.` : "";
    throw new Error(`${response.status} ${answer.error}: ${answer.message}${when}`);
  }
  return answer;
}

class TaskCard {
  constructor(title, accepted) {
    this.accepted = accepted;
    this.text = "";
    this.counts = { event: 0, backpressure: 0, connections: 0 };
    this.startedAt = performance.now();
    this.root = $("#task").content.cloneNode(true).firstElementChild;
    this.put("title", title);
    this.put("where", `${accepted.queueId}${accepted.isFree ? " · free" : ""} · ${accepted.taskId}`);
    $(".cancel", this.root).onclick = () => this.cancel();
    $(".empty")?.remove();
    $("#tasks").prepend(this.root);
    this.connect(accepted.streamUrl);
  }

  put(name, value) { $("." + name, this.root).textContent = value; }

  state(state) {
    this.put("state", state);
    $(".state", this.root).dataset.state = state;
  }

  note(text, bad = false) {
    const note = $(".note", this.root);
    note.hidden = !text;
    note.textContent = text;
    note.classList.toggle("bad", bad);
  }

  connect(url) {
    this.source = new EventSource(url);
    this.source.onopen = () => this.put("connections", ++this.counts.connections);
    // The browser comes back by itself unless the bridge refused; then a fresh address may help (an expired token).
    this.source.onerror = () => { if (this.source.readyState === EventSource.CLOSED && !this.ended) this.reopen(); };
    for (const type of TYPES) this.source.addEventListener(type, (event) => this.take(type, event));
  }

  async reopen() {
    await new Promise((resolve) => setTimeout(resolve, 2000));
    try {
      const { streamUrl } = await call("GET", "/tasks/" + this.accepted.taskId);
      this.connect(this.lastId ? `${streamUrl}&after=${this.lastId}` : streamUrl);
    } catch (error) {
      this.note(error.message, true);
    }
  }

  take(type, event) {
    const data = JSON.parse(event.data);
    if (event.lastEventId) this.lastId = event.lastEventId;
    this.list(type, event);
    this["on_" + type]?.(data);
    if (TERMINAL.has(type)) this.end(type, data);
  }

  on_queued(data) {
    this.state("queued");
    this.put("step", data.step);
    this.put("position", data.position + (data.etaSeconds == null ? "" : ` (about ${data.etaSeconds} s)`));
    this.put("where", `${data.queueId}${this.accepted.isFree ? " · free" : ""} · ${this.accepted.taskId}`);
  }

  on_start(data) {
    this.state("running");
    this.note("");
    this.put("position", "–");
    this.put("step", `${data.step} ${data.templateId}`);
    this.put("attempt", data.attempt);
    this.show("");
  }

  on_token_batch(data) {
    if (data.thinking) this.note("the model is thinking …");
    if (!data.text) return;
    if ([...this.text].length !== data.offset) this.note(`gap: text at ${data.offset}, had ${[...this.text].length}`, true);
    else if (!$(".note", this.root).classList.contains("bad")) this.note("");
    if ($(".first", this.root).textContent === "–") this.put("first", this.seconds());
    this.show(this.text + data.text);
  }

  on_resync(data) { this.note("history was trimmed; this is the whole text so far"); this.show(data.text); }
  on_stalled() { this.state("stalled"); this.note("the worker is gone; another attempt will follow"); }
  on_retrying(data) { this.state("retrying"); this.note(`${data.reason}; again in ${data.retryAfter} s`); }
  on_step_result(data) { this.result(data.data, `result of step ${data.step}`); }

  on_backpressure(data) {
    this.state("waiting");
    this.put("backpressure", ++this.counts.backpressure);
    this.note(`${data.reason}; again in ${data.retryAfter} s`);
  }

  show(text) {
    const place = $(".text", this.root);
    const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 8;
    this.text = text;
    place.hidden = !text;
    place.textContent = text;
    this.put("length", [...text].length);
    if (atEnd) place.scrollTop = place.scrollHeight;
  }

  result(value, name) {
    const place = $(".result", this.root);
    place.hidden = false;
    $("summary", place).textContent = name;
    $("pre", place).textContent = JSON.stringify(value, null, 2);
  }

  end(type, data) {
    this.ended = true;
    this.source.close();
    this.state(type);
    $(".cancel", this.root).disabled = true;
    const refund = data.refunded ? " The coins are back." : "";
    if (type === "done") {
      this.note("");
      this.result(data.result, `result · ${data.usage?.totalTokens ?? "?"} tokens · ${this.seconds()}`);
    } else this.note(`${type === "error" ? `${data.code}: ${data.message}` : "cancelled."}${refund}`, true);
    refresh();
  }

  async cancel() {
    try { await call("POST", `/tasks/${this.accepted.taskId}/cancel`); } catch (error) { this.note(error.message, true); }
  }

  seconds() { return ((performance.now() - this.startedAt) / 1000).toFixed(2) + " s"; }

  list(type, event) {
    const row = document.createElement("li");
    for (const [tag, text] of [["time", this.seconds()], ["b", type], ["span", ` ${event.lastEventId} ${event.data}`]]) {
      row.append(Object.assign(document.createElement(tag), { textContent: text }));
    }
    this.put("count", ++this.counts.event);
    $(".raw ol", this.root).append(row);
  }
}

function bars(table, levels) {
  $("tbody", table).replaceChildren(...Object.entries(levels).map(([name, [used, limit]]) => {
    const row = document.createElement("tr");
    const meter = Object.assign(document.createElement("meter"), { max: limit, value: used });
    for (const content of [name, meter, `${used} / ${limit}`]) {
      const cell = document.createElement("td");
      cell.append(content);
      row.append(cell);
    }
    return row;
  }));
}

async function showGauges() {
  try {
    const gauges = await (await fetch("/dev/gauges")).json();
    bars($("#lanes"), gauges.places);
    bars($("#slots"), gauges.slots);
  } catch { /* the stack has ended; the page stays readable */ }
}

async function refresh() {
  try {
    $("#balance").textContent = (await call("GET", "/quota")).balance;
    const { services } = await call("GET", "/services");
    $("#service").replaceChildren(...services.map((service) => new Option(
      `${service.title ?? service.serviceId} ${service.score == null ? "" : `(${service.score})`}`, service.serviceId)));
  } catch (error) { $("#refusal").textContent = error.message; }
}

async function showFields() {
  const action = $("#action").value;
  for (const field of document.querySelectorAll("[data-for]")) {
    field.hidden = !field.dataset.for.split(" ").includes(action);
  }
  const sample = SAMPLES[action]?.[$("#locale").value];
  if (sample) $("#text").value = await (await fetch(`/dev/samples/${sample}.txt`)).text();
}

function choose(blob) {
  const reader = new FileReader();
  reader.onload = () => { imageUrl = reader.result; $("#preview").src = imageUrl; $("#preview").hidden = false; };
  reader.readAsDataURL(blob);
}

function body(action) {
  const locale = $("#locale").value;
  if (action === "create-service") return imageUrl ? { jobImage: imageUrl, locale } : { jobText: $("#text").value, locale };
  return SAMPLES[action] ? { text: $("#text").value, locale } : { serviceId: $("#service").value, locale };
}

$("#action").append(...config.actions.map((action) => new Option(action)));
$("#action").onchange = $("#locale").onchange = showFields;
$("#user").onchange = refresh;
$("#image").onchange = (event) => event.target.files[0] && choose(event.target.files[0]);
$("#sample-image").onclick = async () => choose(await (await fetch("/dev/samples/advertisement.png")).blob());
$("#preview").onclick = () => { imageUrl = null; $("#preview").hidden = true; $("#image").value = ""; };
$("#start").onsubmit = async (event) => {
  event.preventDefault();
  const action = $("#action").value;
  $("#send").disabled = true;
  $("#refusal").textContent = "";
  try {
    const accepted = await call("POST", "/actions/" + action, body(action));
    new TaskCard(action + (imageUrl && action === "create-service" ? " (picture)" : ""), accepted);
  } catch (error) { $("#refusal").textContent = error.message; }
  $("#send").disabled = false;
  refresh();
};
showFields();
refresh();
showGauges();
setInterval(showGauges, 1000);

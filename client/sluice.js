/**
 * Sluice's client for frontends: start a task, follow its text, lose no letter of it.
 *
 *     const client = createClient({ actionsUrl, getToken });
 *     const task = await client.submit("create-service", { jobText });
 *     const { state, text } = await client.follow(task, { onText: (text) => show(text) });
 *
 * One ES module without dependencies, for browsers, Node 20 and workers. Its parts, from the bottom:
 *
 *     SluiceError         every refusal and every fault, in one shape
 *     clock, countdown    all waiting: it can be aborted, and says each second how long it will last
 *     EventStreamParser   bytes -> frames, as the standard of server-sent events has it
 *     Transcript          events -> the text to show; refuses what does not follow what it has
 *     Caller              requests to `actions`: tokens, time limits, which answer is worth another try
 *     Following           one task's stream to its end, across every loss of the connection
 *
 * Why not EventSource: it hides status codes, so that an expired token looks like a lost network; it never
 * notices a connection that died silently; it cannot be told to come back now; and it goes on for ever.
 */

const MAX_WAIT_SECONDS = 60;
const REQUEST_SECONDS = 60;
const OPEN_SECONDS = 20;
const HEARTBEAT_SECONDS = 15;
const SILENT_HEARTBEATS = 2.5;
const STEADY_SECONDS = 5; // a connection that lasted as long was a good one, also if nothing happened
const MIN_PAUSE_MS = 500;
const MAX_PAUSE_MS = 15_000;
const POLL_MS = 4_000;
const FAILURES_BEFORE_POLLING = 3;
const TRIES_WITHOUT_ANSWER = 6;
const TRIES_WITHOUT_ADVICE = 3;
const PASSING_STATUSES = new Set([408, 429, 500, 502, 503, 504]);
const TERMINAL_TYPES = new Set(["done", "error", "cancelled"]);
const LAST_EVENTS = { done: "done", failed: "error", cancelled: "cancelled" };

/* ---------------------------------------------------------------------------------------------- errors */

/** A refusal by Sluice (`status` above 0), or a call that got no answer (`status` 0, code `network`). */
export class SluiceError extends Error {
  constructor(code, message, { status = 0, retryAfter = null, details = {}, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "SluiceError";
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    this.details = details;
  }
}

async function errorOf(response) {
  const details = await jsonOf(response);
  const retryAfter = details?.retryAfter ?? secondsOf(response.headers.get("Retry-After"));
  const code = details?.error ?? (response.status >= 500 ? "unavailable" : "bad_answer");
  const message = details?.message ?? `The server answered ${response.status}.`;
  return new SluiceError(code, message, { status: response.status, retryAfter, details: details ?? {} });
}

async function jsonOf(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

/** `Retry-After` is a number of seconds, or a date. */
function secondsOf(header) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/* ------------------------------------------------------------------------------------- time and signals */

/** The time of day, which goes on while a machine sleeps: performance.now() stands still in some browsers. */
const SYSTEM_CLOCK = {
  now: () => Date.now(),
  random: () => Math.random(),
  /** Resolves after `ms`, or at once when `signal` aborts. */
  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, Math.min(ms, 2 ** 31 - 1));
      signal?.addEventListener("abort", end);
    });
  },
};

/** Waits, telling each second how many are left; ends early when `signal` aborts. Its last word is always 0. */
async function countdown(clock, seconds, { reason, onWait, signal }) {
  const endsAt = clock.now() + seconds * 1000;
  for (let leftMs = seconds * 1000; leftMs > 0 && !signal?.aborted; leftMs = endsAt - clock.now()) {
    const secondsLeft = Math.ceil(leftMs / 1000);
    onWait?.({ reason, secondsLeft });
    await clock.sleep(leftMs - (secondsLeft - 1) * 1000, signal);
  }
  onWait?.({ reason, secondsLeft: 0 });
}

/** A controller that aborts when `signal` does; `unlink` it when it is done. */
function linked(signal) {
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  return { controller, unlink: () => signal?.removeEventListener("abort", abort) };
}

function aborted(message) {
  return new DOMException(message, "AbortError");
}

/* ------------------------------------------------------------------------------------ server-sent events */

/** Parses an event stream, whichever way its bytes are cut into pieces. */
export class EventStreamParser {
  lastEventId = "";
  retryMs = null;
  #decoder = new TextDecoder();
  #rest = "";
  #skipsLineFeed = false;
  #data = [];
  #type = "";
  #isNumbered = false;

  /**
   * Takes the next bytes and returns the frames that are complete now: `{id, type, data, isNumbered}`.
   * A frame without an id of its own (`isNumbered` false) has that of the one before.
   */
  push(bytes) {
    const decoded = this.#decoder.decode(bytes, { stream: true });
    if (decoded === "") return [];
    const text = this.#rest + (this.#skipsLineFeed && decoded[0] === "\n" ? decoded.slice(1) : decoded);
    const frames = [];
    let start = 0;
    for (const { index, 0: end } of text.matchAll(/\r\n|\n|\r/g)) {
      const frame = this.#line(text.slice(start, index));
      if (frame) frames.push(frame);
      start = index + end.length;
    }
    this.#rest = text.slice(start);
    this.#skipsLineFeed = decoded.endsWith("\r");
    return frames;
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.#number(value);
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  #number(id) {
    this.lastEventId = id;
    this.#isNumbered = true;
  }

  #dispatch() {
    const [id, type, data] = [this.lastEventId, this.#type || "message", this.#data];
    const frame = data.length > 0 ? { id, type, data: data.join("\n"), isNumbered: this.#isNumbered } : null;
    this.#data = [];
    this.#type = "";
    this.#isNumbered = false;
    return frame;
  }
}

/** Stream ids are `{ms}-{number}`. */
function isAfter(id, other) {
  if (!other) return true;
  const [ms, number] = id.split("-").map(Number);
  const [otherMs, otherNumber] = other.split("-").map(Number);
  return ms > otherMs || (ms === otherMs && number > otherNumber);
}

/* ----------------------------------------------------------------------------------------------- the text */

/** What comes does not follow the text that is there; `isWrong`: the text that is there is not the task's. */
class TextLost extends Error {
  constructor(message, { isWrong = false } = {}) {
    super(message);
    this.isWrong = isWrong;
  }
}

/** Offsets count code points; a JavaScript string counts an emoji as two. */
function lengthOf(text) {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}

function indexOf(text, codePoints) {
  let index = 0;
  for (let left = codePoints; left > 0; left -= 1) index += text.codePointAt(index) > 0xffff ? 2 : 1;
  return index;
}

/** The text of a task's newest attempt at its newest step, put together from the events. */
export class Transcript {
  text = "";
  step = 0;
  attempt = 0;
  #length = 0;

  /** Applies an event; returns what it changed, or null. Throws when text is missing before it. */
  apply(event) {
    switch (event.type) {
      case "start":
        return this.#begin(event, "");
      case "resync":
        return this.#begin(event, event.text);
      case "token_batch":
        return this.#append(event);
      case "done":
        return this.#finish(event);
      default:
        return null;
    }
  }

  #begin({ step, attempt }, text) {
    Object.assign(this, { step, attempt });
    return this.#replace(text);
  }

  #replace(text) {
    const before = this.text;
    this.text = text;
    this.#length = lengthOf(text);
    if (text === before) return null;
    return text.startsWith(before) ? this.#change(text.slice(before.length), false) : this.#change(text, true);
  }

  #append(event) {
    const age = event.step - this.step || event.attempt - this.attempt;
    if (age < 0) return null; // of an attempt that has been replaced
    if (age > 0) {
      if (event.offset > 0) throw new TextLost("an attempt whose beginning is missing");
      return this.#begin(event, event.text);
    }
    if (event.offset > this.#length) throw new TextLost("a gap in the text");
    const text = event.offset < this.#length ? this.#unknownPart(event) : event.text;
    if (text === "") return null;
    this.text += text;
    this.#length += lengthOf(text);
    return this.#change(text, false);
  }

  /** Trims a batch that begins with what is there already. */
  #unknownPart({ text, offset }) {
    const known = this.text.slice(indexOf(this.text, offset));
    const isSame = text.length > known.length ? text.startsWith(known) : known.startsWith(text);
    if (!isSame) throw new TextLost("another text at the same place", { isWrong: true });
    return text.slice(known.length);
  }

  /** The result is the record's: it has the last word. */
  #finish({ result }) {
    return typeof result?.text === "string" ? this.#replace(result.text) : null;
  }

  #change(appended, replaced) {
    return { step: this.step, attempt: this.attempt, appended, replaced };
  }
}

/* ----------------------------------------------------------------------------------- requests to `actions` */

class Caller {
  constructor({ actionsUrl, getToken, fetch, clock }) {
    this.actionsUrl = new URL(actionsUrl, globalThis.location?.href).href.replace(/\/+$/, "");
    this.getToken = getToken;
    this.fetch = fetch;
    this.clock = clock;
  }

  /** Calls `actions` until there is an answer, or no use in trying again, or no time left for it. */
  async call(method, path, { headers, body, signal, onWait, maxWaitSeconds = MAX_WAIT_SECONDS } = {}) {
    const deadline = this.clock.now() + maxWaitSeconds * 1000;
    let isRefused = false;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#once(method, path, { headers, body, signal, isRefused });
      } catch (error) {
        signal?.throwIfAborted();
        if (error.status === 401 && !isRefused) {
          isRefused = true; // the token may just have expired: ask for another, once
          continue;
        }
        const seconds = this.#pauseSeconds(error, tries);
        if (seconds === null || this.clock.now() + seconds * 1000 > deadline) throw error;
        await countdown(this.clock, seconds, { reason: error.code, onWait, signal });
        signal?.throwIfAborted();
      }
    }
  }

  /** How long to wait before another try; null when it would be refused again. */
  #pauseSeconds(error, tries) {
    if (!(error instanceof SluiceError)) return null;
    if (error.status !== 0 && !PASSING_STATUSES.has(error.status)) return null;
    if (error.retryAfter !== null) return error.retryAfter + this.clock.random() / 2;
    const limit = error.status === 0 ? TRIES_WITHOUT_ANSWER : TRIES_WITHOUT_ADVICE;
    return tries < limit ? pauseMs(this.clock, MIN_PAUSE_MS, tries) / 1000 : null;
  }

  async #once(method, path, { headers, body, signal, isRefused }) {
    const token = await this.getToken?.({ refused: isRefused });
    const { controller, unlink } = linked(signal);
    this.clock.sleep(REQUEST_SECONDS * 1000, controller.signal).then(() => controller.abort());
    try {
      const response = await this.#send(`${this.actionsUrl}${path}`, {
        method,
        body,
        headers: { ...headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) },
        signal: controller.signal,
      });
      if (!response.ok) throw await errorOf(response);
      const answer = await jsonOf(response);
      if (answer === null) throw new SluiceError("network", "The answer was cut off, or is none of Sluice's.");
      return answer;
    } finally {
      controller.abort();
      unlink();
    }
  }

  async #send(url, init) {
    try {
      return await this.fetch(url, init);
    } catch (cause) {
      throw new SluiceError("network", "The server could not be reached.", { cause });
    }
  }
}

/** Doubles with each failure in a row, up to a limit, and is spread so that readers do not come back as one. */
function pauseMs(clock, baseMs, failures) {
  return Math.min(MAX_PAUSE_MS, baseMs * 2 ** (failures - 1)) * (0.5 + clock.random() / 2);
}

/* ---------------------------------------------------------------------------------------- one task's stream */

/** An iterator's events that nobody has asked for yet, or its askers that no event has come for. */
class EventQueue {
  #events = [];
  #askers = [];
  #end = null;
  #onReturn;

  constructor(onReturn) {
    this.#onReturn = onReturn;
  }

  push(event) {
    if (this.#end) return;
    const asker = this.#askers.shift();
    if (asker) asker.resolve({ value: event, done: false });
    else this.#events.push(event);
  }

  close(error) {
    this.#end ??= { error };
    for (const asker of this.#askers.splice(0)) this.#answerEnd(asker);
  }

  #answerEnd({ resolve, reject }) {
    const { error } = this.#end;
    this.#end = {}; // an iterator throws once and is then at its end
    if (error === undefined) resolve({ value: undefined, done: true });
    else reject(error);
  }

  next() {
    return new Promise((resolve, reject) => {
      if (this.#events.length > 0) resolve({ value: this.#events.shift(), done: false });
      else if (this.#end) this.#answerEnd({ resolve, reject });
      else this.#askers.push({ resolve, reject });
    });
  }

  async return(value) {
    this.#events = [];
    this.#end = {};
    this.#onReturn();
    return { value, done: true };
  }
}

/**
 * Follows one task to its end. A promise of the outcome, and an async iterable of the events.
 *
 *     listen --terminal event--> outcome
 *       | cut, silent, rotated: pause, then listen after the last event that was applied
 *       | 401: ask the status for a fresh address     | 204, 404: ask the status how it ended
 *       | three failures in a row: ask the status before each further try (polling)
 */
class Following {
  #caller;
  #options;
  #taskId;
  #url;
  #stop;
  #outcome;
  #unlink;
  #transcript = new Transcript();
  #place = ""; // the last event that was applied: where to go on
  #newest = ""; // the newest that was told: a history that is read again is not told again
  #failures = 0;
  #textLosses = 0;
  #renewals = 0;
  #retryMs = null;
  #shown = "";
  #isRereading = false; // from the beginning: what is shown stays until something new has come
  #polls = false;
  #end = null;
  #connection = null;
  #pause = null;
  #waiting = null;
  #queues = new Set();

  constructor(caller, { taskId, url }, options) {
    this.#caller = caller;
    this.#options = options;
    this.#taskId = taskId;
    this.#url = url;
    const { controller, unlink } = linked(options.signal);
    this.#stop = controller;
    this.#unlink = unlink;
    this.#outcome = this.#follow();
  }

  /** The text so far. */
  get text() {
    return this.#shown;
  }

  then(onFulfilled, onRejected) {
    return this.#outcome.then(onFulfilled, onRejected);
  }

  catch(onRejected) {
    return this.#outcome.catch(onRejected);
  }

  finally(onFinally) {
    return this.#outcome.finally(onFinally);
  }

  /** Events from now on; leaving the loop stops following. */
  [Symbol.asyncIterator]() {
    const queue = new EventQueue(() => this.#stop.abort(aborted("The loop over the events was left.")));
    this.#queues.add(queue);
    this.#outcome.then(
      () => queue.close(),
      (error) => queue.close(error),
    );
    return queue;
  }

  async #follow() {
    await null; // nobody is called back before `follow` has returned
    const deafen = this.#hearWaking();
    try {
      while (!this.#end) {
        this.#stop.signal.throwIfAborted();
        await this.#round();
      }
      return this.#end;
    } finally {
      deafen();
      this.#unlink();
      this.#stop.abort();
    }
  }

  /** One try: ask the status if there is no use in listening alone, listen, and pause before the next. */
  async #round() {
    const isLost = !this.#url || this.#failures >= FAILURES_BEFORE_POLLING;
    const refusal = isLost ? await this.#ask() : null;
    if (this.#end) return;
    const after = this.#url ? await this.#listen() : { isFailure: true };
    this.#stop.signal.throwIfAborted();
    if (after.asks) await this.#ask();
    if (!this.#end && !after.isImmediate) await this.#pauseAfter({ ...refusal, ...after });
  }

  // -- listening ------------------------------------------------------------------------------------------

  async #listen() {
    const { controller, unlink } = linked(this.#stop.signal);
    const now = this.#clock.now();
    const connection = { controller, heardAt: now, openedAt: null, newest: this.#newest, isOutlived: false };
    this.#connection = connection;
    this.#watch(connection);
    try {
      const response = await this.#caller.fetch(this.#url, {
        headers: { Accept: "text/event-stream", ...(this.#place && { "Last-Event-ID": this.#place }) },
        cache: "no-store",
        signal: controller.signal,
      });
      if (response.status !== 200) return await this.#refused(response);
      await this.#read(response, connection);
    } catch (error) {
      if (error instanceof TextLost) this.#loseText(error);
    } finally {
      this.#connection = null;
      controller.abort();
      unlink();
    }
    return { isFailure: !this.#wasGood(connection), isImmediate: connection.isOutlived };
  }

  get #clock() {
    return this.#caller.clock;
  }

  /** What to do about an answer that is no stream. */
  async #refused(response) {
    const error = await errorOf(response);
    switch (response.status) {
      case 204:
      case 404:
        return { asks: true, isFailure: true };
      case 401:
        this.#renewals += 1;
        return { asks: true, isImmediate: this.#renewals === 1, isFailure: true };
      case 400:
        this.#reread(); // a place that the bridge does not understand
        return { isFailure: true };
      default:
        return { isFailure: true, retryAfter: error.retryAfter, reason: error.code };
    }
  }

  async #read(response, connection) {
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream") || !response.body) {
      throw new TypeError("not an event stream that can be read piece by piece");
    }
    connection.openedAt = this.#clock.now();
    const parser = new EventStreamParser();
    const reader = response.body.getReader();
    while (!this.#end) {
      const { done, value } = await reader.read();
      if (done || this.#stop.signal.aborted) return;
      connection.heardAt = this.#clock.now();
      for (const frame of parser.push(value)) this.#take(frame);
      this.#retryMs = parser.retryMs ?? this.#retryMs;
    }
  }

  #take({ id, data, isNumbered }) {
    if (this.#end || this.#stop.signal.aborted || (isNumbered && !isAfter(id, this.#place))) return;
    const event = JSON.parse(data);
    const change = this.#transcript.apply(event);
    const isNew = !isNumbered || isAfter(id, this.#newest);
    if (isNumbered) this.#place = id;
    if (isNumbered && isNew) {
      this.#newest = id;
      this.#textLosses = this.#renewals = 0;
      this.#polls = false;
    }
    if (isNew) this.#tell(event, change, isNumbered);
  }

  /** Comes back at the last good place; where that is of no use, reads all of it again, unseen. */
  #loseText({ isWrong }) {
    this.#textLosses += 1;
    if (isWrong || this.#textLosses > 1) this.#reread();
  }

  #reread() {
    this.#place = "";
    this.#transcript = new Transcript();
    this.#isRereading = true;
  }

  #wasGood({ openedAt, newest }) {
    const isSteady = openedAt !== null && this.#clock.now() - openedAt >= STEADY_SECONDS * 1000;
    return isSteady || newest !== this.#newest;
  }

  /** Ends a connection on which nothing has been heard for too long: it is dead, and nobody says so. */
  async #watch(connection) {
    const { signal } = connection.controller;
    while (!signal.aborted) {
      const limitMs = connection.openedAt === null ? OPEN_SECONDS * 1000 : SILENT_HEARTBEATS * this.#heartbeatMs;
      const leftMs = connection.heardAt + limitMs - this.#clock.now();
      if (leftMs <= 0) connection.controller.abort(aborted("The connection is silent."));
      else await this.#clock.sleep(leftMs, signal);
    }
  }

  get #heartbeatMs() {
    return (this.#options.heartbeatSeconds ?? HEARTBEAT_SECONDS) * 1000;
  }

  // -- telling --------------------------------------------------------------------------------------------

  #tell(event, change, hasPlace) {
    this.#waiting?.abort(); // whatever was waited for, something else has happened
    this.#callBack(this.#options.onEvent, event);
    for (const queue of this.#queues) queue.push(event);
    if (hasPlace) this.#show(change);
    if (TERMINAL_TYPES.has(event.type)) this.#end = outcomeOf(event, this.#shown);
    else if (event.type === "stalled") this.#touch();
    else if (event.retryAfter > 0) this.#announce(event.type, event.retryAfter);
  }

  #show(change) {
    const { text, step, attempt } = this.#transcript;
    const whole = this.#isRereading ? { step, attempt, appended: text, replaced: true } : null;
    this.#isRereading = false;
    this.#shown = text;
    if (whole ?? change) this.#callBack(this.#options.onText, text, whole ?? change);
  }

  /** An error in somebody's callback ends the following, and is what it rejects with. */
  #callBack(callback, ...values) {
    if (!callback || this.#stop.signal.aborted) return;
    try {
      callback(...values);
    } catch (error) {
      this.#stop.abort(error);
    }
  }

  get #onWait() {
    return (wait) => this.#callBack(this.#options.onWait, wait);
  }

  /** Counts down beside the stream, until its next event. */
  async #announce(reason, seconds) {
    const { controller, unlink } = linked(this.#stop.signal);
    this.#waiting = controller;
    await countdown(this.#clock, seconds, { reason, onWait: this.#onWait, signal: controller.signal });
    unlink();
  }

  // -- asking `actions` -----------------------------------------------------------------------------------

  /**
   * Asks the status: it has a fresh address of the stream, and knows whether the task has ended.
   * Returns what to do when there was no answer; throws when there is no use in asking again.
   */
  async #ask() {
    let status;
    try {
      status = await this.#status();
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      if (!(error instanceof SluiceError) || !isPassing(error)) throw error;
      return { retryAfter: error.retryAfter, reason: error.code };
    }
    this.#stop.signal.throwIfAborted();
    this.#url = status.streamUrl;
    this.#polls = true;
    const last = LAST_EVENTS[status.state];
    const event = last ? lastEventOf(last, status) : { type: "status", taskId: this.#taskId, status };
    if (last || this.#failures > 0) this.#tell(event, this.#transcript.apply(event), last === "done");
    return null;
  }

  #status() {
    const options = { signal: this.#stop.signal, maxWaitSeconds: 0 };
    return this.#caller.call("GET", `/tasks/${encodeURIComponent(this.#taskId)}`, options);
  }

  /** A status call is a touch: it lets Sluice take up or end a task that nobody works on. Its answer streams. */
  #touch() {
    this.#status().catch(() => {});
  }

  // -- pausing and waking ---------------------------------------------------------------------------------

  async #pauseAfter({ isFailure, retryAfter = null, reason = "reconnecting" }) {
    this.#failures = isFailure ? this.#failures + 1 : 0;
    const { controller, unlink } = linked(this.#stop.signal);
    this.#pause = controller;
    const seconds = this.#pauseSeconds(retryAfter);
    await countdown(this.#clock, seconds, { reason, onWait: this.#onWait, signal: controller.signal });
    this.#pause = null;
    unlink();
  }

  #pauseSeconds(retryAfter) {
    if (retryAfter !== null) return retryAfter + this.#clock.random() / 2;
    if (this.#failures === 0 && this.#retryMs !== null) return this.#retryMs / 1000; // the bridge has drawn it
    const ms = pauseMs(this.#clock, this.#retryMs ?? MIN_PAUSE_MS, Math.max(1, this.#failures));
    return (this.#polls ? Math.min(ms, POLL_MS) : ms) / 1000;
  }

  /** A tab that is looked at again, or a network that is back, does not wait for a timer. */
  #hearWaking() {
    const page = globalThis.document;
    const cameOnline = () => this.#wake(0);
    const wasShown = () => page?.visibilityState !== "hidden" && this.#wake(1.2 * this.#heartbeatMs);
    const heard = [
      [globalThis, "online", cameOnline],
      [globalThis, "pageshow", wasShown],
      [page, "visibilitychange", wasShown],
      [page, "resume", wasShown],
    ].filter(([target]) => target?.addEventListener);
    for (const [target, type, listener] of heard) target.addEventListener(type, listener);
    return () => {
      for (const [target, type, listener] of heard) target.removeEventListener(type, listener);
    };
  }

  #wake(silenceMs) {
    this.#pause?.abort();
    const connection = this.#connection;
    if (connection && this.#clock.now() - connection.heardAt >= silenceMs) {
      connection.isOutlived = true;
      connection.controller.abort(aborted("The connection is older than the sleep."));
    }
  }
}

function isPassing({ status }) {
  return status === 0 || PASSING_STATUSES.has(status);
}

/** The terminal event that a status tells of, for whoever could not have it from the stream. */
function lastEventOf(type, { taskId, attempt, finishedAt, result, error, refunded }) {
  const ends = { done: { result }, error: { ...error, refunded }, cancelled: { refunded } };
  return { type, taskId, attempt, at: finishedAt, ...ends[type] };
}

function outcomeOf(event, text) {
  const { taskId, result = null, refunded = false, code, message } = event;
  const [state] = Object.entries(LAST_EVENTS).find(([, type]) => type === event.type);
  return { taskId, state, text, result, error: state === "failed" ? { code, message } : null, refunded };
}

/* --------------------------------------------------------------------------------------------- the client */

/** A task: what `submit` was answered, and what can be done with it. */
class Task {
  #client;

  constructor(client, fields) {
    this.#client = client;
    Object.assign(this, fields);
  }

  follow(options) {
    return this.#client.follow(this, options);
  }

  status(options) {
    return this.#client.status(this.taskId, options);
  }

  cancel(options) {
    return this.#client.cancel(this.taskId, options);
  }
}

class Client {
  #caller;

  constructor(caller) {
    this.#caller = caller;
  }

  /** Starts a task. The key makes every further try the same request: a lost answer starts no second task. */
  async submit(action, input, { idempotencyKey = newKey(), locale, ...options } = {}) {
    const { body, headers } = bodyOf(action, input, locale);
    const answer = await this.#caller.call("POST", `/actions/${encodeURIComponent(action)}`, {
      ...options,
      body,
      headers: { ...headers, "Idempotency-Key": idempotencyKey },
    });
    return new Task(this, answer);
  }

  /** A task that was started before: by its id, or by all that is known of it. */
  task(known) {
    return new Task(this, typeof known === "string" ? { taskId: known } : known);
  }

  follow(target, options = {}) {
    return new Following(this.#caller, placeOf(target), options);
  }

  status(taskId, options) {
    return this.get(`/tasks/${encodeURIComponent(taskId)}`, options);
  }

  cancel(taskId, options) {
    return this.#caller.call("POST", `/tasks/${encodeURIComponent(taskId)}/cancel`, options);
  }

  /** Reads any address of `actions`: `/quota`, `/resume`, `/services`, `/services/{serviceId}`. */
  get(path, options) {
    return this.#caller.call("GET", path, options);
  }
}

/**
 * Makes a client for one signed-in user.
 *
 * The user's token goes to `actionsUrl` and nowhere else; a stream's address has a token of its own.
 */
export function createClient({ actionsUrl, getToken, fetch = globalThis.fetch, clock = SYSTEM_CLOCK }) {
  // A browser's fetch must not be called as a method of somebody else's object.
  return new Client(new Caller({ actionsUrl, getToken, fetch: (...call) => fetch(...call), clock }));
}

function placeOf(target) {
  const isName = typeof target === "string";
  const { taskId, streamUrl: url = null } = isName ? { [target.includes("/") ? "streamUrl" : "taskId"]: target } : target;
  const id = taskId || url?.match(/\/events\/[^/]+\/([^/?#]+)/)?.[1];
  if (!id) throw new TypeError("follow takes a task, its id, or the address of its stream");
  return { taskId: id, url };
}

/** Not randomUUID(), which browsers only have on pages that came over HTTPS. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A file, or an input that has one, travels as a form; everything else as JSON. */
function bodyOf(action, input, locale) {
  const isFile = (value) => value instanceof Blob;
  const fields = isFile(input) ? { [action === "create-service" ? "image" : "file"]: input } : input;
  if (!(fields instanceof FormData) && !Object.values(fields).some(isFile)) {
    const body = JSON.stringify(locale ? { ...fields, locale } : fields);
    return { body, headers: { "Content-Type": "application/json" } };
  }
  const form = new FormData();
  for (const [name, value] of fields instanceof FormData ? fields : Object.entries(fields)) {
    if (value !== undefined && value !== null) form.append(name, value);
  }
  if (locale) form.set("locale", locale);
  return { body: form, headers: {} };
}

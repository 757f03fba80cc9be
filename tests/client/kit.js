/** A world for the client in which time is virtual and the network does what a test says. */

import { setImmediate as turn } from "node:timers/promises";
import { createClient } from "../../client/sluice.js";

export const ACTIONS = "https://actions.example";
export const TASK = { taskId: "t1", serviceId: "s1", streamUrl: "https://events.example/events/s1/t1?token=old" };
const encoder = new TextEncoder();

/** Time that passes only when everybody waits for it. */
export class VirtualClock {
  #now = 1_700_000_000_000;
  #sleepers = new Set();

  now() {
    return this.#now;
  }

  random() {
    return 1;
  }

  get sleepers() {
    return this.#sleepers.size;
  }

  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const sleeper = { dueAt: this.#now + ms, end: () => this.#end(sleeper, resolve, signal) };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", sleeper.end);
    });
  }

  #end(sleeper, resolve, signal) {
    this.#sleepers.delete(sleeper);
    signal?.removeEventListener("abort", sleeper.end);
    resolve();
  }

  /** Lets time pass until the promise is settled; returns or throws what it comes to. */
  async run(promise, limitMs = 3_600_000) {
    const state = { settled: false };
    const watched = Promise.resolve(promise).finally(() => (state.settled = true));
    watched.catch(() => {});
    const end = this.#now + limitMs;
    while (!state.settled) {
      await this.settle();
      if (state.settled) break;
      const [next] = [...this.#sleepers].sort((a, b) => a.dueAt - b.dueAt);
      if (!next || next.dueAt > end) throw new Error("everybody waits, and nothing will happen");
      this.#now = Math.max(this.#now, next.dueAt);
      next.end();
    }
    await this.settle();
    return watched;
  }

  /** Lets everything happen that needs no time. */
  async settle() {
    for (let turns = 0; turns < 12; turns += 1) await turn();
  }

  skip(ms) {
    this.#now += ms;
  }
}

/** Events of one task as the bridge frames them, each with the id after the one before. */
export class Story {
  #number = 0;

  constructor(attemptMs = 1000) {
    this.attemptMs = attemptMs;
  }

  /** Returns the frame of an event. */
  frame(event) {
    this.#number += 1;
    return framed(`${this.attemptMs}-${this.#number}`, event);
  }
}

export function framed(id, event) {
  const full = { taskId: "t1", attempt: 1, step: 0, at: 1, ...event };
  return `${id ? `id: ${id}\n` : ""}event: ${full.type}\ndata: ${JSON.stringify(full)}\n\n`;
}

export const queued = { type: "queued", attempt: 0, queueId: "paid_stream", position: 2, etaSeconds: 9 };
export const start = { type: "start", templateId: "job_match", queueId: "paid_stream" };

export function batch(offset, text, more = {}) {
  return { type: "token_batch", offset, text, count: 1, ...more };
}

export function done(text) {
  return { type: "done", result: { text, score: 7 }, usage: {}, latencyMs: 1, textLength: [...text].length };
}

/** A connection that sends these pieces (text or bytes) and then closes, breaks off, or falls silent. */
export function stream(pieces, { end = "close", status = 200, type = "text/event-stream; charset=utf-8" } = {}) {
  return ({ signal }) => {
    const body = new ReadableStream({
      async start(controller) {
        signal.addEventListener("abort", () => fail(controller, signal.reason));
        for (const piece of [pieces].flat()) {
          await turn();
          if (signal.aborted) return;
          controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
        }
        await turn();
        if (end === "close") controller.close();
        else if (end === "cut") fail(controller, new TypeError("the connection was cut"));
      },
    });
    return new Response(body, { status, headers: { "Content-Type": type } });
  };
}

function fail(controller, reason) {
  try {
    controller.error(reason);
  } catch {
    // it has ended already
  }
}

export function refusal(status, error, { retryAfter, header } = {}) {
  const body = status === 204 ? null : JSON.stringify({ ok: false, error, message: `${error}!`, retryAfter });
  const headers = { "Content-Type": "application/json" };
  if (retryAfter ?? header) headers["Retry-After"] = String(header ?? retryAfter);
  return () => new Response(body, { status, headers });
}

export function json(value, status = 200) {
  return () => Response.json(value, { status });
}

export const unreachable = () => {
  throw new TypeError("fetch failed");
};

export function taskStatus(state, more = {}) {
  const streamUrl = TASK.streamUrl.replace("old", "new");
  return json({ ok: true, taskId: "t1", state, attempt: 1, refunded: false, finishedAt: 5, streamUrl, ...more });
}

/**
 * A client whose streams and whose calls of `actions` are answered from two lists, the last one again and again.
 * `requests` has all that was asked.
 */
export function world({ streams = [unreachable], actions = [unreachable], getToken = () => "me" } = {}) {
  const clock = new VirtualClock();
  const requests = [];
  const counts = { streams: 0, actions: 0 };
  const answer = async (url, init) => {
    const kind = url.startsWith(ACTIONS) ? "actions" : "streams";
    requests.push({ kind, url, method: init.method ?? "GET", headers: init.headers, body: init.body, at: clock.now() });
    await turn();
    init.signal?.throwIfAborted();
    const answers = kind === "actions" ? actions : streams;
    const next = answers[Math.min(counts[kind], answers.length - 1)];
    counts[kind] += 1;
    return next(init);
  };
  const client = createClient({ actionsUrl: ACTIONS, getToken, fetch: answer, clock });
  const seen = { texts: [], changes: [], events: [], waits: [] };
  const callbacks = {
    onText: (text, change) => {
      seen.texts.push(text);
      seen.changes.push(change);
    },
    onEvent: (event) => seen.events.push(event),
    onWait: (wait) => seen.waits.push(wait),
  };
  return { client, clock, requests, seen, callbacks, of: (kind) => requests.filter((r) => r.kind === kind) };
}

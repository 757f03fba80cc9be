/** A real stack, its addresses from the environment, and what may be done to it. */

import assert from "node:assert/strict";
import { createClient } from "../../../client/sluice.js";

const env = process.env;
export const EVENTS = env.SLUICE_TEST_EVENTS;
export const FRONT = env.SLUICE_TEST_FRONT;
export const RESUME = "Mei Lin\nmei@example.com\nSenior engineer, 8 years in payments: Python, Redis, Kafka.\nBSc 2018";

/** Gives the stack an order, such as `cut`; see tests/client/harness.py. */
export async function order(what, body) {
  const answer = await fetch(`${env.SLUICE_TEST_CONTROL}/${what}`, { method: "POST", body: body && JSON.stringify(body) });
  assert.ok(answer.ok, what);
}

/** Has the model talk so slowly that something can be done in mid-text; then fast again, also in mid-text. */
export const talkSlowly = () => order("pace", { tokensPerSecond: 80 });
export const talkFast = () => order("pace", { tokensPerSecond: 4000 });

export async function ask(what) {
  return (await fetch(`${env.SLUICE_TEST_CONTROL}/${what}`)).json();
}

/** Seconds last a tenth for the pauses of a client, but not for its patience with a silent connection. */
const HURRIED = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep(ms, signal) {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms > 15_000 ? ms : ms / 10);
      signal?.addEventListener("abort", end);
    });
  },
};

/** The network between a browser and the bridge: through the front, which can be cut. */
export function throughFront(url, init) {
  return fetch(String(url).replace(EVENTS, FRONT), init);
}

/** A network that breaks every connection to the bridge after its first event. */
export function oneEventAtATime() {
  const network = { connections: 0, fetch: cut };
  return network;

  async function cut(url, init) {
    const response = await throughFront(url, init);
    if (!String(url).startsWith(EVENTS) || !response.body) return response;
    network.connections += 1;
    return withBody(response, brokenAfter((text) => /^id:[^]*?\n\n/m.exec(text)?.[0]));
  }
}

/** A network that breaks the first connection to the bridge after so many bytes. */
export function cutOnceAfter(bytes) {
  let isFirst = true;
  return async (url, init) => {
    const response = await throughFront(url, init);
    if (!isFirst || !String(url).startsWith(EVENTS)) return response;
    isFirst = false;
    return withBody(response, brokenAfterBytes(bytes));
  };
}

function withBody(response, through) {
  return new Response(response.body.pipeThrough(through), { status: response.status, headers: response.headers });
}

/** Passes on all up to what `find` finds, and then breaks. */
function brokenAfter(find) {
  const decoder = new TextDecoder();
  let text = "";
  return new TransformStream({
    transform(chunk, controller) {
      text += decoder.decode(chunk, { stream: true });
      const found = find(text);
      if (found === undefined) return;
      controller.enqueue(new TextEncoder().encode(text.slice(0, text.indexOf(found) + found.length)));
      controller.error(new TypeError("cut"));
    },
    flush: (controller) => controller.enqueue(new TextEncoder().encode(text)),
  });
}

function brokenAfterBytes(count) {
  let left = count;
  return new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk.slice(0, left));
      left -= chunk.length;
      if (left <= 0) controller.error(new TypeError("cut"));
    },
  });
}

/** A client of any user. */
export async function stranger(user, options = {}) {
  const token = await ask(`token/${user}`);
  const own = { actionsUrl: env.SLUICE_TEST_ACTIONS, getToken: () => token, fetch: throughFront, clock: HURRIED };
  return createClient({ ...own, ...options });
}

let resume = null;

/** A client of the user who has a résumé: the same for all tests, which have no other tasks than their own. */
export async function reader(options) {
  resume ??= stranger("reader").then(async (client) => {
    return client.follow(await client.submit("upload-resume", { text: RESUME }, { locale: "en" }));
  });
  assert.equal((await resume).state, "done");
  return stranger("reader", options);
}

export const jobFor = (label) =>
  `Senior Platform Engineer at Fabrikam, ref-${label}. You have 5 years with Python and Redis, know Kafka. 👩‍💻`;

/** Starts a match and returns it with what a page would have seen. */
export async function startMatch(client, label, options) {
  const task = await client.submit("create-service", { jobText: jobFor(label) }, { locale: "en", ...options });
  return { task, seen: { texts: [], events: [], waits: [], replaced: 0 } };
}

export function watch({ task, seen }, { onEvent, ...options } = {}) {
  return task.follow({
    ...options,
    onText: (text, { replaced }) => {
      seen.texts.push(text);
      seen.replaced += replaced ? 1 : 0;
    },
    onEvent: (event) => {
      seen.events.push(event);
      onEvent?.(event);
    },
    onWait: (wait) => seen.waits.push(wait),
  });
}

/** What was shown at the end is what the model said in its last whole answer, to the letter. */
export async function assertWhole(outcome, { seen }, label) {
  assert.equal(outcome.state, "done", JSON.stringify(outcome));
  const said = await ask(`said/ref-${label}`);
  assert.equal(outcome.text, said.at(-1));
  assert.equal(seen.texts.at(-1), outcome.text);
  assert.equal(outcome.result.text, outcome.text);
  assert.equal(seen.events.filter(({ type }) => type === "done").length, 1);
}

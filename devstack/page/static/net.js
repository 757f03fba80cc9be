/**
 * The page's two servers: Sluice, by its own client (sluice.js), and the dev stack's page server.
 *
 * The client is given a `fetch` that lets the raw events pane listen: every stream is split in two, one half for
 * the client, one for the pane, so that the pane shows what came over the wire, also what came twice.
 */

import { EventStreamParser, createClient } from "./sluice.js";

export const config = await (await fetch("/dev/config")).json();

const clients = new Map();
const wire = new EventTarget();

/** Calls `listener` with `{taskId, at, kind: opened | refused | closed | event, …}` for all that comes over the wire. */
export function onWire(listener) {
  wire.addEventListener("line", ({ detail }) => listener(detail));
}

function tell(taskId, kind, facts = {}) {
  wire.dispatchEvent(new CustomEvent("line", { detail: { taskId, kind, at: Date.now(), ...facts } }));
}

async function tapped(url, init) {
  const taskId = String(url).match(/\/events\/[^/]+\/([^/?]+)/)?.[1];
  const response = await fetch(url, init);
  if (!taskId) return response;
  if (response.status !== 200) {
    tell(taskId, "refused", { status: response.status });
    return response;
  }
  tell(taskId, "opened", { after: init.headers["Last-Event-ID"] ?? "" });
  const [theirs, ours] = response.body.tee();
  listen(taskId, ours);
  return new Response(theirs, { status: response.status, headers: response.headers });
}

async function listen(taskId, body) {
  const parser = new EventStreamParser();
  try {
    for (const reader = body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const { id, type, data, isNumbered } of parser.push(value)) {
        tell(taskId, "event", { id: isNumbered ? id : "", type, data });
      }
    }
  } catch {
    // the connection was cut, or the client has left it: either way it has ended
  }
  tell(taskId, "closed");
}

async function tokenOf(user) {
  return (await (await fetch(`/dev/token?user=${encodeURIComponent(user)}`)).json()).token;
}

/** Returns the client of a user; a token is good for hours and is asked for once, and again when it was refused. */
export function clientOf(user) {
  if (!clients.has(user)) {
    let token = null;
    const getToken = ({ refused }) => {
      if (refused || !token) token = tokenOf(user);
      return token;
    };
    clients.set(user, createClient({ actionsUrl: config.actionsUrl, getToken, fetch: tapped }));
  }
  return clients.get(user);
}

/** Gives the page server an order. */
export async function order(path, fields) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(fields),
  });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

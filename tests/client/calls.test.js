/** Calls of `actions`: what travels, what is tried again and for how long, and what is not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { SluiceError, createClient } from "../../client/sluice.js";
import { ACTIONS, TASK, json, refusal, taskStatus, unreachable, world } from "./kit.js";

const ACCEPTED = { ok: true, ...TASK, queueId: "paid_stream", isFree: false, stream: true, replay: false };
const accepted = json(ACCEPTED, 202);

async function submit(actions, options = {}, input = { text: "me" }, action = "upload-resume") {
  const at = world({ actions });
  const waits = [];
  const submitted = at.client.submit(action, input, { onWait: (wait) => waits.push(wait), ...options });
  const task = await at.clock.run(submitted).catch((error) => error);
  assert.equal(at.clock.sleepers, 0, "no timer is left");
  return { ...at, task, waits };
}

test("an input of fields travels as JSON, with the user's token, a key and the locale", async () => {
  const { task, requests } = await submit([accepted], { locale: "zh" });
  const [{ url, method, headers, body }] = requests;
  assert.deepEqual([method, url], ["POST", `${ACTIONS}/actions/upload-resume`]);
  assert.deepEqual(JSON.parse(body), { text: "me", locale: "zh" });
  assert.equal(headers.Authorization, "Bearer me");
  assert.equal(headers["Content-Type"], "application/json");
  assert.match(headers["Idempotency-Key"], /^[0-9a-f]{32}$/);
  assert.deepEqual({ ...task }, ACCEPTED);
});

test("a file travels as a form under the name that its action gives it", async () => {
  const file = new File(["hi"], "cv.pdf", { type: "application/pdf" });
  for (const [action, input, name] of [
    ["upload-resume", file, "file"],
    ["create-service", file, "image"],
    ["create-service", { image: file, missing: undefined }, "image"],
  ]) {
    const { requests } = await submit([accepted], { locale: "en" }, input, action);
    const [{ headers, body }] = requests;
    assert.equal(headers["Content-Type"], undefined, "fetch itself knows the form's boundary");
    assert.deepEqual([...body.keys()], [name, "locale"]);
    assert.equal(body.get(name).name, "cv.pdf");
  }
});

test("a form stays the caller's own, also when a locale is added", async () => {
  const form = new FormData();
  form.set("file", new Blob(["hi"]));
  const { requests } = await submit([accepted], { locale: "en" }, form);
  assert.deepEqual([...requests[0].body.keys()], ["file", "locale"]);
  assert.deepEqual([...form.keys()], ["file"]);
});

test("a lost answer is asked for again under the same key, so that no second task starts", async () => {
  const cutOff = () => new Response('{"ok": tr', { status: 202 });
  const { task, requests } = await submit([unreachable, refusal(502), cutOff, accepted]);
  assert.equal(task.taskId, "t1");
  assert.equal(requests.length, 4);
  assert.equal(new Set(requests.map(({ headers }) => headers["Idempotency-Key"])).size, 1);
});

test("every submit has a key of its own, unless the caller gives one", async () => {
  const keys = [];
  for (const options of [{}, {}, { idempotencyKey: "mine" }]) {
    keys.push((await submit([accepted], options)).requests[0].headers["Idempotency-Key"]);
  }
  assert.equal(new Set(keys).size, 3);
  assert.equal(keys[2], "mine");
});

test("a full queue is waited for as long as it says, with a countdown", async () => {
  const { task, waits, requests } = await submit([refusal(429, "queue_full", { retryAfter: 2 }), accepted]);
  assert.equal(task.taskId, "t1");
  assert.deepEqual(waits.map(({ secondsLeft }) => secondsLeft), [3, 2, 1, 0]);
  assert.deepEqual(new Set(waits.map(({ reason }) => reason)), new Set(["queue_full"]));
  assert.equal(requests[1].at - requests[0].at, 2500);
});

test("a wait that is too long is refused at once, and says how long it would be", async () => {
  const full = refusal(429, "queue_full", { retryAfter: 50 });
  const { task, requests, waits } = await submit([full], { maxWaitSeconds: 40 });
  assert.ok(task instanceof SluiceError);
  assert.deepEqual([task.code, task.status, task.retryAfter, task.message], ["queue_full", 429, 50, "queue_full!"]);
  assert.equal(requests.length, 1);
  assert.deepEqual(waits, []);
});

test("waits add up: nobody waits longer than maxWaitSeconds in all", async () => {
  const full = refusal(503, "store_unavailable", { retryAfter: 9 });
  const { task, requests } = await submit([full], { maxWaitSeconds: 30 });
  assert.equal(task.code, "store_unavailable");
  assert.equal(requests.length, 4);
});

test("a Retry-After is read from the header too, as seconds or as a date", async () => {
  const inSeconds = await submit([refusal(429, "rate_limited", { header: "7" })], { maxWaitSeconds: 0 });
  assert.equal(inSeconds.task.retryAfter, 7);
  const date = new Date(Date.now() + 60_000).toUTCString();
  const atADate = await submit([refusal(503, "x", { header: date })], { maxWaitSeconds: 0 });
  assert.ok(Math.abs(atADate.task.retryAfter - 60) < 5);
});

test("what would be refused again is not tried again", async () => {
  for (const [status, code] of [
    [400, "invalid_request"], [404, "not_found"], [409, "resume_required"], [413, "file_too_large"],
    [415, "unsupported_file_type"], [422, "idempotency_mismatch"],
  ]) {
    const { task, requests } = await submit([refusal(status, code)]);
    assert.deepEqual([task.code, task.status, task.retryAfter], [code, status, null]);
    assert.equal(requests.length, 1, code);
  }
});

test("a fault that nobody says how long it lasts is tried a few times, and then told", async () => {
  const noNetwork = await submit([unreachable]);
  assert.deepEqual([noNetwork.task.code, noNetwork.task.status], ["network", 0]);
  assert.equal(noNetwork.requests.length, 6);
  const gateway = await submit([() => new Response("<h1>Bad gateway</h1>", { status: 502 })]);
  assert.deepEqual([gateway.task.code, gateway.task.status], ["unavailable", 502]);
  assert.equal(gateway.requests.length, 3);
});

test("a server that never answers is not waited for without an end", async () => {
  const never = ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const { task, requests } = await submit([never, accepted], { maxWaitSeconds: 100 });
  assert.equal(task.taskId, "t1");
  assert.equal(requests.length, 2);
});

test("a refused token is replaced once", async () => {
  const asked = [];
  const getToken = async ({ refused }) => {
    asked.push(refused);
    return refused ? "fresh" : "stale";
  };
  const at = world({ actions: [refusal(401, "auth_required"), accepted], getToken });
  await at.clock.run(at.client.submit("upload-resume", { text: "x" }));
  assert.deepEqual(asked, [false, true]);
  assert.equal(at.requests[1].headers.Authorization, "Bearer fresh");

  const refused = await submit([refusal(401, "auth_required")]);
  assert.equal(refused.task.code, "auth_required");
  assert.equal(refused.requests.length, 2);
});

test("an error of getToken is the caller's own", async () => {
  const getToken = () => Promise.reject(new RangeError("signed out"));
  const at = world({ actions: [accepted], getToken });
  await assert.rejects(at.clock.run(at.client.get("/quota")), RangeError);
  assert.equal(at.clock.sleepers, 0);
});

test("an aborted signal ends a wait and a request, with its own reason and no timer left", async () => {
  const reason = new Error("never mind");
  const never = ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  for (const answer of [refusal(429, "queue_full", { retryAfter: 30 }), never]) {
    const controller = new AbortController();
    const at = world({ actions: [answer] });
    let told = 0;
    const options = { signal: controller.signal, onWait: () => (told += 1) };
    const submitted = at.client.submit("upload-resume", {}, options);
    at.clock.sleep(5_000).then(() => controller.abort(reason));
    await assert.rejects(at.clock.run(submitted), (error) => error === reason);
    assert.equal(at.clock.sleepers, 0);
    assert.equal(at.requests.length, 1);
    assert.ok(told === 0 || told >= 6, "only what waits is told");
  }
});

test("a task knows its status, its cancel and its stream; another page finds it by its id", async () => {
  const { task, client, requests, clock } = await submit([accepted, taskStatus("running"), json({ state: "cancelled" })]);
  assert.equal((await clock.run(task.status())).state, "running");
  assert.equal((await clock.run(client.task("t1").cancel())).state, "cancelled");
  assert.deepEqual(requests.slice(1).map(({ method, url }) => `${method} ${url.slice(ACTIONS.length)}`), [
    "GET /tasks/t1", "POST /tasks/t1/cancel",
  ]);
});

test("a base address may end in slashes and have a path; a wrong one is an error at once", async () => {
  const asked = [];
  const fetch = async (url) => asked.push(url) && Response.json({ ok: true });
  await createClient({ actionsUrl: "https://x.example/api//", fetch }).get("/quota");
  assert.deepEqual(asked, ["https://x.example/api/quota"]);
  assert.throws(() => createClient({ actionsUrl: "nowhere" }), TypeError);
});

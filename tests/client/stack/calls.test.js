/** Actions, files, refusals, cancel and abort, with the functions as they run. D15, D35. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "../../../client/sluice.js";
import { RESUME, ask, jobFor, reader, startMatch, stranger, talkFast, talkSlowly, watch } from "./live.js";

const ACTIONS = process.env.SLUICE_TEST_ACTIONS;

test("a file becomes a résumé, and can be read back", async () => {
  const client = await stranger("filer");
  const file = new File([RESUME], "cv.txt", { type: "text/plain" });
  const outcome = await (await client.submit("upload-resume", file, { locale: "en" })).follow();
  assert.equal(outcome.state, "done");
  assert.deepEqual((await client.get("/resume")).summary, outcome.result);
});

test("an answer lost on its way starts no second task", async () => {
  let lost = 0;
  const forgetful = async (url, init) => {
    const answer = await fetch(url, init);
    if (init.method !== "POST" || lost++ > 0) return answer;
    await answer.text();
    throw new TypeError("the answer was lost");
  };
  const client = await stranger("forgetful", { fetch: forgetful });
  const task = await client.submit("upload-resume", { text: RESUME });
  assert.equal(task.replay, true);
  assert.equal((await task.follow()).state, "done");
  const { ledger } = await client.get("/quota");
  assert.deepEqual(ledger.map(({ kind }) => kind), ["grant", "debit"]);
});

test("what is refused says why, and whether waiting helps", async () => {
  const client = await stranger("refused");
  await assert.rejects(client.submit("create-service", { jobText: "x" }), { code: "resume_required", status: 409 });
  await assert.rejects(client.status("nobodys"), { code: "not_found", status: 404, retryAfter: null });
  await assert.rejects(createClient({ actionsUrl: ACTIONS }).get("/quota"), { code: "auth_required", status: 401 });
});

test("a stream that is nobody's is told to be gone", async () => {
  const owner = await reader();
  const { task } = await startMatch(owner, "owner");
  const client = await stranger("thief");
  await assert.rejects(async () => client.follow({ taskId: task.taskId }), { code: "not_found" });
  const streamUrl = task.streamUrl.replace(task.taskId, "0".repeat(32));
  await assert.rejects(async () => client.follow(streamUrl), { code: "not_found" });
  await task.cancel();
});

test("a user who is busy waits, with a countdown, and is then served", async () => {
  const client = await reader();
  await talkSlowly();
  const before = await Promise.all(["busy1", "busy2"].map((label) => startMatch(client, label)));
  const waits = [];
  const onWait = (wait) => waits.push(wait) === 1 && talkFast();
  const third = await client.submit("create-service", { jobText: jobFor("busy3") }, { onWait });
  assert.ok(waits.length > 1);
  assert.ok(waits.every(({ reason }) => reason === "user_busy"));
  assert.equal(waits.at(-1).secondsLeft, 0);
  for (const { task } of [...before, { task: third }]) assert.equal((await task.follow()).state, "done");
});

test("a user who will not wait is told how long it would be", async () => {
  const client = await reader();
  await talkSlowly();
  const before = await Promise.all(["hasty1", "hasty2"].map((label) => startMatch(client, label)));
  await assert.rejects(client.submit("create-service", { jobText: "x" }, { maxWaitSeconds: 0 }), (error) => {
    assert.deepEqual([error.code, error.status], ["user_busy", 429]);
    return error.retryAfter > 0;
  });
  for (const { task } of before) await task.cancel();
  await talkFast();
});

test("cancel ends the stream, and the coins come back", async () => {
  const client = await reader();
  const { balance } = await client.get("/quota");
  await talkSlowly();
  const match = await startMatch(client, "canceller");
  let cancelled = null;
  const onEvent = ({ type }) => type === "token_batch" && (cancelled ??= match.task.cancel());
  const outcome = await watch(match, { onEvent });
  assert.deepEqual([outcome.state, outcome.refunded, outcome.result], ["cancelled", true, null]);
  assert.equal((await cancelled).state, "cancelled");
  assert.equal((await match.task.cancel()).state, "cancelled");
  assert.equal((await client.get("/quota")).balance, balance);
  await talkFast();
});

test("an aborted signal closes the connection, leaves no timer, and the task goes on without its reader", async () => {
  const client = await reader({ clock: undefined });
  await talkSlowly();
  const match = await startMatch(client, "leaver");
  const controller = new AbortController();
  const onEvent = ({ type }) => type === "token_batch" && controller.abort();
  await assert.rejects(async () => watch(match, { onEvent, signal: controller.signal }), { name: "AbortError" });
  const deadline = Date.now() + 10_000;
  while ((await ask("connections")) > 0) assert.ok(Date.now() < deadline, "the bridge still has a reader");
  await talkFast();
  const told = match.seen.events.length;
  assert.equal((await client.follow(match.task)).state, "done");
  assert.equal(match.seen.events.length, told);
});

test("an advertisement as a picture is read in one step and matched in the next, on the same stream", async () => {
  const client = await reader();
  const { readFile } = await import("node:fs/promises");
  const photo = new Blob([await readFile("devstack/demo/samples/job-photo.en.jpg")], { type: "image/jpeg" });
  const types = [];
  const task = await client.submit("create-service", photo, { locale: "en" });
  const following = client.follow(task);
  for await (const { type } of following) if (type !== "token_batch" && type !== "backpressure") types.push(type);
  assert.deepEqual(types, ["queued", "start", "step_result", "queued", "start", "done"]);
  const outcome = await following;
  assert.equal(following.text, outcome.result.text);
  assert.match(outcome.text, /^score: \d+\n/);
});

test("after all that the process has nothing left to do", () => {
  assert.deepEqual(process.getActiveResourcesInfo().filter((kind) => kind === "Timeout"), []);
});

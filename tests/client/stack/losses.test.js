/** The text stays whole, whatever is cut, killed or expired. D2, D16, D29, D34. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  EVENTS, assertWhole, cutOnceAfter, oneEventAtATime, order, reader, startMatch, talkFast, talkSlowly, throughFront, watch,
} from "./live.js";

/** Follows a model that talks slowly, and kills a function with its first words; then it may talk fast again. */
async function killAtFirstWords(label, name) {
  await talkSlowly();
  const match = await startMatch(await reader(), label);
  let killed = null;
  const kill = async () => {
    await order(`kill?name=${name}`);
    await talkFast();
    await order(`restart?name=${name}`);
  };
  const onEvent = ({ type }) => type === "token_batch" && (killed ??= kill());
  await assertWhole(await watch(match, { onEvent }), match, label);
  await killed;
  return match;
}

const attemptsOf = ({ seen }) => seen.events.filter(({ type }) => type === "start").map(({ attempt }) => attempt);

/** A busy machine may make an attempt lose its lease: then a second one replaces its text, and nothing else does. */
function assertReplacedByAttemptsAlone(match) {
  assert.deepEqual(attemptsOf(match), attemptsOf(match).map((_, i) => i + 1));
  assert.ok(match.seen.replaced < attemptsOf(match).length);
}

test("undisturbed, the text is what the model said", async () => {
  const match = await startMatch(await reader(), "calm");
  await assertWhole(await watch(match), match, "calm");
  assertReplacedByAttemptsAlone(match);
  assert.ok(match.seen.texts.length > 1);
});

test("with the network cut after every event, the text is whole and no event is told twice", async () => {
  const network = oneEventAtATime();
  const match = await startMatch(await reader({ fetch: network.fetch }), "cut");
  network.connections = 0;
  await assertWhole(await watch(match), match, "cut");
  assertReplacedByAttemptsAlone(match);
  const numbered = match.seen.events.filter(({ type }) => type !== "stalled");
  assert.ok(numbered.length > 3);
  assert.ok(network.connections >= numbered.length);
});

test("with every TCP connection cut again and again, the text is whole", async () => {
  const match = await startMatch(await reader(), "tcp");
  let cuts = 0;
  const onEvent = () => (cuts += 1) % 2 === 0 && order("cut");
  await assertWhole(await watch(match, { onEvent }), match, "tcp");
  assert.ok(cuts > 2);
});

test("a history cut at any byte goes on to the same end", async () => {
  const match = await startMatch(await reader(), "bytes");
  await assertWhole(await watch(match), match, "bytes");
  const { streamUrl } = await match.task.status();
  const length = (await (await fetch(streamUrl)).arrayBuffer()).byteLength;
  for (let bytes = 1; bytes < length; bytes += Math.ceil(length / 30)) {
    const resumed = await againOver(cutOnceAfter(bytes), match.task.taskId);
    await assertWhole(await watch(resumed), match, "bytes");
    assert.equal(resumed.seen.texts.at(-1), match.seen.texts.at(-1), `cut at byte ${bytes}`);
  }
});

async function againOver(fetch, taskId) {
  const client = await reader({ fetch, clock: { now: Date.now, random: () => 0, sleep: hurry } });
  return { task: client.task(taskId), seen: { texts: [], events: [], waits: [], replaced: 0 } };
}

function hurry(ms, signal) {
  if (ms < 5_000 || signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => signal?.addEventListener("abort", resolve));
}

test("a killed bridge is come back to, at the same place", async () => {
  const match = await killAtFirstWords("bridge", "events");
  assertReplacedByAttemptsAlone(match);
  assert.ok(match.seen.waits.some(({ reason }) => reason === "reconnecting"));
});

test("a killed worker's text is replaced by the next attempt's", async () => {
  const match = await killAtFirstWords("worker", "paid_stream");
  assert.ok(attemptsOf(match).includes(2));
  assertReplacedByAttemptsAlone(match);
});

test("a model that fails in mid-text is asked again, and its first text replaced", async () => {
  await order("llm", { kind: "cut", about: "ref-broken", after_pieces: 40 });
  const match = await startMatch(await reader(), "broken");
  await assertWhole(await watch(match), match, "broken");
  const types = match.seen.events.map(({ type }) => type);
  assert.ok(types.includes("retrying"));
  assert.equal(match.seen.waits.at(-1).secondsLeft, 0);
});

test("an expired stream token is replaced, and the reader goes on at the same place", async () => {
  const match = await startMatch(await reader(), "expired");
  const deadline = Date.now() + 20_000;
  while ((await fetch(match.task.streamUrl, { method: "HEAD" })).status !== 401) assert.ok(Date.now() < deadline);
  await assertWhole(await watch(match), match, "expired");
});

test("with no way to the bridge at all, the status tells the end", async () => {
  const unreachable = (url, init) =>
    String(url).startsWith(EVENTS) ? Promise.reject(new TypeError("no way")) : throughFront(url, init);
  const match = await startMatch(await reader({ fetch: unreachable }), "blocked");
  await assertWhole(await watch(match), match, "blocked");
  assert.equal(match.seen.events.at(-1).usage, undefined, "which only the stream tells");
});

/** Following a task's stream through every fault of the connection, in virtual time. D29, D32, D34. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  TASK, Story, batch, done, framed, queued, refusal, start, stream, taskStatus, unreachable, world,
} from "./kit.js";

const TEXT = "score: 7\n你好 👩‍💻, again: 𝄞.";
const points = [...TEXT];

/** A task's whole story, its text in batches of 3 code points. */
function wholeStory() {
  const story = new Story();
  const frames = [story.frame(queued), story.frame(start)];
  for (let at = 0; at < points.length; at += 3) frames.push(story.frame(batch(at, points.slice(at, at + 3).join(""))));
  return [...frames, story.frame(done(TEXT))];
}

/** A bridge that has these frames, and sends what comes after the reader's place. */
function bridge(frames, options) {
  return (request) => {
    const place = request.headers["Last-Event-ID"];
    const at = place ? frames.findIndex((frame) => frame.startsWith(`id: ${place}\n`)) + 1 : 0;
    return stream([": open\n\n", frames.slice(at).join("")], options)(request);
  };
}

function cutAfter(pieces, bytes) {
  const all = new TextEncoder().encode(pieces.join(""));
  return stream([all.slice(0, bytes)], { end: "cut" });
}

async function follow(setting, target = TASK, options = {}) {
  const at = world(setting);
  const following = at.client.follow(target, { ...at.callbacks, ...options });
  const outcome = await at.clock.run(following);
  return { ...at, outcome, following };
}

function assertWhole({ outcome, seen, clock }) {
  assert.equal(outcome.text, TEXT);
  assert.equal(seen.texts.at(-1), TEXT);
  for (const text of seen.texts) assert.ok(TEXT.startsWith(text), `never a wrong text, but once ${text}`);
  assert.equal(seen.events.filter(({ type }) => type === "queued").length, 1, "no event is told twice");
  assert.equal(clock.sleepers, 0, "no timer is left");
}

test("a stream from beginning to end is told event by event, and its outcome is the promise's", async () => {
  const run = await follow({ streams: [bridge(wholeStory())] });
  assertWhole(run);
  assert.deepEqual(run.outcome, {
    taskId: "t1", state: "done", text: TEXT, result: { text: TEXT, score: 7 }, error: null, refunded: false,
  });
  assert.equal(run.seen.changes.map((change) => change.appended).join(""), TEXT);
  assert.equal(run.following.text, TEXT);
  assert.equal(run.requests.length, 1);
  assert.equal(run.requests[0].headers.Authorization, undefined, "the user's token is not for the bridge");
});

test("cut after any number of bytes, the stream goes on after the last whole event", async () => {
  const frames = wholeStory();
  const length = new TextEncoder().encode(frames.join("")).length;
  for (let bytes = 0; bytes < length; bytes += 1) {
    assertWhole(await follow({ streams: [cutAfter(frames, bytes), bridge(frames)] }));
  }
});

test("cut again and again, a few bytes further each time, the text is still whole", async () => {
  const frames = wholeStory();
  const inPieces = (count) => (request) => {
    const place = request.headers["Last-Event-ID"];
    const at = place ? frames.findIndex((frame) => frame.startsWith(`id: ${place}\n`)) + 1 : 0;
    return cutAfter(frames.slice(at), count)(request);
  };
  const streams = Array.from({ length: 60 }, (_, i) => inPieces(150 + 37 * (i % 9)));
  assertWhole(await follow({ streams, actions: [taskStatus("running")] }));
});

test("what the bridge sends twice is taken once", async () => {
  const frames = wholeStory();
  const twice = frames.flatMap((frame) => [frame, frame]);
  assertWhole(await follow({ streams: [stream(twice)] }));
  assertWhole(await follow({ streams: [stream(frames.slice(0, 6), { end: "cut" }), stream(frames)] }));
  const again = stream(frames.slice(0, 3), { end: "cut" });
  const run = await follow({ streams: [stream(frames.slice(0, 6), { end: "cut" }), again, bridge(frames)] });
  assertWhole(run);
  assert.equal(run.of("streams")[2].headers["Last-Event-ID"], "1000-6", "the place never goes back");
});

test("a gap brings the reader back at its last good place", async () => {
  const frames = wholeStory();
  const gap = [...frames.slice(0, 4), ...frames.slice(5)];
  const run = await follow({ streams: [bridge(gap), bridge(frames)] });
  assertWhole(run);
  assert.equal(run.of("streams")[1].headers["Last-Event-ID"], "1000-4");
});

test("the same gap twice makes the reader read all of it again, and show nothing of that until it is new", async () => {
  const frames = wholeStory();
  const gap = [...frames.slice(0, 4), ...frames.slice(5)];
  const run = await follow({ streams: [bridge(gap), bridge(gap), bridge(frames)] });
  assertWhole(run);
  assert.equal(run.of("streams")[2].headers["Last-Event-ID"], undefined);
  const lengths = run.seen.texts.map((text) => text.length);
  assert.deepEqual(lengths, lengths.toSorted((a, b) => a - b), "the text shown never shrinks");
});

test("a text that turns out to be another's is read again from the beginning", async () => {
  const story = new Story();
  const wrong = [story.frame(start), story.frame(batch(0, "wrong")), framed("1000-3", batch(2, TEXT.slice(2)))];
  const frames = wholeStory();
  const run = await follow({ streams: [stream(wrong), bridge(frames)] });
  assert.equal(run.outcome.text, TEXT);
  assert.equal(run.of("streams")[1].headers["Last-Event-ID"], undefined);
  const right = run.seen.texts.findIndex((text) => TEXT.startsWith(text));
  assert.equal(run.seen.changes[right].replaced, true);
  assert.equal(run.seen.changes[right].appended, run.seen.texts[right]);
});

test("a gap that stays ends with the record's text, and not in a loop", async () => {
  const story = new Story();
  const gap = [story.frame(start), story.frame(batch(0, "abc")), story.frame(batch(9, "x"))];
  const ended = taskStatus("done", { result: { text: TEXT } });
  const run = await follow({ streams: [stream(gap)], actions: [taskStatus("running"), taskStatus("running"), ended] });
  assert.equal(run.outcome.text, TEXT);
  assert.ok(run.of("streams").length < 12);
});

test("a connection on which not even heartbeats come is given up after two and a half of them", async () => {
  const frames = wholeStory();
  const run = await follow({ streams: [stream(frames.slice(0, 5), { end: "silent" }), bridge(frames)] });
  assertWhole(run);
  assert.equal(Math.round((run.of("streams")[1].at - run.of("streams")[0].at) / 1000), 38);
});

test("heartbeats keep a connection alive", async () => {
  const frames = wholeStory();
  const at = world({ streams: [beating(frames, 20)] });
  assert.equal((await at.clock.run(at.client.follow(TASK))).text, TEXT);
  assert.equal(at.requests.length, 1);

  function beating(pieces, beats) {
    return () => {
      const body = new ReadableStream({
        async start(controller) {
          const send = (text) => controller.enqueue(new TextEncoder().encode(text));
          send(pieces.slice(0, 3).join(""));
          for (let beat = 0; beat < beats; beat += 1) {
            await at.clock.sleep(15_000);
            send(": hb\n\n");
          }
          send(pieces.slice(3).join(""));
          controller.close();
        },
      });
      return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    };
  }
});

test("connections that were quiet, but lasted, are no failures: the pauses stay short, and nothing is polled", async () => {
  const at = world({ streams: [...Array(6).fill(quiet), bridge(wholeStory())] });
  assert.equal((await at.clock.run(at.client.follow(TASK))).text, TEXT);
  assert.equal(at.of("actions").length, 0);
  const times = at.of("streams").map((request) => request.at);
  assert.deepEqual(times.slice(1).map((time, i) => time - times[i]), Array(6).fill(10_500));

  function quiet() {
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode(": open\n\n"));
        await at.clock.sleep(10_000);
        controller.close();
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }
});

test("a bridge that never answers is given up too", async () => {
  const never = ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  assertWhole(await follow({ streams: [never, bridge(wholeStory())] }));
});

test("the bridge's own retry is waited for when it rotates a connection", async () => {
  const frames = wholeStory();
  const rotated = stream([...frames.slice(0, 3), "retry: 1234\n\n"]);
  const run = await follow({ streams: [rotated, bridge(frames)] });
  assertWhole(run);
  assert.equal(run.of("streams")[1].at - run.of("streams")[0].at, 1234);
  assert.deepEqual(run.seen.waits, [
    { reason: "reconnecting", secondsLeft: 2 },
    { reason: "reconnecting", secondsLeft: 1 },
    { reason: "reconnecting", secondsLeft: 0 },
  ]);
});

test("pauses between failures grow, and stay below a limit", async () => {
  const frames = wholeStory();
  const run = await follow({
    streams: [...Array(9).fill(unreachable), bridge(frames)],
    actions: [refusal(503, "store_unavailable", { retryAfter: 2 })],
  });
  assertWhole(run);
  const times = run.of("streams").map(({ at }) => at);
  const pauses = times.slice(1).map((time, i) => time - times[i]);
  assert.deepEqual(pauses, [500, 1000, 2000, ...Array(6).fill(2500)], "with the advice of the one that answers");
});

test("an expired stream token is replaced through the status, and the reader goes on at the same place", async () => {
  const frames = wholeStory();
  const cut = stream(frames.slice(0, 5), { end: "cut" });
  const streams = [cut, refusal(401, "auth_required"), bridge(frames)];
  const run = await follow({ streams, actions: [taskStatus("running")] });
  assertWhole(run);
  const [, refused, renewed] = run.of("streams");
  assert.match(renewed.url, /token=new/);
  assert.equal(renewed.headers["Last-Event-ID"], "1000-5");
  assert.equal(renewed.at, refused.at, "without a pause");
  assert.equal(run.of("actions")[0].headers.Authorization, "Bearer me");
});

test("a bridge that refuses every token is asked ever more rarely, and the status tells the end", async () => {
  const actions = [...Array(6).fill(taskStatus("running")), taskStatus("done", { result: { text: TEXT } })];
  const run = await follow({ streams: [refusal(401, "auth_required")], actions });
  assert.equal(run.outcome.text, TEXT);
  assert.equal(run.clock.sleepers, 0);
});

test("a refusal's Retry-After is waited for with a countdown", async () => {
  for (const answer of [refusal(503, "store_unavailable", { retryAfter: 3 }), refusal(429, "busy", { header: 3 })]) {
    const run = await follow({ streams: [answer, bridge(wholeStory())] });
    assertWhole(run);
    assert.equal(run.of("streams")[1].at - run.of("streams")[0].at, 3500);
    assert.deepEqual(run.seen.waits.map(({ secondsLeft }) => secondsLeft), [4, 3, 2, 1, 0]);
    assert.match(run.seen.waits[0].reason, /store_unavailable|busy/);
  }
});

test("a place that the bridge does not understand is given up, and nothing is told twice", async () => {
  const frames = wholeStory();
  const streams = [stream(frames.slice(0, 6), { end: "cut" }), refusal(400, "invalid_request"), bridge(frames)];
  const run = await follow({ streams });
  assertWhole(run);
  assert.equal(run.of("streams")[2].headers["Last-Event-ID"], undefined);
});

test("an address that is gone is settled by the status: gone too, or ended", async () => {
  const gone = { streams: [refusal(404, "not_found")], actions: [refusal(404, "not_found")] };
  await assert.rejects(follow(gone), { name: "SluiceError", code: "not_found", status: 404 });
  const waiting = stream([framed("1-1", { type: "backpressure", reason: "slots", retryAfter: 600 })]);
  const at = world({ ...gone, streams: [waiting, refusal(404, "not_found")] });
  await assert.rejects(at.clock.run(at.client.follow(TASK)), { code: "not_found" });
  assert.equal(at.clock.sleepers, 0, "no countdown goes on");
  const ended = taskStatus("failed", { error: { code: "wait_timeout", message: "Too long." }, refunded: true });
  const { outcome, seen, of } = await follow({ streams: [refusal(404, "not_found")], actions: [ended] });
  assert.equal(of("streams").length, 1);
  assert.deepEqual(outcome, {
    taskId: "t1", state: "failed", text: "", result: null, refunded: true,
    error: { code: "wait_timeout", message: "Too long." },
  });
  assert.equal(seen.events.at(-1).type, "error", "the events end as a stream's would");
});

test("204 means that there is nothing more to come: the status has the end", async () => {
  const ended = taskStatus("cancelled", { refunded: true });
  const { outcome, of } = await follow({ streams: [refusal(204)], actions: [ended] });
  assert.equal(of("streams").length, 1);
  assert.deepEqual([outcome.state, outcome.refunded], ["cancelled", true]);
});

test("where no stream can be had, the status is polled, and its news are told", async () => {
  for (const none of [unreachable, stream("<html>", { type: "text/html" }), refusal(403, "forbidden")]) {
    const actions = [
      taskStatus("queued", { position: 3 }), taskStatus("running"), taskStatus("done", { result: { text: TEXT } }),
    ];
    const run = await follow({ streams: [none], actions });
    assert.equal(run.outcome.text, TEXT);
    assert.deepEqual(run.seen.events.map((e) => e.status?.state ?? e.type), ["queued", "running", "done"]);
    assert.equal(run.clock.sleepers, 0);
  }
});

test("a stream that can be had again ends the polling", async () => {
  const streams = [...Array(5).fill(unreachable), bridge(wholeStory())];
  const run = await follow({ streams, actions: [taskStatus("running")] });
  assertWhole(run);
  assert.equal(run.of("streams").length, 6);
});

test("a user who is refused is not asked for ever", async () => {
  const streams = [refusal(401, "auth_required")];
  const failed = follow({ streams, actions: [refusal(401, "auth_required")] });
  await assert.rejects(failed, { code: "auth_required", status: 401 });
});

test("a task without an address is followed by asking for one", async () => {
  for (const target of [{ taskId: "t1" }, "t1"]) {
    const run = await follow({ streams: [bridge(wholeStory())], actions: [taskStatus("running")] }, target);
    assertWhole(run);
    assert.deepEqual(run.requests.map(({ kind }) => kind), ["actions", "streams"]);
  }
});

test("an address alone says which task it is", async () => {
  const ended = taskStatus("cancelled");
  const run = await follow({ streams: [refusal(404, "not_found")], actions: [ended] }, TASK.streamUrl);
  assert.match(run.of("actions")[0].url, /\/tasks\/t1$/);
  for (const none of ["https://elsewhere.example/", "", {}]) assert.throws(() => run.client.follow(none), TypeError);
});

test("a restarted attempt replaces the text of its step, and never appends to it", async () => {
  const first = new Story(1000);
  const second = new Story(2000);
  const frames = [
    first.frame(start), first.frame(batch(0, "half a te")), first.frame({ type: "retrying", reason: "x", retryAfter: 2 }),
    second.frame({ ...start, attempt: 2 }), second.frame(batch(0, TEXT, { attempt: 2 })),
    second.frame({ ...done(TEXT), attempt: 2 }),
  ];
  const run = await follow({ streams: [stream(frames)] });
  assert.deepEqual(run.seen.texts, ["half a te", "", TEXT]);
  assert.deepEqual(run.seen.changes.map(({ replaced }) => replaced), [false, true, false]);
});

test("what the task waits for is counted down until the next event, and no longer", async () => {
  const story = new Story();
  const waiting = stream([story.frame({ type: "backpressure", reason: "slots", retryAfter: 3 })], { end: "silent" });
  const going = stream([new Story(2000).frame(start), new Story(3000).frame(done("x"))]);
  const run = await follow({ streams: [waiting, going] });
  const told = run.seen.waits.filter(({ reason }) => reason === "backpressure").map(({ secondsLeft }) => secondsLeft);
  assert.deepEqual(told, [3, 2, 1, 0]);

  const soon = stream([new Story(1000).frame({ type: "retrying", reason: "x", retryAfter: 60 }), new Story(2000).frame(done("x"))]);
  const other = await follow({ streams: [soon] });
  assert.deepEqual(other.seen.waits, [{ reason: "retrying", secondsLeft: 60 }, { reason: "retrying", secondsLeft: 0 }]);
});

test("a stalled task is touched by asking its status once, and the reader's place stays", async () => {
  const frames = wholeStory();
  const stalled = framed(null, { type: "stalled", since: 1 });
  const run = await follow({
    streams: [stream([...frames.slice(0, 4), stalled], { end: "cut" }), bridge(frames)],
    actions: [taskStatus("running")],
  });
  assertWhole(run);
  assert.equal(run.of("actions").length, 1);
  assert.equal(run.of("streams")[1].headers["Last-Event-ID"], "1000-4");
  assert.ok(run.seen.events.some(({ type }) => type === "stalled"));
});

test("events can be iterated, and the loop ends with the task", async () => {
  const at = world({ streams: [bridge(wholeStory())] });
  const types = [];
  const loop = (async () => {
    for await (const { type } of at.client.follow(TASK)) types.push(type);
  })();
  await at.clock.run(loop);
  assert.deepEqual([types.at(0), types.at(-1)], ["queued", "done"]);
  assert.equal(types.length, wholeStory().length);
});

test("leaving the loop closes the connection and every timer", async () => {
  const at = world({ streams: [stream(wholeStory().slice(0, 3), { end: "silent" })] });
  const loop = (async () => {
    for await (const { type } of at.client.follow(TASK)) if (type === "start") break;
  })();
  await at.clock.run(loop);
  assert.equal(at.clock.sleepers, 0);
});

test("a loop over a task that is gone throws what the promise would", async () => {
  const at = world({ streams: [refusal(404, "not_found")], actions: [refusal(404, "not_found")] });
  const loop = (async () => {
    for await (const event of at.client.follow(TASK)) assert.fail(event.type);
  })();
  await assert.rejects(at.clock.run(loop), { code: "not_found" });
});

for (const [when, streams, abortAfter] of [
  ["before it begins", [stream([])], null],
  ["while it reads", [stream(wholeStory().slice(0, 4), { end: "silent" })], "token_batch"],
  ["while it waits to come back", [stream(wholeStory().slice(0, 2), { end: "cut" }), unreachable], "start"],
]) {
  test(`an aborted signal ends it ${when}, with the signal's reason and nothing left behind`, async () => {
    const controller = new AbortController();
    const reason = new Error("the page was left");
    if (!abortAfter) controller.abort(reason);
    const at = world({ streams, actions: [taskStatus("running")] });
    const onEvent = ({ type, offset = 0 }) => {
      if (type === abortAfter && offset === 0) at.clock.sleep(1).then(() => controller.abort(reason));
    };
    const following = at.client.follow(TASK, { ...at.callbacks, onEvent, signal: controller.signal });
    await assert.rejects(at.clock.run(following), (error) => error === reason);
    assert.equal(at.clock.sleepers, 0);
  });
}

test("an error in a callback ends it, and is what it rejects with", async () => {
  const onText = () => {
    throw new RangeError("the page's own fault");
  };
  const at = world({ streams: [bridge(wholeStory())] });
  await assert.rejects(at.clock.run(at.client.follow(TASK, { onText })), RangeError);
  assert.equal(at.clock.sleepers, 0);
  assert.equal(at.requests.length, 1);
});

test("a page that is shown again does not wait: the pause ends, and a silent connection is replaced", async () => {
  const page = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const listeners = new Set();
  page.addEventListener = (type, listener) => listeners.add(type) && EventTarget.prototype.addEventListener.call(page, type, listener);
  page.removeEventListener = (type) => listeners.delete(type);
  globalThis.document = page;
  try {
    const frames = wholeStory();
    const at = world({ streams: [stream(frames.slice(0, 3), { end: "silent" }), unreachable, bridge(frames)] });
    const following = at.client.follow(TASK, at.callbacks);
    await at.clock.settle();
    at.clock.skip(3_600_000); // the machine slept, and no timer ran
    document.dispatchEvent(new Event("visibilitychange"));
    await at.clock.settle();
    assert.equal(at.requests.length, 2, "at once, and not after a pause");
    document.dispatchEvent(new Event("visibilitychange"));
    assertWhole({ ...at, outcome: await at.clock.run(following, 10) });
    assert.equal(at.requests.length, 3);
    assert.equal(listeners.size, 0, "no listener is left");
  } finally {
    delete globalThis.document;
  }
});

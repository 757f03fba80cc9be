/** The text that is put together from events: D29, D34. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Transcript } from "../../client/sluice.js";
import { batch, done, start } from "./kit.js";

function told(...events) {
  const transcript = new Transcript();
  const changes = events.map((event) => transcript.apply({ step: 0, attempt: 1, ...event }));
  return { transcript, changes, text: transcript.text };
}

test("batches are appended at their offsets, which count code points, not UTF-16 units", () => {
  assert.equal(told(start, batch(0, "👩‍💻 "), batch(4, "𝄞你"), batch(6, "!")).text, "👩‍💻 𝄞你!");
});

test("a batch that begins with what is there already is trimmed", () => {
  const { text, changes } = told(start, batch(0, "a👍b"), batch(1, "👍bc"), batch(0, "a👍"), batch(0, "a👍bcd"));
  assert.equal(text, "a👍bcd");
  assert.deepEqual(changes.slice(1).map((change) => change?.appended), ["a👍b", "c", undefined, "d"]);
});

test("what is known is counted in code points too: after an emoji neither a gap nor an overlap is missed", () => {
  assert.throws(() => told(start, batch(0, "👍"), batch(2, "x")), { isWrong: false });
  assert.equal(told(start, batch(0, "👍👍bc"), batch(3, "cd")).text, "👍👍bcd");
});

test("a batch that says something else at the same place is refused, and changes nothing", () => {
  const transcript = told(start, batch(0, "abc")).transcript;
  assert.throws(() => transcript.apply({ step: 0, attempt: 1, ...batch(1, "XYZ") }), { isWrong: true });
  assert.equal(transcript.text, "abc");
});

test("a gap is refused, and changes nothing", () => {
  const transcript = told(start, batch(0, "abc")).transcript;
  assert.throws(() => transcript.apply({ step: 0, attempt: 1, ...batch(4, "e") }), { isWrong: false });
  assert.equal(transcript.text, "abc");
});

test("a new attempt replaces the text, and what its predecessor still says is left out", () => {
  const late = batch(3, "old");
  const { text, changes } = told(start, batch(0, "abc"), { ...start, attempt: 2 }, late, batch(0, "new", { attempt: 2 }));
  assert.equal(text, "new");
  assert.deepEqual(changes[2], { step: 0, attempt: 2, appended: "", replaced: true });
  assert.equal(changes[3], null);
});

test("an attempt whose start was missed begins with its offset 0, and is refused at any other", () => {
  assert.equal(told(start, batch(0, "abc"), batch(0, "new", { attempt: 2 })).text, "new");
  assert.throws(() => told(start, batch(0, "abc"), batch(3, "new", { attempt: 2 })), { isWrong: false });
});

test("the next step's text takes the place of the one before, whatever their attempts", () => {
  const second = { step: 1, attempt: 1 };
  assert.equal(told({ ...start, attempt: 3 }, { ...start, ...second }, batch(0, "two", second)).text, "two");
});

test("a resync replaces the text, and what follows goes on after it", () => {
  const { text, changes } = told(start, batch(0, "abc"), { type: "resync", text: "a👍cd" }, batch(4, "e"));
  assert.equal(text, "a👍cde");
  assert.deepEqual(changes[2], { step: 0, attempt: 1, appended: "a👍cd", replaced: true });
});

test("what only goes on with the text that is there is appended, and replaces nothing", () => {
  const { changes } = told(start, { type: "resync", text: "ab" }, { type: "resync", text: "ab👍" }, done("ab👍c"));
  assert.deepEqual(changes.slice(1).map(({ appended, replaced }) => [appended, replaced]), [
    ["ab", false], ["👍", false], ["c", false],
  ]);
});

test("the result's text has the last word; a result without one leaves the text alone", () => {
  assert.equal(told(start, batch(0, "ab"), done("abc")).text, "abc");
  assert.equal(told(start, batch(0, "ab"), { type: "done", result: { header: {} } }).text, "ab");
});

test("a sign of life without text changes nothing", () => {
  assert.deepEqual(told(start, batch(0, "", { thinking: true })).changes, [null, null]);
});

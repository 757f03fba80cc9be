/** The parser of event streams, held to the standard's rules and to every way of cutting bytes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser } from "../../client/sluice.js";

const bytesOf = (text) => new TextEncoder().encode(text);

function parse(...pieces) {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.push(typeof piece === "string" ? bytesOf(piece) : piece));
}

const data = (frames) => frames.map((frame) => frame.data);

const EVERYTHING =
  "\uFEFF: open\n\nid: 1-1\nevent: start\ndata: {}\n\n" +
  ": hb\r\n\r\nid:2-1\rdata:első\rdata:  második\r\r" +
  "event: token_batch\r\ndata: 你好 👩‍💻 𝄞\r\n\r\nretry: 250\n\nid\ndata\n\nid: 3-1\nignored: x\ndata: end\n\n";
const FRAMES = [
  { id: "1-1", type: "start", data: "{}", isNumbered: true },
  { id: "2-1", type: "message", data: "első\n második", isNumbered: true },
  { id: "2-1", type: "token_batch", data: "你好 👩‍💻 𝄞", isNumbered: false },
  { id: "", type: "message", data: "", isNumbered: true },
  { id: "3-1", type: "message", data: "end", isNumbered: true },
];

test("line ends are LF, CRLF and CR, comments are left out, several data lines are one text", () => {
  assert.deepEqual(parse(EVERYTHING), FRAMES);
});

test("an event stream cut in two at any byte gives the same frames", () => {
  const bytes = bytesOf(EVERYTHING);
  for (let at = 0; at <= bytes.length; at += 1) {
    assert.deepEqual(parse(bytes.slice(0, at), bytes.slice(at)), FRAMES, `cut at byte ${at}`);
  }
});

test("an event stream cut at random into any number of pieces, empty ones too, gives the same frames", () => {
  const bytes = bytesOf(EVERYTHING);
  for (let round = 0; round < 2_000; round += 1) {
    const cuts = Array.from({ length: round % 40 }, () => Math.floor(Math.random() * (bytes.length + 1)));
    const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
    const pieces = places.slice(1).map((end, i) => bytes.slice(places[i], end));
    assert.deepEqual(parse(...pieces), FRAMES, `cut at ${cuts}`);
  }
});

test("a frame that was not finished is none", () => {
  assert.deepEqual(data(parse("data: whole\n\ndata: half\n")), ["whole"]);
});

test("a retry that is not a number and an id with a zero character are left out", () => {
  const parser = new EventStreamParser();
  parser.push(bytesOf("retry: 12x\nid: a\0b\ndata: x\n\n"));
  assert.equal(parser.retryMs, null);
  assert.equal(parser.lastEventId, "");
  parser.push(bytesOf("retry: 700\n"));
  assert.equal(parser.retryMs, 700);
});

test("an id without data moves the place and is no frame", () => {
  const parser = new EventStreamParser();
  assert.deepEqual(parser.push(bytesOf("id: 9-1\n\n")), []);
  assert.equal(parser.lastEventId, "9-1");
});

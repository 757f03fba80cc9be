// The same minimal front as the other peers have: `POST /tasks` queues one, `GET /events/{id}` streams it.
//
// A stream is there once a worker has begun it: until then the front asks again. It is gone once it has ended: what a
// reader has not had by then is lost, and its response ends without a `done`.
//
//   PEER_REDIS_URL=… node front.mjs PORT

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { createResumableStreamContext } from "resumable-stream/ioredis";

const ASK_AGAIN_MS = 2;
const url = process.env.PEER_REDIS_URL;
const queue = new Queue("answers", { connection: new Redis(url, { maxRetriesPerRequest: null }) });
const context = createResumableStreamContext({
  waitUntil: null,
  publisher: new Redis(url),
  subscriber: new Redis(url),
});

async function post(response) {
  const id = randomUUID();
  await queue.add("answer", { id });
  const body = JSON.stringify({ id });
  response.writeHead(202, { "content-type": "application/json", "content-length": body.length }).end(body);
}

async function events(id, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  response.flushHeaders();
  let stream;
  while ((stream = await context.resumeExistingStream(id)) === undefined && !response.destroyed) {
    await pause(ASK_AGAIN_MS);
  }
  if (!stream) return response.end();
  for await (const frame of stream) response.write(frame);
  response.end("event: done\ndata: {}\n\n");
}

createServer((request, response) => {
  const answered = request.method === "POST" ? post(response) : events(request.url.split("/").pop(), response);
  answered.catch((error) => {
    console.error(error);
    response.destroy();
  });
}).listen(Number(process.argv[2]), "127.0.0.1");

// BullMQ's worker: asks the model and tells what it says through resumable-stream, which keeps the text here, in this
// process's memory, and publishes it once somebody asks. No LangChain: what Node itself can do.
//
//   PEER_REDIS_URL=… PEER_MODEL_URL=… node worker.mjs

import { Worker } from "bullmq";
import { Redis } from "ioredis";
import { createResumableStreamContext } from "resumable-stream/ioredis";

const AT_ONCE = 20;
const MATERIAL = "Senior backend engineer with 8 years in payments: Python, PostgreSQL, Redis, Kafka. ".repeat(40);
const BODY = JSON.stringify({
  model: "deepseek-chat",
  stream: true,
  messages: [
    { role: "system", content: "You prepare a candidate for an interview." },
    { role: "user", content: MATERIAL },
  ],
});
const url = process.env.PEER_REDIS_URL;
const context = createResumableStreamContext({
  waitUntil: null,
  publisher: new Redis(url),
  subscriber: new Redis(url),
});

async function* frames() {
  const headers = { "content-type": "application/json", authorization: "Bearer bench" };
  const answer = await fetch(`${process.env.PEER_MODEL_URL}/chat/completions`, { method: "POST", headers, body: BODY });
  let rest = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: {")) continue;
      const text = JSON.parse(line.slice(6)).choices[0].delta.content;
      if (text) yield `event: token\ndata: ${JSON.stringify({ text })}\n\n`;
    }
  }
}

async function answer({ data }) {
  const stream = await context.createNewResumableStream(data.id, () => ReadableStream.from(frames()));
  for await (const _ of stream); // the job is over when its text is
}

new Worker("answers", answer, { connection: new Redis(url, { maxRetriesPerRequest: null }), concurrency: AT_ONCE });

/** How a frontend uses the client's types. Compiled, never run. */

import { SluiceError, createClient } from "../../client/sluice.js";
import type { Event, Following, Outcome, TaskStatus, Wait } from "../../client/sluice.js";

const client = createClient({ actionsUrl: "https://actions.example", getToken: async ({ refused }) => (refused ? null : "x") });

export async function everything(file: File, signal: AbortSignal): Promise<string> {
  const upload = await client.submit("upload-resume", file, { locale: "zh", idempotencyKey: "k" });
  const first: Outcome = await upload.follow();
  const task = await client.submit("create-service", { jobText: "…" }, {
    signal,
    maxWaitSeconds: 10,
    onWait: ({ reason, secondsLeft }: Wait) => console.log(reason.length, secondsLeft.toFixed()),
  });
  const following: Following = client.follow(task, {
    signal,
    onText: (text, { appended, replaced }) => console.log(text, appended.length, replaced),
  });
  for await (const event of following) console.log(describe(event));
  const { state, text, result, error } = await following;
  const status: TaskStatus = await client.task(task.taskId).status();
  const quota = await client.get<{ balance: number }>("/quota");
  const { state: end } = await task.cancel();
  return [first.taskId, state, text, result?.score, error?.code, status.position, quota.balance, end].join();
}

function describe(event: Event): string {
  switch (event.type) {
    case "queued":
      return `${event.position} before you, ${event.etaSeconds ?? "?"} s`;
    case "backpressure":
    case "retrying":
      return `${event.reason}: ${event.retryAfter} s`;
    case "token_batch":
      return event.text;
    case "error":
      return event.code;
    case "status":
      return event.status.state;
    default:
      return event.type;
  }
}

export function wrong(task: Awaited<ReturnType<typeof client.submit>>): void {
  // @ts-expect-error there is no such action
  void client.submit("upload-photo", {});
  // @ts-expect-error a task cannot be changed
  task.taskId = "other";
  // @ts-expect-error no client without an address
  createClient({});
  // @ts-expect-error a text is no input
  void client.submit("upload-resume", "text");
  const { retryAfter } = new SluiceError("x", "y");
  // @ts-expect-error nobody may know how long to wait
  retryAfter.toFixed();
}

/** docs/frontend.md, block by block as it stands there, against the running stack. */

import assert from "node:assert/strict";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { RESUME, ask, jobFor } from "./live.js";

const REACT = `
  export const effects = [];
  export const states = [];
  export function useState(value) {
    const index = states.push(value) - 1;
    return [value, (change) => (states[index] = typeof change === "function" ? change(states[index]) : change)];
  }
  export const useEffect = (effect) => effects.push(effect());
`;
let folder;
let page;
const shown = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-docs-"));
  await mkdir(join(folder, "node_modules", "react"), { recursive: true });
  await writeFile(join(folder, "node_modules", "react", "index.mjs"), REACT);
  await writeFile(join(folder, "node_modules", "react", "package.json"), '{"name": "react", "exports": "./index.mjs"}');
  await copyFile("client/sluice.js", join(folder, "sluice.js"));
  const text = await readFile("docs/frontend.md", "utf8");
  const blocks = [...text.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, block]) => block);
  assert.ok(blocks.length >= 6);
  const kept = "\nexport { client, following, now, outcome, result, state, task };\nexport * as react from 'react';\n";
  await writeFile(join(folder, "page.mjs"), blocks.join("\n") + kept);
  await standInForThePage();
  page = await import(pathToFileURL(join(folder, "page.mjs")));
});

after(() => rm(folder, { recursive: true }));

/** What the page is said to have. */
async function standInForThePage() {
  const token = await ask("token/documentation");
  Object.assign(globalThis, {
    ACTIONS_URL: process.env.SLUICE_TEST_ACTIONS,
    session: { accessToken: () => token },
    fileInput: { files: [new File([RESUME], "cv.txt")] },
    jobText: jobFor("documentation"),
    output: { textContent: "" },
    show: (...values) => shown.push(values),
  });
}

test("the résumé is summarised, and the refusal is shown with its code", () => {
  assert.equal(page.state, "done");
  assert.ok(page.result.header);
  assert.ok(shown.some(([, code, status, retryAfter]) => code === "not_found" && status === 404 && retryAfter === null));
});

test("the match's text is the result's, and on the page", () => {
  assert.equal(page.outcome.state, "done");
  assert.equal(output.textContent, page.outcome.text);
  assert.ok(shown.some(([state, isWhole]) => state === "done" && isWhole === true));
});

test("whoever leaves can come back, and a task that has ended stays what it was", () => {
  assert.ok(shown.some(([name]) => name === "AbortError"));
  assert.ok(shown.some(([text]) => text === page.outcome.text));
  assert.deepEqual([page.now, shown.some(([state, now]) => state === "done" && now === "done")], ["done", true]);
});

test("the React hook shows the text and the outcome, and leaves when its component does", async () => {
  const { states, effects } = page.react;
  page.useTask(page.client, page.task.taskId);
  const deadline = Date.now() + 20_000;
  while (!states[0].outcome) {
    assert.ok(Date.now() < deadline);
    await new Promise(setImmediate);
  }
  assert.equal(states[0].text, page.outcome.text);
  assert.equal(states[0].outcome.state, "done");

  page.useTask(page.client, page.task.taskId);
  const [untouched] = states.slice(-1);
  effects.at(-1)();
  await page.client.status(page.task.taskId);
  assert.deepEqual(states.at(-1), untouched, "nothing is shown on a page that was left");
  assert.equal(states.at(-1).error, null);
});

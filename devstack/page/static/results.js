/**
 * A structured result, readable: any object, without knowing its template.
 *
 * Short words become chips, sentences a list, objects a card under their most telling fields, and what the
 * contract has as Markdown is rendered. What is empty is left out.
 */

import { el } from "./dom.js";
import { place, render } from "./text.js";
import { has, t } from "./words.js";

const TITLES = ["role", "position", "name", "trait", "degree", "jobTitle", "title", "label", "adjustment"];
const SUBTITLES = ["company", "school", "major", "value", "unit", "period", "duration", "startDate", "endDate"];
const MARKDOWN = new Set(["description", "content", "certificates"]);
const CHIP_CHARACTERS = 28;

const isEmpty = (value) =>
  value === null ||
  value === undefined ||
  value === "" ||
  (Array.isArray(value) ? value.every(isEmpty) : typeof value === "object" && Object.values(value).every(isEmpty));

const labelOf = (name) => (has(`field.${name}`) ? t(`field.${name}`) : null);

/** Returns the result as an element; what is Markdown in it is filled in when the page's server has rendered it. */
export function renderResult(result) {
  const markdown = [];
  const root = el("div", { class: "result" }, fieldsOf(result, markdown, true));
  if (markdown.length > 0) fillIn(markdown);
  return root;
}

async function fillIn(markdown) {
  try {
    const html = await render(markdown.map(({ text }) => text));
    markdown.forEach(({ node }, index) => place(node, html[index]));
  } catch {
    for (const { node, text } of markdown) node.textContent = text;
  }
}

function fieldsOf(object, markdown, isOutermost = false) {
  return Object.entries(object)
    .filter(([, value]) => !isEmpty(value))
    .map(([name, value]) => section(name, value, markdown, isOutermost));
}

function section(name, value, markdown, isOutermost) {
  if (name === "factCheck") return factCheck(value);
  const label = labelOf(name);
  const heading = label ? el(isOutermost ? "h4" : "h5", {}, label) : null;
  return el("section", { class: isOutermost ? "field outer" : "field" }, heading, valueOf(name, value, markdown));
}

function valueOf(name, value, markdown) {
  if (Array.isArray(value)) return listOf(value.filter((each) => !isEmpty(each)), markdown);
  if (name === "header" || name === "basics") return contact(value);
  if (typeof value === "object") return el("div", { class: "fields" }, fieldsOf(value, markdown));
  if (name === "confidence") return el("p", {}, `${Math.round(value * 100)} %`);
  return paragraph(name, String(value), markdown);
}

function paragraph(name, text, markdown) {
  const isMarkdown = MARKDOWN.has(name) || /^\s*[-*#]\s|\*\*/m.test(text);
  const node = el(isMarkdown ? "div" : "p", { class: isMarkdown ? "markdown" : name === "extractedText" ? "plain" : "" });
  if (isMarkdown) markdown.push({ node, text });
  else node.textContent = text;
  return node;
}

function listOf(values, markdown) {
  if (values.some((value) => typeof value === "object")) {
    return el("div", { class: "cards" }, values.map((value) => cardOf(value, markdown)));
  }
  const isShort = values.every((value) => String(value).length <= CHIP_CHARACTERS);
  return el("ul", { class: isShort ? "chips" : "" }, values.map((value) => el("li", {}, String(value))));
}

function cardOf(object, markdown) {
  const title = TITLES.filter((name) => !isEmpty(object[name])).slice(0, 1);
  const subtitle = SUBTITLES.filter((name) => !isEmpty(object[name]) && !title.includes(name));
  const rest = Object.entries(object).filter(([name]) => !title.includes(name) && !subtitle.includes(name));
  return el(
    "div",
    { class: "entry" },
    title.length > 0 && el("strong", {}, object[title[0]]),
    subtitle.length > 0 && el("span", { class: "soft" }, subtitle.map((name) => object[name]).join(" · ")),
    fieldsOf(Object.fromEntries(rest), markdown),
  );
}

function contact(header) {
  const { name, summary, links = [], ...others } = header;
  const lines = [...Object.values(others), ...links].filter((each) => !isEmpty(each));
  return el(
    "div",
    { class: "contact" },
    name && el("strong", {}, name),
    lines.length > 0 && el("span", { class: "soft" }, lines.join(" · ")),
    summary && el("p", {}, summary),
  );
}

function factCheck({ status, notes = [] }) {
  return el(
    "section",
    { class: "field outer" },
    el("h4", {}, t("field.factCheck")),
    el("p", { class: `verdict ${status}` }, t(`field.${status}`)),
    notes.length > 0 && el("ul", {}, notes.map((note) => el("li", {}, note))),
  );
}

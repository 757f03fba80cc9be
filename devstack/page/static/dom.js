/** Elements in few words. */

const SVG = "http://www.w3.org/2000/svg";

export const $ = (selector, root = document) => root.querySelector(selector);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** `el("button", {class: "small", onclick: go}, "Go")`: attributes, listeners by `on…`, children. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Sets a text only when it differs: what has not changed keeps the reader's selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, isShown) {
  node.hidden = !isShown;
}

/** Says something to whoever does not see the page. */
export function say(text) {
  const region = $("#status");
  region.append(el("p", {}, text));
  while (region.childElementCount > 6) region.firstElementChild.remove();
}

/** Copies a text; without the clipboard (a page without HTTPS that is not local) through a selection. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { class: "offscreen", "aria-hidden": "true" }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");
export const oneDigit = (number) => (number < 9.95 ? number.toFixed(1) : String(Math.round(number)));

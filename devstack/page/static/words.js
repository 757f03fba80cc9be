/** The page's language: `t` says a sentence in it, `setLanguage` changes it and repaints what is on the page. */

import { STRINGS } from "./strings.js";

const WITH_LETTERS = { en: "en-GB", zh: "zh-Hans" };
let language = null;
let hasLetters = false;
const painters = new Set();

export const getLanguage = () => language;

/** Returns the sentence, with its {places} filled in; falls back to nothing: a missing key is a fault that shows. */
export function t(key, places = {}) {
  const sentence = STRINGS[language][key];
  if (sentence === undefined) throw new Error(`no words for ${key}`);
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(places[name] ?? ""));
}

export const has = (key) => key in STRINGS[language];

/** Calls `paint` whenever the language changes; returns how to stop that. */
export function onLanguage(paint) {
  painters.add(paint);
  return () => painters.delete(paint);
}

/** Fills in whatever the document marks: `data-t` its text, `data-t-label` its aria-label, `data-t-hint` its placeholder. */
function paintDocument(root = document) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of root.querySelectorAll("[data-t-hint]")) node.setAttribute("placeholder", t(node.dataset.tHint));
}

export function setLanguage(name) {
  language = name in STRINGS ? name : "en";
  localStorage.setItem("sluice.language", language);
  document.documentElement.lang = hasLetters ? WITH_LETTERS[language] : language;
  document.title = t("page.title");
  paintDocument();
  for (const paint of painters) paint();
}

/** What the address asks for, else what was chosen before, else what the browser speaks. */
export function firstLanguage() {
  const asked = new URLSearchParams(location.search).get("lang") ?? localStorage.getItem("sluice.language");
  return asked ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
}

/**
 * Waits for Chinese letters, on a machine that has none of its own. What Chromium lays out while they are on their way
 * keeps boxes in their place, in every element that says the same words, until its language is another: so it is then.
 */
export async function haveLetters() {
  await document.fonts.load('1em "Sluice Han"', "中").catch(() => {}); // there are none: boxes, then
  hasLetters = true;
  for (const node of document.querySelectorAll("[lang]")) node.lang = WITH_LETTERS[node.lang] ?? node.lang;
}

/** The page's language: `t` says a sentence in it, `setLanguage` changes it and repaints what is on the page. */

import { STRINGS } from "./strings.js";

let language = null;
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
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.title = t("page.title");
  paintDocument();
  for (const paint of painters) paint();
}

/** What the address asks for, else what was chosen before, else what the browser speaks. */
export function firstLanguage() {
  const asked = new URLSearchParams(location.search).get("lang") ?? localStorage.getItem("sluice.language");
  return asked ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
}

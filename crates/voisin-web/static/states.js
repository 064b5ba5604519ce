// What stands where an answer will be, or where none came.
import { announce, h, put } from "./dom.js";
import { icon } from "./icons.js";

/** How long nothing is shown: most answers are there before. */
const PATIENCE = 150;

/**
 * Shows the outline of what is coming, unless it comes at once. The function returned takes that back.
 * @param {Element} root @param {"start" | "grid" | "pair" | "story"} kind
 */
export function skeleton(root, kind) {
  root.setAttribute("aria-busy", "true");
  const timer = setTimeout(() => {
    put(root, outline(kind));
    announce("Searching");
  }, PATIENCE);
  return () => {
    clearTimeout(timer);
    root.removeAttribute("aria-busy");
  };
}

/** @param {string} kind */
function outline(kind) {
  const cards = (/** @type {number} */ n) =>
    h(
      "div",
      { class: "grid" },
      Array.from({ length: n }, () => h("div", { class: "bone card-bone" })),
    );
  if (kind === "pair") return h("div", { class: "pair", "aria-hidden": "true" }, cards(8), cards(8));
  if (kind === "story")
    return h(
      "div",
      { "aria-hidden": "true" },
      [1, 2, 3].map(() => h("div", { class: "bone block-bone" })),
    );
  return h("div", { "aria-hidden": "true" }, kind === "start" && h("div", { class: "bone block-bone" }), cards(12));
}

/** Dims what is shown when its successor takes more than a moment. @param {Element} root */
export function dim(root) {
  root.setAttribute("aria-busy", "true");
  const timer = setTimeout(() => root.classList.add("stale"), PATIENCE);
  return () => {
    clearTimeout(timer);
    root.classList.remove("stale");
    root.removeAttribute("aria-busy");
  };
}

const TITLES = /** @type {Record<string, string>} */ ({
  gone: "The server is gone",
  not_found: "That is not here",
  unable: "That is not possible here",
  unauthorized: "This page needs its token",
  too_large: "That is too large",
  unreadable: "That could not be read",
  busy: "The server is busy",
});

/** What would fail again in the same way. */
const FINAL = new Set(["not_found", "unable", "bad_request"]);

/** @param {any} error @param {() => void} [retry] @param {any} [out] what is offered where trying again is no use */
export function failure(error, retry, out) {
  const title = TITLES[error?.kind] ?? "That did not work";
  announce(`${title}. ${error.message}`);
  const final = FINAL.has(error?.kind);
  return message({
    title,
    text: error.message ?? String(error),
    hint: error.hint,
    sign: "alert",
    retry: final && out ? undefined : retry,
    more: final && out,
  });
}

/**
 * A message in the place of content.
 * @param {{title: string, text?: any, hint?: any, sign?: string, retry?: () => void, more?: any}} what
 */
export function message({ title, text, hint, sign = "info", retry, more }) {
  return h(
    "section",
    { class: "message", role: sign === "alert" ? "alert" : null },
    icon(sign, 28),
    h("h2", null, title),
    text && h("p", null, text),
    hint && h("p", { class: "quiet" }, hint),
    retry && h("p", null, h("button", { type: "button", class: "main", on: { click: retry } }, "Try again")),
    more,
  );
}

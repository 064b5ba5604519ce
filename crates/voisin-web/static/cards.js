// How an item looks: a picture or words, a name, a class, how near.
import { api } from "./api.js";
import { h } from "./dom.js";
import { score } from "./format.js";
import { icon } from "./icons.js";

/**
 * The picture of an item, or nothing where it has none; words beside it say what it is.
 * @param {any} facts @param {any} item @param {number} [side]
 */
export function picture(facts, item, side = 256) {
  if (!item.image) return null;
  const img = h("img", {
    src: api.thumbnail(facts.name, item.id, side),
    alt: "",
    loading: "lazy",
    decoding: "async",
    draggable: "false",
  });
  img.addEventListener("error", () => img.replaceWith(h("span", { class: "no-picture" }, icon("image", 28))), {
    once: true,
  });
  return img;
}

/** A file name without its folders. @param {string} name */
export const shortName = (name) => name.split(/[/\\]/).pop() || name;

/**
 * A card that opens the item. `mark` is a badge above it, `rank` and `metric` are for hits.
 * @param {any} facts @param {any} item
 * @param {{open: () => void, reuse?: string, metric?: string, mark?: {kind: string, sign: string, words: string}}} how
 */
export function card(facts, item, { open, reuse, metric, mark }) {
  const told = metric ? score(item, metric) : null;
  const words = item.image ? null : h("p", { class: "card-text" }, item.text ?? item.name);
  const bar = told?.share != null && h("span", { class: "near-bar", "aria-hidden": "true" }, nearness(told.share));
  return h(
    "li",
    { class: `card ${item.image ? "" : "text-card"} ${mark ? `marked ${mark.kind}` : ""}`, data: { id: item.id } },
    h(
      "button",
      { type: "button", class: "card-open", on: { click: open } },
      item.image && h("span", { class: "card-picture" }, picture(facts, item)),
      words,
      h(
        "span",
        { class: "card-line" },
        item.rank != null && h("span", { class: "rank" }, h("span", { class: "unseen" }, "Rank "), item.rank),
        told &&
          h(
            "span",
            { class: "score" },
            h("span", { "aria-hidden": "true" }, told.text),
            h("span", { class: "unseen" }, `, ${told.words}, `),
          ),
      ),
      bar,
      (item.image || item.text) && h("span", { class: "card-name", title: item.name }, shortName(item.name)),
      item.label && h("span", { class: "card-label" }, h("span", { class: "unseen" }, ", class "), item.label),
      mark && h("span", { class: "mark" }, icon(mark.sign, 14), mark.words),
    ),
    reuse &&
      h(
        "a",
        { class: "card-reuse", href: reuse, data: { chain: "", name: item.name }, title: "Search with this one" },
        icon("search", 16),
        h("span", { class: "unseen" }, `Search with ${shortName(item.name)}`),
      ),
  );
}

/** A bar as long as the items are alike. @param {number} share */
function nearness(share) {
  const fill = h("span");
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return fill;
}

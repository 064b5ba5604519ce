// How an item looks: a picture or words, a name, a class, how near.
import { api } from "./api.js";
import { h } from "./dom.js";
import { score, short } from "./format.js";
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

/** Letters of a long name's end that stay, its kind among them. */
const TAIL = 8;

/** A name that is cut in its middle where there is no room: names of files often differ at their ends only. @param {string} name */
export function cut(name) {
  if (name.length < TAIL + 6) return name;
  // Read as one: the two parts are for the eye.
  return [
    h("span", { class: "unseen" }, name),
    h(
      "span",
      { class: "cut", "aria-hidden": "true" },
      h("span", { class: "cut-head" }, name.slice(0, -TAIL)),
      h("span", { class: "cut-tail" }, name.slice(-TAIL)),
    ),
  ];
}

/**
 * A card that opens the item. `mark` is a badge above it, `rank` and `metric` are for hits.
 * @param {any} facts @param {any} item
 * @param {{open: () => void, reuse?: string, metric?: string, range?: {low: number, high: number} | null, mark?: {kind: string, sign: string, words: string}}} how
 */
export function card(facts, item, { open, reuse, metric, range, mark }) {
  const told = metric ? score(item, metric) : null;
  const words = item.image ? null : h("p", { class: "card-text" }, item.text ?? item.name);
  const bar =
    told?.share != null && h("span", { class: "near-bar", "aria-hidden": "true" }, nearness(told.share, range));
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
            told.share != null &&
              h("span", { class: "score-far", "aria-hidden": "true", title: "Distance" }, short(item.distance)),
            h("span", { class: "unseen" }, `, ${told.words}, `),
          ),
      ),
      bar,
      (item.image || item.text) && h("span", { class: "card-name", title: item.name }, cut(shortName(item.name))),
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

/** The length of the bar of the least alike. */
const SHORTEST = 0.08;

/**
 * A bar as long as the items are alike: whole for the most alike of those shown, short for the least, so that they differ.
 * @param {number} share @param {{low: number, high: number} | null} [range]
 */
function nearness(share, range) {
  const fill = h("span");
  const part = !range ? share : range.high > range.low ? (share - range.low) / (range.high - range.low) : 1;
  const length = range ? SHORTEST + (1 - SHORTEST) * part : part;
  fill.style.width = `${Math.max(0, Math.min(1, length)) * 100}%`;
  return fill;
}

// The true neighbours that were not found, each with its reason.
import { api } from "./api.js";
import { withQuery, write } from "./address.js";
import { h } from "./dom.js";
import { sentence, short, scoreName } from "./format.js";
import { itemKey, items, learn } from "./memory.js";
import { shortName } from "./cards.js";

/** @type {Record<string, string>} */
const REASONS = {
  list_not_visited: "List not visited",
  code_error: "Lost to the code\u2019s error",
  filtered: "Filtered out",
  deleted: "Deleted",
  not_reached: "Not reached in the graph",
};

/** Reasons for which something is no miss. */
export const OUT = new Set(["filtered", "deleted"]);

/** @param {import("./app.js").Context} ctx @param {any} told @param {any[]} missed */
export function missedTable(ctx, told, missed) {
  // The same reason for all stands above the table.
  const why = missed.some((one) => one.reason !== "filtered");
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Missed neighbours" },
    h(
      "table",
      { class: "missed-table" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, "True rank"),
          h("th", { scope: "col" }, "Item"),
          h("th", { scope: "col" }, scoreName(told.metric)),
          why && h("th", { scope: "col" }, "Why"),
        ),
      ),
      h(
        "tbody",
        null,
        missed.map((/** @type {any} */ one) =>
          h(
            "tr",
            null,
            h("th", { scope: "row", class: "tabular" }, one.true_rank),
            h("td", null, itemLink(ctx, one.id)),
            h("td", { class: "tabular" }, short(one.distance)),
            why &&
              h(
                "td",
                null,
                h("strong", null, REASONS[one.reason] ?? one.reason),
                h("span", { class: "quiet block-words" }, sentence(one.text)),
                one.estimate != null &&
                  h(
                    "span",
                    { class: "quiet block-words tabular" },
                    `Its code says ${short(one.estimate)}${one.estimate_rank ? `, place ${one.estimate_rank}` : ""}.`,
                  ),
              ),
          ),
        ),
      ),
    ),
  );
}

/** A link to the search with an item: its small picture and its name, once that is known. @param {import("./app.js").Context} ctx @param {string} id */
export function itemLink(ctx, id) {
  const { facts } = ctx;
  const known = items.get(itemKey(facts.name, id));
  const words = h(
    "span",
    { class: "clamp" },
    known ? (known.image || !known.text ? shortName(known.name) : known.text) : id,
  );
  const img =
    facts.shows === "images" &&
    known?.image !== false &&
    h("img", { src: api.thumbnail(facts.name, id), alt: "", loading: "lazy" });
  img && img.addEventListener("error", () => img.remove(), { once: true });
  const link = h(
    facts.asks.id == null ? "a" : "span",
    facts.asks.id == null
      ? {
          class: "item-link",
          href: write({ ...withQuery(ctx.place, { id }), view: "results" }),
          data: { chain: "", name: known?.name ?? id },
        }
      : { class: "item-link" },
    img,
    words,
  );
  if (!known) {
    api.item(facts.name, id).then(
      (item) => {
        learn(facts.name, [item]);
        words.textContent = item.image || !item.text ? shortName(item.name) : item.text;
        link.dataset.name = item.name;
      },
      () => {},
    );
  }
  return link;
}

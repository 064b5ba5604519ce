// The walk through a graph, level by level.
import { h } from "./dom.js";
import { plural, short } from "./format.js";
import { icon } from "./icons.js";
import { itemLink } from "./explain_missed.js";

/** Hops of a level shown before the rest is told as a number. */
const MOST = 24;

/** @param {import("./app.js").Context} ctx @param {any} told */
export function graphStory(ctx, told) {
  const { hops } = told.graph;
  /** @type {Map<number, any[]>} */
  const levels = new Map();
  for (const hop of hops) levels.set(hop.level, [...(levels.get(hop.level) ?? []), hop]);
  const far = Math.max(...hops.map((/** @type {any} */ hop) => hop.distance), 1e-12);
  const found = new Set(told.hits.map((/** @type {any} */ hit) => hit.id));
  return h(
    "ol",
    { class: "levels" },
    [...levels]
      .sort((a, b) => b[0] - a[0])
      .map(([level, all]) =>
        h(
          "li",
          null,
          h(
            "h4",
            null,
            level === 0 ? "Level 0, all vectors" : `Level ${level}`,
            h("span", { class: "quiet" }, ` ${plural(all.length, "hop")}`),
          ),
          h(
            "ol",
            { class: "hops" },
            all
              .slice(0, MOST)
              .map((hop, i) =>
                h(
                  "li",
                  { class: found.has(hop.id) ? "hop found" : "hop" },
                  h(
                    "div",
                    { class: "hop-box" },
                    itemLink(ctx, hop.id),
                    distance(hop.distance, far),
                    found.has(hop.id) && h("span", { class: "tag" }, icon("check", 12), "found"),
                  ),
                  i < Math.min(all.length, MOST) - 1 && icon("right", 14),
                ),
              ),
          ),
          all.length > MOST && h("p", { class: "quiet" }, `and ${plural(all.length - MOST, "more hop")}`),
        ),
      ),
  );
}

/** @param {number} value @param {number} far */
function distance(value, far) {
  const fill = h("span", { class: "bar-fill soft" });
  fill.style.width = `${Math.max(2, (Math.abs(value) / Math.abs(far)) * 100)}%`;
  return h(
    "span",
    { class: "hop-distance" },
    h("span", { class: "bar", "aria-hidden": "true" }, fill),
    h("span", { class: "tabular quiet" }, h("span", { class: "unseen" }, "distance "), short(value)),
  );
}

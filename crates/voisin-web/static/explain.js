// How the index searched, told in steps.
import { announce, h, put } from "./dom.js";
import { count, duration, percent, plural, scoreName, short } from "./format.js";
import { funnel } from "./explain_funnel.js";
import { graphStory } from "./explain_graph.js";
import { listsTable } from "./explain_lists.js";
import { mapStory } from "./explain_map.js";
import { missedTable } from "./explain_missed.js";

/**
 * @param {string} title @param {any} text what is to be seen here, in a sentence
 * @param {...any} body
 */
function step(title, text, ...body) {
  return { title, text, body };
}

/** @param {import("./app.js").Context} ctx @param {any} told */
function steps(ctx, told) {
  const out = [];
  const exact = told.truth !== "codes";
  const found = told.k - told.missed.length;
  if (told.graph) {
    const { levels, ef, visited, hops } = told.graph;
    out.push(step("It walked a graph", `From the top of ${plural(levels, "level")}, each time to the neighbour that is nearest to the query: ${plural(hops.length, "hop")}, ${plural(visited, "vector")} compared${ef ? `, the best ${count(ef)} kept on the lowest level` : ""}.`, graphStory(ctx, told)));
  } else if (told.lists?.length) {
    const logits = told.lists.some((/** @type {any} */ one) => one.probability != null);
    const visited = told.lists.length;
    out.push(step(told.nlist > 1 ? "It chose lists" : "It has one list", told.nlist > 1
      ? `${logits ? "A model gave each list a probability to hold neighbours" : "The lists with the nearest centroids come first"}: ${count(visited)} of ${count(told.nlist)} were visited, in this order.${told.not_visited?.length ? ` ${plural(told.not_visited.length, "list")} that ${told.not_visited.length === 1 ? "holds" : "hold"} true neighbours ${told.not_visited.length === 1 ? "was" : "were"} not.` : ""}`
      : "Every vector was compared.", told.nlist > 1 && listsTable(told, logits)));
  }
  out.push(step("It narrowed down", told.counts.refined > 0 && told.counts.refined !== told.counts.found
    ? "Codes are compared first; the best of them are ranked again by better vectors." : "Of all that was compared, the nearest were kept.", funnel(told)));
  if (told.map?.points?.length) out.push(step("Where all this lies", mapWords(told.map), mapStory(ctx, told)));
  out.push(step(told.missed.length ? "What it missed, and why" : "It missed nothing",
    [told.missed.length
      ? `${count(found)} of the ${count(told.k)} true neighbours were found; these were not.`
      : `All of the ${count(told.k)} true neighbours were found.`,
    !exact && " The vectors themselves are not kept: true means nearest when all codes are compared."],
    told.missed.length > 0 && missedTable(ctx, told)));
  return out;
}

/** @param {any} map */
function mapWords(map) {
  const trust = map.trustworthiness;
  const flat = map.method === "pca" && map.explained_variance ? ` The two directions shown hold ${percent(map.explained_variance[0] + map.explained_variance[1])} of the spread.` : "";
  const judged = trust == null ? "" : ` Trustworthiness ${trust.toFixed(2)}: ${trust >= 0.9 ? "neighbours here are nearly always neighbours in truth" : trust >= 0.75 ? "neighbours here are mostly neighbours in truth" : "neighbours here are often none in truth, so read it with care"}.`;
  return `The vectors of the visited lists, laid out in a plane.${flat}${judged}`;
}

/** @param {HTMLElement} root @param {import("./app.js").Context} ctx @param {any} told */
export function explainView(root, ctx, told) {
  announce(`Recall ${percent(told.recall)}, ${plural(told.missed.length, "true neighbour")} missed`);
  put(root,
    h("div", { class: "recall" }, h("p", { class: "big tabular" }, percent(told.recall)),
      h("p", null, h("strong", null, `Recall@${told.k}`), ` of `, h("code", null, told.spec), told.nprobe != null && told.nlist > 1 ? ` with ${plural(told.nprobe, "list")} visited` : "",
        told.seconds?.search != null ? ` in ${duration(told.seconds.search)}` : "", `. ${scoreName(told.metric)[0].toUpperCase()}${scoreName(told.metric).slice(1)} of the nearest: ${told.hits.length ? short(told.hits[0].distance) : "none"}.`)),
    h("ol", { class: "story" }, steps(ctx, told).map((one) => h("li", { class: "story-step" }, h("h3", null, one.title), h("p", { class: "story-text" }, one.text), one.body))));
}

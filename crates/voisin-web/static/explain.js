// How the index searched, told in steps.
import { announce, h, put } from "./dom.js";
import { count, duration, percent, plural, scoreName, sentence, short } from "./format.js";
import { icon } from "./icons.js";
import { hasCodes } from "./kinds.js";
import { funnel, refines } from "./explain_funnel.js";
import { graphStory } from "./explain_graph.js";
import { listsTable } from "./explain_lists.js";
import { mapStory } from "./explain_map.js";
import { OUT, missedTable } from "./explain_missed.js";

/**
 * @param {string} title @param {any} text what is to be seen here, in a sentence
 * @param {...any} body
 */
function step(title, text, ...body) {
  return { title, text, body };
}

/** Lists; a graph has none. @param {any} told */
const nlist = (told) => told.nlist ?? 1;

/** @param {import("./app.js").Context} ctx @param {any} told */
function steps(ctx, told) {
  const all = [];
  // What a filter leaves out, or what is gone, was never to be found: it is told apart.
  const missed = told.missed.filter((/** @type {any} */ one) => !OUT.has(one.reason));
  const out = told.missed.filter((/** @type {any} */ one) => OUT.has(one.reason));
  const found = told.hits.filter((/** @type {any} */ one) => one.true_rank != null).length;
  if (told.graph) {
    const { levels, ef, visited, hops } = told.graph;
    all.push(
      step(
        "It walked a graph",
        `From the top of ${plural(levels, "level")}, each time to the neighbour that is nearest to the query: ${plural(hops.length, "hop")}, ${plural(visited, "comparison")}${ef ? `, the best ${count(ef)} kept on the lowest level` : ""}.`,
        graphStory(ctx, told),
      ),
    );
  } else if (told.compared === "allowed") {
    all.push(step("It chose no lists", wholeClass(ctx, told)));
  } else if (told.compared === "all") {
    all.push(
      step(
        "It compared everything",
        `The index has one list, so none was chosen: all ${plural(told.counts.scanned, "vector")} were compared${hasCodes(told.spec) ? ", by their codes" : ""}.`,
      ),
    );
  } else if (told.lists?.length) {
    const logits = told.lists.some((/** @type {any} */ one) => one.probability != null);
    const visited = told.lists.length;
    all.push(
      step(
        "It chose lists",
        `${logits ? "A model gave each list a probability to hold neighbours" : "The lists with the nearest centroids come first"}: ${count(visited)} of ${count(told.nlist)} were visited, in this order.${told.not_visited?.length ? ` ${plural(told.not_visited.length, "list")} that ${told.not_visited.length === 1 ? "holds" : "hold"} true neighbours ${told.not_visited.length === 1 ? "was" : "were"} not.` : ""}`,
        listsTable(told, logits),
      ),
    );
  }
  all.push(
    step(
      "It narrowed down",
      refines(told)
        ? "Codes are compared first; the best of them are ranked again by better vectors."
        : "Of all that was compared, the nearest were kept.",
      funnel(told),
    ),
  );
  if (told.map?.points?.length) all.push(step("Where all this lies", mapWords(told), mapStory(ctx, told)));
  all.push(
    step(
      missed.length ? "What it missed, and why" : "It missed nothing",
      [
        missed.length
          ? `${count(found)} of the ${plural(found + missed.length, "true neighbour")} were found; ${missed.length === 1 ? "this one was" : "these were"} not.`
          : found === 1
            ? "The one true neighbour was found."
            : `All of the ${plural(found, "true neighbour")} were found.`,
        told.truth_text &&
          ` ${told.truth === "codes" ? "Exact (by codes): what" : "What"} is true was found by comparing ${told.truth_text.replace(/\.$/, "")}.`,
      ],
      missed.length > 0 && missedTable(ctx, told, missed),
    ),
  );
  if (out.length)
    all.push(
      step(
        "What was left out",
        ctx.place.label
          ? `These are as near, but are not of the class \u201c${ctx.place.label}\u201d.`
          : "These are as near, but were not to be found.",
        missedTable(ctx, told, out),
      ),
    );
  return all;
}

/** What is said where a class is so small that all of it was compared. @param {import("./app.js").Context} ctx @param {any} told */
function wholeClass(ctx, { counts, nlist: lists }) {
  const which = `of \u201c${ctx.place.label}\u201d`;
  const all = counts.scanned === 1 ? `The one item ${which} was` : `All ${count(counts.scanned)} items ${which} were`;
  const why = lists > 1 ? ": in a class this small that takes less time than choosing among lists" : "";
  return `${all} compared, so no lists were chosen${why}.`;
}

/** @param {any} told */
function mapWords({ map, compared }) {
  const trust = map.trustworthiness;
  const flat =
    map.method === "pca" && map.explained_variance
      ? ` The two directions shown hold ${percent(map.explained_variance[0] + map.explained_variance[1])} of the spread.`
      : "";
  const judged =
    trust == null
      ? ""
      : ` Trustworthiness ${trust.toFixed(2)}: ${trust >= 0.9 ? "neighbours here are nearly always neighbours in truth" : trust >= 0.75 ? "neighbours here are mostly neighbours in truth" : "neighbours here are often none in truth, so read it with care"}.`;
  return `${compared === "lists" ? "The vectors of the visited lists" : "The vectors that were compared"}, laid out in a plane.${flat}${judged}`;
}

/** @param {HTMLElement} root @param {import("./app.js").Context} ctx @param {any} told */
export function explainView(root, ctx, told) {
  announce(`Recall ${percent(told.recall)}: how the index searched`);
  put(
    root,
    h(
      "div",
      { class: "recall" },
      h("p", { class: "big tabular" }, percent(told.recall)),
      h(
        "p",
        null,
        h("strong", null, `Recall@${told.k}`),
        ` of `,
        h("code", null, told.spec),
        told.nprobe > 0 && nlist(told) > 1 ? ` with ${plural(told.nprobe, "list")} visited` : "",
        told.graph?.ef ? ` with ${plural(told.graph.ef, "vector")} kept` : "",
        told.truth === "codes" ? " against Exact (by codes)" : "",
        told.seconds?.search != null ? ` in ${duration(told.seconds.search)}` : "",
        `. ${scoreName(told.metric)[0].toUpperCase()}${scoreName(told.metric).slice(1)} of the nearest: ${told.hits.length ? short(told.hits[0].distance) : "none"}.`,
      ),
    ),
    told.notes?.length > 0 &&
      h(
        "ul",
        { class: "notes" },
        told.notes.map((/** @type {string} */ note) =>
          h("li", null, icon("info", 18), h("span", null, sentence(note))),
        ),
      ),
    h(
      "ol",
      { class: "story" },
      steps(ctx, told).map((one) =>
        h("li", { class: "story-step" }, h("h3", null, one.title), h("p", { class: "story-text" }, one.text), one.body),
      ),
    ),
  );
}

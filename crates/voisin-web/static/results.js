// What was found, nearest first, and what it took.
import { withQuery, write } from "./address.js";
import { announce, h, put } from "./dom.js";
import { card } from "./cards.js";
import { count, duration, percent, plural, scoreName } from "./format.js";
import { openItem } from "./item_dialog.js";
import { isGraph } from "./kinds.js";
import { message } from "./states.js";

/** "20 of 5,310 in 0.8 ms, 4 of 32 lists visited, 512 vectors compared". @param {any} facts @param {{hits: any[], lists: number, scanned: number}} found @param {number} seconds */
export function line(facts, found, seconds, exact = false) {
  const lists =
    !exact && facts.nlist > 1 && !isGraph(facts) && found.lists > 0
      ? `, ${count(found.lists)} of ${plural(facts.nlist, "list")} visited`
      : "";
  const scanned = found.scanned > 0 ? `, ${plural(found.scanned, "vector")} compared` : "";
  return `${count(found.hits.length)} of ${count(facts.n)} in ${duration(seconds)}${lists}${scanned}`;
}

/** The address of a search with an item, all else as it is here. @param {import("./app.js").Context} ctx */
export const reuse = (ctx) => (/** @type {any} */ item) => write(withQuery(ctx.place, { id: item.id }));

/** The least and the most alike of the hits, where they say it. @param {any[]} hits */
export function range(hits) {
  const all = hits.map((hit) => hit.similarity).filter((x) => x != null);
  return all.length ? { low: Math.min(...all), high: Math.max(...all) } : null;
}

/** @param {HTMLElement} root @param {import("./app.js").Context} ctx @param {any} answer */
export function resultsView(root, ctx, answer) {
  const { facts } = ctx;
  const { hits } = answer;
  const told = line(facts, answer, answer.seconds.search, ctx.place.exact);
  announce(hits.length ? told : "Nothing was found");
  if (hits.length === 0) {
    put(
      root,
      message({
        title: "Nothing was found",
        text: ctx.place.label
          ? `No item of the class \u201c${ctx.place.label}\u201d was met by the search.`
          : "The search met nothing.",
        hint:
          facts.nlist > 1 && !isGraph(facts)
            ? "Visit more lists, or take another class."
            : isGraph(facts)
              ? "Search more thoroughly, or take another class."
              : ctx.place.label && "Take another class.",
      }),
    );
    return;
  }
  const metric = answer.metric ?? facts.metric;
  const list = h("ol", {
    class: `grid ${facts.shows === "images" ? "" : "words"}`,
    "aria-label": "Neighbours, nearest first",
  });
  const href = reuse(ctx);
  const span = range(hits);
  put(
    list,
    hits.map((/** @type {any} */ hit, /** @type {number} */ i) =>
      card(facts, hit, {
        metric,
        range: span,
        open: () => openItem(ctx, hits, i, { list, href, metric }),
        reuse: facts.asks.id == null ? href(hit) : undefined,
      }),
    ),
  );
  const made =
    answer.seconds.query > 0.0005 ? `; ${duration(answer.seconds.query)} to make the query\u2019s vector` : "";
  const same = purity(ctx, hits);
  put(
    root,
    h(
      "p",
      { class: "timing tabular" },
      h("span", null, `${told}${made}.`),
      same && h("span", { class: "quiet" }, ` ${same}`),
      hits[0].similarity == null &&
        h(
          "span",
          { class: "quiet" },
          ` Numbers are ${scoreName(metric) === "distance" ? "distances: smaller is nearer" : "inner products: larger is nearer"}.`,
        ),
    ),
    list,
  );
}

/** How many are of the query's own class, where it has one. @param {import("./app.js").Context} ctx @param {any[]} hits */
function purity(ctx, hits) {
  if (ctx.place.label || ctx.place.id != null || !hits[0].label) return "";
  const tally = new Map();
  for (const hit of hits) tally.set(hit.label, (tally.get(hit.label) ?? 0) + 1);
  const [label, most] = [...tally].sort((a, b) => b[1] - a[1])[0];
  return most > 1 && most * 2 > hits.length ? `${percent(most / hits.length)} of them are \u201c${label}\u201d.` : "";
}

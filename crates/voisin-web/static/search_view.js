// The view of a query: what is asked, how to search, and what came of it in one of three ways.
import { body, sameQuery, withQuery, write } from "./address.js";
import { api } from "./api.js";
import { askBar } from "./ask.js";
import { compareView } from "./compare.js";
import { mountControls } from "./controls.js";
import { focusCard, h, holding, put } from "./dom.js";
import { explainView } from "./explain.js";
import { withoutFlags } from "./format.js";
import { icon } from "./icons.js";
import { comparesAll } from "./kinds.js";
import { notice } from "./intake.js";
import { answers, learn } from "./memory.js";
import { mountQuery } from "./query_card.js";
import { resultsView } from "./results.js";
import { dim, failure, message, skeleton } from "./states.js";
import { about } from "./start_view.js";

/**
 * @typedef {object} Way
 * @property {string} title
 * @property {"grid" | "pair" | "story"} outline
 * @property {string | null} needs which of `Facts.asks` it takes
 * @property {(facts: any) => boolean} [idle] whether it tells nothing in a collection
 * @property {(body: any, signal: AbortSignal) => Promise<any>} ask
 * @property {(collection: string, answer: any) => void} [learn] keeps the items that came with the answer
 * @property {(root: HTMLElement, ctx: import("./app.js").Context, answer: any) => void} show
 */

/** @type {Record<string, Way>} */
const WAYS = {
  results: {
    title: "Results",
    outline: "grid",
    needs: null,
    ask: api.search,
    show: resultsView,
    learn: (c, { hits }) => learn(c, hits),
  },
  compare: {
    title: "Compare",
    outline: "pair",
    needs: "exact",
    idle: comparesAll,
    ask: api.compare,
    show: compareView,
    learn: (c, { approximate, exact }) => learn(c, [...approximate.hits, ...exact.hits]),
  },
  explain: { title: "Explain", outline: "story", needs: "explain", ask: api.explain, show: explainView },
};

/** What is asked of the server at a place. @param {import("./address.js").Place} place @param {any} facts */
function question(place, facts) {
  const asked = body(place, facts);
  if (place.view === "explain") asked.map = place.map;
  if (place.view !== "results") delete asked.exact;
  return asked;
}

/**
 * @param {HTMLElement} root @param {import("./app.js").Context} ctx @param {string} why
 * @returns {{update: (before: any, why: string) => void, leave: () => void}}
 */
export function mountSearch(root, ctx, why) {
  const query = h("section", { class: "query", "aria-labelledby": "query-title" });
  const tabs = h("nav", { class: "tabs", "aria-label": "What is shown" });
  const side = h("aside", { class: "side", "aria-label": "How to search" });
  const content = h("section", { class: "content", "aria-labelledby": "content-title" });
  const title = h("h2", { id: "content-title", class: "unseen", tabindex: "-1" });
  const room = h("div");
  put(content, title, room);
  put(
    root,
    h("div", { class: "search-head" }, query, askBar(ctx, false)),
    h("div", { class: "search-body" }, side, h("div", { class: "search-main" }, tabs, content)),
    about(ctx.facts),
  );
  const controls = mountControls(side, ctx);
  /** @type {AbortController | null} */
  let running = null;
  let stop = () => {};
  /** What the room shows now. */
  let shown = "";

  function drawTabs() {
    put(
      tabs,
      h(
        "ul",
        null,
        Object.entries(WAYS)
          .filter(([name, way]) => name === ctx.place.view || !way.idle?.(ctx.facts))
          .map(([name, way]) =>
            h(
              "li",
              null,
              h(
                "a",
                {
                  href: write({ ...ctx.place, view: /** @type {any} */ (name) }),
                  "aria-current": ctx.place.view === name ? "page" : null,
                  class: way.needs && ctx.facts.asks[way.needs] != null ? "impossible" : null,
                },
                way.title,
              ),
            ),
          ),
      ),
    );
  }

  /** @param {string} kind whether the room shows the same kind of thing: then it is dimmed, not emptied */
  async function load(kind) {
    running?.abort();
    stop();
    running = new AbortController();
    const { signal } = running;
    const way = WAYS[ctx.place.view];
    const asked = question(ctx.place, ctx.facts);
    const key = `${ctx.place.view} ${JSON.stringify(asked)}`;
    const draw = (/** @type {any} */ answer) => {
      shown = kind;
      holding(room, () => way.show(room, ctx, answer));
      // Back from a search that began here: on with the card that it began with.
      if (ctx.back != null && focusCard(room, ctx.back)) ctx.back = null;
    };
    const impossible = way.needs && ctx.facts.asks[way.needs];
    if (impossible) {
      shown = "";
      put(room, message({ title: `${way.title} is not possible here`, text: withoutFlags(impossible) }));
      return;
    }
    if (way.idle?.(ctx.facts)) {
      shown = "";
      put(room, nothingToCompare(ctx));
      return;
    }
    const kept = answers.get(key);
    if (kept) return draw(kept);
    stop = shown === kind ? dim(room) : skeleton(room, way.outline);
    if (shown !== kind) {
      shown = "";
      put(room);
    }
    try {
      const answer = await way.ask(asked, signal);
      stop();
      answers.set(key, answer);
      way.learn?.(ctx.facts.name, answer);
      draw(answer);
    } catch (/** @type {any} */ error) {
      // Whoever aborted it has taken its signs away already.
      if (signal.aborted) return;
      stop();
      shown = "";
      const gone = error.kind === "not_found" && ctx.place.q != null;
      put(room, gone ? forgotten(ctx) : failure(error, () => load(kind), start(ctx)));
    }
  }

  /** @param {any} before @param {string} why */
  function update(before, why) {
    const other = !sameQuery(before, ctx.place);
    title.textContent = WAYS[ctx.place.view].title;
    if (other || why !== "replace") notice();
    mountQuery(query, ctx);
    drawTabs();
    controls.update();
    load(`${ctx.place.view} ${ctx.place.c}`);
    // What the reader stood on may be gone: a new query starts at its name, another view at its title.
    if (why === "push" || why === "pop") {
      const back = why === "pop" && room.contains(document.activeElement);
      if (other && !back) /** @type {any} */ (document.getElementById("query-title"))?.focus({ preventScroll: true });
      else if (!other && before.view !== ctx.place.view) title.focus({ preventScroll: true });
      if (why === "push" && other) scrollTo({ top: 0 });
    }
  }
  update({ ...ctx.place, id: null, q: null, text: null }, why);
  return {
    update,
    leave: () => {
      running?.abort();
      stop();
      controls.leave();
    },
  };
}

/** The way out of a query that cannot be answered. @param {import("./app.js").Context} ctx */
const start = (ctx) =>
  h(
    "p",
    null,
    h(
      "a",
      { class: "button soft", href: write(withQuery({ ...ctx.place, view: "results" }, {})) },
      icon("left"),
      `Back to ${ctx.facts.name}`,
    ),
  );

/** @param {import("./app.js").Context} ctx */
function nothingToCompare(ctx) {
  return message({
    title: "There is nothing to compare",
    text: [
      "The index ",
      h("code", null, ctx.facts.spec),
      " compares every vector as it is: its answer is the exact one.",
    ],
    more: h(
      "p",
      null,
      h("a", { class: "button soft", href: write({ ...ctx.place, view: "results" }) }, icon("left"), "See the results"),
    ),
  });
}

/** @param {import("./app.js").Context} ctx */
function forgotten(ctx) {
  return message({
    title: "This query is no longer kept",
    sign: "info",
    text: "The server keeps what is uploaded for a while only, and forgets it when it is restarted.",
    hint: "Search with the image again: drop it here, paste it, or choose its file.",
    more: start(ctx),
  });
}

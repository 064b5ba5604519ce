// Starts the page: reads the address, knows the collections, shows the view of a place and moves between places.
import { api } from "./api.js";
import { asks, read, sameQuery, write } from "./address.js";
import { h, put } from "./dom.js";
import { listen } from "./intake.js";
import { failure, skeleton } from "./states.js";
import { mountSearch } from "./search_view.js";
import { mountStart } from "./start_view.js";
import { foot, tools } from "./frame.js";

/**
 * What views share.
 * @typedef {object} Context
 * @property {any[]} collections Facts of all
 * @property {boolean} allowUrls
 * @property {string} version
 * @property {any} facts Facts of the collection shown
 * @property {import("./address.js").Place} place
 * @property {Array<{id?: string, q?: string, text?: string, name: string}>} trail the queries that led here, this one last
 * @property {(place: import("./address.js").Place, options?: Move) => void} go
 * @property {string | null} back the item whose card the search was begun from that was now left by "back": it gets the focus
 * @property {() => void} reload shows the place again, asking the server anew
 */

/**
 * @typedef {object} Move
 * @property {boolean} [replace] no new entry in the history
 * @property {boolean} [chain] the new query came out of this one: it is added to the trail
 * @property {string} [name] what the new query is called
 */

const main = /** @type {HTMLElement} */ (document.getElementById("main"));

/** @type {Context} */
const ctx = {
  collections: [],
  allowUrls: false,
  version: "",
  facts: null,
  place: read(location.search),
  trail: [],
  back: null,
  go,
  reload: () => show("reload"),
};

/** @type {{key: string, update: (before: any, why: string) => void, leave: () => void} | null} */
let view = null;

/** The part of a place that names a query. @param {any} place @param {string} [name] */
function step(place, name) {
  const { id, q, text } = place;
  return {
    ...(id != null && { id }),
    ...(q != null && { q }),
    ...(text != null && { text }),
    name: name ?? text ?? id ?? "",
  };
}

/** @param {import("./address.js").Place} place @param {Move} [options] */
function go(place, { replace = false, chain = false, name } = {}) {
  let trail = ctx.trail;
  if (!asks(place)) trail = [];
  else if (!sameQuery(ctx.place, place)) {
    // A query of the trail chosen again goes back to it; a new one starts a trail unless it came out of this one.
    const at = trail.findIndex((one) => sameQuery({ ...place, ...{ id: null, q: null, text: null }, ...one }, place));
    if (at >= 0) trail = trail.slice(0, at + 1);
    else trail = [...(chain ? trail : []), step(place, name)];
  }
  // Whoever comes back stands again where this was chosen.
  const card = /** @type {HTMLElement | null} */ (document.activeElement?.closest(".card"));
  if (!replace) history.replaceState({ ...history.state, from: card?.dataset.id ?? null }, "");
  history[replace ? "replaceState" : "pushState"]({ trail }, "", write(place));
  show(replace ? "replace" : "push");
}

/** Shows what the address says. @param {"boot" | "push" | "replace" | "pop" | "reload"} why */
function show(why) {
  const before = ctx.place;
  const place = read(location.search);
  place.c ??= ctx.collections[0]?.name ?? null;
  const facts = ctx.collections.find((one) => one.name === place.c);
  ctx.place = place;
  ctx.facts = facts;
  ctx.back = why === "pop" ? (history.state?.from ?? null) : null;
  ctx.trail = history.state?.trail ?? (asks(place) ? [step(place)] : []);
  tools(ctx);
  foot(ctx);
  if (!facts) {
    view?.leave();
    view = null;
    put(main, unknown(place.c));
    return;
  }
  const key = `${facts.name}/${asks(place) ? "search" : "start"}`;
  if (view?.key === key && why !== "boot") {
    view.update(before, why);
    return;
  }
  view?.leave();
  put(main);
  const { update, leave } = (asks(place) ? mountSearch : mountStart)(main, ctx, why);
  view = { key, update, leave };
  if (why === "push") scrollTo({ top: 0 });
}

/** @param {string | null} name */
function unknown(name) {
  return h(
    "section",
    { class: "message" },
    h(
      "h1",
      null,
      ctx.collections.length ? `There is no collection named \u201c${name}\u201d` : "There is no collection here",
    ),
    ctx.collections.length
      ? h(
          "p",
          { class: "row centre" },
          ctx.collections.map((one) =>
            h("a", { class: "button soft", href: write({ ...read(""), c: one.name }) }, `Go to ${one.name}`),
          ),
        )
      : h(
          "p",
          null,
          "Start the server with a folder of images or an index: ",
          h("code", null, "voisin serve FOLDER"),
          ".",
        ),
  );
}

async function boot() {
  const stop = skeleton(main, "start");
  try {
    const answer = await api.collections();
    ctx.collections = answer.collections;
    ctx.allowUrls = Boolean(answer.allow_urls);
    ctx.version = answer.version ?? "";
    stop();
    show("boot");
  } catch (error) {
    stop();
    put(main, failure(error, boot));
  }
}

// Links to places of this page move within it; with a key held, or to another tab, they are the browser's.
document.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest?.("a[href^='/']");
  if (
    !link ||
    event.defaultPrevented ||
    event.button !== 0 ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  )
    return;
  const url = new URL(/** @type {HTMLAnchorElement} */ (link).href);
  if (url.pathname !== "/" || link.hasAttribute("download") || link.hasAttribute("target") || !ctx.collections.length)
    return;
  event.preventDefault();
  const { chain, name, replace } = /** @type {HTMLElement} */ (link).dataset;
  go(read(url.search), { chain: chain != null, replace: replace != null, name });
});
addEventListener("popstate", () => ctx.collections.length && show("pop"));
listen(ctx);
boot();

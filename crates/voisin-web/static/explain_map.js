// The map: visited lists' vectors, centroids and the query in a plane. Hits and missed ones can be walked through by the
// arrow keys; the nearest point under the pointer says what it is.
import { api } from "./api.js";
import { withQuery } from "./address.js";
import { h, put, s } from "./dom.js";
import { choices } from "./fields.js";
import { icon } from "./icons.js";
import { itemKey, items } from "./memory.js";
import { shortName } from "./cards.js";
import { OUT } from "./explain_missed.js";

const EDGE = 28;
/** A pointer further from every point than this (in units of the drawing) points at none. */
const REACH = 18;

const STATES = /** @type {Record<string, string>} */ ({
  hit: "found",
  missed: "missed",
  out: "left out",
  other: "compared",
});

/** The size of the drawing: on a phone a smaller one, so that points stay as large as fingers need. */
const room = () =>
  matchMedia("(max-width: 40rem)").matches ? { width: 480, height: 440 } : { width: 960, height: 600 };

/** Places points in the drawing, one scale for both axes. @param {any[]} points @param {{width: number, height: number}} size */
function layout(points, { width, height }) {
  const xs = points.map((p) => p.x);
  const ys = points.map((p) => p.y);
  const left = Math.min(...xs);
  const top = Math.min(...ys);
  const wide = Math.max(...xs) - left || 1;
  const high = Math.max(...ys) - top || 1;
  const scale = Math.min((width - 2 * EDGE) / wide, (height - 2 * EDGE) / high);
  const dx = (width - wide * scale) / 2;
  const dy = (height - high * scale) / 2;
  return points.map((p) => ({ ...p, px: dx + (p.x - left) * scale, py: height - dy - (p.y - top) * scale }));
}

/** What a point is, in words. @param {import("./app.js").Context} ctx @param {any} p */
function words(ctx, p) {
  if (p.kind === "query") return "The query";
  if (p.kind === "centroid") return `Centre of list ${p.list}, ${p.visited ? "visited" : "not visited"}`;
  const item = items.get(itemKey(ctx.facts.name, p.id));
  return [
    item ? shortName(item.name) : p.id,
    p.list != null && `list ${p.list}`,
    p.state === "other" && p.visited === false ? "not compared" : STATES[p.state],
  ]
    .filter(Boolean)
    .join(", ");
}

/** @param {any} p */
function shape(p) {
  const { px, py } = p;
  if (p.kind === "query")
    return s("path", {
      class: "p-query",
      d: `M${px} ${py - 13}L${px + 4} ${py - 4}L${px + 13} ${py}L${px + 4} ${py + 4}L${px} ${py + 13}L${px - 4} ${py + 4}L${px - 13} ${py}L${px - 4} ${py - 4}Z`,
    });
  if (p.kind === "centroid")
    return s("path", {
      class: p.visited ? "p-centroid" : "p-centroid far",
      d: `M${px - 5} ${py}H${px + 5}M${px} ${py - 5}V${py + 5}`,
    });
  if (p.state === "hit") return s("circle", { class: "p-hit", cx: px, cy: py, r: 6 });
  if (p.state === "missed" || p.state === "out")
    return s("path", {
      class: p.state === "out" ? "p-missed out" : "p-missed",
      d: `M${px} ${py - 8}L${px + 8} ${py}L${px} ${py + 8}L${px - 8} ${py}Z`,
    });
  return s("circle", { class: p.visited === false ? "p-other far" : "p-other", cx: px, cy: py, r: 2.6 });
}

/** @param {import("./app.js").Context} ctx @param {any} told */
export function mapStory(ctx, told) {
  const { map } = told;
  const size = room();
  // What a filter leaves out was never to be found.
  const out = new Set(
    told.missed.filter((/** @type {any} */ one) => OUT.has(one.reason)).map((/** @type {any} */ one) => one.id),
  );
  const points = layout(map.points, size).map((p) =>
    p.state === "missed" && out.has(p.id) ? { ...p, state: "out" } : p,
  );
  const order = (/** @type {any} */ p) =>
    p.kind === "query"
      ? 4
      : p.state === "missed" || p.state === "out"
        ? 3
        : p.state === "hit"
          ? 2
          : p.kind === "centroid"
            ? 1
            : 0;
  const sorted = [...points].sort((a, b) => order(a) - order(b));
  const stops = sorted.filter((p) => order(p) >= 2).sort((a, b) => order(b) - order(a));
  /** What is drawn of each list. @type {Map<number, Element[]>} */
  const lists = new Map();
  const ring = s("circle", { class: "p-ring", r: 12, visibility: "hidden" });
  const tip = h("div", { class: "map-tip", hidden: true });
  const list = (/** @type {string} */ state) => points.filter((p) => p.state === state).length;
  const drawing = s(
    "svg",
    {
      viewBox: `0 0 ${size.width} ${size.height}`,
      class: "map",
      role: "application",
      tabindex: "0",
      "aria-roledescription": "map",
      "aria-label": `Map of ${points.length} points: the query, ${list("hit")} found, ${list("missed")} missed${list("out") ? `, ${list("out")} left out` : ""}. Arrow keys go through them, Enter searches with one.`,
    },
    sorted.map((p) => {
      const drawn = shape(p);
      if (p.kind === "vector" && p.list != null)
        lists
          .set(p.list, lists.get(p.list) ?? [])
          .get(p.list)
          ?.push(drawn);
      return drawn;
    }),
    ring,
  );
  const said = h("p", { class: "unseen", role: "status" });
  const frame = h("div", { class: "map-frame" }, drawing, tip, said);
  let at = -1;
  /** @type {any} */
  let shown = null;

  /** @param {any} p */
  function show(p) {
    if (p === shown) return;
    for (const drawn of lists.get(shown?.list) ?? []) drawn.classList.remove("lit");
    shown = p;
    // A centre shows what lies in its list.
    if (p?.kind === "centroid") for (const drawn of lists.get(p.list) ?? []) drawn.classList.add("lit");
    if (!p) {
      tip.hidden = true;
      ring.setAttribute("visibility", "hidden");
      return;
    }
    ring.setAttribute("cx", p.px);
    ring.setAttribute("cy", p.py);
    ring.setAttribute("visibility", "visible");
    const img =
      p.kind === "vector" &&
      p.id != null &&
      ctx.facts.shows === "images" &&
      h("img", { src: api.thumbnail(ctx.facts.name, p.id), alt: "" });
    img && img.addEventListener("error", () => img.remove(), { once: true });
    const item = p.id != null && items.get(itemKey(ctx.facts.name, p.id));
    put(tip, img, h("span", null, words(ctx, p)), item?.text && h("span", { class: "quiet clamp" }, item.text));
    tip.hidden = false;
    tip.style.left = `${(p.px / size.width) * 100}%`;
    tip.style.top = `${(p.py / size.height) * 100}%`;
    tip.classList.toggle("to-left", p.px > size.width * 0.6);
    tip.classList.toggle("to-top", p.py > size.height * 0.55);
  }

  /** @param {PointerEvent} event */
  function under(event) {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * size.width;
    const y = ((event.clientY - box.top) / box.height) * size.height;
    let best = null;
    // Hits and missed ones are a little easier to meet than the many others.
    let least = Math.max(REACH, (REACH * size.width) / box.width / 1.5);
    for (const p of points) {
      const far = Math.hypot(p.px - x, p.py - y) - (order(p) >= 2 ? 5 : 0);
      if (far < least) [best, least] = [p, far];
    }
    return best;
  }
  /** @param {any} p */
  const search = (p) =>
    p?.id != null &&
    p.kind === "vector" &&
    ctx.facts.asks.id == null &&
    ctx.go({ ...withQuery(ctx.place, { id: p.id }), view: "results" }, { chain: true, name: p.id });

  drawing.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => show(under(event)));
  drawing.addEventListener("pointerleave", () => show(null));
  drawing.addEventListener("click", (/** @type {PointerEvent} */ event) => {
    const p = under(event);
    // With a finger the first touch tells, the second goes.
    if (event.pointerType === "touch" && shown !== p) return show(p);
    search(p);
  });
  drawing.addEventListener("blur", () => show(null));
  drawing.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by && stops.length) {
      event.preventDefault();
      at = (at + by + stops.length) % stops.length;
      show(stops[at]);
      said.textContent = words(ctx, stops[at]);
    }
    if (event.key === "Enter" && at >= 0) search(stops[at]);
    if (event.key === "Escape") show(null);
  });

  return h(
    "div",
    null,
    choices(
      "Laid out by",
      [
        ["pca", "PCA"],
        ["tsne", "t-SNE"],
      ],
      ctx.place.map,
      (way) => ctx.go({ ...ctx.place, map: /** @type {any} */ (way) }, { replace: true }),
    ),
    frame,
    h(
      "ul",
      { class: "legend row" },
      sample("p-query", "query"),
      sample("p-hit", "found"),
      list("missed") > 0 && sample("p-missed", "missed"),
      list("out") > 0 && sample("p-out", "left out"),
      points.some((p) => p.kind === "centroid") &&
        !told.graph && [sample("p-centroid", "centre of a list visited"), sample("p-centroid far", "not visited")],
      list("other") > 0 && sample("p-other", "compared"),
    ),
    ctx.facts.asks.id == null &&
      h("p", { class: "quiet small-words" }, icon("info", 16), " Choose a point to search with it."),
  );
}

/** @param {string} kind @param {string} name */
function sample(kind, name) {
  const point = {
    px: 12,
    py: 12,
    kind: kind.split(" ")[0].slice(2),
    state: kind.slice(2),
    visited: !kind.includes("far"),
  };
  return h(
    "li",
    null,
    s("svg", { viewBox: "-2 -2 28 28", width: 20, height: 20, "aria-hidden": "true" }, shape(point)),
    name,
  );
}

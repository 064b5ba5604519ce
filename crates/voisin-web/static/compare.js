// The index beside the comparison with every vector: what it missed, and what it put in the place.
import { announce, h, put } from "./dom.js";
import { card } from "./cards.js";
import { count, duration, percent, plural } from "./format.js";
import { icon } from "./icons.js";
import { openItem } from "./item_dialog.js";
import { byCodes, exactName, isGraph } from "./kinds.js";
import { range, reuse } from "./results.js";

const MISSED = { kind: "missed", sign: "minus", words: "missed" };
const EXTRA = { kind: "extra", sign: "plus", words: "extra" };

/** @param {import("./app.js").Context} ctx @param {any} found @param {Set<string>} others ids of the other side @param {any} mark */
function column(ctx, found, others, mark, /** @type {{title: string, id: string, span: any}} */ { title, id, span }) {
  const { facts } = ctx;
  const list = h("ol", { class: `grid tight ${facts.shows === "images" ? "" : "words"}` });
  const href = reuse(ctx);
  put(
    list,
    found.hits.map((/** @type {any} */ hit, /** @type {number} */ i) =>
      card(facts, hit, {
        metric: facts.metric,
        range: span,
        open: () => openItem(ctx, found.hits, i, { list, href, metric: facts.metric }),
        reuse: facts.asks.id == null ? href(hit) : undefined,
        mark: others.has(hit.id) ? undefined : mark,
      }),
    ),
  );
  const apart = found.hits.filter((/** @type {any} */ hit) => !others.has(hit.id)).length;
  return h(
    "section",
    { "aria-labelledby": id },
    h(
      "div",
      { class: "pair-head" },
      h("h3", { id }, title),
      h("p", { class: "big tabular" }, duration(found.seconds)),
      h(
        "p",
        { class: "quiet tabular" },
        `${plural(found.scanned, "vector")} compared${mark === MISSED && byCodes(facts) ? " by their codes" : ""}${mark === EXTRA && facts.nlist > 1 && !isGraph(facts) && found.lists ? `, ${count(found.lists)} of ${plural(facts.nlist, "list")}` : ""}`,
      ),
      h(
        "p",
        { class: "quiet" },
        apart === 0 ? "The same on both sides" : [icon(mark.sign, 14), ` ${count(apart)} ${mark.words}`],
      ),
    ),
    list,
  );
}

/** @param {HTMLElement} root @param {import("./app.js").Context} ctx @param {any} answer */
export function compareView(root, ctx, answer) {
  const { approximate, exact, recall } = answer;
  const k = exact.hits.length;
  const ids = (/** @type {any} */ found) => new Set(found.hits.map((/** @type {any} */ hit) => hit.id));
  const span = range([...approximate.hits, ...exact.hits]);
  const ratio = exact.seconds / approximate.seconds;
  const faster = !Number.isFinite(ratio)
    ? ""
    : ratio >= 1.05
      ? `${ratio < 10 ? ratio.toFixed(1) : Math.round(ratio)} times as fast as comparing everything`
      : ratio > 0.95
        ? "as fast as comparing everything"
        : "slower than comparing everything, as it may be in a small collection";
  const text = `Recall@${k} ${percent(recall)}: ${count(Math.round(recall * k))} of the ${count(k)} true neighbours were found, ${duration(approximate.seconds)} against ${duration(exact.seconds)}`;
  announce(text);
  const meter = h("span");
  meter.style.width = `${recall * 100}%`;
  const { facts } = ctx;
  put(
    root,
    h(
      "div",
      { class: "recall" },
      h("p", { class: "big tabular" }, percent(recall)),
      h(
        "div",
        null,
        h(
          "p",
          null,
          h("strong", null, `Recall@${k}`),
          `: ${count(Math.round(recall * k))} of the ${count(k)} true neighbours were found${faster ? `, ${faster}` : ""}.`,
        ),
        h("div", { class: "meter", "aria-hidden": "true" }, meter),
        recall < 1 &&
          h(
            "p",
            { class: "legend" },
            h("span", { class: "mark-sample missed" }, icon("minus", 14), "missed"),
            " a true neighbour that the index did not find ",
            h("span", { class: "mark-sample extra" }, icon("plus", 14), "extra"),
            " what it found in its place",
          ),
      ),
    ),
    h(
      "div",
      { class: "pair" },
      column(ctx, approximate, ids(exact), EXTRA, { title: "By the index", id: "pair-index", span }),
      column(ctx, exact, ids(approximate), MISSED, { title: exactName(facts), id: "pair-exact", span }),
    ),
  );
}

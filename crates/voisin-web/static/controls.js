// How to search: how many, how thoroughly, of which class. A change searches again.
import { DEFAULT_K, neighbours } from "./address.js";
import { fresh, h, put } from "./dom.js";
import { choices, scale, slider } from "./fields.js";
import { count, plural, percent, withoutFlags } from "./format.js";
import { icon } from "./icons.js";
import { byCodes, comparesAll, exactName, isGraph, mostNeighbours } from "./kinds.js";
import { chooseK } from "./memory.js";

/** How long a slider must rest before it searches. */
const REST = 180;
const KS = [1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1000];
/** The most vectors kept during the walk through a graph. */
const MOST_EF = 512;
const RECALLS = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99];

/**
 * @param {HTMLElement} root @param {import("./app.js").Context} ctx
 * @returns {{update: () => void, leave: () => void}}
 */
export function mountControls(root, ctx) {
  const { facts } = ctx;
  /** @type {any} */
  let timer = 0;
  let drawn = "";
  let sliding = false;
  const wide = matchMedia("(min-width: 60rem)");
  const summary = h("span", { class: "fold-now" });
  const box = h("div", { class: "controls" });
  const details = h(
    "details",
    { class: "controls-fold" },
    h(
      "summary",
      null,
      icon("sliders"),
      h("span", { class: "fold-words" }, h("span", { class: "fold-title" }, "How to search"), summary),
      icon("down", 18),
    ),
    box,
  );
  const fold = () => (details.open = wide.matches);
  wide.addEventListener("change", fold);
  fold();
  put(root, details);

  /** @param {Partial<import("./address.js").Place>} change @param {boolean} [now] */
  const change = (change, now = false) => {
    clearTimeout(timer);
    const move = () => {
      sliding = !now;
      ctx.go({ ...ctx.place, ...change }, { replace: true });
      sliding = false;
    };
    if (now) move();
    else timer = setTimeout(move, REST);
  };

  const walk = () => {
    const { place } = ctx;
    const k = neighbours(place, facts);
    // Fewer than are asked for cannot be kept.
    const values = [...new Set([k, ...scale(MOST_EF).filter((ef) => ef > k && ef <= MOST_EF)])];
    return h(
      "div",
      { class: place.exact ? "off" : null },
      slider({
        label: "How thoroughly",
        values,
        value: Math.max(k, place.ef ?? facts.ef),
        words: (ef) => `${count(ef)} kept`,
        take: (ef) => change({ ef }),
        hint: "The walk through the graph keeps so many of the best. More find more of the true neighbours and take longer.",
      }),
    );
  };

  function thoroughness() {
    const { place } = ctx;
    if (isGraph(facts)) return walk();
    if (facts.nlist <= 1)
      return h(
        "p",
        { class: "control quiet small-words" },
        comparesAll(facts) ? "Every vector is compared: nothing is missed." : "Every vector is compared, by its code.",
      );
    const byRecall = facts.recall_targets && place.recall != null && place.nprobe == null;
    const kinds =
      facts.recall_targets &&
      choices(
        "How thoroughly",
        [
          ["lists", "Lists"],
          ["recall", "Recall"],
        ],
        byRecall ? "recall" : "lists",
        (kind) =>
          change(kind === "recall" ? { nprobe: null, recall: 0.9 } : { nprobe: facts.nprobe, recall: null }, true),
      );
    const words = (/** @type {number} */ lists) => `${count(lists)} of ${count(facts.nlist)}`;
    return h(
      "div",
      { class: place.exact ? "off" : null },
      kinds,
      byRecall
        ? slider({
            label: "Recall aimed at",
            values: RECALLS,
            value: place.recall ?? 0.9,
            words: (recall) => percent(recall),
            take: (recall) => change({ recall, nprobe: null }),
            hint: "As many lists are visited as this takes.",
          })
        : slider({
            label: "Lists visited",
            values: scale(facts.nlist),
            value: Math.min(place.nprobe ?? facts.nprobe, facts.nlist),
            words,
            take: (nprobe) => change({ nprobe, recall: null }),
            hint: "More lists find more of the true neighbours and take longer.",
          }),
    );
  }

  function draw() {
    const { place } = ctx;
    const classId = fresh("class");
    const exactId = fresh("exact");
    const most = mostNeighbours(facts, place.id);
    put(
      box,
      slider({
        label: "Neighbours",
        values: [...KS.filter((k) => k < most), most],
        value: neighbours(place, facts),
        words: count,
        take: (k) => {
          chooseK(k === DEFAULT_K ? null : k);
          change({ k });
        },
      }),
      thoroughness(),
      facts.classes.length > 1 &&
        h(
          "div",
          { class: "control" },
          h("label", { for: classId }, "Class"),
          h(
            "select",
            {
              id: classId,
              on: { change: (/** @type {any} */ event) => change({ label: event.target.value || null }, true) },
            },
            h("option", { value: "" }, "All classes"),
            facts.classes.map((/** @type {any} */ one) =>
              h(
                "option",
                { value: one.label, selected: one.label === place.label },
                `${one.label} (${count(one.count)})`,
              ),
            ),
          ),
        ),
      place.view === "results" &&
        !comparesAll(facts) &&
        h(
          "div",
          { class: "control" },
          h(
            "div",
            { class: "control-head" },
            h("label", { for: exactId }, exactName(facts)),
            h("input", {
              id: exactId,
              type: "checkbox",
              role: "switch",
              class: "switch",
              checked: place.exact,
              disabled: facts.asks.exact != null,
              on: { change: (/** @type {any} */ event) => change({ exact: event.target.checked }, true) },
            }),
          ),
          h(
            "p",
            { class: "quiet small-words" },
            facts.asks.exact != null
              ? withoutFlags(facts.asks.exact)
              : byCodes(facts)
                ? "Compares the code of every vector: slower, and what the codes lose stays lost."
                : "Compares every vector: slower, and nothing is missed.",
          ),
        ),
      h(
        "button",
        {
          type: "button",
          class: "plain",
          on: {
            click: () => {
              chooseK(null);
              change({ k: null, nprobe: null, recall: null, ef: null, label: null, exact: false }, true);
            },
          },
        },
        icon("reset", 18),
        "Reset",
      ),
    );
  }

  /** What the settings are, apart from the query. */
  const key = () =>
    JSON.stringify([
      ctx.place.k,
      ctx.place.nprobe,
      ctx.place.recall,
      ctx.place.ef,
      ctx.place.label,
      ctx.place.exact,
      ctx.place.view === "results",
    ]);

  function update() {
    const { place } = ctx;
    const thorough = place.exact
      ? "exact"
      : isGraph(facts)
        ? place.ef
          ? `${count(place.ef)} kept`
          : null
        : facts.nlist <= 1
          ? null
          : place.nprobe == null && place.recall != null
            ? `recall ${percent(place.recall)}`
            : plural(Math.min(place.nprobe ?? facts.nprobe, facts.nlist), "list");
    summary.textContent = [`${plural(neighbours(place, facts), "neighbour")}`, thorough, place.label]
      .filter(Boolean)
      .join(", ");
    if (key() === drawn) return;
    drawn = key();
    // A slider is not replaced under the hand that holds it: it shows its value already.
    if (sliding) return;
    const held = [...box.querySelectorAll("input, select, button")].indexOf(
      /** @type {any} */ (document.activeElement),
    );
    draw();
    if (held >= 0)
      /** @type {any} */ (box.querySelectorAll("input, select, button")[held])?.focus({ preventScroll: true });
  }
  return { update, leave: () => clearTimeout(timer) };
}

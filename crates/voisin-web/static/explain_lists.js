// The lists in the order of the query, as a table whose cells draw themselves.
import { h, put } from "./dom.js";
import { count, percent, short } from "./format.js";
import { icon } from "./icons.js";

/** Rows shown before one is asked for the rest. */
const FIRST = 12;

/** A bar of a share of the widest. @param {number} share @param {string} kind */
function bar(share, kind) {
  const fill = h("span", { class: `bar-fill ${kind}` });
  fill.style.width = `${Math.max(share > 0 ? 1.5 : 0, share * 100)}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}

/** The most dots that are drawn. */
const DOTS = 10;

/** Up to ten dots for things that are counted. @param {number} n @param {string} kind */
const dots = (n, kind) =>
  n > 0 &&
  h(
    "span",
    { class: `dots ${kind}`, "aria-hidden": "true" },
    Array.from({ length: Math.min(DOTS, n) }, () => h("span")),
    n > DOTS ? "+" : "",
  );

/** @param {any} told @param {boolean} logits whether probabilities are known */
export function listsTable(told, logits) {
  const rows = [
    ...told.lists.map((/** @type {any} */ one) => ({ ...one, visited: true })),
    ...(told.not_visited ?? []),
  ];
  const most = Math.max(...rows.map((one) => one.size), 1);
  const likely = Math.max(...rows.map((one) => one.probability ?? 0), 1e-12);
  /** @param {any} one */
  const row = (one) =>
    h(
      "tr",
      { class: one.visited ? null : "not-visited" },
      h(
        "th",
        { scope: "row", class: "tabular" },
        one.order,
        !one.visited && h("span", { class: "tag" }, icon("minus", 12), "not visited"),
      ),
      h("td", { class: "tabular narrow-off" }, `#${one.list}`),
      logits &&
        h(
          "td",
          { class: "wide-cell" },
          bar((one.probability ?? 0) / likely, "soft"),
          h("span", { class: "tabular" }, one.probability == null ? "" : percent(one.probability)),
        ),
      h("td", { class: "tabular narrow-off" }, short(one.score)),
      h(
        "td",
        { class: "wide-cell" },
        bar(one.size / most, one.visited ? "full" : "empty"),
        h("span", { class: "tabular" }, count(one.size)),
      ),
      h("td", { class: "tabular" }, one.visited ? count(one.hits ?? 0) : "\u2013", dots(one.hits ?? 0, "hit")),
      h("td", { class: "tabular" }, count(one.true ?? 0), dots(one.true ?? 0, one.visited ? "true" : "missed")),
    );
  const visited = rows.filter((one) => one.visited);
  const others = rows.filter((one) => !one.visited);
  const body = h("tbody");
  const fold = h("p");
  const draw = (/** @type {boolean} */ all) => {
    put(body, (all ? visited : visited.slice(0, FIRST)).map(row), others.map(row));
    put(
      fold,
      !all &&
        visited.length > FIRST &&
        h(
          "button",
          { type: "button", class: "plain", on: { click: () => draw(true) } },
          icon("down", 18),
          `Show all ${count(visited.length)} visited lists`,
        ),
    );
  };
  draw(false);
  const many = rows.some((one) => Math.max(one.hits ?? 0, one.true ?? 0) > DOTS);
  return h(
    "div",
    null,
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Lists in the order of the query" },
      h(
        "table",
        { class: "lists" },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            h("th", { scope: "col" }, "Order"),
            h("th", { scope: "col", class: "narrow-off" }, "List"),
            logits && h("th", { scope: "col" }, "Probability"),
            h("th", { scope: "col", class: "narrow-off" }, "Score"),
            h("th", { scope: "col" }, "Vectors"),
            h("th", { scope: "col" }, "Found"),
            h("th", { scope: "col" }, "True"),
          ),
        ),
        body,
      ),
    ),
    fold,
    many && h("p", { class: "quiet small-words" }, `A dot is a neighbour; + stands for those after the first ${DOTS}.`),
  );
}

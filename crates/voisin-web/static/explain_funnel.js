// How many were left after each step. Bars are as long as the share of all; the style keeps the least in sight.
import { h } from "./dom.js";
import { count, percent } from "./format.js";
import { hasCodes } from "./kinds.js";

/** Whether more was ranked again than was found: where it is the same, nothing was narrowed down. @param {any} told */
export const refines = ({ spec, counts }) =>
  counts.refined > counts.found && (hasCodes(spec) || /Refine/i.test(spec ?? ""));

/** @param {any} told */
export function funnel(told) {
  const { n, counts } = told;
  // A walk may meet a vector on more than one level.
  const compared = told.graph
    ? counts.scanned === 1
      ? "comparison"
      : "comparisons"
    : hasCodes(told.spec)
      ? "compared by their codes"
      : "compared";
  const stages = [
    { name: "stored", value: n, words: "vectors in the collection" },
    { name: "compared", value: counts.scanned, words: compared },
    { name: "candidates", value: counts.candidates, words: "good enough to look at again" },
    { name: "refined", value: counts.refined, words: "ranked again by better vectors" },
    { name: "found", value: counts.found, words: "are the answer" },
  ].filter((stage) => {
    // Without a refinement the candidates are what was found; with one they are what was refined.
    if (stage.name === "refined") return refines(told);
    if (stage.name === "candidates")
      return (
        counts.candidates > 0 && counts.candidates !== (refines(told) ? counts.refined : counts.found) && !told.graph
      );
    return stage.value != null;
  });
  return h(
    "ol",
    { class: "funnel" },
    stages.map((stage) => {
      const bar = h("span", { class: `funnel-bar ${stage.name}` });
      bar.style.width = `${Math.min(1, stage.value / Math.max(1, n)) * 100}%`;
      return h(
        "li",
        null,
        h(
          "span",
          { class: "funnel-words" },
          h("strong", { class: "tabular" }, count(stage.value)),
          ` ${stage.words}`,
          stage.name !== "stored" &&
            n > 0 &&
            stage.value <= n &&
            h("span", { class: "quiet tabular" }, ` (${percent(stage.value / n)})`),
        ),
        h("span", { class: "bar", "aria-hidden": "true" }, bar),
      );
    }),
  );
}

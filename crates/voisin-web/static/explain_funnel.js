// How many were left after each step. Bars are as long as the logarithm, else the last would not be seen.
import { h } from "./dom.js";
import { count, percent } from "./format.js";

/** @param {any} told */
export function funnel(told) {
  const { n, counts } = told;
  const stages = [
    { name: "stored", value: n, words: "vectors in the collection" },
    { name: "compared", value: counts.scanned, words: counts.refined > 0 ? "compared by their codes" : "compared" },
    { name: "candidates", value: counts.candidates, words: "good enough to look at again" },
    { name: "refined", value: counts.refined, words: "ranked again by better vectors" },
    { name: "found", value: counts.found, words: "are the answer" },
  ].filter((stage) => {
    // Without a refinement the candidates are what was found; with one they are what was refined.
    if (stage.name === "refined") return counts.refined > 0 && counts.refined !== counts.found;
    if (stage.name === "candidates")
      return counts.candidates > 0 && counts.candidates !== (counts.refined || counts.found);
    return stage.value != null;
  });
  const most = Math.log(Math.max(2, n + 1));
  return h(
    "ol",
    { class: "funnel" },
    stages.map((stage) => {
      const bar = h("span", { class: `funnel-bar ${stage.name}` });
      bar.style.width = `${Math.min(100, Math.max(2, (Math.log(stage.value + 1) / most) * 100))}%`;
      return h(
        "li",
        null,
        h(
          "span",
          { class: "funnel-words" },
          h("strong", { class: "tabular" }, count(stage.value)),
          ` ${stage.words}`,
          stage.name !== "stored" && n > 0 && h("span", { class: "quiet tabular" }, ` (${percent(stage.value / n)})`),
        ),
        h("span", { class: "bar", "aria-hidden": "true" }, bar),
      );
    }),
  );
}

// Fields with a value among chosen ones: a slider, a row of radio buttons.
import { fresh, h } from "./dom.js";

/** Whole numbers from 1 to n, each about a fifth more than the one before. @param {number} n */
export function scale(n) {
  const out = [1];
  while (out[out.length - 1] < n)
    out.push(Math.min(n, Math.max(out[out.length - 1] + 1, Math.round(out[out.length - 1] * 1.2))));
  return out;
}

/** The place of the nearest value. @param {number[]} values @param {number} value */
const nearest = (values, value) =>
  values.reduce((best, one, i) => (Math.abs(one - value) < Math.abs(values[best] - value) ? i : best), 0);

/**
 * A slider over chosen values.
 * @param {{label: string, hint?: string, values: number[], value: number, words: (value: number) => string, take: (value: number) => void}} what
 */
export function slider({ label, hint, values, value, words, take }) {
  const id = fresh("slider");
  // A value that came by the address stands among the chosen ones as it is.
  const all = values.includes(value) ? values : [...values, value].sort((a, b) => a - b);
  const output = h("output", { for: id, class: "tabular" }, words(value));
  const input = h("input", {
    id,
    type: "range",
    min: 0,
    max: all.length - 1,
    step: 1,
    value: nearest(all, value),
    "aria-valuetext": words(value),
    "aria-describedby": hint ? `${id}-hint` : null,
  });
  const paint = () =>
    input.style.setProperty("--share", `${(Number(input.value) / Math.max(1, all.length - 1)) * 100}%`);
  input.addEventListener("input", () => {
    const now = all[Number(input.value)];
    output.textContent = words(now);
    input.setAttribute("aria-valuetext", words(now));
    paint();
    take(now);
  });
  paint();
  return h(
    "div",
    { class: "control" },
    h("div", { class: "control-head" }, h("label", { for: id }, label), output),
    input,
    hint && h("p", { id: `${id}-hint`, class: "quiet small-words" }, hint),
  );
}

/** Radio buttons in one row. @param {string} legend @param {string[][]} all value, words @param {string} value @param {(value: string) => void} take */
export function choices(legend, all, value, take) {
  const name = fresh("choice");
  return h(
    "fieldset",
    { class: "choices" },
    h("legend", null, legend),
    h(
      "div",
      { class: "choices-row" },
      all.map(([one, words]) =>
        h(
          "label",
          null,
          h("input", { type: "radio", name, value: one, checked: one === value, on: { change: () => take(one) } }),
          h("span", null, words),
        ),
      ),
    ),
  );
}

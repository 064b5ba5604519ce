// The bar above and the line below: which collection, which colours, which version.
import { announce, fresh, h, put } from "./dom.js";
import { icon } from "./icons.js";
import { changeCollection } from "./intake.js";
import { count } from "./format.js";

const THEMES = [
  { name: "auto", words: "as the system", icon: "auto" },
  { name: "light", words: "light", icon: "sun" },
  { name: "dark", words: "dark", icon: "moon" },
];

/** A button that goes through the colours: as the system, light, dark. */
function themeButton() {
  const button = h("button", { class: "plain round", type: "button" });
  const now = () => document.documentElement.dataset.theme ?? "auto";
  const draw = () => {
    const at = THEMES.findIndex((one) => one.name === now());
    const next = THEMES[(at + 1) % THEMES.length];
    put(button, icon(THEMES[at].icon));
    const words = `Colours: ${THEMES[at].words}. Change to ${next.words}.`;
    button.setAttribute("aria-label", words);
    button.title = words;
    return next;
  };
  button.addEventListener("click", () => {
    const next = draw();
    if (next.name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next.name;
    try {
      if (next.name === "auto") localStorage.removeItem("voisin:theme");
      else localStorage.setItem("voisin:theme", next.name);
    } catch {
      // Storage may be forbidden: the colours last as long as the page.
    }
    draw();
    announce(`Colours: ${next.words}`);
  });
  draw();
  return button;
}

let drawn = "";

/** @param {import("./app.js").Context} ctx */
export function tools(ctx) {
  const key = `${ctx.collections.map((one) => one.name).join("/")}|${ctx.facts?.name}`;
  if (key === drawn) return;
  drawn = key;
  const root = /** @type {HTMLElement} */ (document.getElementById("masthead-tools"));
  const id = fresh("collection");
  const choose =
    ctx.collections.length > 1 &&
    h(
      "div",
      { class: "pick" },
      h("label", { for: id, class: "unseen" }, "Collection"),
      h(
        "select",
        { id, on: { change: (/** @type {any} */ event) => changeCollection(ctx, event.target.value) } },
        !ctx.facts && h("option", { value: "", selected: true }, "Choose a collection"),
        ctx.collections.map((one) =>
          h("option", { value: one.name, selected: one.name === ctx.facts?.name }, `${one.name} (${count(one.n)})`),
        ),
      ),
    );
  put(root, choose, themeButton());
}

/** @param {import("./app.js").Context} ctx */
export function foot(ctx) {
  put(
    /** @type {HTMLElement} */ (document.getElementById("foot")),
    h("p", null, `voisin ${ctx.version}`),
    h("p", null, h("a", { href: "/api/openapi.json" }, "API"), " ", h("a", { href: "/metrics" }, "Metrics")),
  );
}

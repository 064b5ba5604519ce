// The start of a collection: what it is, how to ask it, some examples, and all of it to browse.
import { api } from "./api.js";
import { askBar } from "./ask.js";
import { begin, withQuery, write } from "./address.js";
import { h, put } from "./dom.js";
import { count, plural, sentence, withoutFlags } from "./format.js";
import { mountGallery } from "./gallery.js";
import { icon } from "./icons.js";
import { byCodes, hasCodes, isGraph } from "./kinds.js";
import { learn } from "./memory.js";
import { failure } from "./states.js";
import { picture } from "./cards.js";

const TITLES = /** @type {Record<string, string>} */ ({
  images: "What looks like this?",
  texts: "What is close to this?",
  ids: "Whose neighbours?",
});
const EXAMPLES = 8;

/** The seed of the examples lasts as long as the page, so that going back shows the same. */
let seed = Math.floor(Math.random() * 1e6);

/** @param {any} facts */
function metricWords(facts) {
  return (
    { l2: "Euclidean distance", ip: "inner product", cosine: "cosine" }[/** @type {"l2"} */ (facts.metric)] ??
    facts.metric
  );
}

/** What the collection is, and what it cannot do and why. @param {any} facts */
export function about(facts) {
  const ways = [
    ["image", "search by image"],
    ["text", "search by text"],
    ["id", "search by item"],
    ["exact", "exact comparison"],
    ["explain", "explanation"],
  ];
  /** What is not possible, by the reason why: often it is one. @type {Map<string, string[]>} */
  const reasons = new Map();
  for (const [way, words] of ways)
    if (facts.asks[way] != null) reasons.set(facts.asks[way], [...(reasons.get(facts.asks[way]) ?? []), words]);
  const row = (/** @type {string} */ name, /** @type {any} */ value) =>
    value && [h("dt", null, name), h("dd", null, value)];
  return h(
    "details",
    { class: "about" },
    h("summary", null, icon("info"), h("span", null, "About this collection")),
    h(
      "dl",
      { class: "facts" },
      row("Vectors", `${count(facts.n)} of ${plural(facts.d, "dimension")}`),
      row("Compared by", metricWords(facts)),
      row("Index", h("code", null, facts.spec)),
      row(
        "Lists",
        facts.nlist > 1
          ? `${count(facts.nlist)}, of which ${count(facts.nprobe)} ${facts.nprobe === 1 ? "is" : "are"} visited unless you choose`
          : isGraph(facts)
            ? "none: the index is a graph"
            : `one: every vector is compared${hasCodes(facts.spec) ? " by its code" : ""}`,
      ),
      row("Vectors made by", facts.made_by),
      row("Exact comparison", byCodes(facts) && "by codes: the vectors as they were are not here"),
      facts.notes
        .filter((/** @type {string} */ note) => !reasons.has(note))
        .map((/** @type {string} */ note) => row("Note", sentence(note))),
      [...reasons].map(([why, ways]) => row("Not possible", `${sentence(`${ways.join(", ")} `)} ${sentence(why)}`)),
    ),
  );
}

/** @param {any} facts */
function notes(facts) {
  return (
    facts.notes.length > 0 &&
    h(
      "ul",
      { class: "notes", "aria-label": "Notes" },
      facts.notes
        .map(withoutFlags)
        .filter(Boolean)
        .map((/** @type {string} */ note) => h("li", null, icon("info", 18), h("span", null, note))),
    )
  );
}

/** @param {import("./app.js").Context} ctx */
function examples(ctx) {
  const list = h("ul", { class: ctx.facts.shows === "images" ? "examples" : "examples words" });
  const draw = async () => {
    try {
      const { items } = await api.items({ collection: ctx.facts.name, limit: EXAMPLES, seed });
      learn(ctx.facts.name, items);
      put(
        list,
        items.map((/** @type {any} */ item) =>
          h(
            "li",
            null,
            h(
              "a",
              {
                class: "example",
                href: write(withQuery(begin(ctx.facts.name), { id: item.id })),
                data: { name: item.name },
                title: item.name,
              },
              picture(ctx.facts, item, 256),
              !item.image && h("span", { class: "example-words" }, item.text ?? item.name),
              item.image && h("span", { class: "unseen" }, `Search with ${item.name}`),
            ),
          ),
        ),
      );
    } catch (error) {
      put(list, h("li", null, failure(error, draw)));
    }
  };
  draw();
  const again = h(
    "button",
    {
      type: "button",
      class: "plain",
      on: {
        click: () => {
          seed = Math.floor(Math.random() * 1e6);
          draw();
        },
      },
    },
    icon("shuffle"),
    "Others",
  );
  return h(
    "section",
    { class: "block", "aria-labelledby": "examples-title" },
    h("div", { class: "block-head" }, h("h2", { id: "examples-title" }, "Try one of these"), again),
    list,
  );
}

/**
 * @param {HTMLElement} root @param {import("./app.js").Context} ctx @param {string} why
 * @returns {{update: (before: any, why: string) => void, leave: () => void}}
 */
export function mountStart(root, ctx, why) {
  const { facts } = ctx;
  document.title = `${facts.name} \u00b7 voisin`;
  // Where only items can be asked, one of them is to be chosen.
  const only = facts.shows !== "ids" && facts.asks.image != null && facts.asks.text != null && facts.asks.id == null;
  const title = h(
    "h1",
    { tabindex: "-1" },
    only ? "Choose one to find its neighbours" : (TITLES[facts.shows] ?? TITLES.ids),
  );
  const gallery = h("section", { class: "block", "aria-labelledby": "gallery-title" });
  put(
    root,
    h(
      "div",
      { class: "hero" },
      title,
      h(
        "p",
        { class: "lead" },
        `${facts.name}: ${plural(facts.n, { images: "image", texts: "text", ids: "item" }[/** @type {"ids"} */ (facts.shows)] ?? "item")}${facts.classes.length > 1 ? ` in ${plural(facts.classes.length, "class", "classes")}` : ""}.`,
      ),
      askBar(ctx, true),
      notes(facts),
    ),
    facts.n > 0 && facts.asks.id == null && examples(ctx),
    gallery,
    about(facts),
  );
  const { update, leave } = mountGallery(gallery, ctx);
  if ((why === "push" || why === "pop") && !gallery.contains(document.activeElement))
    title.focus({ preventScroll: true });
  return { update: () => update(), leave };
}

// All items of a collection, by class, a page at a time.
import { api } from "./api.js";
import { begin, read, write } from "./address.js";
import { announce, focusCard, fresh, h, put } from "./dom.js";
import { card } from "./cards.js";
import { openItem } from "./item_dialog.js";
import { count, plural } from "./format.js";
import { galleries, learn } from "./memory.js";
import { failure, message, skeleton } from "./states.js";

const PAGE = 60;
/** More classes than this are chosen from a list instead of a row of links. */
const ROW = 14;

/** @param {import("./app.js").Context} ctx */
function filter(ctx) {
  const { classes, name, n } = ctx.facts;
  if (classes.length < 2) return null;
  const to = (/** @type {string | null} */ label) => ({ ...read(""), c: name, label });
  if (classes.length > ROW) {
    const id = fresh("class");
    return h(
      "div",
      { class: "pick" },
      h("label", { for: id }, "Class"),
      h(
        "select",
        { id, on: { change: (/** @type {any} */ event) => ctx.go(to(event.target.value || null)) } },
        h("option", { value: "" }, `All (${count(n)})`),
        classes.map((/** @type {any} */ one) =>
          h(
            "option",
            { value: one.label, selected: one.label === ctx.place.label },
            `${one.label} (${count(one.count)})`,
          ),
        ),
      ),
    );
  }
  const link = (/** @type {string | null} */ label, /** @type {string} */ words, /** @type {number} */ items) =>
    h(
      "li",
      null,
      h(
        "a",
        { class: "chip", href: write(to(label)), "aria-current": ctx.place.label === label ? "true" : null },
        words,
        h("span", { class: "chip-count" }, count(items)),
      ),
    );
  return h(
    "nav",
    { "aria-label": "Classes" },
    h(
      "ul",
      { class: "chips" },
      link(null, "All", n),
      classes.map((/** @type {any} */ one) => link(one.label, one.label, one.count)),
    ),
  );
}

/**
 * @param {HTMLElement} root @param {import("./app.js").Context} ctx
 * @returns {{update: () => void, leave: () => void}}
 */
export function mountGallery(root, ctx) {
  const { facts } = ctx;
  const room = h("div");
  const head = h("div");
  const list = h("ul", { class: facts.shows === "images" ? "grid" : "grid words" });
  const foot = h("div", { class: "more" });
  /** @type {any[]} */
  let shown = [];
  /** @type {AbortController | null} */
  let asking = null;
  let stop = () => {};
  put(root, h("div", { class: "block-head" }, h("h2", { id: "gallery-title" }, "Browse"), head), room);

  const key = () => `${facts.name}\n${ctx.place.label ?? ""}`;
  const place = (/** @type {any} */ item) => write({ ...begin(facts.name), id: item.id });
  const cards = (/** @type {any[]} */ items, /** @type {number} */ from) =>
    items.map((item, i) =>
      card(facts, item, {
        open: () => openItem(ctx, shown, from + i, { list, href: place }),
        reuse: facts.asks.id == null ? place(item) : undefined,
      }),
    );

  /** @param {number} total */
  const more = (total) =>
    put(
      foot,
      h("p", { class: "quiet tabular" }, `${count(shown.length)} of ${count(total)}`),
      shown.length < total &&
        h(
          "button",
          { type: "button", class: "soft", on: { click: () => fetchPage(false) } },
          `Show ${count(Math.min(PAGE, total - shown.length))} more`,
        ),
    );

  /** @param {boolean} first */
  async function fetchPage(first) {
    asking?.abort();
    stop();
    asking = new AbortController();
    const { signal } = asking;
    stop = first ? skeleton(room, "grid") : () => {};
    try {
      const page = await api.items(
        { collection: facts.name, label: ctx.place.label, offset: first ? 0 : shown.length, limit: PAGE },
        signal,
      );
      stop();
      learn(facts.name, page.items);
      const from = first ? 0 : shown.length;
      shown = first ? page.items : [...shown, ...page.items];
      galleries.set(key(), { shown, total: page.total });
      draw(page.items, from, page.total);
      if (!first) {
        announce(`${plural(page.items.length, "more item")}`);
        /** @type {any} */ (list.children[from]?.querySelector("button"))?.focus({ preventScroll: true });
      }
    } catch (error) {
      if (signal.aborted) return;
      stop();
      put(
        first ? room : foot,
        failure(error, () => fetchPage(first)),
      );
    }
  }

  /** @param {any[]} items @param {number} from @param {number} total */
  function draw(items, from, total) {
    if (total === 0) {
      put(
        room,
        message({
          title: "Nothing here",
          text: ctx.place.label ? `No item has the class \u201c${ctx.place.label}\u201d.` : "This collection is empty.",
        }),
      );
      return;
    }
    if (from === 0) {
      put(list);
      put(room, list, foot);
    }
    list.append(...cards(items, from));
    if (ctx.back != null && focusCard(list, ctx.back)) ctx.back = null;
    more(total);
  }

  function update() {
    const held = head.contains(document.activeElement);
    put(head, filter(ctx));
    if (held) /** @type {any} */ (head.querySelector("[aria-current], select"))?.focus({ preventScroll: true });
    asking?.abort();
    stop();
    const kept = galleries.get(key());
    shown = kept?.shown ?? [];
    if (kept) draw(kept.shown, 0, kept.total);
    else fetchPage(true);
  }
  update();
  const leave = () => {
    asking?.abort();
    stop();
  };
  return { update, leave };
}

// One item, large: everything known of it, and where to go from it. Arrow keys go through the list that it stands in.
import { api } from "./api.js";
import { announce, h, put } from "./dom.js";
import { open } from "./dialogs.js";
import { short, scoreName, percent } from "./format.js";
import { icon } from "./icons.js";
import { searchPart } from "./intake.js";
import { cut, shortName } from "./cards.js";

/** What an item's file is saved as: files of one name in two folders have two. @param {any} item */
const fileName = ({ name, label }) =>
  [label, shortName(name)]
    .filter(Boolean)
    .map((part) => part.replace(/[/\\:]+/g, "-"))
    .join("-");

/**
 * @param {import("./app.js").Context} ctx
 * @param {any[]} items the list it stands in
 * @param {number} at its place there
 * @param {{list?: Element | null, href: (item: any) => string, metric?: string}} how
 *   `list` holds the cards (the last one looked at gets the focus), `href` is the address of the search with an item
 */
export function openItem(ctx, items, at, { list, href, metric }) {
  const { facts } = ctx;
  const body = h("div", { class: "item" });
  const place = h("span", { class: "quiet tabular" });
  let now = at;

  /** @param {number} by */
  const go = (by) => {
    const next = now + by;
    if (next < 0 || next >= items.length) return;
    now = next;
    draw();
    announce(`${shortName(items[now].name)}, ${now + 1} of ${items.length}`);
  };
  /** Heard on the whole page: the focus may be in the browser's own bar. @param {KeyboardEvent} event */
  const arrows = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  };
  const before = h(
    "button",
    {
      type: "button",
      class: "plain round",
      "aria-label": "Previous (left arrow)",
      title: "Previous (left arrow)",
      on: { click: () => go(-1) },
    },
    icon("left"),
  );
  const after = h(
    "button",
    {
      type: "button",
      class: "plain round",
      "aria-label": "Next (right arrow)",
      title: "Next (right arrow)",
      on: { click: () => go(1) },
    },
    icon("right"),
  );

  const dialog = open({
    title: shortName(items[at].name),
    body,
    className: "wide",
    head: h("div", { class: "row tight" }, before, place, after),
    onClose: () => {
      document.removeEventListener("keydown", arrows);
      if (
        !document.activeElement ||
        document.activeElement === document.body ||
        list?.contains(document.activeElement)
      ) {
        const card = [...(list?.children ?? [])].find((/** @type {any} */ one) => one.dataset.id === items[now].id);
        /** @type {any} */ (card?.querySelector("button"))?.focus();
      }
    },
  });
  document.addEventListener("keydown", arrows);
  // The search that a link inside leads to closes the dialog; where the focus goes is that view's matter.
  dialog.addEventListener(
    "click",
    (event) => /** @type {Element} */ (event.target).closest("a[href^='/?']") && dialog.close(),
  );

  function draw() {
    const item = items[now];
    const source = api.image(facts.name, item.id);
    const row = (/** @type {string} */ name, /** @type {any} */ value) =>
      value != null && [h("dt", null, name), h("dd", null, value)];
    /** @type {HTMLElement} */ (dialog.querySelector("h2")).replaceChildren(...[cut(shortName(item.name))].flat());
    place.textContent = `${now + 1} / ${items.length}`;
    before.disabled = now === 0;
    after.disabled = now === items.length - 1;
    const image =
      item.image &&
      h("img", { src: source, alt: item.label ? `${shortName(item.name)}, ${item.label}` : shortName(item.name) });
    image &&
      image.addEventListener(
        "error",
        () => image.replaceWith(h("p", { class: "quiet" }, "The image file cannot be shown.")),
        { once: true },
      );
    put(
      body,
      image
        ? h("div", { class: "item-picture" }, image)
        : h("blockquote", { class: "item-text", tabindex: "0" }, item.text ?? item.name),
      h(
        "div",
        { class: "item-side" },
        h(
          "dl",
          { class: "facts" },
          row("Rank", item.rank),
          row("Alike", item.similarity != null ? percent(item.similarity) : null),
          row(
            scoreName(metric ?? "")[0].toUpperCase() + scoreName(metric ?? "").slice(1),
            item.distance != null ? short(item.distance) : null,
          ),
          row("Class", item.label),
          row("Name", item.name),
          row("Id", item.id !== item.name ? item.id : null),
        ),
        h(
          "div",
          { class: "column" },
          facts.asks.id == null &&
            h(
              "a",
              { class: "button main", href: href(item), data: { chain: "", name: item.name } },
              icon("search"),
              "Search with this one",
            ),
          item.image &&
            facts.asks.image == null &&
            h(
              "button",
              {
                type: "button",
                class: "soft",
                on: {
                  click: () => {
                    dialog.close();
                    searchPart(ctx, item.id, shortName(item.name));
                  },
                },
              },
              icon("crop"),
              "Search with a part of it",
            ),
          item.image &&
            h("a", { class: "button soft", href: source, download: fileName(item) }, icon("download"), "Download"),
        ),
      ),
    );
    // The focus stays where it was unless its button can no longer be pressed.
    if (document.activeElement === document.body || /** @type {any} */ (document.activeElement)?.disabled)
      /** @type {any} */ (dialog.querySelector("h2")).focus();
  }
  draw();
  /** @type {any} */ (dialog.querySelector("h2")).focus();
}

// What is asked: its picture and name, and the queries that led to it.
import { api } from "./api.js";
import { withQuery, write } from "./address.js";
import { announce, h, put } from "./dom.js";
import { shortName } from "./cards.js";
import { icon } from "./icons.js";
import { searchImage, searchPart } from "./intake.js";
import { images, itemKey, items, keptName, learn } from "./memory.js";

/** What a query of the trail looks like. @param {import("./app.js").Context} ctx @param {any} step */
function look(ctx, step) {
  if (step.id != null) {
    const item = items.get(itemKey(ctx.facts.name, step.id));
    return {
      name: shortName(item?.name ?? (step.name || step.id)),
      label: item?.label,
      text: item?.text,
      item,
      picture: ctx.facts.shows === "images" && item?.image !== false ? api.thumbnail(ctx.facts.name, step.id) : null,
      sign: ctx.facts.shows === "texts" ? "text" : "search",
    };
  }
  if (step.text != null) return { name: step.text, picture: null, sign: "text" };
  return {
    name: keptName(step.q) ?? (step.name !== step.q && step.name ? step.name : "An uploaded image"),
    picture: api.queryPicture(ctx.facts.name, step.q),
    sign: "image",
  };
}

/** @param {any} seen @param {number} size */
function small(seen, size) {
  if (!seen.picture) return h("span", { class: "no-picture" }, icon(seen.sign, size));
  const img = h("img", { src: seen.picture, alt: "", draggable: "false" });
  img.addEventListener("error", () => img.replaceWith(h("span", { class: "no-picture" }, icon(seen.sign, size))), {
    once: true,
  });
  return img;
}

/** @param {import("./app.js").Context} ctx */
function trail(ctx) {
  const before = ctx.trail.slice(0, -1);
  if (before.length === 0) return null;
  const most = 6;
  const left = before.length - most;
  return h(
    "nav",
    { class: "trail", "aria-label": "Searches that led here" },
    h(
      "ol",
      null,
      left > 0 && h("li", { class: "quiet" }, `${left} earlier`),
      before.slice(-most).map((step) => {
        const seen = look(ctx, step);
        return h(
          "li",
          null,
          h(
            "a",
            {
              href: write(withQuery(ctx.place, step)),
              data: { name: step.name },
              title: seen.name,
              class: seen.picture || seen.sign === "image" ? null : "in-words",
            },
            seen.picture || seen.sign === "image"
              ? [small(seen, 18), h("span", { class: "unseen" }, seen.name)]
              : (seen.text ?? seen.name),
          ),
          icon("right", 14),
        );
      }),
      h("li", { "aria-current": "page", class: "unseen" }, look(ctx, ctx.trail[ctx.trail.length - 1]).name),
    ),
  );
}

/** @param {HTMLElement} root @param {import("./app.js").Context} ctx */
export function mountQuery(root, ctx) {
  const { place, facts } = ctx;
  const { id, q } = place;
  const step = ctx.trail[ctx.trail.length - 1] ?? place;
  const had = document.activeElement?.id === "query-title";
  draw();
  // A link from elsewhere names an id alone: its name comes with the item.
  if (id != null && !items.get(itemKey(facts.name, id))) {
    api.item(facts.name, id).then(
      (item) => {
        learn(facts.name, [item]);
        if (ctx.place.id === id) draw();
      },
      () => {},
    );
  }

  function draw() {
    const seen = look(ctx, { ...step, ...place, name: step.name });
    const focused = had || document.activeElement?.id === "query-title";
    document.title = `${seen.name} \u00b7 ${facts.name} \u00b7 voisin`;
    const part = facts.asks.image == null && ((id != null && seen.item?.image) || (q != null && images.get(q)));
    put(
      root,
      trail(ctx),
      h(
        "div",
        { class: "query-card" },
        // Where there is none, no sign stands for it: the name says all.
        (seen.picture || seen.sign === "image") && h("span", { class: "query-picture" }, small(seen, 32)),
        h(
          "div",
          { class: "query-words" },
          h("p", { class: "over" }, "Neighbours of"),
          h("h1", { id: "query-title", tabindex: "-1", class: seen.name.length > 40 ? "long" : null }, seen.name),
          seen.text && seen.text !== seen.name && h("p", { class: "quiet clamp" }, seen.text),
          seen.label && h("p", { class: "card-label" }, seen.label),
          h(
            "div",
            { class: "row" },
            part &&
              h(
                "button",
                {
                  type: "button",
                  class: "plain",
                  on: {
                    click: () =>
                      id != null
                        ? searchPart(ctx, id, seen.name)
                        : searchImage(ctx, images.get(/** @type {string} */ (q)), seen.name),
                  },
                },
                icon("crop", 18),
                "Crop",
              ),
            shareButton(q != null),
          ),
        ),
      ),
    );
    if (focused) /** @type {any} */ (document.getElementById("query-title"))?.focus({ preventScroll: true });
  }
}

/** How long the link to an upload works. */
const LASTS = "It works until the server is restarted, or has had many newer queries.";

/** @param {boolean} upload a link to what was uploaded does not last */
function shareButton(upload) {
  const words = h("span", null, "Copy link");
  return h(
    "button",
    {
      type: "button",
      class: "plain",
      title: upload ? LASTS : null,
      on: {
        click: async () => {
          try {
            await navigator.clipboard.writeText(location.href);
            words.textContent = upload ? `Copied. ${LASTS}` : "Copied";
            announce(upload ? `The link was copied. ${LASTS}` : "The link was copied");
            setTimeout(() => (words.textContent = "Copy link"), upload ? 8000 : 2000);
          } catch {
            // Browsers give the clipboard only to pages of this machine or over https.
            words.textContent = "The address bar has the link";
          }
        },
      },
    },
    icon("share", 18),
    words,
  );
}

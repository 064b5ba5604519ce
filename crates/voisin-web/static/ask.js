// The query bar: every way of asking that a collection takes.
import { api } from "./api.js";
import { withoutFlags } from "./format.js";
import { onward, withQuery } from "./address.js";
import { fresh, h } from "./dom.js";
import { icon } from "./icons.js";
import { chooseFile, notice, searchImage, searchUrl, textPlace } from "./intake.js";
import { takePicture } from "./webcam.js";

/** @param {import("./app.js").Context} ctx @param {boolean} large */
function imageButtons(ctx, large) {
  return [
    h(
      "button",
      { type: "button", class: large ? "main" : "soft", on: { click: () => chooseFile(ctx) } },
      icon("folder"),
      large ? "Choose an image" : "New image",
    ),
    h(
      "button",
      {
        type: "button",
        class: "soft",
        on: {
          click: async () => {
            const blob = await takePicture();
            if (blob) await searchImage(ctx, blob, "webcam picture");
          },
        },
      },
      icon("camera"),
      h("span", { class: "may-go" }, "Webcam"),
    ),
  ];
}

/** @param {{label: string, sign: string, type?: string, inputmode?: string, placeholder?: string, value?: string, button: string, act: (value: string) => void}} what */
function line({ label, sign, type = "text", inputmode, placeholder, value, button, act }) {
  const id = fresh("line");
  const input = h("input", {
    id,
    type,
    inputmode,
    placeholder,
    value,
    autocomplete: "off",
    spellcheck: "false",
    enterkeyhint: "search",
  });
  return h(
    "form",
    {
      class: "line",
      role: "search",
      "aria-label": label,
      on: {
        submit: (/** @type {Event} */ event) => {
          event.preventDefault();
          if (input.value.trim()) act(input.value.trim());
          else input.focus();
        },
      },
    },
    h("label", { for: id }, label),
    h("div", { class: "line-field" }, icon(sign), input, h("button", { type: "submit", class: "soft" }, button)),
  );
}

/** @param {import("./app.js").Context} ctx */
const addressLine = (ctx) =>
  line({
    label: "Search by the address of an image",
    sign: "link",
    inputmode: "url",
    placeholder: "https://",
    button: "Fetch",
    act: (url) => searchUrl(ctx, url),
  });

/** A button that shows the field for an address. @param {import("./app.js").Context} ctx */
function addressFold(ctx) {
  const field = addressLine(ctx);
  field.hidden = true;
  const button = h(
    "button",
    {
      type: "button",
      class: "soft",
      "aria-expanded": "false",
      on: {
        click: () => {
          field.hidden = !field.hidden;
          button.setAttribute("aria-expanded", String(!field.hidden));
          if (!field.hidden) field.querySelector("input").focus();
        },
      },
    },
    icon("link"),
    h("span", { class: "may-go" }, "Address"),
  );
  return { button, field };
}

/** Names of the collections that were asked for one, each asked once. @type {Map<string, Promise<string>>} */
const suggested = new Map();

/** Shows a name of the collection in the field that asks for one. @param {import("./app.js").Context} ctx @param {HTMLInputElement} input */
function suggest(ctx, input) {
  const c = ctx.facts.name;
  if (!suggested.has(c))
    suggested.set(
      c,
      api.items({ collection: c, limit: 1 }).then(
        ({ items }) => (items[0] ? `Such as ${items[0].name}` : ""),
        () => "",
      ),
    );
  suggested.get(c)?.then((words) => (input.placeholder = words));
}

/** Texts, ids and addresses. @param {import("./app.js").Context} ctx */
function lines(ctx, withAddress = true) {
  const { asks: can, shows } = ctx.facts;
  const out = [];
  if (can.text == null) {
    out.push(
      line({
        label: "Search by text",
        sign: "text",
        type: "search",
        button: "Search",
        value: ctx.place.text ?? undefined,
        placeholder: shows === "texts" ? "Words, or a sentence" : "Say what you look for",
        act: (text) => ctx.go(textPlace(ctx, text), { name: text }),
      }),
    );
  } else if (can.id == null && (shows !== "images" || can.image != null)) {
    const field = line({
      label: "Search by name or id",
      sign: "search",
      button: "Search",
      act: async (id) => {
        try {
          const item = await api.item(ctx.facts.name, id);
          notice();
          ctx.go(withQuery(onward(ctx.place), { id: item.id }), { name: item.name });
        } catch (error) {
          notice(/** @type {any} */ (error).message, "wrong", /** @type {any} */ (error).hint);
        }
      },
    });
    suggest(ctx, field.querySelector("input"));
    out.push(field);
  }
  if (can.image == null && ctx.allowUrls && withAddress) out.push(addressLine(ctx));
  return out;
}

/**
 * The large bar of the start page, with a zone to drop on, or the small one above results.
 * @param {import("./app.js").Context} ctx @param {boolean} large
 */
export function askBar(ctx, large) {
  const images = ctx.facts.asks.image == null;
  const fields = lines(ctx, large);
  const told = h("div", { id: "notice" });
  if (!large) {
    const id = fresh("new");
    const address = images && ctx.allowUrls ? addressFold(ctx) : null;
    return h(
      "section",
      { class: "ask small", "aria-labelledby": id },
      h("h2", { id, class: "unseen" }, "New search"),
      images && h("div", { class: "row" }, imageButtons(ctx, false), address?.button),
      address?.field,
      fields,
      told,
    );
  }
  const zone =
    images &&
    h(
      "div",
      {
        class: "zone",
        on: {
          click: (/** @type {Event} */ event) => {
            if (!(/** @type {Element} */ (event.target).closest("button"))) chooseFile(ctx);
          },
        },
      },
      icon("image", 40),
      h("p", { class: "zone-words" }, "Drop an image here, or paste one"),
      h("div", { class: "row centre" }, imageButtons(ctx, true)),
      h(
        "p",
        { class: "quiet small-words" },
        "PNG, JPEG, WebP, GIF or BMP; what is very large is sent smaller. It stays on this server.",
      ),
    );
  const why =
    !images &&
    ctx.facts.shows === "images" &&
    h(
      "p",
      { class: "notice" },
      icon("info"),
      h("span", null, h("strong", null, "No search by image here. "), withoutFlags(ctx.facts.asks.image)),
    );
  return h(
    "section",
    { class: "ask large", "aria-label": "Search" },
    zone,
    why,
    fields.length > 0 && h("div", { class: "lines" }, fields),
    told,
  );
}

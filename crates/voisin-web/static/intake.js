// The ways in for an image: drop, paste, file, webcam, address. All end in the editor and then in a search.
import { api, ApiError, LARGEST } from "./api.js";
import { begin, body, neighbours, onward, params, read, withQuery } from "./address.js";
import { announce, h, put } from "./dom.js";
import { edit } from "./editor.js";
import { answers, images, keepName, keptName, learn } from "./memory.js";
import { sentence, withoutFlags } from "./format.js";
import { icon } from "./icons.js";

/** Shows a line under the query bar; nothing takes it away. @param {string} [text] @param {"busy" | "wrong"} [kind] @param {string} [hint] */
export function notice(text = "", kind = "busy", hint = "") {
  text = sentence(text);
  hint = sentence(hint);
  const root = document.getElementById("notice");
  if (root)
    put(
      root,
      text &&
        h(
          "p",
          { class: `notice ${kind}` },
          kind === "wrong" && icon("alert"),
          h("span", null, text, hint && h("span", { class: "quiet" }, ` ${hint}`)),
        ),
    );
  if (text) announce(`${text} ${hint}`);
}

/** @param {any} error */
const wrong = (error) => error?.name !== "AbortError" && notice(error.message, "wrong", error.hint);

/** The file of a list that is an image, if one is. @param {Iterable<File> | null | undefined} files */
const firstImage = (files) => [...(files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;

/** Whether an image may be asked; says why not. @param {import("./app.js").Context} ctx */
function possible(ctx) {
  if (!ctx.facts) return false;
  if (ctx.facts.asks.image == null) return true;
  notice("Searching by image is not possible in this collection.", "wrong", withoutFlags(ctx.facts.asks.image));
  return false;
}

/** The newest search wins: the one before is no longer waited for. @type {AbortController | null} */
let running = null;

/**
 * Searches with an image, through the editor.
 * @param {import("./app.js").Context} ctx @param {Blob} blob @param {string} name
 */
export async function searchImage(ctx, blob, name) {
  if (!possible(ctx)) return;
  notice();
  if (blob.size === 0) return notice("That file is empty.", "wrong");
  let chosen;
  try {
    chosen = await edit(blob, name);
  } catch {
    if (blob.size > LARGEST)
      return notice(
        `This browser cannot open that file of ${Math.ceil(blob.size / 1048576)} MB.`,
        "wrong",
        "It is no image, or has too many pixels. Make it smaller in another program: a few hundred pixels are enough.",
      );
    return notice("That is not an image that this browser can open.", "wrong", "PNG, JPEG, WebP, GIF and BMP can be.");
  }
  if (!chosen) return;
  if (chosen.size > LARGEST)
    return notice("The image is larger than 32 MB.", "wrong", "Crop it, or make it smaller in another program.");
  await send(ctx, chosen, name);
}

/** @param {import("./app.js").Context} ctx @param {Blob} blob @param {string} name */
async function send(ctx, blob, name) {
  running?.abort();
  running = new AbortController();
  notice("Looking at the image\u2026");
  const from = withQuery(onward(ctx.place), {});
  try {
    const answer =
      from.view === "results"
        ? await api.searchImage(
            { collection: from.c, k: neighbours(from, ctx.facts), ...params(from, ctx.facts) },
            blob,
            running.signal,
          )
        : await api.queryImage(/** @type {string} */ (from.c), blob, running.signal);
    keepName(answer.query, name);
    images.set(answer.query, blob);
    const place = withQuery(from, { q: answer.query });
    if (from.view === "results") {
      learn(/** @type {string} */ (from.c), answer.hits);
      answers.set(`results ${JSON.stringify(body(place, ctx.facts))}`, answer);
    }
    notice();
    ctx.go(place, { name });
  } catch (error) {
    wrong(error);
  }
}

/** What an address is called: its last part. @param {URL} url */
function nameOf(url) {
  const last = url.pathname.split("/").pop() || url.hostname;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/**
 * Goes to another collection. What was uploaded is asked there too, where it takes images and the page still has it.
 * @param {import("./app.js").Context} ctx @param {string} c
 */
export async function changeCollection(ctx, c) {
  const { q } = ctx.place;
  const there = { ...read(""), c };
  const facts = ctx.collections.find((one) => one.name === c);
  if (q == null || !facts) return ctx.go(there);
  const blob = images.get(q);
  if (!blob || facts.asks.image != null) {
    ctx.go(there);
    return notice(
      facts.asks.image != null
        ? `${c} cannot be searched by image, so your image was not asked here.`
        : "Your image is no longer on this page, so it was not asked here.",
      "wrong",
      facts.asks.image != null ? withoutFlags(facts.asks.image) : "Choose it again.",
    );
  }
  running?.abort();
  running = new AbortController();
  notice("Looking at the image\u2026");
  try {
    const answer = await api.queryImage(c, blob, running.signal);
    const name = keptName(q) ?? "An uploaded image";
    keepName(answer.query, name);
    images.set(answer.query, blob);
    ctx.go(withQuery(begin(c), { q: answer.query }), { name });
  } catch (error) {
    if (/** @type {any} */ (error)?.name === "AbortError") return;
    ctx.go(there);
    wrong(error);
  }
}

/** Searches with the image at an address, which the server fetches. @param {import("./app.js").Context} ctx @param {string} url */
export async function searchUrl(ctx, url) {
  if (!possible(ctx)) return;
  running?.abort();
  running = new AbortController();
  notice("Fetching the image\u2026");
  try {
    // An address as people write it has no scheme.
    if (!/^[a-z][a-z0-9+.-]*:/i.test(url) || /^[\w.-]+:\d+(\/|$)/.test(url))
      url = `https://${url.replace(/^\/\//, "")}`;
    if (!/^https?:\/\//i.test(url) || !URL.canParse(url))
      throw new ApiError("bad_request", "That is no address of an image.", "One begins with https:// or http://.");
    const from = withQuery(onward(ctx.place), {});
    const answer = await api.search(
      { collection: from.c, k: neighbours(from, ctx.facts), url, ...params(from, ctx.facts) },
      running.signal,
    );
    const name = nameOf(new URL(url));
    keepName(answer.query, name);
    notice();
    ctx.go(withQuery(from, { q: answer.query }), { name });
  } catch (error) {
    wrong(error);
  }
}

/** Crops and mirrors an item's image before searching with it. @param {import("./app.js").Context} ctx @param {string} id @param {string} name */
export async function searchPart(ctx, id, name) {
  try {
    const answer = await fetch(api.image(ctx.facts.name, id));
    if (!answer.ok) throw new ApiError("not_found", "The image of this item is not there.");
    await searchImage(ctx, await answer.blob(), name);
  } catch (error) {
    wrong(error);
  }
}

/** Asks for a file. @param {import("./app.js").Context} ctx */
export function chooseFile(ctx) {
  const input = h("input", { type: "file", accept: "image/*", hidden: true, id: "file-input" });
  document.getElementById("file-input")?.remove();
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    input.remove();
    if (file) searchImage(ctx, file, file.name);
  });
  document.body.append(input);
  input.click();
}

/** @param {EventTarget | null} target */
const writing = (target) =>
  target instanceof Element &&
  target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]") != null;

/** Drops and pastes anywhere on the page. @param {import("./app.js").Context} ctx */
export function listen(ctx) {
  const veil = /** @type {HTMLElement} */ (document.getElementById("veil"));
  let depth = 0;
  const carries = (/** @type {DragEvent} */ event) =>
    [...(event.dataTransfer?.types ?? [])].some((type) => type === "Files" || type === "text/uri-list");
  // A picture of this page that is dragged is a link, not a new query.
  let own = false;
  const lower = () => {
    depth = 0;
    veil.hidden = true;
  };
  addEventListener("dragstart", () => (own = true));
  addEventListener("dragend", () => (own = false));
  addEventListener("dragenter", (event) => {
    if (own || !carries(event) || document.querySelector("dialog[open]")) return;
    depth += 1;
    veil.hidden = false;
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) lower();
  });
  addEventListener("dragover", (event) => !own && carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (own || !carries(event)) return;
    event.preventDefault();
    lower();
    if (document.querySelector("dialog[open]")) return;
    const file = firstImage(event.dataTransfer?.files);
    const url = event.dataTransfer?.getData("text/uri-list").split("\n")[0].trim();
    if (file) searchImage(ctx, file, file.name);
    else if (url && ctx.allowUrls) searchUrl(ctx, url);
    else
      notice(
        "That is not an image file.",
        "wrong",
        url && !ctx.allowUrls
          ? "This server fetches no addresses: save the image and drop its file."
          : "PNG, JPEG, WebP, GIF and BMP can be searched with.",
      );
  });
  addEventListener("paste", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const file = firstImage(event.clipboardData?.files);
    if (file) {
      event.preventDefault();
      searchImage(ctx, file, file.name && file.name !== "image.png" ? file.name : "pasted image");
      return;
    }
    const text = event.clipboardData?.getData("text/plain").trim() ?? "";
    if (writing(event.target) || !/^https?:\/\/\S+$/i.test(text)) return;
    if (ctx.allowUrls) searchUrl(ctx, text);
    else if (possible(ctx))
      notice(
        "This server fetches no addresses.",
        "wrong",
        "Save the image and drop its file here, or copy the image itself and paste it. Whoever runs the server can allow addresses.",
      );
  });
}

/** The address of a search by text. @param {import("./app.js").Context} ctx @param {string} text */
export const textPlace = (ctx, text) => withQuery(onward(ctx.place), { text });

// A look at the image before it is searched: crop, mirror, turn. What is not changed is sent as it is.
import { announce, h } from "./dom.js";
import { LARGEST } from "./api.js";
import { cropBox } from "./crop_box.js";
import { open } from "./dialogs.js";
import { icon } from "./icons.js";

/** The longest side of what is sent after a change: vectors are made of far fewer pixels. */
const LONGEST = 2048;
/** The longest side of the preview's pixels. */
const PREVIEW = 1024;
/** What is smaller than this is shown larger, so that there is something to hold. */
const SHOWN = 192;
/** The most pixels that the server reads; what has more, or more bytes than can be sent, is sent smaller. */
const MOST_PIXELS = 50e6;

/**
 * Draws an image turned and mirrored, at a scale.
 * @param {ImageBitmap} bitmap @param {{turns: number, mirrored: boolean}} how @param {number} scale
 */
function drawn(bitmap, { turns, mirrored }, scale) {
  const lying = turns % 2 === 1;
  const canvas = h("canvas", {
    width: Math.max(1, Math.round((lying ? bitmap.height : bitmap.width) * scale)),
    height: Math.max(1, Math.round((lying ? bitmap.width : bitmap.height) * scale)),
  });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.imageSmoothingQuality = "high";
  pen.translate(canvas.width / 2, canvas.height / 2);
  if (mirrored) pen.scale(-1, 1);
  pen.rotate((turns * Math.PI) / 2);
  pen.drawImage(
    bitmap,
    (-bitmap.width * scale) / 2,
    (-bitmap.height * scale) / 2,
    bitmap.width * scale,
    bitmap.height * scale,
  );
  return /** @type {HTMLCanvasElement} */ (canvas);
}

/**
 * What is kept of the image, no longer than `longest` on a side.
 * @param {ImageBitmap} bitmap @param {{turns: number, mirrored: boolean}} how @param {import("./crop_box.js").Box} box @param {number} longest
 * @returns {HTMLCanvasElement}
 */
function part(bitmap, how, box, longest) {
  const lying = how.turns % 2 === 1;
  const width = (lying ? bitmap.height : bitmap.width) * box.w;
  const height = (lying ? bitmap.width : bitmap.height) * box.h;
  const scale = Math.min(1, longest / Math.max(width, height));
  const whole = drawn(bitmap, how, scale);
  const out = h("canvas", {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  });
  const pen = out.getContext("2d");
  pen.drawImage(whole, -Math.round(box.x * whole.width), -Math.round(box.y * whole.height));
  return out;
}

/** A canvas as a file. @param {HTMLCanvasElement} canvas @param {string} type of the file that came @returns {Promise<Blob>} */
function file(canvas, type) {
  // JPEG knows no transparency: only what came as JPEG goes as JPEG.
  const as = type === "image/jpeg" ? "image/jpeg" : "image/png";
  return new Promise((done, fail) =>
    canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("The image could not be written."))), as, 0.92),
  );
}

/**
 * Shows the editor. Nothing when it is left without searching; fails when the image cannot be opened.
 * @param {Blob} blob @param {string} name
 * @returns {Promise<Blob | null>} what to send
 */
export async function edit(blob, name) {
  const bitmap = await createImageBitmap(blob);
  return new Promise((done, fail) => {
    const how = { turns: 0, mirrored: false };
    /** @type {Promise<Blob> | null} */
    let result = null;
    const frame = h("div", { class: "crop-frame" });
    const size = h("p", { class: "quiet tabular" });
    let preview = h("canvas");
    const crop = cropBox(frame, () => tell());
    crop.view.prepend(preview);

    const longest = Math.max(bitmap.width, bitmap.height);
    const scale = Math.min(Math.max(1, SHOWN / longest), PREVIEW / longest);
    const heavy = blob.size > LARGEST || bitmap.width * bitmap.height > MOST_PIXELS;
    const tell = () => {
      const lying = how.turns % 2 === 1;
      const box = crop.get();
      size.textContent = `${Math.round((lying ? bitmap.height : bitmap.width) * box.w)} \u00d7 ${Math.round((lying ? bitmap.width : bitmap.height) * box.h)} pixels${heavy ? `, sent smaller: at most ${LONGEST} a side` : ""}`;
    };
    const draw = () => {
      const next = drawn(bitmap, how, scale);
      next.setAttribute("role", "img");
      next.setAttribute("aria-label", `Preview of ${name}`);
      preview.replaceWith(next);
      preview = next;
      tell();
    };
    const send = async () => (changed() ? file(part(bitmap, how, crop.get(), LONGEST), blob.type) : blob);
    const whole = { x: 0, y: 0, w: 1, h: 1 };
    const changed = () => {
      const box = crop.get();
      return heavy || how.turns !== 0 || how.mirrored || box.w < 0.999 || box.h < 0.999;
    };
    /** @param {string} sign @param {string} words @param {() => void} act */
    const tool = (sign, words, act) =>
      h(
        "button",
        {
          type: "button",
          class: "soft",
          on: {
            click: () => {
              act();
              draw();
              announce(`${words}: done`);
            },
          },
        },
        icon(sign),
        h("span", null, words),
      );
    /** Turning by a quarter keeps the same part of the picture. @param {number} by 1 or 3 */
    const turn = (by) => {
      const { x, y, w, h: height } = crop.get();
      how.turns = (how.turns + (how.mirrored ? 4 - by : by)) % 4;
      crop.set(by === 1 ? { x: 1 - y - height, y: x, w: height, h: w } : { x: y, y: 1 - x - w, w: height, h: w });
    };
    const tools = h(
      "div",
      { class: "row", role: "group", "aria-label": "Change the image" },
      tool("turn_left", "Turn left", () => turn(3)),
      tool("turn_right", "Turn right", () => turn(1)),
      tool("mirror", "Mirror", () => {
        const box = crop.get();
        how.mirrored = !how.mirrored;
        crop.set({ ...box, x: 1 - box.x - box.w });
      }),
      tool("reset", "Start over", () => {
        Object.assign(how, { turns: 0, mirrored: false });
        crop.set(whole);
      }),
    );
    const search = h("button", { type: "submit", class: "main", autofocus: true }, icon("search"), "Search");
    const form = h(
      "form",
      {
        class: "editor",
        on: {
          submit: (/** @type {Event} */ event) => {
            event.preventDefault();
            result = send();
            dialog.close();
          },
        },
      },
      h("p", { class: "quiet" }, "Drag the edges to keep a part of it, or search with all of it."),
      h("div", { class: "crop-room" }, frame),
      tools,
      h(
        "div",
        { class: "row apart" },
        size,
        h(
          "div",
          { class: "row" },
          h("button", { type: "button", class: "soft", on: { click: () => dialog.close() } }, "Cancel"),
          search,
        ),
      ),
    );
    const dialog = open({
      title: "Search with this image",
      body: form,
      className: "wide",
      onClose: () =>
        Promise.resolve(result)
          .then(done, fail)
          .finally(() => bitmap.close()),
    });
    draw();
    search.focus();
  });
}

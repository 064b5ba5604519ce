// The rectangle that is kept of an image, the rest in the shade: dragged by its corners and sides, or moved by the arrow keys.
import { h } from "./dom.js";

/** @typedef {{x: number, y: number, w: number, h: number}} Box in shares of the image */

/** The least that may be kept, in shares of a side. */
const LEAST = 0.04;
const SIDES = /** @type {const} */ (["top", "right", "bottom", "left"]);
const NAMES = { top: "Top edge", right: "Right edge", bottom: "Bottom edge", left: "Left edge" };
const CORNERS = ["top left", "top right", "bottom right", "bottom left"];

/** @param {number} x @param {number} low @param {number} high */
const within = (x, low, high) => Math.min(high, Math.max(low, x));

/** Moves one edge to a share of the side. @param {Box} box @param {string} side @param {number} to @returns {Box} */
export function moveEdge(box, side, to) {
  const right = box.x + box.w;
  const bottom = box.y + box.h;
  if (side === "left") {
    const x = within(to, 0, right - LEAST);
    return { ...box, x, w: right - x };
  }
  if (side === "right") return { ...box, w: within(to, box.x + LEAST, 1) - box.x };
  if (side === "top") {
    const y = within(to, 0, bottom - LEAST);
    return { ...box, y, h: bottom - y };
  }
  return { ...box, h: within(to, box.y + LEAST, 1) - box.y };
}

/** Moves the whole box. @param {Box} box @param {number} dx @param {number} dy @returns {Box} */
export const moveBox = (box, dx, dy) => ({
  ...box,
  x: within(box.x + dx, 0, 1 - box.w),
  y: within(box.y + dy, 0, 1 - box.h),
});

/** Where an edge stands. @param {Box} box @param {string} side */
const edge = (box, side) => ({ left: box.x, right: box.x + box.w, top: box.y, bottom: box.y + box.h })[side] ?? 0;

/**
 * The box over a frame; `changed` is called with every new box.
 * @param {HTMLElement} frame positioned; the image goes into the `view` that is returned and fills it
 * @param {(box: Box) => void} changed
 */
export function cropBox(frame, changed) {
  /** @type {Box} */
  let box = { x: 0, y: 0, w: 1, h: 1 };
  const sides = SIDES.map((side) =>
    h("div", {
      class: `edge ${side}`,
      role: "slider",
      tabindex: "0",
      "aria-label": NAMES[side],
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-orientation": side === "left" || side === "right" ? "horizontal" : "vertical",
      data: { part: side },
    }),
  );
  const corners = CORNERS.map((corner) =>
    h("div", { class: `corner ${corner}`, "aria-hidden": "true", data: { part: corner } }),
  );
  const area = h(
    "div",
    {
      class: "crop",
      role: "group",
      tabindex: "0",
      "aria-label": "Part that is kept: arrow keys move it, its four edges are sliders",
      data: { part: "area" },
    },
    sides,
    corners,
  );
  const shade = h("div", { class: "crop-shade" });
  const view = h("div", { class: "crop-view" }, shade);
  frame.append(view, area);

  const draw = () => {
    for (const { style } of [area, shade]) {
      style.left = `${box.x * 100}%`;
      style.top = `${box.y * 100}%`;
      style.width = `${box.w * 100}%`;
      style.height = `${box.h * 100}%`;
    }
    SIDES.forEach((side, i) => {
      const at = Math.round(edge(box, side) * 100);
      sides[i].setAttribute("aria-valuenow", String(at));
      sides[i].setAttribute(
        "aria-valuetext",
        `${at} percent from the ${side === "left" || side === "right" ? "left" : "top"}`,
      );
    });
  };
  /** @param {Box} next */
  const take = (next) => {
    box = next;
    draw();
    changed(box);
  };

  area.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    const part = /** @type {HTMLElement} */ (event.target).dataset.part;
    if (!part || event.button !== 0) return;
    event.preventDefault();
    /** @type {HTMLElement} */ (event.target).focus();
    const rect = frame.getBoundingClientRect();
    const from = box;
    const start = { x: event.clientX, y: event.clientY };
    area.setPointerCapture(event.pointerId);
    const move = (/** @type {PointerEvent} */ now) => {
      const dx = (now.clientX - start.x) / rect.width;
      const dy = (now.clientY - start.y) / rect.height;
      if (part === "area") return take(moveBox(from, dx, dy));
      let next = from;
      for (const side of part.split(" "))
        next = moveEdge(next, side, edge(from, side) + (side === "left" || side === "right" ? dx : dy));
      take(next);
    };
    const up = () => {
      area.removeEventListener("pointermove", move);
      area.removeEventListener("pointerup", up);
      area.removeEventListener("pointercancel", up);
    };
    area.addEventListener("pointermove", move);
    area.addEventListener("pointerup", up);
    area.addEventListener("pointercancel", up);
  });

  area.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const part = /** @type {HTMLElement} */ (event.target).dataset.part ?? "area";
    const pace = event.shiftKey ? 0.1 : 0.02;
    const step = { ArrowLeft: [-pace, 0], ArrowRight: [pace, 0], ArrowUp: [0, -pace], ArrowDown: [0, pace] }[event.key];
    if (!step) return;
    event.preventDefault();
    if (part === "area") take(moveBox(box, step[0], step[1]));
    else if (part === "left" || part === "right") take(moveEdge(box, part, edge(box, part) + (step[0] || -step[1])));
    else take(moveEdge(box, part, edge(box, part) + (step[1] || -step[0])));
  });

  draw();
  return { view, set: take, get: () => box };
}

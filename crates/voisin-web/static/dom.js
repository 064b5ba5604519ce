// Elements made by calls instead of markup: nothing that comes from a collection is ever read as HTML.

/** @typedef {Node | string | number | null | undefined | false | Array<any>} Child */

/**
 * Sets attributes; `class`, `on` (listeners) and `data` (dataset) are read specially, `true` is an empty attribute,
 * `null`, `undefined` and `false` are none. `aria-*` take any value.
 * @param {Element} element
 * @param {Record<string, any> | null} props
 */
export function set(element, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "data") Object.assign(/** @type {HTMLElement} */ (element).dataset, value);
    else if (name.startsWith("aria-") && value != null) element.setAttribute(name, String(value));
    else if (value === true) element.setAttribute(name, "");
    else if (value == null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, String(value));
  }
  return element;
}

/** @param {Element} element @param {Child[]} children */
function fill(element, children) {
  for (const child of children.flat(Infinity))
    if (child != null && child !== false)
      element.append(/** @type {any} */ (child) instanceof Node ? child : String(child));
  return element;
}

/**
 * An HTML element.
 * @param {string} tag @param {Record<string, any> | null} [props] @param {...Child} children
 * @returns {any}
 */
export function h(tag, props = null, ...children) {
  return fill(set(document.createElement(tag), props), children);
}

/**
 * An SVG element.
 * @param {string} tag @param {Record<string, any> | null} [props] @param {...Child} children
 * @returns {any}
 */
export function s(tag, props = null, ...children) {
  return fill(set(document.createElementNS("http://www.w3.org/2000/svg", tag), props), children);
}

/** Puts children in the place of what an element held. @param {Element} element @param {...Child} children */
export function put(element, ...children) {
  element.replaceChildren();
  return fill(element, children);
}

/** Says a line to screen readers. @param {string} text */
export function announce(text) {
  const live = /** @type {HTMLElement} */ (document.getElementById("live"));
  // The same words twice are not read twice: a space makes them others.
  live.textContent = live.textContent === text ? `${text}\u00a0` : text;
}

let counted = 0;
/** An id that no other element has. @param {string} name */
export function fresh(name) {
  counted += 1;
  return `${name}-${counted}`;
}

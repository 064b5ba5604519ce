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

/** Gives the focus to the card of an item, where it is shown. @param {Element} root @param {string | null} id */
export function focusCard(root, id) {
  const card = id != null && root.querySelector(`.card[data-id="${CSS.escape(id)}"] button`);
  if (card) /** @type {HTMLElement} */ (card).focus();
  return Boolean(card);
}

/**
 * Draws a place anew and gives the focus back to the field of the same kind and value that had it.
 * @param {Element} root @param {() => void} draw
 */
export function holding(root, draw) {
  const had = /** @type {any} */ (root.contains(document.activeElement) ? document.activeElement : null);
  draw();
  if (had?.type === "radio" && !had.isConnected)
    /** @type {any} */ (root.querySelector(`input[type="radio"][value="${CSS.escape(had.value)}"]`))?.focus({
      preventScroll: true,
    });
}

let counted = 0;
/** An id that no other element has. @param {string} name */
export function fresh(name) {
  counted += 1;
  return `${name}-${counted}`;
}

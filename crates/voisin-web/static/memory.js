// What the page remembers while it is open: answers, items, and what a query that was uploaded looks like.

/** A map that forgets what was used longest ago. @param {number} most */
function recent(most) {
  /** @type {Map<string, any>} */
  const kept = new Map();
  return {
    /** @param {string} key */
    get(key) {
      const value = kept.get(key);
      if (value !== undefined) {
        kept.delete(key);
        kept.set(key, value);
      }
      return value;
    },
    /** @param {string} key @param {any} value */
    set(key, value) {
      kept.delete(key);
      kept.set(key, value);
      if (kept.size > most) kept.delete(/** @type {string} */ (kept.keys().next().value));
    },
    /** @param {string} key */
    drop: (key) => kept.delete(key),
  };
}

/** Answers by what was asked, so that back and forward are immediate. */
export const answers = recent(40);
/** Items by collection and id. */
export const items = recent(4000);
/** The images behind query keys, to crop them again. */
export const images = recent(12);
/** Pages of galleries by their address. */
export const galleries = recent(12);

/** @param {string} collection @param {string} id */
export const itemKey = (collection, id) => `${collection}\n${id}`;

/** @param {string} collection @param {any[]} list */
export function learn(collection, list) {
  for (const item of list) items.set(itemKey(collection, item.id), item);
}

const PREFIX = "voisin:query:";
const MOST = 60;

/** Keeps a small picture and the name of a query for as long as this tab lives. @param {string} key @param {{picture?: string, name: string}} face */
export function keepFace(key, face) {
  try {
    const all = Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX));
    if (all.length >= MOST) sessionStorage.removeItem(all[0]);
    sessionStorage.setItem(PREFIX + key, JSON.stringify(face));
  } catch {
    // Storage is full or forbidden: the query is shown without a picture.
  }
}

/** @param {string} key @returns {{picture?: string, name: string} | null} */
export function face(key) {
  try {
    const text = sessionStorage.getItem(PREFIX + key);
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

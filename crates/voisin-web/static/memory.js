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

/** A storage of the browser that may be full or forbidden: then nothing is kept. @param {() => any} act */
function kept(act) {
  try {
    return act() ?? null;
  } catch {
    return null;
  }
}

const PREFIX = "voisin:query:";
const MOST = 60;

/** Keeps what an uploaded query is called for as long as this tab lives; its picture is the server's. @param {string} key @param {string} name */
export function keepName(key, name) {
  kept(() => {
    const all = Object.keys(sessionStorage).filter((one) => one.startsWith(PREFIX));
    if (all.length >= MOST) sessionStorage.removeItem(all[0]);
    sessionStorage.setItem(PREFIX + key, name);
  });
}

/** @param {string} key @returns {string | null} */
export const keptName = (key) => kept(() => sessionStorage.getItem(PREFIX + key));

const CHOSEN = "voisin:k";

/** How many neighbours somebody chose last, in any collection; nothing where nobody has. @returns {number | null} */
export const chosenK = () =>
  kept(() => {
    const k = Number(localStorage.getItem(CHOSEN));
    return Number.isInteger(k) && k >= 1 && k <= 1000 ? k : null;
  });

/** @param {number | null} k */
export const chooseK = (k) =>
  kept(() => (k == null ? localStorage.removeItem(CHOSEN) : localStorage.setItem(CHOSEN, String(k))));

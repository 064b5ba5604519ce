// The server's answers, and its errors as one type.
import { sentence } from "./format.js";

/** What went wrong, in the server's words where it gave some. */
export class ApiError extends Error {
  /** @param {string} kind @param {string} message @param {string} [hint] */
  constructor(kind, message, hint) {
    super(sentence(message));
    this.kind = kind;
    this.hint = sentence(hint ?? "");
  }
}

/** The largest file that the server takes. */
export const LARGEST = 32 * 1024 * 1024;

/** @param {Record<string, any>} values those that are null or empty are left out */
export function query(values) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values))
    if (value != null && value !== "" && value !== false) search.set(name, String(value));
  return search.toString();
}

/**
 * @param {string} path @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("gone", "The server does not answer.", "It may have been stopped, or the network is down.");
  }
  const type = answer.headers.get("content-type") ?? "";
  const body = type.includes("json") ? await answer.json().catch(() => null) : null;
  if (answer.ok && body) return body;
  const told = body?.error;
  if (told) throw new ApiError(told.kind, told.message, told.hint);
  throw new ApiError(
    answer.status === 413 ? "too_large" : "internal",
    `The server answered ${answer.status}.`,
    "Its log says more.",
  );
}

/** @param {string} path @param {any} body @param {AbortSignal} [signal] */
const post = (path, body, signal) =>
  call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

/** @param {string} path @param {Blob} blob @param {AbortSignal} [signal] */
const send = (path, blob, signal) =>
  call(path, {
    method: "POST",
    headers: { "content-type": blob.type || "application/octet-stream" },
    body: blob,
    signal,
  });

export const api = {
  /** @param {AbortSignal} [signal] */
  collections: (signal) => call("/api/collections", { signal }),
  /** @param {Record<string, any>} values collection, label, offset, limit, seed @param {AbortSignal} [signal] */
  items: (values, signal) => call(`/api/items?${query(values)}`, { signal }),
  /** @param {string} collection @param {string} id @param {AbortSignal} [signal] */
  item: (collection, id, signal) => call(`/api/item?${query({ collection, id })}`, { signal }),
  /** @param {any} body @param {AbortSignal} [signal] */
  search: (body, signal) => post("/api/search", body, signal),
  /** @param {any} body @param {AbortSignal} [signal] */
  compare: (body, signal) => post("/api/compare", body, signal),
  /** @param {any} body @param {AbortSignal} [signal] */
  explain: (body, signal) => post("/api/explain", body, signal),
  /** @param {Record<string, any>} values @param {Blob} blob @param {AbortSignal} [signal] */
  searchImage: (values, blob, signal) => send(`/api/search/image?${query(values)}`, blob, signal),
  /** @param {string} collection @param {Blob} blob @param {AbortSignal} [signal] */
  queryImage: (collection, blob, signal) => send(`/api/query?${query({ collection })}`, blob, signal),
  /** The address of a small picture of an image that was asked with. @param {string} collection @param {string} key */
  queryPicture: (collection, key) => `/api/query/picture?${query({ collection, query: key })}`,
  /** The address of an item's image. @param {string} collection @param {string} id */
  image: (collection, id) => `/api/image?${query({ collection, id })}`,
  /** The address of a small one. @param {string} collection @param {string} id @param {number} [side] */
  thumbnail: (collection, id, side = 256) => `/api/thumbnail?${query({ collection, id, side })}`,
};

// Every search is an address. A place is what the address says, with nothing left out.
import { isGraph, mostNeighbours } from "./kinds.js";
import { chosenK } from "./memory.js";

/**
 * @typedef {object} Place
 * @property {string | null} c collection
 * @property {string | null} id the query is an item
 * @property {string | null} q the query is kept by the server under this key
 * @property {string | null} text the query is a text
 * @property {number | null} k
 * @property {number | null} nprobe
 * @property {number | null} recall
 * @property {number | null} ef vectors kept during the walk through a graph
 * @property {string | null} label
 * @property {boolean} exact
 * @property {"results" | "compare" | "explain"} view
 * @property {"pca" | "tsne"} map
 */

export const DEFAULT_K = 20;

/** @param {string | null} text @param {number} low @param {number} high @param {boolean} whole */
function number(text, low, high, whole) {
  if (text == null || text === "") return null;
  const value = Number(text);
  if (!Number.isFinite(value)) return null;
  return Math.min(high, Math.max(low, whole ? Math.round(value) : value));
}

/** @param {string} search @returns {Place} */
export function read(search) {
  const given = new URLSearchParams(search);
  const view = given.get("view");
  const id = given.get("id");
  const q = id == null ? given.get("q") : null;
  return {
    c: given.get("c"),
    id,
    q,
    text: id == null && q == null ? given.get("text") : null,
    k: number(given.get("k"), 1, 1000, true),
    nprobe: number(given.get("nprobe"), 1, 1e9, true),
    recall: number(given.get("recall"), 0.01, 1, false),
    ef: number(given.get("ef"), 1, 512, true),
    label: given.get("label") || null,
    exact: given.get("exact") === "1",
    view: view === "compare" || view === "explain" ? view : "results",
    map: given.get("map") === "tsne" ? "tsne" : "pca",
  };
}

/** @param {Place} place */
export function write(place) {
  const out = new URLSearchParams();
  /** @param {string} name @param {any} value */
  const say = (name, value) => {
    if (value != null && value !== "") out.set(name, String(value));
  };
  say("c", place.c);
  say("id", place.id);
  say("q", place.q);
  say("text", place.text);
  if (asks(place)) {
    say("k", place.k);
    say("nprobe", place.nprobe);
    if (place.nprobe == null) say("recall", place.recall);
    say("ef", place.ef);
  }
  say("label", place.label);
  if (asks(place)) {
    if (place.exact) say("exact", "1");
    if (place.view !== "results") say("view", place.view);
    if (place.view === "explain" && place.map !== "pca") say("map", place.map);
  }
  const text = out.toString();
  return text ? `/?${text}` : "/";
}

/** Whether a place asks something. @param {Place} place */
export const asks = (place) => place.id != null || place.q != null || place.text != null;

/** Whether two places ask the same. @param {Place | null} a @param {Place} b */
export const sameQuery = (a, b) => a != null && a.c === b.c && a.id === b.id && a.q === b.q && a.text === b.text;

/** The same place with another query, or none. @param {Place} place @param {{id?: string, q?: string, text?: string}} query @returns {Place} */
export const withQuery = (place, query) => ({
  ...place,
  id: query.id ?? null,
  q: query.q ?? null,
  text: query.text ?? null,
});

/** The place from which the first search in a collection begins: with as many neighbours as were wanted last. @param {string | null} c @returns {Place} */
export const begin = (c) => ({ ...read(""), c, k: chosenK() });

/** The settings that the next query takes over; on the start page the class filters the gallery, not the search to come. @param {Place} place */
export const onward = (place) => (asks(place) ? place : begin(place.c));

/** How many neighbours are asked for: no more than there are. @param {Place} place @param {any} facts */
export const neighbours = (place, facts) => Math.min(place.k ?? DEFAULT_K, mostNeighbours(facts, place.id));

/** What the server is asked at a place. @param {Place} place @param {any} facts of its collection */
export function body(place, facts) {
  /** @type {Record<string, any>} */
  const out = { collection: place.c, k: neighbours(place, facts) };
  if (place.id != null) out.id = place.id;
  else if (place.q != null) out.query = place.q;
  else out.text = place.text;
  return { ...out, ...params(place, facts) };
}

/** Everything but collection, k and query. @param {Place} place @param {any} facts */
export function params(place, facts) {
  /** @type {Record<string, any>} */
  const out = {};
  if (isGraph(facts)) {
    if (place.ef != null) out.ef = place.ef;
  } else if (place.nprobe != null) out.nprobe = place.nprobe;
  else if (place.recall != null) out.recall = place.recall;
  if (place.label) out.label = place.label;
  if (place.exact) out.exact = true;
  return out;
}

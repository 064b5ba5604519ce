// Numbers as people read them.

const WHOLE = new Intl.NumberFormat("en");

/** 5310 -> 5,310. @param {number} n */
export const count = (n) => WHOLE.format(n);

/** Seconds: 0.0008 -> 0.8 ms. @param {number} seconds */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "?";
  const ms = seconds * 1000;
  if (ms < 0.1) return `${Math.max(1, Math.round(ms * 1000))} \u00b5s`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

/** A value with about three digits that matter. @param {number} x */
export function short(x) {
  if (!Number.isFinite(x)) return "?";
  const size = Math.abs(x);
  if (size >= 1000) return WHOLE.format(Math.round(x));
  if (size >= 100) return x.toFixed(0);
  if (size >= 10) return x.toFixed(1);
  if (size >= 1 || size === 0) return x.toFixed(2);
  return size >= 0.001 ? x.toFixed(3) : x.toExponential(1);
}

/** 0.873 -> 87 %; what is less than a tenth of a percent, but not nothing, says so. @param {number} share */
export function percent(share) {
  const of100 = share * 100;
  if (of100 > 0 && of100 < 0.05) return "< 0.1 %";
  return `${of100 > 0 && of100 < 10 ? of100.toFixed(1) : Math.round(of100)} %`;
}

/** A sentence: a capital at its begin, a full stop at its end. @param {string} text */
export function sentence(text) {
  const words = String(text ?? "").trim();
  if (!words) return "";
  // Names of parameters and files are left as they are.
  const begun = /^[a-z]+[ ,]/.test(words) && !/^[a-z] /.test(words) ? words[0].toUpperCase() + words.slice(1) : words;
  return /[.!?\u2026:]["\u201d)]?$/.test(begun) ? begun : `${begun}.`;
}

/** The same words without advice on how the server is started: that is for who starts it. @param {string} text */
export const withoutFlags = (text) =>
  sentence(
    text
      .replace(/\s*\([^()]*--[a-z][^()]*\)/g, "")
      .replace(/[;:,]\s*[^;:,]*--[a-z].*$/s, "")
      .replace(/[;,]?\s*(unless|start with|with)\s[^;]*--[a-z].*$/s, "")
      .replace(/\s*--[a-z][^.]*$/s, ""),
  );

/** One list, two lists. @param {number} n @param {string} one @param {string} [many] */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** What a number under a hit is called. @param {string} metric */
export const scoreName = (metric) => (metric === "ip" ? "inner product" : "distance");

/**
 * The number under a hit: how alike where the metric says it, else how far.
 * @param {{distance: number, similarity?: number}} hit @param {string} metric
 */
export function score(hit, metric) {
  if (hit.similarity != null)
    return {
      text: percent(hit.similarity),
      words: `${percent(hit.similarity)} alike, distance ${short(hit.distance)}`,
      share: hit.similarity,
    };
  return { text: short(hit.distance), words: `${scoreName(metric)} ${short(hit.distance)}`, share: null };
}

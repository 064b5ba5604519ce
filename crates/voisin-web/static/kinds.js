// What a collection's index is, in the words that views need.

/** A graph is walked; it has no lists. @param {any} facts */
export const isGraph = (facts) => facts.ef != null;

/** Whether vectors are compared by codes first. @param {string} spec */
export const hasCodes = (spec) => /(^|,)(PQ|SQ|F16|RaBitQ|RQ|LSQ|ITQ|LSH)/i.test(spec ?? "");

/** Whether the index compares every vector as it is, and so is what it would be compared with. @param {any} facts */
export const comparesAll = (facts) => !isGraph(facts) && facts.nlist <= 1 && !hasCodes(facts.spec);

/** Whether a comparison with every vector goes by codes, as nothing better is kept. @param {any} facts */
export const byCodes = (facts) => facts.exact_by === "codes";

/** What a comparison with every vector is called. @param {any} facts */
export const exactName = (facts) => (byCodes(facts) ? "Exact (by codes)" : "Exact");

/** The most neighbours that can be asked of a collection: an item does not find itself. @param {any} facts @param {string | null} id of the item that is asked with */
export const mostNeighbours = (facts, id) => Math.max(1, Math.min(1000, facts.n - (id == null ? 0 : 1)));

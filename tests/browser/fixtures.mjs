// Stories of searches, written to the contract of /api/explain, over ids that are given.

const point = (x, y, kind, more = {}) => ({ x, y, kind, list: 17, visited: true, ...more });

/** Points on circles: the same at every run. */
function map(ids, method) {
  const around = (i, n, r, dx = 0) => [dx + r * Math.cos((6.283 * i) / n), r * Math.sin((6.283 * i) / n)];
  return {
    method,
    ...(method === "pca" && { explained_variance: [0.31, 0.12] }),
    trustworthiness: method === "tsne" ? 0.94 : 0.81,
    points: [
      point(0, 0, "query"),
      point(0.4, 0.3, "centroid"),
      point(4, 2, "centroid", { list: 5, visited: false }),
      ...ids.slice(0, 8).map((id, i) => point(...around(i, 8, 1), "vector", { id, state: "hit" })),
      ...ids
        .slice(8, 10)
        .map((id, i) => point(...around(i, 9, 1.5, 3), "vector", { id, list: 5, visited: false, state: "missed" })),
      ...ids.slice(10).map((id, i) => point(...around(i, 20, 2.5), "vector", { id, state: "other" })),
    ],
  };
}

/** Four lists visited of 32, two neighbours missed for different reasons. */
export function explanation(ids, facts, method = "pca") {
  return {
    spec: "IVF32,PQ8,Refine(F16)",
    metric: "l2",
    n: facts.n,
    d: facts.d,
    k: 10,
    nprobe: 4,
    nlist: 32,
    lists: [1, 2, 3, 4].map((order) => ({
      list: 10 + order,
      order,
      score: 0.2 * order,
      size: 90 - 17 * order,
      scanned: 90 - 17 * order,
      hits: 5 - order,
      true: 6 - order,
    })),
    not_visited: [{ list: 5, order: 7, score: 1.9, size: 40, true: 1 }],
    counts: { scanned: 190, candidates: 80, refined: 80, found: 10 },
    hits: ids.slice(0, 8).map((id, i) => ({
      id,
      rank: i + 1,
      distance: 0.1 * (i + 1),
      list: 11,
      estimate: 0.11 * (i + 1),
      estimate_rank: i + 2,
      true_rank: i + 1,
    })),
    missed: [
      {
        id: ids[8],
        true_rank: 4,
        distance: 0.42,
        list: 5,
        order: 7,
        reason: "list_not_visited",
        text: "its list is the 7th nearest; 4 were visited",
      },
      {
        id: ids[9],
        true_rank: 9,
        distance: 0.93,
        list: 12,
        order: 2,
        reason: "code_error",
        text: "its code puts it 95th; 80 were refined",
        estimate: 1.7,
        estimate_rank: 95,
      },
    ],
    recall: 0.8,
    truth: "exact",
    map: map(ids, method),
  };
}

/** Twenty lists chosen by a model, nothing missed. */
export function learned(ids, facts, method) {
  const story = explanation(ids, facts, method);
  return {
    ...story,
    spec: "LMI64,SQ8",
    nlist: 64,
    nprobe: 20,
    not_visited: [],
    missed: [],
    recall: 1,
    lists: Array.from({ length: 20 }, (_, i) => ({
      list: i,
      order: i + 1,
      score: 3 - i,
      probability: 0.5 ** (i + 1),
      size: 30 + i,
      scanned: 30 + i,
      hits: i < 2 ? 4 : 0,
      true: i < 2 ? 5 : 0,
    })),
  };
}

/** A walk of seven hops through three levels; no lists, no map. */
export function graph(ids, facts) {
  const { lists, not_visited, map: plan, ...story } = explanation(ids, facts);
  return {
    ...story,
    spec: "HNSW32",
    nlist: 1,
    missed: story.missed.map((one) => ({
      ...one,
      list: undefined,
      order: undefined,
      reason: "not_reached",
      text: "no edge that was followed leads to it",
    })),
    graph: {
      levels: 3,
      ef: 64,
      visited: 312,
      hops: [2, 1, 1, 0, 0, 0, 0].map((level, i) => ({
        level,
        id: ids[12 - i],
        distance: 0.9 - 0.1 * i,
        from: i ? ids[13 - i] : null,
      })),
    },
  };
}

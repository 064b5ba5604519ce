//! How two vectors are compared, and how a distance is reported.

use serde::{Deserialize, Serialize};

/// How two vectors are compared.
///
/// Inside, every metric ranks by a *key* that is smaller for nearer vectors: squared L2, minus the dot product, one
/// minus the cosine. [`Metric::report`] turns a key into what users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Euclidean distance; reported as the root, ascending.
    L2,
    /// Inner product; reported as the dot product, descending.
    Ip,
    /// 1 − cosine similarity, ascending.
    Cosine,
}

impl Metric {
    /// The reported value of a key: sqrt for L2, the dot product for ip, unchanged for cosine.
    pub fn report(self, key: f64) -> f64 {
        match self {
            Metric::L2 => key.max(0.0).sqrt(),
            Metric::Ip => -key,
            Metric::Cosine => key,
        }
    }

    /// The key of a reported value, the inverse of [`Metric::report`].
    pub fn key(self, reported: f64) -> f64 {
        match self {
            Metric::L2 => reported * reported,
            Metric::Ip => -reported,
            Metric::Cosine => reported,
        }
    }

    /// How similar a pair of this reported distance is: the dot product, or the cosine; nothing for L2.
    pub fn similarity(self, reported: f32) -> Option<f32> {
        match self {
            Metric::L2 => None,
            Metric::Ip => Some(reported),
            Metric::Cosine => Some(1.0 - reported),
        }
    }

    /// The key by which everything is ranked in the end, in f64: squared L2, minus the dot product, 1 − cosine.
    pub(crate) fn exact_key(self, q: &[f32], x: &[f32]) -> f64 {
        self.exact_key_of(q, self.exact_norm(q), x)
    }

    /// What [`Metric::exact_key_of`] wants to know of a query: its norm under cosine.
    pub(crate) fn exact_norm(self, q: &[f32]) -> f64 {
        if self == Metric::Cosine { voisin_kernels::dot_f64(q, q).sqrt() } else { 0.0 }
    }

    /// [`Metric::exact_key`] of a query that is compared often; the same bits.
    pub(crate) fn exact_key_of(self, q: &[f32], norm: f64, x: &[f32]) -> f64 {
        use voisin_kernels::{dot_f64, l2_squared_f64};
        match self {
            Metric::L2 => l2_squared_f64(q, x),
            Metric::Ip => -dot_f64(q, x),
            Metric::Cosine => 1.0 - dot_f64(q, x) / (norm * dot_f64(x, x).sqrt()),
        }
    }

    /// The distance of two vectors as users see it, computed in f64.
    pub fn distance(self, q: &[f32], x: &[f32]) -> f64 {
        self.report(self.exact_key(q, x))
    }

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Metric::L2 => "l2",
            Metric::Ip => "ip",
            Metric::Cosine => "cosine",
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Metric {
    type Err = crate::Error;

    /// Reads the names of this project and those of ann-benchmarks, SISAP and FAISS.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(match s.to_ascii_lowercase().as_str() {
            "l2" | "euclidean" | "sqeuclidean" | "squared_l2" => Metric::L2,
            "ip" | "dot" | "inner_product" | "innerproduct" | "negdotprod" => Metric::Ip,
            "cosine" | "angular" | "cosinesimil" => Metric::Cosine,
            _ => return Err(crate::Error::param("metric", s, "l2, ip or cosine")),
        })
    }
}

//! The spec string that names an index: `Flat`, `IVF1024,Flat`, `LMI320(512-384),SQ8`, `IVF1024(router),SQ8`, `OPQ16,IVF1024,PQ16,Refine(Flat)`.
//!
//! A spec is words separated by commas, in the order of a search: transform, partition, code, refinement. A word is Name,
//! count, options: `LMI320(512-384)`. Commas inside parentheses bind. The vocabulary is that of the FAISS index factory, plus the
//! words of this project.

mod read;

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A linear map before everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransformSpec {
    /// The `d` directions of largest variance (`PCA64`).
    Pca {
        /// Dimensions kept.
        d: usize,
    },
    /// The rotation under which product codes of `m` parts lose least (`OPQ16`).
    Opq {
        /// Parts.
        m: usize,
    },
    /// A linear map of another program's index, to `d` dimensions (`Map64`, `Map64(to-unit)`); it is not trained here.
    Map {
        /// Dimensions it leads to.
        d: usize,
        /// Where rows get unit length.
        unit: Unit,
    },
    /// Unit length and no map (`L2norm`), in another program's index; an index built here has the metric cosine for it.
    Unit,
}

/// Whether a given map goes from or to rows of unit length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Neither.
    No,
    /// Before the map.
    Before,
    /// After the map.
    After,
}

/// In which list a vector is stored and which lists a query visits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PartitionSpec {
    /// One list of everything.
    One,
    /// The nearest of `nlist` k-means centroids (`IVF320`).
    KMeans {
        /// Number of lists.
        nlist: usize,
    },
    /// The nearest of `nlist` centroids that lie among the queries: paired k-means (`Paired320`).
    Paired {
        /// Number of lists.
        nlist: usize,
    },
    /// The list that a classifier says (`LMI320`).
    Learned {
        /// Number of lists.
        nlist: usize,
        /// Widths of the hidden layers where the spec names them.
        hidden: Option<Vec<usize>>,
    },
}

/// A number a dimension, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarKind {
    /// Half floats (`F16`).
    F16,
    /// 8 bits between the smallest and largest value of each dimension (`SQ8`).
    Sq8,
    /// 4 bits, likewise (`SQ4`).
    Sq4,
    /// 8 bits, one range for all dimensions (`SQ8(uniform)`).
    Sq8Uniform,
    /// 4 bits, one range for all dimensions (`SQ4(uniform)`).
    Sq4Uniform,
}

impl ScalarKind {
    /// As a word of a spec.
    pub fn word(self) -> &'static str {
        match self {
            ScalarKind::F16 => "F16",
            ScalarKind::Sq8 => "SQ8",
            ScalarKind::Sq4 => "SQ4",
            ScalarKind::Sq8Uniform => "SQ8(uniform)",
            ScalarKind::Sq4Uniform => "SQ4(uniform)",
        }
    }
}

/// What a vector is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Score {
    /// The vector itself, f32.
    Flat,
    /// Every value by itself, in fewer bits.
    Scalar(ScalarKind),
    /// Product codes (`PQ16`: 8 bits a part; `PQ16x4`: 4 bits).
    Pq {
        /// Parts.
        m: usize,
        /// Bits a part, 4 or 8.
        bits: usize,
    },
    /// Rotated and rounded to `bits` bits a dimension, with an error bound (`RaBitQ4`).
    RaBitQ {
        /// Bits a dimension, 1 to 8.
        bits: usize,
    },
}

/// As what vectors are kept beside their codes, to rank the best candidates again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefineSpec {
    /// As they came, f32.
    Flat,
    /// In fewer bits.
    Scalar(ScalarKind),
}

/// A parsed spec; prints back to its canonical string, which parses to the same value.
///
/// ```
/// let spec: voisin::Spec = "lmi320(512-384), rabitq4, refine(sq8)".parse()?;
/// assert_eq!(spec.to_string(), "LMI320(512-384),RaBitQ4,Refine(SQ8)");
/// # Ok::<(), voisin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Spec {
    /// Which map first, if any.
    pub transform: Option<TransformSpec>,
    /// Which list.
    pub partition: PartitionSpec,
    /// Whether a layer trained on queries chooses the lists that are visited (`IVF320(router)`); never with one list.
    pub router: bool,
    /// Which code.
    pub score: Score,
    /// Which vectors to rank the candidates by, if any.
    pub refine: Option<RefineSpec>,
}

impl Spec {
    fn of(partition: PartitionSpec, score: Score) -> Spec {
        Spec { transform: None, partition, router: false, score, refine: None }
    }

    /// One list of plain vectors: exact search.
    pub fn flat() -> Spec {
        Spec::of(PartitionSpec::One, Score::Flat)
    }

    /// k-means lists of plain vectors.
    pub fn ivf(nlist: usize) -> Spec {
        Spec::of(PartitionSpec::KMeans { nlist }, Score::Flat)
    }

    /// Learned lists of plain vectors.
    pub fn lmi(nlist: usize) -> Spec {
        Spec::of(PartitionSpec::Learned { nlist, hidden: None }, Score::Flat)
    }

    /// Reads a spec; upper and lower case are the same.
    ///
    /// # Errors
    /// [`Error::Spec`] with the position of the word at fault.
    pub fn parse(text: &str) -> Result<Spec> {
        read::spec(text)
    }

    /// Number of lists.
    pub fn nlist(&self) -> usize {
        match self.partition {
            PartitionSpec::One => 1,
            PartitionSpec::KMeans { nlist } | PartitionSpec::Paired { nlist } | PartitionSpec::Learned { nlist, .. } => nlist,
        }
    }
}

impl From<Spec> for String {
    fn from(spec: Spec) -> String {
        spec.to_string()
    }
}

impl TryFrom<String> for Spec {
    type Error = Error;

    fn try_from(text: String) -> Result<Spec> {
        Spec::parse(&text)
    }
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Spec> {
        Spec::parse(text)
    }
}

impl fmt::Display for TransformSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransformSpec::Pca { d } => write!(f, "PCA{d}"),
            TransformSpec::Opq { m } => write!(f, "OPQ{m}"),
            TransformSpec::Map { d, unit: Unit::No } => write!(f, "Map{d}"),
            TransformSpec::Map { d, unit: Unit::Before } => write!(f, "Map{d}(from-unit)"),
            TransformSpec::Map { d, unit: Unit::After } => write!(f, "Map{d}(to-unit)"),
            TransformSpec::Unit => f.write_str("L2norm"),
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Score::Flat => f.write_str("Flat"),
            Score::Scalar(kind) => f.write_str(kind.word()),
            Score::Pq { m, bits: 8 } => write!(f, "PQ{m}"),
            Score::Pq { m, bits } => write!(f, "PQ{m}x{bits}"),
            Score::RaBitQ { bits } => write!(f, "RaBitQ{bits}"),
        }
    }
}

impl fmt::Display for RefineSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefineSpec::Flat => f.write_str("Refine(Flat)"),
            RefineSpec::Scalar(kind) => write!(f, "Refine({})", kind.word()),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(transform) = self.transform {
            write!(f, "{transform},")?;
        }
        let (name, nlist, hidden) = match &self.partition {
            PartitionSpec::One => ("", 0, None),
            PartitionSpec::KMeans { nlist } => ("IVF", *nlist, None),
            PartitionSpec::Paired { nlist } => ("Paired", *nlist, None),
            PartitionSpec::Learned { nlist, hidden } => ("LMI", *nlist, hidden.as_ref()),
        };
        if self.partition != PartitionSpec::One {
            let widths = hidden.map(|h| h.iter().map(usize::to_string).collect::<Vec<_>>().join("-"));
            let options: Vec<String> = widths.into_iter().chain(self.router.then(|| "router".to_owned())).collect();
            let options = if options.is_empty() { String::new() } else { format!("({})", options.join(",")) };
            write!(f, "{name}{nlist}{options},")?;
        }
        write!(f, "{}", self.score)?;
        match self.refine {
            None => Ok(()),
            Some(refine) => write!(f, ",{refine}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read::{MAX_LISTS, MAX_PARTS};
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> (String, String) {
        match Spec::parse(text) {
            Err(Error::Spec { at, len, what, .. }) => (text[at..at + len].to_owned(), what),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn words_are_read() {
        assert_eq!(Spec::parse("Flat").unwrap(), Spec::flat());
        assert_eq!(Spec::parse(" ivf1024 , FLAT ").unwrap(), Spec::ivf(1024));
        let lmi = Spec::parse("LMI320(512-384),Flat").unwrap();
        assert_eq!(lmi.partition, PartitionSpec::Learned { nlist: 320, hidden: Some(vec![512, 384]) });
        assert_eq!(lmi.to_string(), "LMI320(512-384),Flat");
        for text in ["PCA64,IVF16,RaBitQ4,Refine(F16)", "OPQ16,PQ16x4", "SQ4(uniform)", "IVF8,PQ4,Refine(SQ8(uniform))"]
            .into_iter()
            .chain([
                "IVF8(router),RaBitQ4",
                "LMI8(512-384,router),Flat",
                "LMI8(router),Flat",
                "Paired131072(router),SQ4",
                "Paired9,SQ4",
            ])
        {
            assert_eq!(Spec::parse(text).unwrap().to_string(), text);
        }
        let routed = Spec::parse("lmi8( Router , 16-8 ),flat").unwrap();
        assert_eq!((routed.to_string().as_str(), routed.router), ("LMI8(16-8,router),Flat", true));
        assert_eq!(Spec::parse("paired8,sq4").unwrap().partition, PartitionSpec::Paired { nlist: 8 });
        assert_eq!(Spec::parse("ivf8,pq16x4fs,rflat").unwrap().to_string(), "IVF8,PQ16x4,Refine(Flat)");
    }

    #[test]
    fn messages_point_at_the_word() {
        assert_eq!(fault("IVFF320,Flat").0, "IVFF320");
        assert!(fault("IVFF320,Flat").1.contains("did you mean IVF?"));
        assert!(fault("IVF320,Flatt").1.contains("did you mean Flat?"));
        assert_eq!(fault("IVF320,HNSW8").0, "HNSW8");
        assert!(fault("IVF320,HNSW8").1.contains("not build yet"));
        assert!(fault("IVF320,RaBitQ9").1.contains("from 1 to 8"));
        assert!(fault("IVF320,PQ16x5").1.contains("4 or 8 bits"));
        assert!(fault("IVF320,SQ6").1.contains("SQ8 and SQ4"));
        assert!(fault("OPQ8,PQ16").1.contains("OPQ8 goes with PQ8"));
        assert!(fault("IVF4,Refine(Flat)").1.contains("before"));
        assert!(fault("Flat,Refine(Flat)").1.contains("nothing to refine"));
        assert!(fault("IVF4,SQ8,Refine(PQ4)").1.contains("Refine(SQ8)"));
        assert!(fault("IVF4,PCA8,SQ8").1.contains("first"));
        assert!(fault("IVF320").1.contains("IVF320,Flat"));
        assert!(fault("IVF,Flat").1.contains("missing"));
        assert!(fault("IVF0,Flat").1.contains("from 1"));
        assert!(fault("IVF99999999999999999999,Flat").1.contains("from 1"));
        assert!(fault("LMI3(a),Flat").1.contains("widths"));
        assert!(fault("IVF4(rooter),Flat").1.contains("router is the option"));
        assert!(fault("IVF4(router,router),Flat").1.contains("twice"));
        assert!(fault("Paired4(8),Flat").1.contains("router is the option"));
        assert!(fault("LMI4(8,16),Flat").1.contains("widths"));
        assert!(fault("LMI4(,router),Flat").1.contains("widths"));
        assert!(fault("Paired,Flat").1.contains("missing"));
        assert!(fault("Piared4,Flat").1.contains("did you mean Paired?"));
        assert!(fault("IVF4,LMI4,Flat").1.contains("second"));
        assert!(fault("Flat,IVF4").1.contains("before"));
        for odd in ["", ",", "Flat,", "Flat)", "LMI3(5,Flat", "LMI3(5)x,Flat", "É3,Flat", "Flat3", "IVF-3,Flat"] {
            fault(odd);
        }
    }

    fn specs() -> impl Strategy<Value = Spec> {
        let hidden = proptest::option::of(proptest::collection::vec(1usize..=65_536, 1..=8));
        let transform = prop_oneof![
            Just(None),
            (1..=MAX_PARTS).prop_map(|d| Some(TransformSpec::Pca { d })),
            (1..=MAX_PARTS).prop_map(|m| Some(TransformSpec::Opq { m })),
            (1..=MAX_PARTS).prop_map(|d| Some(TransformSpec::Map { d, unit: [Unit::No, Unit::Before, Unit::After][d % 3] })),
            Just(Some(TransformSpec::Unit)),
        ];
        let partition = prop_oneof![
            Just(PartitionSpec::One),
            (1..=MAX_LISTS).prop_map(|nlist| PartitionSpec::KMeans { nlist }),
            (1..=MAX_LISTS).prop_map(|nlist| PartitionSpec::Paired { nlist }),
            (1..=MAX_LISTS, hidden).prop_map(|(nlist, hidden)| PartitionSpec::Learned { nlist, hidden }),
        ];
        let kinds = [ScalarKind::F16, ScalarKind::Sq8, ScalarKind::Sq4, ScalarKind::Sq8Uniform, ScalarKind::Sq4Uniform];
        let kind = proptest::sample::select(kinds.to_vec());
        let score = prop_oneof![
            Just(Score::Flat),
            kind.clone().prop_map(Score::Scalar),
            (1..=MAX_PARTS, proptest::bool::ANY).prop_map(|(m, four)| Score::Pq { m, bits: if four { 4 } else { 8 } }),
            (1usize..=8).prop_map(|bits| Score::RaBitQ { bits }),
        ];
        let refine = prop_oneof![Just(None), Just(Some(RefineSpec::Flat)), kind.prop_map(|k| Some(RefineSpec::Scalar(k)))];
        (transform, partition, score, refine, proptest::bool::ANY).prop_map(
            |(mut transform, partition, score, mut refine, router)| {
                if let (Some(TransformSpec::Opq { m }), Score::Pq { m: parts, .. }) = (&mut transform, score) {
                    *m = parts;
                }
                if score == Score::Flat && transform.is_none() {
                    refine = None;
                }
                let router = router && partition != PartitionSpec::One;
                Spec { transform, partition, router, score, refine }
            },
        )
    }

    proptest! {
        #[test]
        fn prints_what_it_reads(spec in specs()) {
            prop_assert_eq!(Spec::parse(&spec.to_string()).unwrap(), spec);
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            if let Err(Error::Spec { at, len, .. }) = Spec::parse(&text) {
                prop_assert!(text.get(at..at + len).is_some());
            }
        }
    }
}

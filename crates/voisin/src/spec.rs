//! The spec string that names an index: `Flat`, `IVF1024,Flat`, `LMI320(512-384),Flat`.
//!
//! A spec is words separated by commas; a word is Name, count, options: `LMI320(512-384)`. Commas inside parentheses
//! bind. The vocabulary is that of the FAISS index factory, plus the words of this project.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Largest number of lists that a spec may ask for.
const MAX_LISTS: usize = 1 << 24;

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
    /// The list that a classifier says (`LMI320`).
    Learned {
        /// Number of lists.
        nlist: usize,
        /// Widths of the hidden layers where the spec names them.
        hidden: Option<Vec<usize>>,
    },
}

/// What a vector is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Score {
    /// The vector itself, f32.
    Flat,
}

/// A parsed spec; prints back to its canonical string, which parses to the same value.
///
/// ```
/// let spec: voisin::Spec = "lmi320(512-384), flat".parse()?;
/// assert_eq!(spec.to_string(), "LMI320(512-384),Flat");
/// # Ok::<(), voisin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Which list.
    pub partition: PartitionSpec,
    /// Which code.
    pub score: Score,
}

impl Spec {
    /// One list of plain vectors: exact search.
    pub fn flat() -> Spec {
        Spec { partition: PartitionSpec::One, score: Score::Flat }
    }

    /// k-means lists of plain vectors.
    pub fn ivf(nlist: usize) -> Spec {
        Spec { partition: PartitionSpec::KMeans { nlist }, score: Score::Flat }
    }

    /// Learned lists of plain vectors.
    pub fn lmi(nlist: usize) -> Spec {
        Spec { partition: PartitionSpec::Learned { nlist, hidden: None }, score: Score::Flat }
    }

    /// Reads a spec; upper and lower case are the same.
    ///
    /// # Errors
    /// [`Error::Spec`] with the position of the word at fault.
    pub fn parse(text: &str) -> Result<Spec> {
        let mut partition = None;
        let mut score = None;
        let words = split(text)?;
        for word in &words {
            match word.read(text)? {
                Read::Partition(p) if partition.is_none() && score.is_none() => partition = Some(p),
                Read::Partition(_) if partition.is_some() => {
                    return Err(word.error(text, "a second partition; one word says where a vector is stored"));
                }
                Read::Partition(_) => return Err(word.error(text, "the partition comes before the code")),
                Read::Score(s) if score.is_none() => score = Some(s),
                Read::Score(_) => return Err(word.error(text, "a second code; one word says what a vector is stored as")),
            }
        }
        let Some(score) = score else {
            let last = words.last().expect("split gives at least one word");
            return Err(last.error(text, format!("a code must follow: {},Flat", last.text)));
        };
        Ok(Spec { partition: partition.unwrap_or(PartitionSpec::One), score })
    }

    /// Number of lists.
    pub fn nlist(&self) -> usize {
        match self.partition {
            PartitionSpec::One => 1,
            PartitionSpec::KMeans { nlist } | PartitionSpec::Learned { nlist, .. } => nlist,
        }
    }
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Spec> {
        Spec::parse(text)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.partition {
            PartitionSpec::One => {}
            PartitionSpec::KMeans { nlist } => write!(f, "IVF{nlist},")?,
            PartitionSpec::Learned { nlist, hidden: None } => write!(f, "LMI{nlist},")?,
            PartitionSpec::Learned { nlist, hidden: Some(h) } => {
                let widths: Vec<String> = h.iter().map(usize::to_string).collect();
                write!(f, "LMI{nlist}({}),", widths.join("-"))?;
            }
        }
        match self.score {
            Score::Flat => f.write_str("Flat"),
        }
    }
}

enum Read {
    Partition(PartitionSpec),
    Score(Score),
}

/// A word of the spec and where it stands.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    at: usize,
}

/// Cuts a spec at the commas outside parentheses.
fn split(spec: &str) -> Result<Vec<Word<'_>>> {
    let mut words = Vec::new();
    let (mut start, mut depth) = (0, 0usize);
    let mut push = |from: usize, to: usize| {
        let raw = &spec[from..to];
        let text = raw.trim();
        let word = Word { text, at: from + (raw.len() - raw.trim_start().len()) };
        words.push(word);
        if text.is_empty() { Err(word.error(spec, "an empty word; a spec is like \"IVF320,Flat\"")) } else { Ok(()) }
    };
    for (i, c) in spec.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Err(Word { text: ")", at: i }.error(spec, "closes no parenthesis")),
            ')' => depth -= 1,
            ',' if depth == 0 => {
                push(start, i)?;
                start = i + 1;
            }
            _ => {}
        }
    }
    push(start, spec.len())?;
    if depth > 0 {
        let last = words.last().expect("one was pushed");
        return Err(last.error(spec, "a parenthesis is not closed"));
    }
    Ok(words)
}

/// Words that are built, as users write them.
const BUILT: [&str; 3] = ["Flat", "IVF", "LMI"];
/// Words of the notation that this version does not build.
const LATER: [&str; 16] = [
    "PCA", "PCAR", "PCAW", "OPQ", "PQ", "SQ", "SQfp16", "SQbf16", "RaBitQ", "Refine", "RFlat", "Paired", "HNSW", "NSG", "IDMap",
    "L2norm",
];

impl<'a> Word<'a> {
    fn error(&self, spec: &str, what: impl Into<String>) -> Error {
        Error::Spec { spec: spec.to_owned(), at: self.at, len: self.text.len(), what: what.into() }
    }

    /// Name, digits after it, and what stands in parentheses.
    fn parts(&self, spec: &str) -> Result<(&'a str, &'a str, Option<&'a str>)> {
        let (head, options) = match self.text.split_once('(') {
            Some((head, tail)) => match tail.strip_suffix(')') {
                Some(options) => (head, Some(options)),
                None => return Err(self.error(spec, "nothing may follow the closing parenthesis")),
            },
            None => (self.text, None),
        };
        let digits = head.find(|c: char| c.is_ascii_digit()).unwrap_or(head.len());
        Ok((head[..digits].trim_end(), &head[digits..], options))
    }

    fn read(&self, spec: &str) -> Result<Read> {
        let (name, count, options) = self.parts(spec)?;
        let is = |w: &str| name.eq_ignore_ascii_case(w);
        if is("Flat") {
            return match (count, options) {
                ("", None) => Ok(Read::Score(Score::Flat)),
                _ => Err(self.error(spec, "Flat takes neither a count nor options")),
            };
        }
        if is("IVF") {
            let nlist = self.lists(spec, "IVF", count)?;
            return match options {
                None => Ok(Read::Partition(PartitionSpec::KMeans { nlist })),
                Some(o) if o.trim().eq_ignore_ascii_case("router") => {
                    Err(self.error(spec, "a router is a known option that this version does not build yet"))
                }
                Some(o) => Err(self.error(spec, format!("unknown option \"{o}\" of IVF"))),
            };
        }
        if is("LMI") {
            let nlist = self.lists(spec, "LMI", count)?;
            let hidden = options.map(|o| self.hidden(spec, o)).transpose()?;
            return Ok(Read::Partition(PartitionSpec::Learned { nlist, hidden }));
        }
        Err(self.error(spec, self.unknown(name)))
    }

    fn lists(&self, spec: &str, name: &str, count: &str) -> Result<usize> {
        if count.is_empty() {
            return Err(self.error(spec, format!("the number of lists is missing: {name}320")));
        }
        match count.parse::<usize>() {
            Ok(n) if (1..=MAX_LISTS).contains(&n) => Ok(n),
            _ => Err(self.error(spec, format!("{count} lists: a whole number from 1 to {MAX_LISTS} is expected"))),
        }
    }

    fn hidden(&self, spec: &str, options: &str) -> Result<Vec<usize>> {
        let widths: Option<Vec<usize>> =
            options.split('-').map(|w| w.trim().parse().ok().filter(|w| (1..=65_536).contains(w))).collect();
        match widths {
            Some(w) if w.len() <= 8 => Ok(w),
            _ => Err(self.error(
                spec,
                format!("({options}): one to eight widths of hidden layers from 1 to 65536 are expected, as in LMI320(512-384)"),
            )),
        }
    }

    fn unknown(&self, name: &str) -> String {
        if LATER.iter().any(|w| name.eq_ignore_ascii_case(w)) {
            return format!("{} is a known word that this version does not build yet", self.text);
        }
        let near = BUILT
            .iter()
            .chain(&LATER)
            .map(|w| (edits(&name.to_ascii_lowercase(), &w.to_ascii_lowercase()), *w))
            .filter(|(e, w)| *e <= 2 && *e < w.len())
            .min_by_key(|(e, _)| *e);
        match near {
            Some((_, w)) => format!("unknown word \"{}\"; did you mean {w}?", self.text),
            None => format!("unknown word \"{}\"; {} are known", self.text, BUILT.join(", ")),
        }
    }
}

/// Edit distance (Levenshtein), on bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn messages_point_at_the_word() {
        assert_eq!(fault("IVFF320,Flat").0, "IVFF320");
        assert!(fault("IVFF320,Flat").1.contains("did you mean IVF?"));
        assert!(fault("IVF320,Flatt").1.contains("did you mean Flat?"));
        assert_eq!(fault("IVF320,PQ8").0, "PQ8");
        assert!(fault("IVF320,PQ8").1.contains("not build yet"));
        assert!(fault("IVF320").1.contains("IVF320,Flat"));
        assert!(fault("IVF,Flat").1.contains("missing"));
        assert!(fault("IVF0,Flat").1.contains("from 1"));
        assert!(fault("IVF99999999999999999999,Flat").1.contains("from 1"));
        assert!(fault("LMI3(a),Flat").1.contains("widths"));
        assert!(fault("IVF4(router),Flat").1.contains("not build yet"));
        assert!(fault("IVF4,LMI4,Flat").1.contains("second"));
        assert!(fault("Flat,IVF4").1.contains("before"));
        for odd in ["", ",", "Flat,", "Flat)", "LMI3(5,Flat", "LMI3(5)x,Flat", "É3,Flat", "Flat3", "IVF-3,Flat"] {
            fault(odd);
        }
    }

    fn specs() -> impl Strategy<Value = Spec> {
        let hidden = proptest::option::of(proptest::collection::vec(1usize..=65_536, 1..=8));
        prop_oneof![
            Just(PartitionSpec::One),
            (1..=MAX_LISTS).prop_map(|nlist| PartitionSpec::KMeans { nlist }),
            (1..=MAX_LISTS, hidden).prop_map(|(nlist, hidden)| PartitionSpec::Learned { nlist, hidden }),
        ]
        .prop_map(|partition| Spec { partition, score: Score::Flat })
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

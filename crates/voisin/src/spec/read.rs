//! Reading the words of a spec.

use super::{PartitionSpec, RefineSpec, ScalarKind, Score, Spec, TransformSpec, Unit};
use crate::{Error, Result};

/// Largest number of lists that a spec may ask for.
pub(super) const MAX_LISTS: usize = 1 << 24;
/// Largest number of dimensions or parts that a spec may name.
pub(super) const MAX_PARTS: usize = 65_536;

pub(super) fn spec(text: &str) -> Result<Spec> {
    let (mut transform, mut partition, mut score, mut refine) = (None, None, None, None);
    let words = split(text)?;
    for word in &words {
        let fault = |what: &str| Err(word.error(text, what));
        match word.read(text)? {
            Read::Refine(_) if score.is_none() => return fault("the code that is refined comes before it: RaBitQ4,Refine(SQ8)"),
            Read::Refine(_) if refine.is_some() => return fault("a second refinement"),
            Read::Refine(r) => refine = Some(r),
            _ if refine.is_some() => return fault("nothing comes after the refinement"),
            Read::Score(_) if score.is_some() => return fault("a second code; one word says what a vector is stored as"),
            Read::Score(s) => score = Some(s),
            Read::Partition(..) if partition.is_some() => {
                return fault("a second partition; one word says where a vector is stored");
            }
            Read::Partition(..) if score.is_some() => return fault("the partition comes before the code"),
            Read::Partition(p, router) => partition = Some((p, router)),
            Read::Transform(_) if transform.is_some() => return fault("a second transform; one is possible"),
            Read::Transform(_) if partition.is_some() || score.is_some() => {
                return fault("a transform comes first, before partition and code");
            }
            Read::Transform(t) => transform = Some(t),
        }
    }
    let last = words.last().expect("split gives at least one word");
    let Some(score) = score else {
        return Err(last.error(text, format!("a code must follow: {},Flat", last.text)));
    };
    if score == Score::Flat && refine.is_some() && transform.is_none() {
        return Err(last.error(text, "Flat keeps the vectors as they are; there is nothing to refine"));
    }
    if let (Some(TransformSpec::Opq { m }), Score::Pq { m: parts, .. }) = (transform, score)
        && m != parts
    {
        return Err(words[0].error(text, format!("OPQ{m} goes with PQ{m}, not with PQ{parts}")));
    }
    let (partition, router) = partition.unwrap_or((PartitionSpec::One, false));
    Ok(Spec { transform, partition, router, score, refine })
}

enum Read {
    Transform(TransformSpec),
    /// And whether it has a router.
    Partition(PartitionSpec, bool),
    Score(Score),
    Refine(RefineSpec),
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
const BUILT: [&str; 13] = ["Flat", "IVF", "LMI", "Paired", "PCA", "OPQ", "SQ8", "SQ4", "F16", "PQ", "RaBitQ", "Refine", "RFlat"];
/// Words of the notation that this version does not build.
const LATER: [&str; 6] = ["PCAR", "PCAW", "SQbf16", "HNSW", "NSG", "IDMap"];

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
        let plain = |read: Read| match (count, options) {
            ("", None) => Ok(read),
            _ => Err(self.error(spec, format!("{name} takes neither a count nor options"))),
        };
        if let Some(kind) = self.scalar(spec)? {
            return Ok(Read::Score(Score::Scalar(kind)));
        }
        if is("Flat") {
            return plain(Read::Score(Score::Flat));
        }
        if is("RFlat") {
            return plain(Read::Refine(RefineSpec::Flat));
        }
        if is("PCA") {
            return Ok(Read::Transform(TransformSpec::Pca { d: self.number(spec, "PCA64", count, options, 1..=MAX_PARTS)? }));
        }
        if is("OPQ") {
            return Ok(Read::Transform(TransformSpec::Opq { m: self.number(spec, "OPQ16", count, options, 1..=MAX_PARTS)? }));
        }
        if is("Map") {
            let unit = match options.map(str::trim) {
                None => Unit::No,
                Some(o) if o.eq_ignore_ascii_case("from-unit") => Unit::Before,
                Some(o) if o.eq_ignore_ascii_case("to-unit") => Unit::After,
                Some(o) => {
                    return Err(self.error(spec, format!("unknown option \"{o}\" of Map; from-unit and to-unit are known")));
                }
            };
            let d = self.number(spec, "Map64", count, None, 1..=MAX_PARTS)?;
            return Ok(Read::Transform(TransformSpec::Map { d, unit }));
        }
        if self.text.eq_ignore_ascii_case("L2norm") {
            return Ok(Read::Transform(TransformSpec::Unit));
        }
        if is("PQ") {
            let (m, bits) = match count.to_ascii_lowercase().split_once('x') {
                None => (count.to_owned(), 8),
                Some((m, "8")) => (m.to_owned(), 8),
                Some((m, "4" | "4fs")) => (m.to_owned(), 4),
                Some((_, other)) => {
                    return Err(self.error(spec, format!("x{other}: codes of 4 or 8 bits are built, PQ16x4 or PQ16")));
                }
            };
            return Ok(Read::Score(Score::Pq { m: self.number(spec, "PQ16", &m, options, 1..=MAX_PARTS)?, bits }));
        }
        if is("RaBitQ") {
            let count = if count.is_empty() { "1" } else { count };
            return Ok(Read::Score(Score::RaBitQ { bits: self.number(spec, "RaBitQ4", count, options, 1..=8)? }));
        }
        if is("Refine") {
            return self.refine(spec, count, options);
        }
        if let Some(word) = ["IVF", "Paired", "LMI"].into_iter().find(|w| is(w)) {
            let nlist = self.lists(spec, word, count)?;
            let (hidden, router) = self.options(spec, options, word)?;
            let partition = match word {
                "IVF" => PartitionSpec::KMeans { nlist },
                "Paired" => PartitionSpec::Paired { nlist },
                _ => PartitionSpec::Learned { nlist, hidden },
            };
            return Ok(Read::Partition(partition, router));
        }
        Err(self.error(spec, self.unknown(name)))
    }

    /// `F16`, `SQ8`, `SQ4(uniform)`, and FAISS's word for the first.
    fn scalar(&self, spec: &str) -> Result<Option<ScalarKind>> {
        let (head, options) = self.text.split_once('(').map_or((self.text, None), |(h, o)| (h.trim_end(), Some(o)));
        let uniform = match options.map(|o| o.trim_end_matches(')').trim()) {
            None => false,
            Some(o) if o.eq_ignore_ascii_case("uniform") => true,
            Some(_) => return Ok(None),
        };
        Ok(match (head.to_ascii_uppercase().as_str(), uniform) {
            ("F16" | "SQFP16", false) => Some(ScalarKind::F16),
            ("SQ8", false) => Some(ScalarKind::Sq8),
            ("SQ8", true) => Some(ScalarKind::Sq8Uniform),
            ("SQ4", false) => Some(ScalarKind::Sq4),
            ("SQ4", true) => Some(ScalarKind::Sq4Uniform),
            (name, _) if name.starts_with("SQ") && name[2..].bytes().all(|b| b.is_ascii_digit()) => {
                return Err(self.error(spec, "SQ8 and SQ4 are built, per dimension or SQ8(uniform)"));
            }
            _ => None,
        })
    }

    fn refine(&self, spec: &str, count: &str, options: Option<&str>) -> Result<Read> {
        let expected = "Refine(Flat), Refine(F16) or Refine(SQ8) is expected";
        let inner = match (count, options) {
            ("", Some(o)) if !o.trim().is_empty() => Word { text: o.trim(), at: self.at },
            _ => return Err(self.error(spec, expected)),
        };
        if inner.text.eq_ignore_ascii_case("Flat") {
            return Ok(Read::Refine(RefineSpec::Flat));
        }
        match inner.scalar(spec) {
            Ok(Some(kind)) => Ok(Read::Refine(RefineSpec::Scalar(kind))),
            _ => Err(self.error(spec, expected)),
        }
    }

    /// The number after a name that takes no options.
    fn number(
        &self,
        spec: &str,
        example: &str,
        count: &str,
        options: Option<&str>,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize> {
        match count.parse::<usize>() {
            Ok(n) if range.contains(&n) && options.is_none() => Ok(n),
            _ => Err(self.error(
                spec,
                format!("a whole number from {} to {} is expected after the name, as in {example}", range.start(), range.end()),
            )),
        }
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

    /// The options of a partition: widths of hidden layers (LMI alone), and whether it has a router; in any order.
    fn options(&self, spec: &str, options: Option<&str>, word: &str) -> Result<(Option<Vec<usize>>, bool)> {
        let (mut hidden, mut router) = (None, false);
        for option in options.into_iter().flat_map(|o| o.split(',')).map(str::trim) {
            let is_router = option.eq_ignore_ascii_case("router");
            if (is_router && router) || (!is_router && hidden.is_some() && option.contains('-')) {
                return Err(self.error(spec, format!("\"{option}\" stands twice")));
            }
            match is_router {
                true => router = true,
                false if word == "LMI" && hidden.is_none() => hidden = Some(self.hidden(spec, option)?),
                false if word == "LMI" => return Err(self.error(spec, "widths are separated by -, as in LMI320(512-384)")),
                false => {
                    return Err(self.error(spec, format!("unknown option \"{option}\"; router is the option of {word}")));
                }
            }
        }
        Ok((hidden, router))
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

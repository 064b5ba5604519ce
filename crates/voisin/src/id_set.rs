//! A set of string ids that takes little more than their text.

use crate::StringIds;

/// Distinct strings, found by bisection. Memory: the text, and 12 bytes a string.
#[derive(Clone, Debug, Default)]
pub struct IdSet {
    ids: StringIds,
    order: Vec<u32>,
}

impl IdSet {
    /// Takes ids; equal ones count once. At most 2^32 of them.
    ///
    /// # Panics
    /// If there are more.
    pub fn new(ids: StringIds) -> IdSet {
        let n = u32::try_from(ids.len()).expect("fewer than 2^32 ids");
        let mut order: Vec<u32> = (0..n).collect();
        order.sort_unstable_by(|&a, &b| ids.get(a as usize).cmp(ids.get(b as usize)).then(a.cmp(&b)));
        order.dedup_by(|b, a| ids.get(*a as usize) == ids.get(*b as usize)); // the first of equal ones stays
        IdSet { ids, order }
    }

    /// Number of distinct ids.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Where `id` stands among the ids given: the first place, if there are several.
    pub fn find(&self, id: &str) -> Option<usize> {
        let at = self.order.partition_point(|&i| self.ids.get(i as usize) < id);
        self.order.get(at).map(|&i| i as usize).filter(|&i| self.ids.get(i) == id)
    }

    /// The ids as they were given.
    pub fn ids(&self) -> &StringIds {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_of_equal_ones() {
        let s = IdSet::new(["b", "a", "", "b", "ab"].iter().collect());
        assert_eq!((s.len(), s.find("b"), s.find("a"), s.find(""), s.find("ab")), (4, Some(0), Some(1), Some(2), Some(4)));
        assert_eq!((s.find("c"), s.find("aa")), (None, None));
        assert!(IdSet::default().find("").is_none());
    }
}

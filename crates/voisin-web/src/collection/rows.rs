//! What is known of every vector besides its values: id, name, class, text.

use std::collections::HashMap;

use voisin::{Index, StringIds};

use crate::WebError;

/// The rows of a collection, in the order of the numbers that stand for them in the index.
#[derive(Debug)]
pub(super) struct Rows {
    numbers: Numbers,
    /// Shown under an item; the id without.
    pub names: Option<StringIds>,
    pub texts: Option<StringIds>,
    pub classes: Classes,
}

/// The numbers of the rows, ascending.
#[derive(Debug)]
enum Numbers {
    /// 0, 1, 2, ...
    Counted(u64),
    Listed(Vec<u64>),
}

impl Rows {
    /// Takes the numbers in any order.
    pub fn new(mut numbers: Vec<u64>) -> Rows {
        numbers.sort_unstable();
        let counted = numbers.last().is_none_or(|last| *last == numbers.len() as u64 - 1);
        let numbers = if counted { Numbers::Counted(numbers.len() as u64) } else { Numbers::Listed(numbers) };
        Rows { numbers, names: None, texts: None, classes: Classes::default() }
    }

    /// The numbers of an index, and its string ids in the order of the numbers.
    pub fn of_index(index: &Index) -> Result<(Rows, Option<StringIds>), WebError> {
        let mut all: Vec<(u64, Box<str>)> = Vec::with_capacity(index.len() as usize);
        index.for_each_id(&mut |number, string| all.push((number, string.unwrap_or_default().into())))?;
        all.sort_unstable_by_key(|x| x.0);
        let strings = index.has_string_ids().then(|| all.iter().map(|x| &*x.1).collect());
        Ok((Rows::new(all.into_iter().map(|x| x.0).collect()), strings))
    }

    pub fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Counted(n) => *n as usize,
            Numbers::Listed(all) => all.len(),
        }
    }

    /// The number of a row.
    pub fn number(&self, row: usize) -> u64 {
        match &self.numbers {
            Numbers::Counted(_) => row as u64,
            Numbers::Listed(all) => all[row],
        }
    }

    /// The row of a number.
    pub fn row(&self, number: u64) -> Option<usize> {
        match &self.numbers {
            Numbers::Counted(n) => (number < *n).then_some(number as usize),
            Numbers::Listed(all) => all.binary_search(&number).ok(),
        }
    }

    /// The largest number.
    pub fn last(&self) -> Option<u64> {
        self.len().checked_sub(1).map(|last| self.number(last))
    }
}

/// A row without a class.
const NONE: u32 = u32::MAX;

/// Which class each row is of.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// In the order in which people sort them.
    names: Vec<String>,
    /// By row; empty where there are no classes at all.
    of: Vec<u32>,
    /// Rows by class: those of class c are `rows[starts[c]..starts[c + 1]]`, ascending.
    rows: Vec<u32>,
    starts: Vec<usize>,
}

impl Classes {
    /// Takes the label of every row; an empty one is none.
    pub fn new(labels: &StringIds) -> Classes {
        let mut names: Vec<&str> = labels.iter().filter(|l| !l.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        names.sort_by(|a, b| voisin_io::natural(a, b).then_with(|| a.cmp(b)));
        if names.is_empty() {
            return Classes::default();
        }
        let number: HashMap<&str, u32> = names.iter().enumerate().map(|(i, name)| (*name, i as u32)).collect();
        let of: Vec<u32> = labels.iter().map(|l| number.get(l).copied().unwrap_or(NONE)).collect();
        let mut starts = vec![0; names.len() + 1];
        of.iter().filter(|c| **c != NONE).for_each(|c| starts[*c as usize + 1] += 1);
        (1..starts.len()).for_each(|c| starts[c] += starts[c - 1]);
        let (mut next, mut rows) = (starts.clone(), vec![0; starts[names.len()]]);
        for (row, class) in of.iter().enumerate().filter(|(_, c)| **c != NONE) {
            rows[next[*class as usize]] = row as u32;
            next[*class as usize] += 1;
        }
        Classes { names: names.into_iter().map(str::to_owned).collect(), of, rows, starts }
    }

    /// Names, with how many rows each has.
    pub fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.iter().enumerate().map(|(c, name)| (&name[..], self.members(c).len() as u64))
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of a class.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// The class of a row.
    pub fn of(&self, row: usize) -> Option<usize> {
        self.of.get(row).filter(|c| **c != NONE).map(|c| *c as usize)
    }

    pub fn name(&self, class: usize) -> &str {
        &self.names[class]
    }

    /// The rows of a class.
    pub fn members(&self, class: usize) -> &[u32] {
        &self.rows[self.starts[class]..self.starts[class + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_gaps_and_without() {
        let counted = Rows::new(vec![2, 0, 1]);
        assert!(matches!(counted.numbers, Numbers::Counted(3)));
        assert_eq!((counted.row(2), counted.row(3), counted.number(1), counted.last()), (Some(2), None, 1, Some(2)));
        let listed = Rows::new(vec![7, 3]);
        assert_eq!((listed.row(7), listed.row(4), listed.number(0), listed.last()), (Some(1), None, 3, Some(7)));
        assert_eq!((Rows::new(vec![]).len(), Rows::new(vec![]).last()), (0, None));
    }

    #[test]
    fn classes_are_sorted_as_people_do() {
        let classes = Classes::new(&["b10", "b2", "", "b10"].iter().collect());
        assert_eq!(classes.all().collect::<Vec<_>>(), [("b2", 1), ("b10", 2)]);
        assert_eq!((classes.find("b10"), classes.find("b"), classes.of(2), classes.of(3)), (Some(1), None, None, Some(1)));
        assert_eq!(classes.members(1), [0, 3]);
        assert_eq!(Classes::new(&["", ""].iter().collect()).len(), 0);
    }
}

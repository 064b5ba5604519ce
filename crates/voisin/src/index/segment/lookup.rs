//! The tables of a segment that find a row by its number or string.

use super::*;

impl Segment {
    /// All ids, in the order of the rows, checked.
    pub(in crate::index) fn ids(&self) -> Result<&[u64]> {
        self.order()?;
        Ok(self.hot(&self.spans.ids))
    }

    fn once(&self, cell: &OnceLock<bool>, tags: &[&[u8; 8]]) -> Result<()> {
        if cell.get() != Some(&true) {
            tags.iter().try_for_each(|tag| self.blocks.checked(tag).map(|_| ()))?;
            let _ = cell.set(true);
        }
        Ok(())
    }

    fn order(&self) -> Result<&[u32]> {
        self.once(&self.order_checked, &[ORDER, IDS])?;
        Ok(self.block(ORDER))
    }

    fn lookup_is_wrong(&self) -> Error {
        Error::corrupt(self.blocks.path(), "a look-up table points outside the rows")
    }

    /// The row of a number.
    pub(in crate::index) fn find(&self, id: u64) -> Result<Option<usize>> {
        let (order, ids) = (self.order()?, self.hot::<u64>(&self.spans.ids));
        let at = order.partition_point(|&r| ids.get(r as usize).is_some_and(|&x| x < id));
        match order.get(at) {
            None => Ok(None),
            Some(&r) => match ids.get(r as usize) {
                None => Err(self.lookup_is_wrong()),
                Some(&x) => Ok((x == id).then_some(r as usize)),
            },
        }
    }

    /// The string of a row; `None` where ids are numbers.
    pub(in crate::index) fn string(&self, row: usize) -> Result<Option<&str>> {
        if self.ids == IdKind::Numbers {
            return Ok(None);
        }
        self.once(&self.strings_checked, &[TEXT, ENDS, SORTED])?;
        let (text, ends) = (self.block::<u8>(TEXT), self.block::<u64>(ENDS));
        let start = if row == 0 { 0 } else { ends[row - 1] };
        let bytes = text.get(start as usize..ends[row] as usize).ok_or_else(|| self.lookup_is_wrong())?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| Error::corrupt(self.blocks.path(), format!("string {row} is no UTF-8")))
    }

    /// The row of a string.
    pub(in crate::index) fn find_string(&self, id: &str) -> Result<Option<usize>> {
        if self.ids == IdKind::Numbers {
            return Ok(None);
        }
        self.once(&self.strings_checked, &[TEXT, ENDS, SORTED])?;
        let sorted = self.block::<u32>(SORTED);
        let (mut low, mut high) = (0, sorted.len());
        while low < high {
            let mid = (low + high) / 2;
            let row = sorted[mid] as usize;
            if row >= self.rows {
                return Err(self.lookup_is_wrong());
            }
            match self.string(row)?.unwrap_or_default().cmp(id) {
                std::cmp::Ordering::Less => low = mid + 1,
                std::cmp::Ordering::Greater => high = mid,
                std::cmp::Ordering::Equal => return Ok(Some(row)),
            }
        }
        Ok(None)
    }
}

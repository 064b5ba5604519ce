//! The tables of a segment that find a row by its number or string.

use super::*;

impl Segment {
    /// All ids, in the order of the rows, checked.
    pub(in crate::index) fn ids(&self) -> Result<impl Iterator<Item = u64> + '_> {
        self.order()?;
        Ok(self.hot::<u64>(&self.spans.ids).iter().map(|id| id.wrapping_add(self.shift)))
    }

    /// The id at a place of the ascending order, and its row; looked up without reading the whole tables.
    pub(in crate::index) fn id_at(&self, at: usize) -> Result<(u64, usize)> {
        let row = self.block::<u32>(ORDER)[at] as usize;
        let id = self.hot::<u64>(&self.spans.ids).get(row).ok_or_else(|| self.lookup_is_wrong())?;
        Ok((id.wrapping_add(self.shift), row))
    }

    /// Smallest and largest id; none without rows.
    pub(in crate::index) fn id_range(&self) -> Result<Option<(u64, u64)>> {
        match self.rows {
            0 => Ok(None),
            rows => Ok(Some((self.id_at(0)?.0, self.id_at(rows - 1)?.0))),
        }
    }

    /// How many ids are below a number.
    pub(in crate::index) fn ids_below(&self, id: u64) -> Result<usize> {
        let (order, ids) = (self.order()?, self.hot::<u64>(&self.spans.ids));
        Ok(order.partition_point(|&r| ids.get(r as usize).is_some_and(|&x| x.wrapping_add(self.shift) < id)))
    }

    /// The string at a place of the ascending order, and its row.
    pub(in crate::index) fn string_at(&self, at: usize) -> Result<(&str, usize)> {
        self.once(&self.strings_checked, &[TEXT, ENDS, SORTED])?;
        let row = self.block::<u32>(SORTED)[at] as usize;
        if row >= self.rows {
            return Err(self.lookup_is_wrong());
        }
        Ok((self.string(row)?.unwrap_or_default(), row))
    }

    /// Bytes of all strings.
    pub(in crate::index) fn text_bytes(&self) -> u64 {
        if self.ids == IdKind::Strings { self.block::<u8>(TEXT).len() as u64 } else { 0 }
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
        let Some(id) = id.checked_sub(self.shift) else { return Ok(None) };
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

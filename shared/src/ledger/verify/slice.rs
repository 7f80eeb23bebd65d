//! Which counters are looked at in one go, so that memory is bounded.

use crate::ledger::counter::{Deltas, Row};

/// Rows of counters that are held at most: some 100 MB with all that belongs to them.
const ROWS_MAX: usize = 100_000;
/// Slices at most. A performer's own days cannot be sliced.
const SLICES_MAX: u32 = 1 << 16;

/// All totals, or performers only, and of these the ones whose name's hash leaves `at` when
/// divided by `of`.
#[derive(Debug)]
pub(super) struct Slice {
    of: u32,
    at: u32,
    has_totals: bool,
    rest: Vec<(u32, u32)>,
}

impl Slice {
    /// Everything.
    pub(super) const WHOLE: Self = Self { of: 1, at: 0, has_totals: true, rest: Vec::new() };

    /// Whether it has the totals too.
    pub(super) fn has_totals(&self) -> bool {
        self.has_totals
    }

    /// Whether it has this row.
    pub(super) fn has(&self, row: &Row) -> bool {
        match row {
            Row::Total(..) => self.has_totals,
            Row::Performer(_, username) | Row::PerformerDay(_, _, username) => {
                crc32fast::hash(username.as_bytes()) % self.of == self.at
            }
        }
    }

    /// Adds what another page came to; while it is too much, half of the performers are left for
    /// later.
    pub(super) fn add(&mut self, held: &mut Deltas, mut page: Deltas) {
        page.retain(|row| self.has(row));
        held.merge(page, 1);
        while held.len() > ROWS_MAX && self.of < SLICES_MAX {
            self.rest.push((self.of * 2, self.at + self.of));
            self.of *= 2;
            held.retain(|row| self.has(row));
        }
    }

    /// What was left for later.
    pub(super) fn rest(self) -> impl Iterator<Item = Self> {
        self.rest.into_iter().map(|(of, at)| Self { of, at, has_totals: false, rest: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::money::Currency;

    #[test]
    fn slices_hold_every_row_once() {
        let row = |n: usize| Row::Performer(Currency::default(), format!("performer {n}"));
        let count = ROWS_MAX * 5 / 2;
        let (mut slices, mut held) = (vec![Slice::WHOLE], 0);
        while let Some(mut slice) = slices.pop() {
            let mut rows = Deltas::default();
            for n in 0..count {
                let mut page = Deltas::default();
                page.add(&row(n), "count".to_owned(), 1);
                slice.add(&mut rows, page);
                assert!(rows.len() <= ROWS_MAX);
            }
            held += rows.len();
            slices.extend(slice.rest());
        }
        assert_eq!(held, count);
    }
}

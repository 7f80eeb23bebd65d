//! Where the entities put the counters: all of them with their history, page by page.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Progress, Read, Tell, slice::Slice};
use crate::{
    Error,
    identity::Workspace,
    ledger::{
        Ledger,
        change::{movements, standing},
        counter::Deltas,
        entity::{Entity, Rank, Stored},
    },
    store::{
        self,
        key::{self, Key},
        unavailable,
    },
};

/// How often an entity is read that a writer changes under the reader.
const ATTEMPTS: u32 = 100;

/// Reads entities, and adds up what they count for.
pub(super) struct Reader<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) workspace: &'a Workspace,
    pub(super) now: DateTime<Utc>,
    pub(super) round: u32,
    pub(super) slice: &'a mut Slice,
    pub(super) expected: &'a mut Deltas,
    pub(super) read: Read,
    pub(super) tell: Tell<'a>,
}

/// The rows of a page's entities, by id.
type Page<E> = HashMap<String, Stored<E>>;

impl Reader<'_> {
    /// All entities of a kind.
    pub(super) async fn all<E: Entity>(&mut self) -> Result<(), Error> {
        let ends = key::ends(&format!("{}#", E::KIND.name()));
        for bucket in 0..key::buckets(E::KIND) {
            let pk = key::entities(self.workspace, E::KIND, bucket);
            let mut start = None;
            loop {
                let (rows, next) = self.ledger.page(&pk, Some(&ends), start).await?;
                let mut page = Page::<E>::new();
                for row in rows {
                    let stored: Stored<E> = store::entity(row)?;
                    page.insert(stored.entity.id().to_owned(), stored);
                }
                let entities = self.read.entities.entry(E::KIND).or_default();
                *entities += page.len() as u64;
                let progress = Progress { round: self.round, kind: E::KIND, entities: *entities };
                self.add(&pk, page).await?;
                (self.tell)(progress);
                match next {
                    Some(next) => start = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// A page of entities. Their history is read after them, so it lacks nothing that they had.
    async fn add<E: Entity>(&mut self, pk: &str, mut page: Page<E>) -> Result<(), Error> {
        let mut deltas = Deltas::default();
        // A row that was never written again has no other version.
        let ends = page.values().filter(|row| row.version > 1).map(|row| Key::history_ends(row.entity.id()));
        let ends = ends.reduce(|(from, to), (first, last)| (from.min(first), to.max(last)));
        let mut crossed = Vec::new();
        let mut start = None;
        let mut history = History::<E>::default();
        while let Some(ends) = &ends {
            let (rows, next) = self.ledger.page(pk, Some(ends), start).await?;
            for row in rows {
                let sk = row.get("sk").and_then(|sk| sk.as_s().ok());
                let id = sk.and_then(|sk| key::history_id(sk)).unwrap_or_default();
                if id != history.id {
                    let whole = std::mem::replace(&mut history, History::of(id));
                    crossed.extend(self.one(&mut page, whole, &mut deltas));
                }
                // Between the ids of a page may stand others: sort keys have `#` after the id.
                if page.contains_key(id) {
                    history.versions.push(store::entity(row)?);
                }
            }
            match next {
                Some(next) => start = Some(next),
                None => break,
            }
        }
        crossed.extend(self.one(&mut page, history, &mut deltas));
        for row in page.into_values() {
            count(&row, &[], &mut deltas);
            self.note(&row, 0);
        }
        for id in crossed {
            let (row, history) = self.whole::<E>(&id).await?;
            count(&row, &history, &mut deltas);
            self.note(&row, history.len());
        }
        self.slice.add(self.expected, deltas);
        Ok(())
    }

    /// Counts an entity of the page with its history; gives its id back if a later version was
    /// written between the two.
    fn one<E: Entity>(
        &mut self,
        page: &mut Page<E>,
        history: History<E>,
        deltas: &mut Deltas,
    ) -> Option<String> {
        let row = page.remove(&history.id)?;
        if history.is_after(&row) {
            return Some(history.id);
        }
        count(&row, &history.versions, deltas);
        self.note(&row, history.versions.len());
        None
    }

    /// An entity and its history as they stood at one moment.
    async fn whole<E: Entity>(&self, id: &str) -> Result<(Stored<E>, Vec<E>), Error> {
        let key = Key::entity(self.workspace, E::KIND, id);
        let ends = Key::history_ends(id);
        for _ in 0..ATTEMPTS {
            let row = self.ledger.batch(vec![key.item()]).await?.pop();
            let row: Stored<E> = store::entity(row.ok_or_else(|| unavailable("an entity is gone"))?)?;
            let mut history = History::of(id);
            let mut start = None;
            loop {
                let (rows, next) = self.ledger.page(&key.pk, Some(&ends), start).await?;
                for row in rows {
                    history.versions.push(store::entity(row)?);
                }
                match next {
                    Some(next) => start = Some(next),
                    None => break,
                }
            }
            if !history.is_after(&row) {
                return Ok((row, history.versions));
            }
        }
        Err(unavailable("an entity is written all the time"))
    }

    fn note<E: Entity>(&mut self, row: &Stored<E>, history: usize) {
        self.read.earlier_versions += history as u64;
        self.read.overdue += u64::from(row.due_at().is_some_and(|due| due <= self.now));
    }
}

/// Earlier versions of an entity, in order.
struct History<E> {
    id: String,
    versions: Vec<E>,
}

impl<E> Default for History<E> {
    fn default() -> Self {
        Self::of("")
    }
}

impl<E> History<E> {
    fn of(id: &str) -> Self {
        Self { id: id.to_owned(), versions: Vec::new() }
    }
}

impl<E: Entity> History<E> {
    /// Whether it holds what was written after the row was read.
    fn is_after(&self, row: &Stored<E>) -> bool {
        self.versions.last().is_some_and(|last| Rank::of(last) >= Rank::of(&row.entity))
    }
}

/// What an entity counts for.
fn count<E: Entity>(row: &Stored<E>, history: &[E], deltas: &mut Deltas) {
    let versions = history.iter().chain([&row.entity]).map(|version| (Rank::of(version), version));
    deltas.merge(standing(row), 1);
    deltas.merge(movements(versions, row.zone), 1);
}

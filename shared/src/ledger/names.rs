//! Which counters a workspace has, so that no row of them outgrows what DynamoDB takes.
//!
//! Plans, tiers, roles, statuses and currencies are the partners' words, and each new one, in each
//! combination, is an attribute more in rows of totals. A name is noted before the first
//! transaction that moves its counter, on condition that there is room. Names are never given
//! back, so whoever knows one once need not look again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld},
};

use super::{Entity, Ledger, group::Step};
use crate::{
    Error,
    identity::Workspace,
    store::{
        Item,
        key::{Book, Key},
        n, unavailable,
    },
};

/// Counters of a book of a workspace at most. The longest names, once for what happened on a day
/// and once for what changed on it, make 350 KB with their numbers; a row may have 400.
pub const COUNTERS_MAX: usize = 2_000;

/// Names that a function instance remembers: of a hundred workspaces that have all they can.
const REMEMBERED_MAX: usize = 100 * COUNTERS_MAX;

/// The names that are known to be noted.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<Known>>);

type Known = HashMap<(Workspace, Book), HashSet<String>>;

impl Names {
    fn remember(&self, workspace: &Workspace, book: Book, names: impl IntoIterator<Item = String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.values().map(HashSet::len).sum::<usize>() > REMEMBERED_MAX {
            known.clear();
        }
        known.entry((workspace.clone(), book)).or_default().extend(names);
    }

    /// Those of the names that are not known.
    fn unknown<'a>(
        &self,
        workspace: &Workspace,
        book: Book,
        names: impl IntoIterator<Item = &'a str>,
    ) -> BTreeSet<&'a str> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&(workspace.clone(), book));
        names.into_iter().filter(|name| known.is_none_or(|known| !known.contains(*name))).collect()
    }
}

impl Ledger {
    /// Parts the steps for whose counters there is room from those for which there is none.
    /// Nothing is read or written where all names are known.
    pub(super) async fn admit<E: Entity>(
        &self,
        workspace: &Workspace,
        steps: Vec<Step<E>>,
    ) -> Result<(Vec<Step<E>>, Vec<Step<E>>), Error> {
        let all = || steps.iter().flat_map(Step::names);
        if self.names.unknown(workspace, E::BOOK, all()).is_empty() {
            return Ok((steps, Vec::new()));
        }
        let rows = self.batch(vec![Key::names(workspace, E::BOOK).item()]).await?;
        self.names.remember(workspace, E::BOOK, rows.into_iter().flat_map(names_of));
        if self.note(workspace, E::BOOK, all()).await? {
            return Ok((steps, Vec::new()));
        }
        let (mut good, mut rejected) = (Vec::new(), Vec::new());
        for step in steps {
            let fits = self.note(workspace, E::BOOK, step.names()).await?;
            if fits { &mut good } else { &mut rejected }.push(step);
        }
        Ok((good, rejected))
    }

    /// Notes all of these names, or, where there is no room for those that are new, none.
    async fn note(
        &self,
        workspace: &Workspace,
        book: Book,
        names: impl IntoIterator<Item = &str>,
    ) -> Result<bool, Error> {
        let new = self.names.unknown(workspace, book, names);
        let Some(room) = COUNTERS_MAX.checked_sub(new.len()) else { return Ok(false) };
        if new.is_empty() {
            return Ok(true);
        }
        let noted: Vec<_> = new.iter().map(|name| (*name).to_owned()).collect();
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::names(workspace, book).item()))
            .update_expression("ADD #names :new")
            .condition_expression("attribute_not_exists(#names) OR size(#names) <= :room")
            .expression_attribute_names("#names", NAMES)
            .expression_attribute_values(":new", AttributeValue::Ss(noted.clone()))
            .expression_attribute_values(":room", n(i128::try_from(room).unwrap_or_default()))
            .return_values_on_condition_check_failure(AllOld);
        match update.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => {
                self.names.remember(workspace, book, noted);
                Ok(true)
            }
            Err(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                // Another writer may have noted the same names.
                let found = refused.item.map(names_of).unwrap_or_default();
                self.names.remember(workspace, book, found);
                Ok(self.names.unknown(workspace, book, new).is_empty())
            }
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// The attribute that holds the names.
const NAMES: &str = "names";

fn names_of(mut row: Item) -> Vec<String> {
    match row.remove(NAMES) {
        Some(AttributeValue::Ss(names)) => names,
        _ => Vec::new(),
    }
}

//! Reading the log, newest first.
//!
//! What is asked of one target or one actor is read by an index, all else by month. Within these,
//! entries are picked out by their action as they are read, and a request reads a bounded number
//! of them: a page may end early, even empty, with a cursor that goes on where it stopped.

use chrono::{DateTime, Datelike, Duration, NaiveDate, Utc};
use serde::Serialize;

use super::{Activity, Entry};
use crate::{
    Error,
    identity::Workspace,
    store::{
        self, Item, cursor,
        key::{self, Key},
        s, unavailable,
    },
};

/// What a cursor is bound to.
const LIST: &str = "activity";
/// Entries that one request reads at most, be they picked or not. An entry has less than 1 kB.
const MOST_READ: usize = 1000;
/// Entries that one query reads when most of them may be left out.
const READ_AT_ONCE: usize = 250;
/// What can be read month by month in one request: at most 14 partitions.
const WINDOW_DAYS: i64 = 366;

/// Which entries are asked for; all of what is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Subject of the person or name of the function.
    pub actor: Option<String>,
    /// The action, or how it begins when this ends with a dot: `credential.`.
    pub action: Option<String>,
    /// Id of what was changed.
    pub target: Option<String>,
    /// The first moment.
    pub from: Option<DateTime<Utc>>,
    /// The first moment that is too late.
    pub to: Option<DateTime<Utc>>,
}

/// A page of entries, newest first.
#[derive(Debug, Serialize)]
pub struct Page {
    entries: Vec<Entry>,
    next_cursor: Option<String>,
}

/// Entries that stand together, in order.
struct Partition {
    /// The index, if it is not the table itself.
    index: Option<&'static str>,
    name: String,
}

impl Activity {
    /// A page of the log. Without target and actor it looks at 366 days, those before `to` or
    /// `now` unless `from` says less. At most 1,000 entries are read.
    pub async fn list(
        &self,
        workspace: &Workspace,
        filter: &Filter,
        limit: u64,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Page, Error> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (partitions, window) = plan(workspace, filter, now)?;
        let mut after = match cursor {
            Some(cursor) => Some(Position::decode(workspace, cursor, &window)?),
            None => None,
        };
        let first = after.as_ref().map_or(0, |after| after.partition(&partitions));
        let mut left = MOST_READ;
        let mut found = Vec::<Item>::new();
        for partition in &partitions[first..] {
            loop {
                let query = self.query(partition, filter, &window);
                let wanted = limit + 1 - found.len();
                let most = if filter.picks(partition) { READ_AT_ONCE } else { wanted };
                let read = query
                    .limit(i32::try_from(most.min(left).max(1)).unwrap_or(i32::MAX))
                    .set_exclusive_start_key(after.take().map(|after| after.item(partition)))
                    .send()
                    .await
                    .map_err(unavailable)?;
                left = left.saturating_sub(usize::try_from(read.scanned_count).unwrap_or_default());
                found.extend(read.items.unwrap_or_default());
                if found.len() > limit {
                    found.truncate(limit);
                    let last = found.last().and_then(Position::of);
                    return page(found, last.map(|last| last.encode(workspace)));
                }
                after = read.last_evaluated_key.as_ref().and_then(Position::of);
                match &after {
                    None => break,
                    Some(after) if left == 0 => return page(found, Some(after.encode(workspace))),
                    Some(_) => {}
                }
            }
        }
        page(found, None)
    }

    fn query(
        &self,
        partition: &Partition,
        filter: &Filter,
        (from, to): &(String, String),
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let (pk, sk) = partition.attributes();
        let mut query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .set_index_name(partition.index.map(str::to_owned))
            .key_condition_expression(format!("{pk} = :pk AND {sk} BETWEEN :from AND :to"))
            .expression_attribute_values(":pk", s(&partition.name))
            .expression_attribute_values(":from", s(from))
            // Keys go on with `#` after the time, so this leaves out the very start of `to`.
            .expression_attribute_values(":to", s(to))
            .consistent_read(partition.index.is_none())
            .scan_index_forward(false);
        let mut conditions = Vec::new();
        if let Some(action) = &filter.action {
            let whole = !action.ends_with('.');
            conditions.push(if whole { "#action = :action" } else { "begins_with(#action, :action)" });
            query = query
                .expression_attribute_names("#action", "action")
                .expression_attribute_values(":action", s(action));
        }
        if let Some(actor) = filter.actor.as_ref().filter(|_| partition.index == Some(BY_TARGET)) {
            conditions.push("actor = :actor");
            query = query.expression_attribute_values(":actor", s(actor));
        }
        query.set_filter_expression(Some(conditions.join(" AND ")).filter(|text| !text.is_empty()))
    }
}

const BY_TARGET: &str = "gsi1";
const BY_ACTOR: &str = "gsi2";

impl Filter {
    /// Whether entries of the partition may be left out.
    fn picks(&self, partition: &Partition) -> bool {
        self.action.is_some() || (self.actor.is_some() && partition.index == Some(BY_TARGET))
    }
}

/// Where to look, newest first, and the sort keys between which.
fn plan(
    workspace: &Workspace,
    filter: &Filter,
    now: DateTime<Utc>,
) -> Result<(Vec<Partition>, (String, String)), Error> {
    let window = (
        // Before and after every time.
        filter.from.map_or_else(|| "0".to_owned(), key::sortable),
        filter.to.map_or_else(|| "~".to_owned(), key::sortable),
    );
    let indexed = match (&filter.target, &filter.actor) {
        (Some(target), _) => Some((BY_TARGET, key::activity_of_target(workspace, target))),
        (None, Some(actor)) => Some((BY_ACTOR, key::activity_of_actor(workspace, actor))),
        (None, None) => None,
    };
    if let Some((index, name)) = indexed {
        return Ok((vec![Partition { index: Some(index), name }], window));
    }
    let to = filter.to.unwrap_or(now);
    let earliest = to - Duration::days(WINDOW_DAYS);
    let from = filter.from.unwrap_or(earliest);
    // A day of a clock change has 25 hours.
    if from < earliest - Duration::hours(1) {
        let message =
            format!("must be at most {WINDOW_DAYS} days before `to`, unless `target` or `actor` is given");
        return Err(Error::invalid("from", message));
    }
    let months =
        std::iter::successors(month_of(to), |month| month.pred_opt().and_then(|day| day.with_day(1)));
    let until = month_of(from).unwrap_or(NaiveDate::MIN);
    let partitions = months
        .take_while(|month| until <= *month)
        .map(|month| Partition { index: None, name: key::activity_of_month(workspace, month) })
        .collect();
    Ok((partitions, (key::sortable(from), window.1)))
}

fn month_of(time: DateTime<Utc>) -> Option<NaiveDate> {
    time.date_naive().with_day(1)
}

impl Partition {
    fn attributes(&self) -> (&'static str, &'static str) {
        match self.index {
            Some(BY_TARGET) => ("gsi1pk", "gsi1sk"),
            Some(_) => ("gsi2pk", "gsi2sk"),
            None => ("pk", "sk"),
        }
    }
}

/// An entry that was read: the next one is older.
struct Position {
    key: Key,
}

impl Position {
    fn of(row: &Item) -> Option<Self> {
        let text = |name: &str| row.get(name).and_then(|value| value.as_s().ok()).cloned();
        Some(Self { key: Key { pk: text("pk")?, sk: text("sk")? } })
    }

    /// Refuses one that lies outside of the window: it came from another list.
    fn decode(workspace: &Workspace, cursor: &str, (from, to): &(String, String)) -> Result<Self, Error> {
        let sk = cursor::decode(workspace, LIST, cursor)?;
        let at = sk.split_once('#').and_then(|(time, _)| time.parse().ok());
        let month = at.and_then(month_of).filter(|_| *from < sk && sk < *to).ok_or_else(cursor::foreign)?;
        Ok(Self { key: Key { pk: key::activity_of_month(workspace, month), sk } })
    }

    fn encode(&self, workspace: &Workspace) -> String {
        cursor::encode(workspace, LIST, &self.key.sk)
    }

    /// Which of the partitions it stands in; in an index there is one only.
    fn partition(&self, partitions: &[Partition]) -> usize {
        partitions.iter().position(|one| one.name == self.key.pk).unwrap_or_default()
    }

    fn item(&self, partition: &Partition) -> Item {
        let mut item = self.key.item();
        if partition.index.is_some() {
            let (pk, sk) = partition.attributes();
            item.extend([(pk.to_owned(), s(&partition.name)), (sk.to_owned(), s(&self.key.sk))]);
        }
        item
    }
}

fn page(found: Vec<Item>, next_cursor: Option<String>) -> Result<Page, Error> {
    let entries = found.into_iter().map(store::entity).collect::<Result<_, _>>()?;
    Ok(Page { entries, next_cursor })
}

//! Lists of the newest transactions and commissions.

use futures::future::try_join_all;
use serde::Serialize;

use super::{
    super::{
        Ledger,
        commissions::Commission,
        entity::Entity,
        money::{Currency, Decimal, major},
        transactions::Transaction,
    },
    Window,
};
use crate::{
    Error,
    identity::Workspace,
    store::{
        self, Item, cursor,
        key::{self, BUCKETS},
        s, unavailable,
    },
    time,
};

/// A page of entities, newest first, and where the next one begins.
pub(super) struct Recent<E> {
    pub(super) entities: Vec<E>,
    pub(super) next_cursor: Option<String>,
}

impl Ledger {
    /// The newest of a kind, of a window if there is one, after the cursor. 4 queries at once of
    /// an index, which follows a write within moments.
    pub(super) async fn recent<E: Entity>(
        &self,
        workspace: &Workspace,
        window: Option<Window>,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<Recent<E>, Error> {
        let list = format!("recent {}", E::KIND.name());
        let start = |day| key::sortable(time::start_of(self.zone, day));
        // Places are times followed by `#`, so the start of a day is before and not among them.
        let from = window.map_or_else(String::new, |window| start(window.from));
        let to = window.map_or_else(|| END.to_owned(), |window| start(window.to));
        let after = cursor.map(|cursor| cursor::decode(workspace, &list, cursor)).transpose()?;
        if after.as_ref().is_some_and(|after| !(from < *after && *after < to)) {
            return Err(cursor::foreign());
        }
        let upper = after.as_deref().unwrap_or(&to);
        // One more tells whether there are more, and another is where the cursor stands.
        let most = limit + 2;
        let queries = (0..BUCKETS).map(|bucket| {
            let query = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .index_name("gsi1")
                .key_condition_expression("gsi1pk = :pk AND gsi1sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", s(key::entities(workspace, E::KIND, bucket)))
                .expression_attribute_values(":from", s(if from.is_empty() { " " } else { &from }))
                .expression_attribute_values(":to", s(upper))
                .scan_index_forward(false)
                .limit(i32::try_from(most).unwrap_or(i32::MAX));
            async move { query.send().await.map_err(unavailable) }
        });
        let found =
            try_join_all(queries).await?.into_iter().flat_map(|found| found.items.unwrap_or_default());
        let mut places: Vec<(String, Item)> = found
            .filter_map(|row| Some((row.get("gsi1sk")?.as_s().ok()?.clone(), row)))
            .filter(|(place, _)| after.as_ref() != Some(place))
            .collect();
        places.sort_by(|(one, _), (other, _)| other.cmp(one));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = places.len() > limit;
        places.truncate(limit);
        let next_cursor =
            places.last().filter(|_| more).map(|(place, _)| cursor::encode(workspace, &list, place));
        let entities = places.into_iter().map(|(_, row)| store::entity(row)).collect::<Result<_, _>>()?;
        Ok(Recent { entities, next_cursor })
    }
}

/// After every time.
const END: &str = "\u{7f}";

/// A transaction as answers show it: in major units of its own currency.
#[derive(Debug, Serialize)]
pub struct TransactionShown {
    id: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    customer: String,
    amount: Decimal,
    refunded: Decimal,
    net: Decimal,
    currency: Currency,
    status: &'static str,
    occurred_at: String,
    updated_at: String,
}

impl From<Transaction> for TransactionShown {
    fn from(transaction: Transaction) -> Self {
        let shown = |minor: i64| major(minor.into(), transaction.currency);
        Self {
            kind: transaction.kind.word(),
            amount: shown(transaction.amount),
            refunded: shown(transaction.refunded),
            net: shown(transaction.net()),
            currency: transaction.currency,
            status: transaction.status.word(),
            occurred_at: time::rfc3339(transaction.occurred_at),
            updated_at: time::rfc3339(transaction.updated_at),
            id: transaction.id,
            plan: transaction.plan,
            customer: transaction.customer,
        }
    }
}

/// A commission as answers show it, likewise.
#[derive(Serialize)]
pub struct CommissionShown {
    id: String,
    username: String,
    tier: String,
    amount: Decimal,
    currency: Currency,
    transaction: String,
    occurred_at: String,
    updated_at: String,
}

impl From<Commission> for CommissionShown {
    fn from(commission: Commission) -> Self {
        Self {
            amount: major(commission.amount.into(), commission.currency),
            currency: commission.currency,
            occurred_at: time::rfc3339(commission.occurred_at),
            updated_at: time::rfc3339(commission.updated_at),
            id: commission.id,
            username: commission.username,
            tier: commission.tier,
            transaction: commission.transaction,
        }
    }
}

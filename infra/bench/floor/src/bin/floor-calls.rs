//! The floor of a function with any calls.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), floor::Error> {
    floor::serve(&[
        ("BatchGetItem", floor::batch_get_item),
        ("GetItem", floor::get_item),
        ("PutItem", floor::put_item),
        ("Query", floor::query),
        ("TransactWriteItems", floor::transact_write_items),
        ("UpdateItem", floor::update_item),
    ])
    .await
}

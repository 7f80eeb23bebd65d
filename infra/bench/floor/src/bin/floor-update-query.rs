//! The floor of a function that makes one update and one query.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), floor::Error> {
    floor::serve(&[("UpdateItem", floor::update_item), ("Query", floor::query)]).await
}

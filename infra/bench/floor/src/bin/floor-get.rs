//! The floor of a function that reads one item.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), floor::Error> {
    floor::serve(&[("GetItem", floor::get_item)]).await
}

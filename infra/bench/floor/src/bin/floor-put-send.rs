//! The floor of a function that stores something and says so to a queue.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), floor::Error> {
    floor::serve(&[("PutItem", floor::put_item), ("SendMessage", floor::send_message)]).await
}

//! The endpoint in memory, as tests of functions use it.

use aws_sdk_dynamodb::types::AttributeValue;
use tidegate::embedded::Embedded;

#[tokio::test]
async fn each_has_the_templates_tables_and_shares_nothing() {
    let (one, other) = (Embedded::memory().await.unwrap(), Embedded::memory().await.unwrap());
    let table: String = one.env("ingest").required("LEDGER_TABLE").unwrap();
    let client = aws_sdk_dynamodb::Client::new(&one.sdk());
    let text = |text: &str| AttributeValue::S(text.to_owned());
    client.put_item().table_name(&table).item("pk", text("a")).item("sk", text("b")).send().await.unwrap();
    let count = async |embedded: &Embedded| {
        let client = aws_sdk_dynamodb::Client::new(&embedded.sdk());
        client.scan().table_name(&table).send().await.unwrap().count()
    };
    assert_eq!((count(&one).await, count(&other).await), (1, 0));
    assert!(one.env("no-such-binary").required::<String>("LEDGER_TABLE").is_err());
}

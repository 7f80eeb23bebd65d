//! The AWS endpoint, driven by the real SDK clients.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod common;

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use common::{config, send, start};
use tidegate::runner::Runner;

fn url(running: &common::Running, queue: &str) -> String {
    format!("{}/000000000000/{queue}", running.runner.running.aws_url)
}

#[tokio::test]
async fn kms_binds_ciphertexts_to_their_key_and_context() {
    let running = start("kms").await;
    let kms = aws_sdk_kms::Client::new(&running.runner.sdk);
    let plain = Blob::new("top secret");
    let encrypt = kms.encrypt().key_id("alias/data").plaintext(plain.clone());
    let sealed =
        encrypt.encryption_context("workspace", "acme").encryption_context("a", "b").send().await.unwrap();
    assert_eq!(sealed.key_id(), Some("arn:aws:kms:local:000000000000:key/Key"));
    let blob = sealed.ciphertext_blob.unwrap();
    assert!(!blob.as_ref().windows(10).any(|window| window == b"top secret"));

    let decrypt = |blob: &Blob| kms.decrypt().ciphertext_blob(blob.clone());
    let context = |workspace: &str| {
        HashMap::from([("workspace".to_owned(), workspace.to_owned()), ("a".to_owned(), "b".to_owned())])
    };
    let opened = decrypt(&blob).set_encryption_context(Some(context("acme"))).send().await.unwrap();
    assert_eq!(opened.plaintext(), Some(&plain));
    let mut changed = blob.as_ref().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    for (case, blob, context) in [
        ("another context", &blob, Some(context("other"))),
        ("no context", &blob, None),
        ("a changed ciphertext", &Blob::new(changed), Some(context("acme"))),
        ("junk", &Blob::new("junk"), None),
    ] {
        let error = decrypt(blob).set_encryption_context(context).send().await.unwrap_err();
        assert!(error.into_service_error().is_invalid_ciphertext_exception(), "{case}");
    }
    let other = decrypt(&blob).set_encryption_context(Some(context("acme"))).key_id("OtherKey").send().await;
    assert!(other.unwrap_err().into_service_error().is_incorrect_key_exception());
    let unknown = kms.encrypt().key_id("alias/none").plaintext(plain).send().await.unwrap_err();
    assert!(unknown.into_service_error().is_not_found_exception());

    let generate = kms.generate_data_key().key_id("arn:aws:kms:local:000000000000:key/Key");
    let generated = generate.key_spec("AES_256".into()).encryption_context("a", "b").send().await.unwrap();
    assert_eq!(generated.plaintext().unwrap().as_ref().len(), 32);
    let opened =
        decrypt(generated.ciphertext_blob().unwrap()).encryption_context("a", "b").send().await.unwrap();
    assert_eq!(opened.plaintext(), generated.plaintext());

    // The same content, wrapped anew and bound elsewhere; nobody has seen it.
    let old = generated.ciphertext_blob().unwrap();
    let move_to = |key: &str| kms.re_encrypt().ciphertext_blob(old.clone()).destination_key_id(key);
    let moved = move_to("OtherKey").source_encryption_context("a", "b").source_key_id("alias/data");
    let moved = moved.destination_encryption_context("a", "c").send().await.unwrap();
    assert_eq!(moved.source_key_id(), Some("arn:aws:kms:local:000000000000:key/Key"));
    assert_eq!(moved.key_id(), Some("arn:aws:kms:local:000000000000:key/OtherKey"));
    let moved = moved.ciphertext_blob.unwrap();
    let opened = decrypt(&moved).encryption_context("a", "c").key_id("OtherKey").send().await.unwrap();
    assert_eq!(opened.plaintext(), generated.plaintext());
    assert!(decrypt(&moved).encryption_context("a", "b").send().await.is_err());
    let elsewhere = move_to("Key").source_encryption_context("a", "x").send().await.unwrap_err();
    assert!(elsewhere.into_service_error().is_invalid_ciphertext_exception());
    let other = move_to("Key").source_encryption_context("a", "b").source_key_id("OtherKey").send().await;
    assert!(other.unwrap_err().into_service_error().is_incorrect_key_exception());

    let described = kms.describe_key().key_id("alias/data").send().await.unwrap().key_metadata.unwrap();
    assert_eq!((described.key_id(), described.enabled()), ("Key", true));
    running.runner.stop().await;
}

#[tokio::test]
async fn a_new_secret_value_makes_the_old_one_previous() {
    let running = start("secrets").await;
    let secrets = aws_sdk_secretsmanager::Client::new(&running.runner.sdk);
    let arn = "arn:aws:secretsmanager:local:000000000000:secret:test/given";
    let get = |id: &str| secrets.get_secret_value().secret_id(id);
    let first = get("test/given").send().await.unwrap();
    assert_eq!((first.secret_string(), first.arn()), (Some("first"), Some(arn)));

    for value in ["second", "third"] {
        secrets.put_secret_value().secret_id(arn).secret_string(value).send().await.unwrap();
    }
    let current = get(arn).send().await.unwrap();
    assert_eq!(
        (current.secret_string(), current.version_stages()),
        (Some("third"), &["AWSCURRENT".to_owned()][..])
    );
    let previous = get(arn).version_stage("AWSPREVIOUS").send().await.unwrap();
    assert_eq!(previous.secret_string(), Some("second"));
    let by_version = get(arn).version_id(previous.version_id().unwrap()).send().await.unwrap();
    assert_eq!(by_version.secret_string(), Some("second"));
    let gone = get(arn).version_id(first.version_id().unwrap()).send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());

    let token = "11111111-1111-4111-8111-111111111111";
    let put = |value: &str| {
        secrets.put_secret_value().secret_id(arn).secret_string(value).client_request_token(token)
    };
    put("fourth").send().await.unwrap();
    put("fourth").send().await.unwrap();
    assert_eq!(get(arn).version_stage("AWSPREVIOUS").send().await.unwrap().secret_string(), Some("third"));
    assert!(put("fifth").send().await.unwrap_err().into_service_error().is_resource_exists_exception());

    let create = |name: &str| secrets.create_secret().name(name).description("made");
    create("made")
        .secret_binary(aws_sdk_secretsmanager::primitives::Blob::new([0, 255]))
        .send()
        .await
        .unwrap();
    assert_eq!(get("made").send().await.unwrap().secret_binary().unwrap().as_ref(), [0, 255]);
    assert!(create("made").send().await.unwrap_err().into_service_error().is_resource_exists_exception());
    create("empty").send().await.unwrap();
    assert!(get("empty").send().await.unwrap_err().into_service_error().is_resource_not_found_exception());
    assert!(get("none").send().await.unwrap_err().into_service_error().is_resource_not_found_exception());
    let described = secrets.describe_secret().secret_id("made").send().await.unwrap();
    assert_eq!(
        (described.description(), described.version_ids_to_stages().unwrap().len()),
        (Some("made"), 1)
    );

    let mut names = Vec::new();
    let mut pages = secrets.list_secrets().max_results(3).into_paginator().send();
    while let Some(page) = pages.next().await {
        names.extend(page.unwrap().secret_list().iter().map(|secret| secret.name().unwrap().to_owned()));
    }
    assert_eq!(names, ["Generated", "empty", "made", "test/given"]);

    let generated = get("Generated").send().await.unwrap();
    let generated: serde_json::Value = serde_json::from_str(generated.secret_string().unwrap()).unwrap();
    assert_eq!(generated["user"], "app");
    assert_eq!(generated["password"].as_str().unwrap().len(), 24);

    // At rest they are sealed.
    running.runner.stop().await;
    for file in ["services.db", "services.db-wal"] {
        let bytes = std::fs::read(running.state.path().join(file)).unwrap_or_default();
        assert!(!bytes.windows(6).any(|window| window == b"fourth"), "{file}");
    }
}

#[tokio::test]
async fn a_message_is_hidden_comes_again_and_ends_in_the_dead_letter_queue() {
    let running = start("sqs").await;
    let sqs = aws_sdk_sqs::Client::new(&running.runner.sdk);
    let plain = sqs.get_queue_url().queue_name("plain-queue").send().await.unwrap().queue_url.unwrap();
    assert_eq!(plain, url(&running, "plain-queue"));
    let attribute = MessageAttributeValue::builder().data_type("String").string_value("x").build().unwrap();
    let message = sqs.send_message().queue_url(&plain).message_body("hello é");
    let sent = message.message_attributes("kind", attribute).send().await.unwrap();
    // By `md5sum`.
    assert_eq!(sent.md5_of_message_body(), Some("47b154673aa7a62db585b1b4275d5baa"));

    let receive = |queue: &str| {
        sqs.receive_message()
            .queue_url(queue)
            .max_number_of_messages(10)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All)
    };
    for count in ["1", "2"] {
        let messages = receive(&plain).wait_time_seconds(3).send().await.unwrap().messages.unwrap();
        let [message] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!((message.body(), message.message_id()), (Some("hello é"), sent.message_id()));
        assert_eq!(message.message_attributes().unwrap()["kind"].string_value(), Some("x"));
        let attributes = message.attributes().unwrap();
        assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], count);
        let hidden = receive(&plain).send().await.unwrap();
        assert_eq!(hidden.messages, None, "hidden after receive {count}");
    }
    // The third receive would be one too many.
    let third = receive(&plain).wait_time_seconds(2).send().await.unwrap();
    assert_eq!(third.messages, None);
    let dead = receive(&url(&running, "Dead")).send().await.unwrap().messages.unwrap();
    let [message] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!(message.message_id(), sent.message_id());
    let source = &message.attributes().unwrap()[&MessageSystemAttributeName::DeadLetterQueueSourceArn];
    assert_eq!(source, "arn:aws:sqs:local:000000000000:plain-queue");
    running.runner.stop().await;
}

#[tokio::test]
async fn queues_batch_delay_wait_delete_and_count() {
    let running = start("sqs-batch").await;
    let sqs = aws_sdk_sqs::Client::new(&running.runner.sdk);
    let plain = &url(&running, "plain-queue");
    let entry = |id: &str, body: &str, delay: i32| {
        let entry = SendMessageBatchRequestEntry::builder().id(id).message_body(body);
        entry.delay_seconds(delay).build().unwrap()
    };
    let count = async |name: QueueAttributeName| {
        let get = sqs.get_queue_attributes().queue_url(plain).attribute_names(QueueAttributeName::All);
        get.send().await.unwrap().attributes.unwrap()[&name].clone()
    };
    let batch = sqs.send_message_batch().queue_url(plain).entries(entry("a", "1", 0));
    let batch = batch.entries(entry("b", "2", 0)).entries(entry("c", "late", 60)).send().await.unwrap();
    assert_eq!((batch.successful().len(), batch.failed().len()), (3, 0));
    assert_eq!(count(QueueAttributeName::ApproximateNumberOfMessages).await, "2");
    assert_eq!(count(QueueAttributeName::ApproximateNumberOfMessagesDelayed).await, "1");

    let twice =
        sqs.send_message_batch().queue_url(plain).entries(entry("a", "1", 0)).entries(entry("a", "2", 0));
    assert!(twice.send().await.unwrap_err().into_service_error().is_batch_entry_ids_not_distinct());
    let none =
        sqs.send_message().queue_url(url(&running, "none")).message_body("x").send().await.unwrap_err();
    assert!(none.into_service_error().is_queue_does_not_exist());

    let receive = sqs.receive_message().queue_url(plain).max_number_of_messages(10);
    let messages = receive.visibility_timeout(30).send().await.unwrap().messages.unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!(count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await, "2");
    let receipt = |index: usize| messages[index].receipt_handle().unwrap();
    let change = |receipt: &str, timeout: i32| {
        sqs.change_message_visibility().queue_url(plain).receipt_handle(receipt).visibility_timeout(timeout)
    };
    change(receipt(0), 0).send().await.unwrap();
    let again = sqs.receive_message().queue_url(plain).send().await.unwrap().messages.unwrap();
    assert_eq!(again[0].message_id(), messages[0].message_id());
    assert!(change("nonsense", 5).send().await.unwrap_err().into_service_error().is_message_not_inflight());

    // The receipt of an earlier receive deletes nothing.
    let delete = |receipt: &str| sqs.delete_message().queue_url(plain).receipt_handle(receipt);
    delete(receipt(0)).send().await.unwrap();
    assert_eq!(count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await, "2");
    let entry = |id: &str, receipt: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(receipt).build().unwrap()
    };
    let batch =
        sqs.delete_message_batch().queue_url(plain).entries(entry("a", again[0].receipt_handle().unwrap()));
    assert_eq!(batch.entries(entry("b", receipt(1))).send().await.unwrap().successful().len(), 2);
    assert_eq!(count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await, "0");
    sqs.purge_queue().queue_url(plain).send().await.unwrap();
    assert_eq!(count(QueueAttributeName::ApproximateNumberOfMessagesDelayed).await, "0");

    // A receive that waits is woken by a message.
    let waiting = tokio::spawn(sqs.receive_message().queue_url(plain).wait_time_seconds(10).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = std::time::Instant::now();
    sqs.send_message().queue_url(plain).message_body("now").send().await.unwrap();
    let woken = waiting.await.unwrap().unwrap().messages.unwrap();
    assert_eq!(woken[0].body(), Some("now"));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    running.runner.stop().await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let running = start("restart").await;
    let item = HashMap::from([
        ("pk".to_owned(), AttributeValue::S("a".into())),
        ("sk".to_owned(), AttributeValue::S("b".into())),
    ]);
    let sdk = &running.runner.sdk;
    let dynamodb = aws_sdk_dynamodb::Client::new(sdk);
    dynamodb.put_item().table_name("Table").set_item(Some(item.clone())).send().await.unwrap();
    let kms = aws_sdk_kms::Client::new(sdk);
    let sealed = kms.encrypt().key_id("Key").plaintext(Blob::new("x")).send().await.unwrap();
    let sealed = sealed.ciphertext_blob.unwrap();
    aws_sdk_sqs::Client::new(sdk)
        .send_message()
        .queue_url(url(&running, "plain-queue"))
        .message_body("kept")
        .send()
        .await
        .unwrap();
    let secrets = aws_sdk_secretsmanager::Client::new(sdk);
    secrets.put_secret_value().secret_id("test/given").secret_string("kept").send().await.unwrap();
    let common::Running { runner, state } = running;
    runner.stop().await;

    let runner = Runner::start(config(state.path(), &[])).await.unwrap();
    let sdk = &runner.sdk;
    let found = aws_sdk_dynamodb::Client::new(sdk).get_item().table_name("Table").set_key(Some(item.clone()));
    assert_eq!(found.send().await.unwrap().item, Some(item));
    let opened = aws_sdk_kms::Client::new(sdk).decrypt().ciphertext_blob(sealed).send().await.unwrap();
    assert_eq!(opened.plaintext(), Some(&Blob::new("x")));
    // The URL's host and port are of another run; its name counts.
    let sqs = aws_sdk_sqs::Client::new(sdk);
    let url = "http://127.0.0.1:1/000000000000/plain-queue";
    let message = sqs.receive_message().queue_url(url).send().await.unwrap().messages.unwrap();
    assert_eq!(message[0].body(), Some("kept"));
    let secrets = aws_sdk_secretsmanager::Client::new(sdk);
    let secret = secrets.get_secret_value().secret_id("test/given").send().await.unwrap();
    assert_eq!(secret.secret_string(), Some("kept"), "the template's first value does not come back");
    runner.stop().await;
}

#[tokio::test]
async fn only_the_holder_of_the_access_key_gets_in_and_no_web_page_does() {
    let running = start("access").await;
    let url = &running.runner.running.aws_url;
    let key = std::fs::read_to_string(running.state.path().join("access-key")).unwrap();
    let id = key.split(' ').next().unwrap();
    let scope = "20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
    let signed = |id: &str| format!("Authorization: AWS4-HMAC-SHA256 Credential={id}/{scope}");
    let target = "X-Amz-Target: DynamoDB_20120810.ListTables";
    let (right, wrong) = (signed(id), signed("AKIAIOSFODNN7EXAMPLE"));
    for (case, line, headers, status) in [
        ("the key", "POST /", vec![target, &right], 200),
        ("another key", "POST /", vec![target, &wrong], 403),
        ("no key", "POST /", vec![target], 403),
        ("a page with the key", "POST /", vec![target, &right, "Origin: http://127.0.0.1:8787"], 403),
        ("a preflight", "OPTIONS /", vec!["Origin: https://evil.example"], 405),
        ("a look", "GET /", vec![], 405),
        ("another path", "POST /x", vec![target, &right], 404),
    ] {
        let answer = send(url, line, &headers, b"{}").await;
        assert_eq!(answer.status, status, "{case}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), None, "{case}");
    }
    let unknown = send(url, "POST /", &["X-Amz-Target: AWSEvents.PutEvents", &right], b"{}").await;
    assert_eq!((unknown.status, &unknown.json()["__type"]), (400, &"UnknownOperationException".into()));
    running.runner.stop().await;
}

#[tokio::test]
async fn dynamodb_refuses_and_cancels_as_dynamodb_does() {
    use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
    let running = start("dynamodb").await;
    let client = aws_sdk_dynamodb::Client::new(&running.runner.sdk);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = |sk: &str| {
        let put = client.put_item().table_name("Table").item("pk", text("a")).item("sk", text(sk));
        put.condition_expression("attribute_not_exists(pk)")
    };
    put("1").send().await.unwrap();
    let again = put("1").send().await.unwrap_err().into_service_error();
    assert!(again.is_conditional_check_failed_exception());
    let part = |sk: &str| {
        let put = Put::builder().table_name("Table").item("pk", text("a")).item("sk", text(sk));
        let put = put.condition_expression("attribute_not_exists(pk)").build().unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let all = client.transact_write_items().transact_items(part("2")).transact_items(part("1"));
    let error = all.send().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
        canceled,
    ) = error
    else {
        panic!("{error:?}")
    };
    let codes: Vec<_> = canceled.cancellation_reasons().iter().map(|reason| reason.code().unwrap()).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    let query = client.query().table_name("Table").key_condition_expression("pk = :pk");
    let found = query.expression_attribute_values(":pk", text("a")).send().await.unwrap();
    assert_eq!(found.count(), 1, "nothing of the transaction was stored");
    let unknown = client.get_item().table_name("None").key("pk", text("a")).send().await.unwrap_err();
    assert!(unknown.into_service_error().is_resource_not_found_exception());
    running.runner.stop().await;
}

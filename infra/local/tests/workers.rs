//! Queues and schedules run their functions, again and again where that is due.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod common;

use std::time::Duration;

use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use common::{Running, config, eventually, registry, seen, start};
use serde_json::{Value, json};
use tidegate::runner::Runner;

struct Queue {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    fn of(running: &Running, name: &str) -> Self {
        let url = format!("{}/000000000000/{name}", running.runner.running.aws_url);
        Self { sqs: aws_sdk_sqs::Client::new(&running.runner.sdk), url }
    }

    async fn send(&self, bodies: &[&str]) {
        let mut batch = self.sqs.send_message_batch().queue_url(&self.url);
        for (index, body) in bodies.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(*body);
            batch = batch.entries(entry.build().unwrap());
        }
        assert_eq!(batch.send().await.unwrap().successful().len(), bodies.len());
    }

    async fn counts(&self) -> (String, String) {
        let get =
            self.sqs.get_queue_attributes().queue_url(&self.url).attribute_names(QueueAttributeName::All);
        let attributes = get.send().await.unwrap().attributes.unwrap();
        let of = |name: QueueAttributeName| attributes[&name].clone();
        (
            of(QueueAttributeName::ApproximateNumberOfMessages),
            of(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    async fn settles(&self, visible: &str) {
        for _ in 0..300 {
            if self.counts().await == (visible.to_owned(), "0".to_owned()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} holds {:?}", self.url, self.counts().await);
    }
}

fn bodies(event: &Value) -> Vec<&str> {
    event["Records"].as_array().unwrap().iter().map(|record| record["body"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn only_what_a_batch_names_as_failed_comes_again_until_it_is_dead() {
    let running = start("partial").await;
    let (jobs, dead) = (Queue::of(&running, "Jobs"), Queue::of(&running, "Dead"));
    jobs.send(&["a", "poison", "b", "c", "d"]).await;
    dead.settles("1").await;
    jobs.settles("0").await;
    let events = seen("partial", "work");
    assert_eq!(events.len(), 2, "the batch, and the poison once more: {events:#?}");
    assert_eq!(bodies(&events[0]), ["a", "poison", "b", "c", "d"]);
    assert_eq!(bodies(&events[1]), ["poison"]);
    let record = &events[1]["Records"][0];
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "2");
    for (name, value) in [
        ("eventSource", json!("aws:sqs")),
        ("eventSourceARN", json!("arn:aws:sqs:local:000000000000:Jobs")),
        ("awsRegion", json!("local")),
        ("messageAttributes", json!({})),
    ] {
        assert_eq!(record[name], value, "{name}");
    }
    running.runner.stop().await;
}

#[tokio::test]
async fn a_batch_fills_within_its_window() {
    let running = start("window").await;
    let jobs = Queue::of(&running, "Jobs");
    for body in ["a", "b", "c"] {
        jobs.send(&[body]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eventually("the batch", || !seen("window", "work").is_empty()).await;
    assert_eq!(bodies(&seen("window", "work")[0]), ["a", "b", "c"]);
    running.runner.stop().await;
}

#[tokio::test]
async fn a_function_that_fails_gets_its_whole_batch_again() {
    let running = start("whole").await;
    let whole = Queue::of(&running, "Whole");
    whole.send(&["all fail", "innocent"]).await;
    eventually("a second try", || seen("whole", "work").len() >= 2).await;
    let events = seen("whole", "work");
    assert_eq!(bodies(&events[0]), ["all fail", "innocent"]);
    let again: Vec<_> = events[1..].iter().flat_map(bodies).collect();
    assert!(again.contains(&"innocent") || again.contains(&"all fail"), "{again:?}");
    // This source does not report single failures: an answer that names some is a success.
    let running = {
        running.runner.stop().await;
        start("answered").await
    };
    let whole = Queue::of(&running, "Whole");
    whole.send(&["poison"]).await;
    eventually("the batch", || !seen("answered", "work").is_empty()).await;
    whole.settles("0").await;
    running.runner.stop().await;
}

fn in_berlin(seconds: i64) -> String {
    let at = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    at.with_timezone(&chrono_tz::Europe::Berlin).format("%Y-%m-%dT%H:%M:%S").to_string()
}

#[tokio::test]
async fn schedules_fire_once_with_their_input() {
    let state = tempfile::tempdir().unwrap();
    let at = in_berlin(2);
    let runner = Runner::start(config(state.path(), &[("Run", "ticks"), ("At", &at)])).await.unwrap();
    eventually("both firings", || seen("ticks", "tick").len() == 2).await;
    let mut events = seen("ticks", "tick");
    events.sort_by_key(|event| event.get("source").is_some());
    let time = events[0]["at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(time.with_timezone(&chrono_tz::Europe::Berlin).format("%Y-%m-%dT%H:%M:%S").to_string(), at);
    assert_eq!(events[0]["attempt"], "1");
    for (name, value) in [
        ("source", json!("aws.scheduler")),
        ("detail-type", json!("Scheduled Event")),
        ("detail", json!("{}")),
        ("resources", json!(["arn:aws:scheduler:local:000000000000:schedule/default/TickFunctionPlain"])),
    ] {
        assert_eq!(events[1][name], value, "{name}");
    }
    runner.stop().await;

    let runner = Runner::start(config(state.path(), &[("Run", "ticks"), ("At", &at)])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(seen("ticks", "tick").len(), 2, "what has fired does not fire again");
    runner.stop().await;
}

#[tokio::test]
async fn a_firing_that_was_missed_is_made_up_for() {
    let state = tempfile::tempdir().unwrap();
    let at = in_berlin(2);
    let runner = Runner::start(config(state.path(), &[("Run", "missed"), ("At", &at)])).await.unwrap();
    runner.stop().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(seen("missed", "tick"), Vec::<Value>::new());
    let runner = Runner::start(config(state.path(), &[("Run", "missed"), ("At", &at)])).await.unwrap();
    eventually("the firings", || seen("missed", "tick").len() == 2).await;
    runner.stop().await;
}

#[tokio::test]
async fn a_template_that_is_not_understood_does_not_start() {
    let good = include_str!("common/template.yaml");
    for (case, from, to) in [
        ("an unknown resource", "AWS::SQS::Queue", "AWS::SNS::Subscription"),
        ("an unknown property", "BatchSize: 5", "BatchSizes: 5"),
        ("an unknown event", "Type: ScheduleV2", "Type: Kinesis"),
        ("a missing function", "Binary: echo", "Binary: ekko"),
        ("a missing authorizer", "Authorizer: Fresh", "Authorizer: Stale"),
        ("a missing queue", "!GetAtt Dead.Arn", "!GetAtt Undead.Arn"),
        ("an unknown attribute", "!GetAtt Jobs.Arn", "!GetAtt Jobs.Url"),
        ("an unknown function", "!Sub \"at(${At})\"", "!Select [0, [a]]"),
        ("a wrong expression", "rate(1 minute)", "rate(often)"),
        ("two functions on one route", "Path: /second", "Path: /first"),
        (
            "the other payload format",
            "AuthorizerPayloadFormatVersion: \"2.0\"",
            "AuthorizerPayloadFormatVersion: \"1.0\"",
        ),
        ("a short visibility timeout", "VisibilityTimeout: 1", "VisibilityTimeout: 0"),
    ] {
        assert!(good.contains(from), "{case}");
        let state = tempfile::tempdir().unwrap();
        let mut config = config(state.path(), &[]);
        config.template = good.replace(from, to);
        let started = Runner::start(config).await;
        let error = started.err().unwrap_or_else(|| panic!("{case} started")).to_string();
        assert!(!error.contains('\n'), "{case}: {error}");
    }
    let state = tempfile::tempdir().unwrap();
    let mut unused = config(state.path(), &[]);
    unused.functions.extend(registry().remove("echo").map(|function| ("unused", function)));
    assert!(Runner::start(unused).await.err().unwrap().to_string().contains("unused"));
}

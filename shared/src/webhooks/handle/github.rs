//! GitHub: what happens in repositories becomes activity and counts.
//!
//! GitHub sends hundreds of kinds of events and adds fields at any time, so nothing but the few
//! fields that are told is looked at, and none of them has to be there.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Context, Effects, Failed, Note};
use crate::fields::is_id;

/// What the log tells of: type, GitHub's action, ours.
const TOLD: &[(&str, &str, &str)] = &[
    ("installation", "created", "installation.created"),
    ("installation", "deleted", "installation.deleted"),
    ("installation", "new_permissions_accepted", "installation.permissions_accepted"),
    ("installation", "suspend", "installation.suspended"),
    ("installation", "unsuspend", "installation.unsuspended"),
    ("issues", "closed", "issue.closed"),
    ("issues", "deleted", "issue.deleted"),
    ("issues", "opened", "issue.opened"),
    ("issues", "reopened", "issue.reopened"),
    ("issues", "transferred", "issue.transferred"),
    ("ping", "", "github.pinged"),
    ("pull_request", "closed", "pull_request.closed"),
    ("pull_request", "opened", "pull_request.opened"),
    ("pull_request", "reopened", "pull_request.reopened"),
    ("push", "", "repository.pushed"),
    ("release", "deleted", "release.deleted"),
    ("release", "published", "release.published"),
    ("repository", "archived", "repository.archived"),
    ("repository", "created", "repository.created"),
    ("repository", "deleted", "repository.deleted"),
    ("repository", "privatized", "repository.privatized"),
    ("repository", "publicized", "repository.publicized"),
    ("repository", "renamed", "repository.renamed"),
    ("repository", "transferred", "repository.transferred"),
    ("repository", "unarchived", "repository.unarchived"),
];

/// Stands for what has no name that a log could be searched by.
const NAMELESS: &str = "github";

/// What an event changes.
pub(super) fn handle(context: &Context<'_>, body: &[u8]) -> Result<Effects, Failed> {
    let event = super::json(&unwrapped(body))?;
    // The type alone, should the action stand with it.
    let kind = context.event.kind.split('.').next().unwrap_or_default();
    let action = event["action"].as_str().unwrap_or_default();
    let repository = event["repository"]["full_name"].as_str().filter(|name| is_id(name));
    let mut counters: Vec<_> = repository.map(|name| format!("repository:{name}")).into_iter().collect();
    if is_id(action) {
        counters.push(format!("{kind}.{action}"));
    }
    let merged = kind == "pull_request" && event["pull_request"]["merged"] == json!(true);
    let told = TOLD.iter().find(|(of, by, _)| *of == kind && *by == action);
    let note = told.map(|(_, _, told)| Note {
        action: if merged && action == "closed" { "pull_request.merged" } else { told },
        target: target(repository, &event),
        detail: detail(kind, repository, &event),
    });
    Ok(Effects { activity: note.into_iter().collect(), counters, ..Effects::default() })
}

/// JSON as it is, or out of the form that GitHub puts it into for those who ask for one.
fn unwrapped(body: &[u8]) -> Cow<'_, [u8]> {
    if !body.starts_with(b"payload=") {
        return Cow::Borrowed(body);
    }
    let payload = form_urlencoded::parse(body).find(|(name, _)| name == "payload");
    payload.map_or(Cow::Borrowed(body), |(_, json)| Cow::Owned(json.into_owned().into_bytes()))
}

fn target(repository: Option<&str>, event: &Value) -> String {
    let number = |value: &Value| value.as_u64().map(|id| id.to_string());
    repository
        .map(ToOwned::to_owned)
        .or_else(|| number(&event["installation"]["id"]))
        .or_else(|| number(&event["hook_id"]))
        .unwrap_or_else(|| NAMELESS.to_owned())
}

/// Ids and numbers: titles and messages are their authors'.
fn detail(kind: &str, repository: Option<&str>, event: &Value) -> Value {
    match kind {
        "issues" => json!({"repository": repository, "number": event["issue"]["number"]}),
        "pull_request" => json!({"repository": repository, "number": event["pull_request"]["number"]}),
        "push" => json!({
            "repository": repository,
            "ref": event["ref"],
            "commits": event["commits"].as_array().map_or(0, Vec::len),
        }),
        "release" => json!({"repository": repository, "tag": event["release"]["tag_name"]}),
        "installation" => json!({
            "installation": event["installation"]["id"],
            "account": event["installation"]["account"]["login"],
        }),
        "ping" => json!({"hook": event["hook_id"]}),
        _ => json!({"repository": repository}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::{Source, handle::tests::event};

    fn handled(kind: &str, body: &[u8]) -> Effects {
        let event = event(Source::Github, kind);
        let workspace = "acme".parse().unwrap();
        let context = Context { workspace: &workspace, event: &event, now: event.received_at };
        handle(&context, body).unwrap_or_else(|failed| panic!("{kind}: {failed:?}"))
    }

    #[test]
    fn what_matters_is_told_and_everything_counted() {
        let repository = json!({"full_name": "octo/hello"});
        for (case, kind, body, action, counters) in [
            (
                "issue",
                "issues",
                json!({"action": "opened", "issue": {"number": 7}, "repository": repository}),
                Some("issue.opened"),
                vec!["repository:octo/hello", "issues.opened"],
            ),
            (
                "label",
                "issues",
                json!({"action": "labeled", "repository": repository}),
                None,
                vec!["repository:octo/hello", "issues.labeled"],
            ),
            (
                "merge",
                "pull_request",
                json!({"action": "closed", "pull_request": {"number": 8, "merged": true}, "repository": repository}),
                Some("pull_request.merged"),
                vec!["repository:octo/hello", "pull_request.closed"],
            ),
            (
                "push",
                "push",
                json!({"ref": "refs/heads/main", "commits": [{}, {}], "repository": repository}),
                Some("repository.pushed"),
                vec!["repository:octo/hello"],
            ),
            ("ping", "ping", json!({"zen": "…", "hook_id": 9}), Some("github.pinged"), vec![]),
            ("unknown", "sponsorship", json!({"action": "created"}), None, vec!["sponsorship.created"]),
            (
                "nulls",
                "issues",
                json!({"action": "opened", "issue": null, "repository": null}),
                Some("issue.opened"),
                vec!["issues.opened"],
            ),
            ("nonsense", "push", json!([1]), Some("repository.pushed"), vec![]),
            (
                "a name that forges a key",
                "issues",
                json!({"action": "a#b", "repository": {"full_name": "a#b"}}),
                None,
                vec![],
            ),
        ] {
            let effects = handled(kind, body.to_string().as_bytes());
            let told: Vec<_> = effects.activity.iter().map(|note| note.action).collect();
            assert_eq!(
                (told, effects.counters),
                (action.into_iter().collect(), counters.into_iter().map(ToOwned::to_owned).collect()),
                "{case}"
            );
        }
    }

    #[test]
    fn a_form_holds_the_same() {
        let body =
            json!({"action": "opened", "issue": {"number": 7}, "repository": {"full_name": "octo/hello"}});
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &body.to_string())
            .finish();
        assert_eq!(
            handled("issues", form.as_bytes()).activity,
            handled("issues", body.to_string().as_bytes()).activity
        );
    }
}

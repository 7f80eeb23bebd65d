//! The readable page: one HTML file without scripts and without anything to load.
//!
//! Everything that comes from the document is escaped by `maud`. Descriptions may hold
//! paragraphs and `code`, no other markup.

use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::http::StatusCode;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::node::Node;

const STYLE: &str = include_str!("page.css");

/// Lets a browser apply the page's one style sheet and nothing else.
pub fn security_policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page of `document`.
pub fn render(document: &Node) -> String {
    let info = document.get("info");
    let title = info.get("title").text();
    let tags: Vec<_> = document
        .get("tags")
        .items()
        .iter()
        .map(|tag| (tag, operations(document, tag.get("name").text())))
        .collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a .skip href="#content" { "Skip to the content" }
                nav aria-label="Contents" {
                    p .brand { a href="#top" { (title) } " " span .version { (info.get("version").text()) } }
                    ul {
                        li { a href="#calling" { "Calling the API" } }
                        @for (tag, operations) in &tags {
                            li {
                                a .group href=(format!("#{}", slug(tag))) { (tag.get("name").text()) }
                                ul {
                                    @for operation in operations {
                                        li { a href=(format!("#{}", operation.id())) {
                                            (operation.node.get("summary").text()) " "
                                            (method(operation.method))
                                        } }
                                    }
                                }
                            }
                        }
                    }
                }
                main #content {
                    header #top {
                        h1 { (title) }
                        p .lead { (info.get("summary").text()) }
                        (prose(info.get("description").text()))
                        p { "For programs: " a href="openapi.json" { "openapi.json" } "." }
                    }
                    section #calling aria-labelledby="calling-title" {
                        h2 #calling-title { "Calling the API" }
                        @for (_, scheme) in document.get("components").get("securitySchemes").members() {
                            h3 .plain { (header_of(scheme)) }
                            (prose(scheme.get("description").text()))
                        }
                        p { "The examples below can be pasted into a shell where these are set:" }
                        (code("Shell variables", "\
                            TIDEGATE=https://…    # the address of this page, up to /api\n\
                            TOKEN=eyJ…            # a person's bearer token\n\
                            API_KEY=rr_…          # a tool's key"))
                    }
                    @for (tag, operations) in &tags {
                        section aria-labelledby=(slug(tag)) {
                            h2 #(slug(tag)) { (tag.get("name").text()) }
                            (prose(tag.get("description").text()))
                            @for operation in operations { (operation.render()) }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

/// The operations of a tag, in the order of the document.
fn operations<'a>(document: &'a Node, tag: &str) -> Vec<Operation<'a>> {
    let mut operations = Vec::new();
    for (path, methods) in document.get("paths").members() {
        for (method, node) in methods.members() {
            if node.get("tags").items().iter().any(|one| one.text() == tag) {
                operations.push(Operation { document, path, method, node });
            }
        }
    }
    operations
}

/// One method of one path.
struct Operation<'a> {
    document: &'a Node,
    path: &'a str,
    method: &'a str,
    node: &'a Node,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        self.node.get("operationId").text()
    }

    fn render(&self) -> Markup {
        let (id, summary) = (self.id(), self.node.get("summary").text());
        let body = self.node.get("requestBody");
        let schema = body.get("content").get("application/json").get("schema");
        let mut parameters = self.parameters().peekable();
        html! {
            article id=(id) aria-labelledby=(format!("{id}-title")) {
                h3 id=(format!("{id}-title")) { a href=(format!("#{id}")) { (summary) } }
                p .route { (method(self.method)) " " code { (breakable(self.path)) } }
                p .who { (self.who()) }
                (prose(self.node.get("description").text()))
                @if parameters.peek().is_some() {
                    h4 { "Parameters" }
                    dl { @for parameter in parameters {
                        (self.field(&Field {
                            name: parameter.get("name").text().to_owned(),
                            schema: parameter.get("schema"),
                            note: match parameter.get("in").text() {
                                "path" => "in the path",
                                "header" => "header",
                                _ => "in the query",
                            },
                            description: parameter.get("description").text(),
                        }))
                    } }
                }
                @if schema.is_some() {
                    h4 { "Body" @if *body.get("required") != Node::Bool(true) { span .note { "may be left out" } } }
                    dl { @for field in self.fields(schema, true) { (self.field(&field)) } }
                }
                h4 { "Answers" }
                @for (status, answer) in self.node.get("responses").members() {
                    (self.answer(status, self.document.follow(answer)))
                }
                h4 { "Example" }
                (code(&format!("Example: {summary}"), &self.curl()))
            }
        }
    }

    fn parameters(&self) -> impl Iterator<Item = &Node> {
        self.node.get("parameters").items().iter().map(|parameter| self.document.follow(parameter))
    }

    /// The schemes that admit a caller, with the roles or permissions that they must have.
    fn security(&self) -> impl Iterator<Item = (&Node, Vec<&str>)> {
        let schemes = self.document.get("components").get("securitySchemes");
        self.node
            .get("security")
            .items()
            .iter()
            .flat_map(Node::members)
            .map(|(scheme, roles)| (schemes.get(scheme), roles.items().iter().map(Node::text).collect()))
    }

    fn who(&self) -> Markup {
        html! {
            @for (scheme, roles) in self.security() {
                @match (scheme.get("type").text(), roles.is_empty()) {
                    ("apiKey", true) => "For tools with any API key",
                    ("apiKey", false) => "For tools whose API key has the permission",
                    (_, true) => "For everyone in the workspace",
                    (_, false) => "For people with the role",
                }
                @for role in roles { " " code { (role) } }
            }
            @if self.security().next().is_none() { "Open to everyone" }
        }
    }

    fn answer(&self, status: &str, answer: &Node) -> Markup {
        let reason = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
        let reason = reason.and_then(|code| code.canonical_reason()).unwrap_or_default();
        let success = status.starts_with('2');
        let headers = answer.get("headers").members();
        html! {
            details .answer {
                summary {
                    span .status .(if success { "good" } else if status.starts_with('3') { "same" } else { "bad" }) {
                        (status)
                    }
                    span .reason { (reason) }
                    span .meaning { (inline(answer.get("description").text())) }
                }
                @if !headers.is_empty() {
                    h5 { "Headers" }
                    dl { @for (name, header) in headers {
                        @let header = self.document.follow(header);
                        (self.field(&Field {
                            name: name.clone(),
                            schema: header.get("schema"),
                            note: if *header.get("required") == Node::Bool(true) { "" } else { "not always" },
                            description: header.get("description").text(),
                        }))
                    } }
                }
                @for (kind, content) in answer.get("content").members() {
                    h5 { code { (kind) } }
                    @if success {
                        dl { @for field in self.fields(content.get("schema"), false) { (self.field(&field)) } }
                    }
                    @if content.get("example").is_some() {
                        (code(&format!("Example of {status} {reason}"), &format!("{:#}", content.get("example"))))
                    }
                }
            }
        }
    }

    fn field(&self, field: &Field<'_>) -> Markup {
        let described = field.description;
        let description =
            if described.is_empty() { self.keyword(field.schema, "description").text() } else { described };
        let limits = self.limits(field.schema);
        html! {
            div {
                dt {
                    code { (breakable(&field.name)) }
                    @if !field.note.is_empty() { span .note { (field.note) } }
                }
                dd {
                    p .kind {
                        (self.kind(field.schema))
                        @for limit in limits { " · " (limit) }
                    }
                    @if !description.is_empty() { p { (inline(description)) } }
                }
            }
        }
    }

    /// The fields of a body, nested ones after the one that holds them.
    fn fields<'a>(&'a self, schema: &'a Node, request: bool) -> Vec<Field<'a>> {
        let mut fields = Vec::new();
        self.gather(schema, "", request, &mut fields);
        fields
    }

    fn gather<'a>(&'a self, schema: &'a Node, path: &str, request: bool, fields: &mut Vec<Field<'a>>) {
        let (mut properties, mut required) = (Vec::new(), Vec::new());
        self.members_of(schema, &mut properties, &mut required);
        for (name, schema) in properties {
            let path = format!("{path}{name}");
            let note = match (request, required.contains(&name)) {
                (true, true) => "required",
                (false, false) => "not always",
                _ => "",
            };
            let items = self.keyword(schema, "items");
            let (inner, inner_path) =
                if items.is_some() { (items, format!("{path}[].")) } else { (schema, format!("{path}.")) };
            fields.push(Field { name: path, schema, note, description: "" });
            self.gather(inner, &inner_path, request, fields);
        }
    }

    /// The properties of an object schema and which are required, through references and
    /// compositions; the first mention of a property counts, and `false` takes one away.
    fn members_of<'a>(
        &'a self,
        schema: &'a Node,
        properties: &mut Vec<(&'a str, &'a Node)>,
        required: &mut Vec<&'a str>,
    ) {
        let target = self.document.follow(schema);
        if !std::ptr::eq(target, schema) {
            self.members_of(target, properties, required);
        }
        for composition in ["allOf", "anyOf", "oneOf"] {
            for part in schema.get(composition).items() {
                self.members_of(part, properties, required);
            }
        }
        for (name, property) in schema.get("properties").members() {
            if *property == Node::Bool(false) {
                properties.retain(|(known, _)| known != name);
            } else if !properties.iter().any(|(known, _)| known == name) {
                properties.push((name, property));
            }
        }
        required.extend(schema.get("required").items().iter().map(Node::text));
    }

    /// A keyword of a schema: its own, or that of the schema it refers to or may be.
    fn keyword<'a>(&'a self, schema: &'a Node, name: &str) -> &'a Node {
        let own = schema.get(name);
        if own.is_some() {
            return own;
        }
        let target = self.document.follow(schema);
        if !std::ptr::eq(target, schema) {
            return self.keyword(target, name);
        }
        let parts = schema.get("anyOf").items().iter().filter(|part| part.get("type").text() != "null");
        parts.map(|part| self.keyword(part, name)).find(|found| found.is_some()).unwrap_or(&Node::Null)
    }

    /// What kind of value a schema describes, in words.
    fn kind(&self, schema: &Node) -> Markup {
        let constant = self.keyword(schema, "const");
        let choices = self.keyword(schema, "enum").items();
        let kinds = self.keyword(schema, "type");
        let kind = if let Node::List(kinds) = kinds { kinds.first().unwrap_or(&Node::Null) } else { kinds };
        let may_be_null =
            kinds.items().iter().chain(choices).any(|one| one.text() == "null" || !one.is_some())
                || schema.get("anyOf").items().iter().any(|part| part.get("type").text() == "null");
        html! {
            @if constant.is_some() {
                code { (literal(constant)) }
            } @else if !choices.is_empty() {
                @for (index, choice) in choices.iter().filter(|choice| choice.is_some()).enumerate() {
                    @if index > 0 { " | " }
                    code { (literal(choice)) }
                }
            } @else {
                @match (kind.text(), self.keyword(schema, "format").text()) {
                    ("string", "date-time") => "time",
                    ("string", "date") => "date",
                    ("string", _) => "text",
                    ("array", _) => { "list of " (self.kind(self.keyword(schema, "items"))) },
                    ("object", _) => {
                        "object"
                        @let values = self.keyword(schema, "additionalProperties");
                        @if values.get("type").is_some() { " of " (self.kind(values)) }
                    },
                    ("", _) => "anything",
                    (other, _) => (other),
                }
            }
            @if may_be_null { " or null" }
        }
    }

    /// What a schema demands beyond its kind.
    fn limits(&self, schema: &Node) -> Vec<Markup> {
        let mut limits = Vec::new();
        for (least, most, unit) in [
            ("minLength", "maxLength", " characters"),
            ("minimum", "maximum", ""),
            ("minItems", "maxItems", " of them"),
        ] {
            let (least, most) = (self.keyword(schema, least), self.keyword(schema, most));
            match (least.is_some(), most.is_some()) {
                (true, true) => limits.push(html! { (least.to_string()) "–" (most.to_string()) (unit) }),
                (true, false) => limits.push(html! { "at least " (least.to_string()) (unit) }),
                (false, true) => limits.push(html! { "at most " (most.to_string()) (unit) }),
                (false, false) => {}
            }
        }
        if *self.keyword(schema, "uniqueItems") == Node::Bool(true) {
            limits.push(html! { "no repeats" });
        }
        let pattern = self.keyword(schema, "pattern").text();
        if !pattern.is_empty() && self.keyword(schema, "format").text().is_empty() {
            limits.push(html! { code { (pattern) } });
        }
        let default = self.keyword(schema, "default");
        if default.is_some() {
            limits.push(html! { "default " code { (literal(default)) } });
        }
        limits
    }

    /// A call that can be pasted into a shell.
    fn curl(&self) -> String {
        let mut path = self.path.to_owned();
        for parameter in self.parameters().filter(|parameter| parameter.get("in").text() == "path") {
            path = path
                .replace(&format!("{{{}}}", parameter.get("name").text()), parameter.get("example").text());
        }
        let mut lines = vec![match self.method {
            "get" => format!("curl \"$TIDEGATE{path}\""),
            method => format!("curl -X {} \"$TIDEGATE{path}\"", method.to_uppercase()),
        }];
        for (scheme, _) in self.security() {
            lines.push(match scheme.get("type").text() {
                "apiKey" => format!("-H \"{}: $API_KEY\"", scheme.get("name").text()),
                _ => "-H \"Authorization: Bearer $TOKEN\"".to_owned(),
            });
        }
        let example = self.node.get("requestBody").get("content").get("application/json").get("example");
        if example.is_some() {
            lines.push("-H 'Content-Type: application/json'".to_owned());
            lines.push(format!("-d '{}'", format!("{example:#}").replace('\'', r"'\''")));
        }
        lines.join(" \\\n  ")
    }
}

/// A line of a list of fields.
struct Field<'a> {
    name: String,
    schema: &'a Node,
    note: &'static str,
    description: &'a str,
}

fn method(method: &str) -> Markup {
    html! { span .method .(method) { (method.to_uppercase()) } }
}

fn slug(tag: &Node) -> String {
    tag.get("name").text().to_lowercase().replace(' ', "-")
}

/// How a scheme's credentials are sent.
fn header_of(scheme: &Node) -> Markup {
    let name = scheme.get("name").text();
    html! { @if name.is_empty() { code { "Authorization: Bearer" } } @else { code { (name) } } }
}

/// A value as people write it: text without quotes.
fn literal(value: &Node) -> String {
    match value {
        Node::Text(text) => text.clone(),
        Node::List(items) => items.iter().map(literal).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A name or path that a narrow screen may break where its parts end.
fn breakable(text: &str) -> Markup {
    html! { @for part in text.split_inclusive(['/', '.', '_']) { (part) wbr; } }
}

/// A block that scrolls by itself, and by keyboard too.
fn code(label: &str, text: &str) -> Markup {
    html! { pre tabindex="0" role="region" aria-label=(label) { code { (text) } } }
}

/// Paragraphs.
fn prose(text: &str) -> Markup {
    html! { @for paragraph in text.split("\n\n").filter(|text| !text.is_empty()) { p { (inline(paragraph)) } } }
}

/// Text in which every other stretch between backticks is code.
fn inline(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

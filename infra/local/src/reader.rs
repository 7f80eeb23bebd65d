//! Reads `template.yaml` into the [`Template`].
//!
//! What only matters on AWS (log groups, alarms, policies, memory) is named here and skipped;
//! everything else that is not understood keeps the runner from starting.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    intrinsics::{Scope, arn},
    schedules::{Expression, Flexible},
    template::{
        Authorizer, Cors, Function, IdentitySource, Initial, Queue, QueueSource, Redrive, Route, Schedule,
        Secret, Source, Table, Template,
    },
    yaml,
};

/// Resources that a machine of one's own has no use for.
const AWS_ONLY: [&str; 12] = [
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::Logs::MetricFilter",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
];

impl Template {
    /// Reads and evaluates a template. Its parameters are those `given`, or else the runner's
    /// `own`, of which it need not have all, or else its defaults.
    pub fn read(
        text: &str,
        given: &BTreeMap<String, String>,
        own: &BTreeMap<String, String>,
        aws_url: &str,
    ) -> Result<Self, String> {
        let Value::Object(document) = yaml::parse(text)? else {
            return Err("the template is not a mapping".into());
        };
        for section in document.keys() {
            let known = [
                "AWSTemplateFormatVersion",
                "Conditions",
                "Description",
                "Globals",
                "Metadata",
                "Outputs",
                "Parameters",
                "Resources",
                "Transform",
            ];
            if !known.contains(&section.as_str()) {
                return Err(format!("section {section} is not known to the embedded runner"));
            }
        }
        let scope = Scope::new(&document, given, own, aws_url)?;
        let mut reader = Reader::new(&scope, document.get("Globals"))?;
        let nothing = Map::new();
        let resources = document.get("Resources").and_then(Value::as_object).unwrap_or(&nothing);
        // The API first: routes need to know its default authorizer.
        let is_api = |resource: &Value| resource.get("Type") == Some(&"AWS::Serverless::HttpApi".into());
        let (apis, others): (Vec<_>, Vec<_>) = resources.iter().partition(|(_, resource)| is_api(resource));
        for (id, resource) in apis.into_iter().chain(others) {
            reader.resource(id, resource).map_err(|reason| format!("{id}: {reason}"))?;
        }
        reader.finish()
    }
}

struct Reader<'a> {
    scope: &'a Scope,
    function_globals: Map<String, Value>,
    default_authorizer: Option<String>,
    api: Option<String>,
    template: Template,
}

impl<'a> Reader<'a> {
    fn new(scope: &'a Scope, globals: Option<&Value>) -> Result<Self, String> {
        let mut function_globals = Map::new();
        for (section, properties) in globals.and_then(Value::as_object).into_iter().flatten() {
            match (section.as_str(), properties) {
                ("Function", Value::Object(properties)) => function_globals.clone_from(properties),
                _ => return Err(format!("Globals.{section} is not known to the embedded runner")),
            }
        }
        Ok(Self {
            scope,
            function_globals,
            default_authorizer: None,
            api: None,
            template: Template::default(),
        })
    }

    fn resource(&mut self, id: &str, resource: &Value) -> Result<(), String> {
        if let Some(condition) = resource.get("Condition").and_then(Value::as_str)
            && !self.scope.holds(condition)?
        {
            return Ok(());
        }
        let kind = resource.get("Type").and_then(Value::as_str).unwrap_or_default();
        let properties = resource.get("Properties").and_then(Value::as_object).cloned().unwrap_or_default();
        match kind {
            "AWS::Serverless::HttpApi" => self.api(id, properties),
            "AWS::Serverless::Function" => self.function(id, resource, properties),
            "AWS::DynamoDB::Table" => self.table(id, properties),
            "AWS::SQS::Queue" => self.queue(id, properties),
            "AWS::KMS::Key" => {
                self.template.keys.push(id.to_owned());
                Ok(())
            }
            "AWS::KMS::Alias" => self.key_alias(id, properties),
            "AWS::SecretsManager::Secret" => self.secret(id, properties),
            "AWS::Scheduler::Schedule" => self.scheduler_schedule(id, properties),
            kind if AWS_ONLY.contains(&kind) => Ok(()),
            kind => Err(format!("resources of type {kind} are not known to the embedded runner")),
        }
    }

    /// Properties without those that do nothing here, evaluated, as `T`, which must know the rest.
    fn read<T: DeserializeOwned>(
        &self,
        mut properties: Map<String, Value>,
        skip: &[&str],
    ) -> Result<T, String> {
        properties.retain(|name, _| !skip.contains(&name.as_str()));
        let properties = self.scope.resolve(&Value::Object(properties))?.unwrap_or_default();
        serde_json::from_value(properties).map_err(|error| error.to_string())
    }

    fn api(&mut self, id: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Api {
            #[serde(default)]
            auth: Auth,
            cors_configuration: Option<Cors>,
            stage_name: Option<String>,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
        struct Auth {
            default_authorizer: Option<String>,
            authorizers: BTreeMap<String, AuthorizerProperties>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct AuthorizerProperties {
            function_arn: String,
            authorizer_payload_format_version: Value,
            #[serde(default)]
            enable_simple_responses: bool,
            #[serde(default, rename = "EnableFunctionDefaultPermissions")]
            _permissions: bool,
            #[serde(default)]
            identity: Identity,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
        struct Identity {
            headers: Vec<String>,
            query_strings: Vec<String>,
            reauthorize_every: Option<u64>,
        }

        if let Some(first) = &self.api {
            return Err(format!("the embedded runner serves one HTTP API, and {first} is one already"));
        }
        let skip =
            ["AccessLogSettings", "DefaultRouteSettings", "Description", "Name", "Tags", "RouteSettings"];
        let api: Api = self.read(properties, &skip)?;
        if api.stage_name.is_some_and(|stage| stage != "$default") {
            return Err("the embedded runner only knows the stage $default".into());
        }
        for (name, authorizer) in api.auth.authorizers {
            let version = &authorizer.authorizer_payload_format_version;
            if (version != "2.0" && version != 2.0) || !authorizer.enable_simple_responses {
                return Err(format!("{name} must use payload format 2.0 and simple responses"));
            }
            let function = function_of(&authorizer.function_arn)
                .ok_or_else(|| format!("{name} names no function: {}", authorizer.function_arn))?;
            let identity = authorizer.identity;
            let headers = identity.headers.iter().map(|name| IdentitySource::Header(name.to_lowercase()));
            let queries = identity.query_strings.into_iter().map(IdentitySource::Query);
            let authorizer = Authorizer {
                function: function.to_owned(),
                identity: headers.chain(queries).collect(),
                ttl: Duration::from_secs(identity.reauthorize_every.unwrap_or(300)),
            };
            if authorizer.identity.is_empty() && !authorizer.ttl.is_zero() {
                return Err(format!("{name} caches its answers and has nothing to cache them by"));
            }
            self.template.authorizers.insert(name, authorizer);
        }
        self.api = Some(id.to_owned());
        self.default_authorizer = api.auth.default_authorizer;
        self.template.cors = api.cors_configuration;
        Ok(())
    }

    fn function(&mut self, id: &str, resource: &Value, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            #[serde(default)]
            environment: Environment,
            #[serde(default = "three_seconds")]
            timeout: u64,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Environment {
            #[serde(default)]
            variables: BTreeMap<String, Value>,
        }
        // Lambda's own default.
        fn three_seconds() -> u64 {
            3
        }

        let binary = resource
            .pointer("/Metadata/BuildProperties/Binary")
            .and_then(Value::as_str)
            .ok_or("Metadata.BuildProperties.Binary is missing")?;
        let mut properties = merge(&self.function_globals, properties);
        let events = properties.remove("Events");
        let skip = [
            "Architectures",
            "CodeUri",
            "DeadLetterQueue",
            "Description",
            "FunctionName",
            "Handler",
            "LoggingConfig",
            "MemorySize",
            "PackageType",
            "Policies",
            "ReservedConcurrentExecutions",
            "Role",
            "Runtime",
            "Tags",
            "Tracing",
        ];
        let read: Properties = self.read(properties, &skip)?;
        let mut environment = BTreeMap::new();
        for (name, value) in read.environment.variables {
            environment.insert(name, self.scope.text(&value)?);
        }
        let function =
            Function { binary: binary.to_owned(), environment, timeout: Duration::from_secs(read.timeout) };
        self.template.functions.insert(id.to_owned(), function);
        for (name, event) in events.as_ref().and_then(Value::as_object).into_iter().flatten() {
            self.event(id, name, event).map_err(|reason| format!("event {name}: {reason}"))?;
        }
        Ok(())
    }

    fn event(&mut self, function: &str, name: &str, event: &Value) -> Result<(), String> {
        let properties = event.get("Properties").and_then(Value::as_object).cloned().unwrap_or_default();
        match event.get("Type").and_then(Value::as_str).unwrap_or_default() {
            "HttpApi" => self.route(function, properties),
            "SQS" => self.queue_source(function, properties),
            "ScheduleV2" => self.schedule_v2(function, name, properties),
            "Schedule" => self.schedule(function, name, properties),
            kind => Err(format!("events of type {kind} are not known to the embedded runner")),
        }
    }

    fn route(&mut self, function: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            #[serde(default)]
            api_id: Option<String>,
            method: Option<String>,
            path: Option<String>,
            #[serde(default)]
            auth: Auth,
            payload_format_version: Option<Value>,
            timeout_in_millis: Option<u64>,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Auth {
            authorizer: Option<String>,
        }

        let read: Properties = self.read(properties, &["RouteSettings"])?;
        if read.api_id.is_some() && read.api_id != self.api {
            return Err("ApiId must be the template's own HTTP API".into());
        }
        if read.payload_format_version.is_some_and(|version| version != "2.0" && version != 2.0) {
            return Err("the payload format must be 2.0".into());
        }
        let authorizer = match read.auth.authorizer.as_deref() {
            Some("NONE") => None,
            Some(name) => Some(name.to_owned()),
            None => self.default_authorizer.clone(),
        };
        if let Some(name) = &authorizer
            && !self.template.authorizers.contains_key(name)
        {
            return Err(format!("there is no authorizer {name}"));
        }
        let any = |method: &String| {
            !method.eq_ignore_ascii_case("any") && method != "x-amazon-apigateway-any-method"
        };
        self.template.routes.push(Route {
            method: read.method.filter(any).map(|method| method.to_uppercase()),
            path: read.path.filter(|path| path != "$default"),
            function: function.to_owned(),
            authorizer,
            timeout: Duration::from_millis(read.timeout_in_millis.unwrap_or(30_000)),
        });
        Ok(())
    }

    fn queue_source(&mut self, function: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            queue: String,
            #[serde(default = "ten")]
            batch_size: usize,
            #[serde(default = "yes")]
            enabled: bool,
            #[serde(default)]
            function_response_types: Vec<String>,
            #[serde(default)]
            maximum_batching_window_in_seconds: u64,
            #[serde(default)]
            scaling_config: Scaling,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Scaling {
            maximum_concurrency: Option<usize>,
        }
        fn ten() -> usize {
            10
        }

        let read: Properties = self.read(properties, &[])?;
        if !read.enabled {
            return Ok(());
        }
        if read.batch_size == 0 || (read.batch_size > 10 && read.maximum_batching_window_in_seconds == 0) {
            return Err("a BatchSize over 10 needs MaximumBatchingWindowInSeconds".into());
        }
        self.template.queue_sources.push(QueueSource {
            queue: queue_of(&read.queue)?,
            function: function.to_owned(),
            batch_size: read.batch_size,
            window: Duration::from_secs(read.maximum_batching_window_in_seconds),
            partial_answers: read
                .function_response_types
                .iter()
                .any(|kind| kind == "ReportBatchItemFailures"),
            concurrency: read.scaling_config.maximum_concurrency.unwrap_or(5),
        });
        Ok(())
    }

    fn schedule_v2(
        &mut self,
        function: &str,
        name: &str,
        properties: Map<String, Value>,
    ) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            schedule_expression: String,
            schedule_expression_timezone: Option<String>,
            state: Option<String>,
            input: Option<String>,
            #[serde(default)]
            flexible_time_window: Flexible,
        }

        // Retries are about delivery, which cannot fail here.
        let skip = [
            "DeadLetterConfig",
            "Description",
            "Name",
            "OmitName",
            "PermissionsBoundary",
            "RetryPolicy",
            "RoleArn",
        ];
        let read: Properties = self.read(properties, &skip)?;
        read.flexible_time_window.check()?;
        if read.state.as_deref() == Some("DISABLED") {
            return Ok(());
        }
        let zone = read.schedule_expression_timezone.as_deref();
        self.template.schedules.push(Schedule {
            name: format!("{function}{name}"),
            expression: Expression::parse(&read.schedule_expression, zone)?,
            function: function.to_owned(),
            input: read.input,
            source: Source::Scheduler,
        });
        Ok(())
    }

    fn schedule(&mut self, function: &str, name: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            schedule: String,
            state: Option<String>,
            enabled: Option<bool>,
            input: Option<String>,
        }

        let read: Properties =
            self.read(properties, &["DeadLetterConfig", "Description", "Name", "RetryPolicy"])?;
        if read.state.as_deref() == Some("DISABLED") || read.enabled == Some(false) {
            return Ok(());
        }
        self.template.schedules.push(Schedule {
            name: format!("{function}{name}"),
            expression: Expression::parse(&read.schedule, None)?,
            function: function.to_owned(),
            input: read.input,
            source: Source::Rule,
        });
        Ok(())
    }

    fn scheduler_schedule(&mut self, id: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            schedule_expression: String,
            schedule_expression_timezone: Option<String>,
            state: Option<String>,
            target: Target,
            flexible_time_window: Flexible,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Target {
            arn: String,
            input: Option<String>,
        }

        let mut properties = properties;
        if let Some(target) = properties.get_mut("Target").and_then(Value::as_object_mut) {
            target.retain(|name, _| !["DeadLetterConfig", "RetryPolicy", "RoleArn"].contains(&name.as_str()));
        }
        let read: Properties = self.read(properties, &["Name", "Description", "GroupName"])?;
        read.flexible_time_window.check()?;
        if read.state.as_deref() == Some("DISABLED") {
            return Ok(());
        }
        let function = function_of(&read.target.arn).ok_or("the target must be a function")?;
        let zone = read.schedule_expression_timezone.as_deref();
        self.template.schedules.push(Schedule {
            name: id.to_owned(),
            expression: Expression::parse(&read.schedule_expression, zone)?,
            function: function.to_owned(),
            input: read.target.input,
            source: Source::Scheduler,
        });
        Ok(())
    }

    fn table(&mut self, id: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Ttl {
            attribute_name: String,
            enabled: bool,
        }

        let known = [
            "AttributeDefinitions",
            "BillingMode",
            "GlobalSecondaryIndexes",
            "KeySchema",
            "LocalSecondaryIndexes",
            "TableName",
        ];
        let skip = [
            "ContributorInsightsSpecification",
            "DeletionProtectionEnabled",
            "OnDemandThroughput",
            "PointInTimeRecoverySpecification",
            "SSESpecification",
            "TableClass",
            "Tags",
        ];
        let mut create: Map<String, Value> = self.read(properties, &skip)?;
        let ttl: Option<Ttl> = create
            .remove("TimeToLiveSpecification")
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| error.to_string())?;
        if let Some(name) = create.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("{name} is not known to the embedded runner"));
        }
        create.insert("TableName".into(), self.scope.name(id)?.into());
        self.template.tables.push(Table {
            create: create.into(),
            ttl_attribute: ttl.filter(|ttl| ttl.enabled).map(|ttl| ttl.attribute_name),
        });
        Ok(())
    }

    fn queue(&mut self, id: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            #[serde(default)]
            fifo_queue: bool,
            visibility_timeout: Option<u64>,
            delay_seconds: Option<u64>,
            message_retention_period: Option<u64>,
            redrive_policy: Option<RedriveProperties>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct RedriveProperties {
            dead_letter_target_arn: String,
            max_receive_count: u32,
        }

        let skip = [
            "ContentBasedDeduplication",
            "KmsDataKeyReusePeriodSeconds",
            "KmsMasterKeyId",
            "MaximumMessageSize",
            "QueueName",
            "ReceiveMessageWaitTimeSeconds",
            "RedriveAllowPolicy",
            "SqsManagedSseEnabled",
            "Tags",
        ];
        let read: Properties = self.read(properties, &skip)?;
        let redrive = match read.redrive_policy {
            Some(policy) => Some(Redrive {
                queue: queue_of(&policy.dead_letter_target_arn)?,
                max_receive_count: policy.max_receive_count,
            }),
            None => None,
        };
        if read.fifo_queue {
            return Err("FIFO queues are not known to the embedded runner".into());
        }
        self.template.queues.push(Queue {
            name: self.scope.name(id)?,
            visibility_timeout: Duration::from_secs(read.visibility_timeout.unwrap_or(30)),
            delay: Duration::from_secs(read.delay_seconds.unwrap_or(0)),
            retention: Duration::from_secs(read.message_retention_period.unwrap_or(4 * 24 * 3600)),
            redrive,
        });
        Ok(())
    }

    fn key_alias(&mut self, id: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            target_key_id: String,
        }
        let read: Properties = self.read(properties, &["AliasName"])?;
        let key = read.target_key_id.rsplit('/').next().unwrap_or_default().to_owned();
        self.template.key_aliases.insert(self.scope.name(id)?, key);
        Ok(())
    }

    fn secret(&mut self, id: &str, properties: Map<String, Value>) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Properties {
            secret_string: Option<String>,
            generate_secret_string: Option<Generate>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Generate {
            #[serde(default = "thirty_two")]
            password_length: usize,
            #[serde(rename = "SecretStringTemplate")]
            object: Option<String>,
            #[serde(rename = "GenerateStringKey")]
            key: Option<String>,
        }
        fn thirty_two() -> usize {
            32
        }

        let read: Properties = self.read(properties, &["Description", "KmsKeyId", "Name", "Tags"])?;
        let initial = match (read.secret_string, read.generate_secret_string) {
            (Some(text), _) => Initial::Text(text),
            (None, None) => Initial::Nothing,
            (None, Some(generate)) => {
                let member = match (generate.object, generate.key) {
                    (Some(object), Some(key)) => {
                        let object = serde_json::from_str(&object)
                            .map_err(|_| "SecretStringTemplate is not a JSON object")?;
                        Some((object, key))
                    }
                    (None, None) => None,
                    _ => return Err("SecretStringTemplate and GenerateStringKey go together".into()),
                };
                Initial::Random { length: generate.password_length, member }
            }
        };
        self.template.secrets.push(Secret { name: self.scope.name(id)?, initial });
        Ok(())
    }

    /// Checks what could only be checked once every resource was read.
    fn finish(self) -> Result<Template, String> {
        let template = self.template;
        let functions = template.routes.iter().map(|route| &route.function);
        let functions = functions.chain(template.authorizers.values().map(|authorizer| &authorizer.function));
        let mut functions = functions.chain(template.schedules.iter().map(|schedule| &schedule.function));
        if let Some(missing) = functions.find(|function| !template.functions.contains_key(*function)) {
            return Err(format!("there is no function {missing}"));
        }
        let targets = template.queue_sources.iter().map(|source| &source.queue);
        let redrives = template.queues.iter().filter_map(|queue| Some(&queue.redrive.as_ref()?.queue));
        for name in targets.chain(redrives) {
            if !template.queues.iter().any(|queue| queue.name == *name) {
                return Err(format!("there is no queue {name}"));
            }
        }
        for source in &template.queue_sources {
            let queue = template.queues.iter().find(|queue| queue.name == source.queue);
            let function = template.functions.get(&source.function);
            if let (Some(queue), Some(function)) = (queue, function)
                && queue.visibility_timeout < function.timeout
            {
                // Lambda refuses this: a message would come again while it is worked off.
                return Err(format!(
                    "the visibility timeout of {} is shorter than the timeout of {}",
                    queue.name, source.function
                ));
            }
        }
        for (index, route) in template.routes.iter().enumerate() {
            let same = |other: &&Route| (&other.method, &other.path) == (&route.method, &route.path);
            if template.routes.iter().take(index).any(|other| same(&other)) {
                let method = route.method.as_deref().unwrap_or("ANY");
                return Err(format!(
                    "two functions answer {method} {}",
                    route.path.as_deref().unwrap_or("$default")
                ));
            }
        }
        Ok(template)
    }
}

fn yes() -> bool {
    true
}

/// The logical id in a function's ARN as [`arn`] writes it.
fn function_of(function_arn: &str) -> Option<&str> {
    function_arn.strip_prefix(arn("lambda", "function:").as_str())
}

fn queue_of(queue_arn: &str) -> Result<String, String> {
    let name = queue_arn.strip_prefix(arn("sqs", "").as_str());
    name.map(str::to_owned).ok_or_else(|| format!("{queue_arn} is not the ARN of a queue"))
}

/// Globals as SAM merges them: mappings are joined, lists are appended to, the rest is replaced.
fn merge(globals: &Map<String, Value>, own: Map<String, Value>) -> Map<String, Value> {
    let mut merged = globals.clone();
    for (name, value) in own {
        let value = match (merged.remove(&name), value) {
            (Some(Value::Object(globals)), Value::Object(own)) => merge(&globals, own).into(),
            (Some(Value::Array(mut globals)), Value::Array(own)) => {
                globals.extend(own);
                globals.into()
            }
            (_, own) => own,
        };
        merged.insert(name, value);
    }
    merged
}

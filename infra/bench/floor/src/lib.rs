//! The floor: a Lambda function written by hand that does the `DynamoDB` and SQS calls of one of ours
//! and nothing else, with the SDK as it comes. Which calls those are it reads once, at its start, from
//! `FLOOR_CALLS`: the bench puts there what it saw our function send.
//!
//! Every binary names the operations it is built with, so that none carries the code of another.

use std::{collections::HashMap, env, fs, pin::Pin, sync::OnceLock};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::{
    Client,
    primitives::Blob,
    types::{
        AttributeValue, KeysAndAttributes, Put, ReturnValue, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, Update,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Any failure of the floor.
pub type Error = lambda_runtime::Error;

/// One call, ready to be sent again and again.
pub type Call =
    Box<dyn Fn(&Clients) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> + Send + Sync>;

/// What calls are made with.
pub struct Clients {
    dynamodb: Client,
    sdk: SdkConfig,
}

/// Reads a call from the request our function sent.
pub type Read = fn(&Request) -> Result<Call, Error>;

/// Serves invocations; each makes the calls of the file `FLOOR_CALLS`, in order.
pub async fn serve(operations: &[(&str, Read)]) -> Result<(), Error> {
    let recorded: Value = serde_json::from_str(&fs::read_to_string(env::var("FLOOR_CALLS")?)?)?;
    let calls = recorded
        .as_array()
        .ok_or("FLOOR_CALLS is not a list")?
        .iter()
        .map(|call| {
            let operation = call["operation"].as_str().unwrap_or_default();
            let (_, read) = operations
                .iter()
                .find(|(name, _)| *name == operation)
                .ok_or_else(|| format!("this floor is not built with {operation}"))?;
            read(&Request(&call["request"])).map_err(|error| format!("{operation}: {error}").into())
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let clients = Clients { dynamodb: Client::new(&sdk), sdk };
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let (clients, calls) = (&clients, &calls);
        async move {
            if let Some(key) = event.payload["headers"]["x-api-key"].as_str() {
                std::hint::black_box(Sha256::digest(key));
            }
            for call in calls {
                call(clients).await?;
            }
            Ok::<_, Error>(answer())
        }
    }))
    .await
}

/// An answer that both API Gateway and an authorizer's caller understand.
#[must_use]
pub fn answer() -> Value {
    json!({"isAuthorized": true, "statusCode": 200})
}

/// Reads a `GetItem`.
pub fn get_item(request: &Request) -> Result<Call, Error> {
    request.only(&[
        "TableName",
        "Key",
        "ConsistentRead",
        "ProjectionExpression",
        "ExpressionAttributeNames",
    ])?;
    let (table, key) = (request.text("TableName"), request.attributes("Key")?);
    let consistent = request.flag("ConsistentRead");
    let projection = request.text("ProjectionExpression");
    let names = request.names();
    Ok(Box::new(move |clients| {
        let call = clients
            .dynamodb
            .get_item()
            .set_table_name(table.clone())
            .set_key(key.clone())
            .set_consistent_read(consistent)
            .set_projection_expression(projection.clone())
            .set_expression_attribute_names(names.clone());
        Box::pin(async move {
            call.send().await?;
            Ok(())
        })
    }))
}

/// Reads a `BatchGetItem`.
pub fn batch_get_item(request: &Request) -> Result<Call, Error> {
    request.only(&["RequestItems"])?;
    let mut tables = HashMap::new();
    for (table, wanted) in request.object("RequestItems")? {
        let wanted = Request(wanted);
        wanted.only(&["Keys", "ConsistentRead", "ProjectionExpression", "ExpressionAttributeNames"])?;
        let keys = wanted.0["Keys"].as_array().ok_or("no keys")?;
        let keys = keys.iter().map(attributes).collect::<Result<Vec<_>, _>>()?;
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .set_consistent_read(wanted.flag("ConsistentRead"))
            .set_projection_expression(wanted.text("ProjectionExpression"))
            .set_expression_attribute_names(wanted.names())
            .build()?;
        tables.insert(table.clone(), wanted);
    }
    Ok(Box::new(move |clients| {
        let call = clients.dynamodb.batch_get_item().set_request_items(Some(tables.clone()));
        Box::pin(async move {
            call.send().await?;
            Ok(())
        })
    }))
}

/// Reads a `Query`.
pub fn query(request: &Request) -> Result<Call, Error> {
    request.only(&[
        "TableName",
        "IndexName",
        "KeyConditionExpression",
        "FilterExpression",
        "ProjectionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ScanIndexForward",
        "ConsistentRead",
        "Limit",
        "ExclusiveStartKey",
    ])?;
    let (table, index) = (request.text("TableName"), request.text("IndexName"));
    let condition = request.text("KeyConditionExpression");
    let (filter, projection) = (request.text("FilterExpression"), request.text("ProjectionExpression"));
    let (names, values) = (request.names(), request.attributes("ExpressionAttributeValues")?);
    let (forward, consistent) = (request.flag("ScanIndexForward"), request.flag("ConsistentRead"));
    let limit = request.0["Limit"].as_i64().map(i32::try_from).transpose()?;
    let start = request.attributes("ExclusiveStartKey")?;
    Ok(Box::new(move |clients| {
        let call = clients
            .dynamodb
            .query()
            .set_table_name(table.clone())
            .set_index_name(index.clone())
            .set_key_condition_expression(condition.clone())
            .set_filter_expression(filter.clone())
            .set_projection_expression(projection.clone())
            .set_expression_attribute_names(names.clone())
            .set_expression_attribute_values(values.clone())
            .set_scan_index_forward(forward)
            .set_consistent_read(consistent)
            .set_limit(limit)
            .set_exclusive_start_key(start.clone());
        Box::pin(async move {
            call.send().await?;
            Ok(())
        })
    }))
}

/// Reads a `PutItem`.
pub fn put_item(request: &Request) -> Result<Call, Error> {
    request.only(&[
        "TableName",
        "Item",
        "ConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ReturnValues",
        "ReturnValuesOnConditionCheckFailure",
    ])?;
    let (table, item) = (request.text("TableName"), request.attributes("Item")?);
    let condition = request.text("ConditionExpression");
    let (names, values) = (request.names(), request.attributes("ExpressionAttributeValues")?);
    let (returned, on_failure) = (request.returned(), request.returned_on_failure());
    Ok(Box::new(move |clients| {
        let call = clients
            .dynamodb
            .put_item()
            .set_table_name(table.clone())
            .set_item(item.clone())
            .set_condition_expression(condition.clone())
            .set_expression_attribute_names(names.clone())
            .set_expression_attribute_values(values.clone())
            .set_return_values(returned.clone())
            .set_return_values_on_condition_check_failure(on_failure.clone());
        Box::pin(async move {
            call.send().await?;
            Ok(())
        })
    }))
}

/// Reads an `UpdateItem`.
pub fn update_item(request: &Request) -> Result<Call, Error> {
    request.only(&[
        "TableName",
        "Key",
        "UpdateExpression",
        "ConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ReturnValues",
        "ReturnValuesOnConditionCheckFailure",
    ])?;
    let (table, key) = (request.text("TableName"), request.attributes("Key")?);
    let (update, condition) = (request.text("UpdateExpression"), request.text("ConditionExpression"));
    let (names, values) = (request.names(), request.attributes("ExpressionAttributeValues")?);
    let (returned, on_failure) = (request.returned(), request.returned_on_failure());
    Ok(Box::new(move |clients| {
        let call = clients
            .dynamodb
            .update_item()
            .set_table_name(table.clone())
            .set_key(key.clone())
            .set_update_expression(update.clone())
            .set_condition_expression(condition.clone())
            .set_expression_attribute_names(names.clone())
            .set_expression_attribute_values(values.clone())
            .set_return_values(returned.clone())
            .set_return_values_on_condition_check_failure(on_failure.clone());
        Box::pin(async move {
            call.send().await?;
            Ok(())
        })
    }))
}

/// Reads a `TransactWriteItems` of puts and updates.
pub fn transact_write_items(request: &Request) -> Result<Call, Error> {
    // The token of the recorded call would make every later one a repetition that writes nothing.
    request.only(&["TransactItems", "ClientRequestToken"])?;
    let items = request.0["TransactItems"].as_array().ok_or("no items")?;
    let items = items
        .iter()
        .map(|item| {
            let item = Request(item);
            item.only(&["Put", "Update"])?;
            let put = item.object("Put").ok().map(|_| put(&Request(&item.0["Put"]))).transpose()?;
            let update =
                item.object("Update").ok().map(|_| update(&Request(&item.0["Update"]))).transpose()?;
            Ok(TransactWriteItem::builder().set_put(put).set_update(update).build())
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Box::new(move |clients| {
        let call = clients.dynamodb.transact_write_items().set_transact_items(Some(items.clone()));
        Box::pin(async move {
            call.send().await?;
            Ok(())
        })
    }))
}

/// Reads a `SendMessage`.
pub fn send_message(request: &Request) -> Result<Call, Error> {
    request.only(&["QueueUrl", "MessageBody"])?;
    let (queue, body) = (request.text("QueueUrl"), request.text("MessageBody"));
    // Made here, so that only who sends messages carries the client.
    let client = OnceLock::new();
    Ok(Box::new(move |clients| {
        let client = client.get_or_init(|| aws_sdk_sqs::Client::new(&clients.sdk));
        let call = client.send_message().set_queue_url(queue.clone()).set_message_body(body.clone());
        Box::pin(async move {
            call.send().await?;
            Ok(())
        })
    }))
}

fn put(request: &Request) -> Result<Put, Error> {
    request.only(&[
        "TableName",
        "Item",
        "ConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ReturnValuesOnConditionCheckFailure",
    ])?;
    Ok(Put::builder()
        .set_table_name(request.text("TableName"))
        .set_item(request.attributes("Item")?)
        .set_condition_expression(request.text("ConditionExpression"))
        .set_expression_attribute_names(request.names())
        .set_expression_attribute_values(request.attributes("ExpressionAttributeValues")?)
        .set_return_values_on_condition_check_failure(request.returned_on_failure())
        .build()?)
}

fn update(request: &Request) -> Result<Update, Error> {
    request.only(&[
        "TableName",
        "Key",
        "UpdateExpression",
        "ConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ReturnValuesOnConditionCheckFailure",
    ])?;
    Ok(Update::builder()
        .set_table_name(request.text("TableName"))
        .set_key(request.attributes("Key")?)
        .set_update_expression(request.text("UpdateExpression"))
        .set_condition_expression(request.text("ConditionExpression"))
        .set_expression_attribute_names(request.names())
        .set_expression_attribute_values(request.attributes("ExpressionAttributeValues")?)
        .set_return_values_on_condition_check_failure(request.returned_on_failure())
        .build()?)
}

/// A request as it went over the wire.
pub struct Request<'a>(&'a Value);

impl Request<'_> {
    /// Fails on a member the floor would leave out: it must do the same work.
    fn only(&self, known: &[&str]) -> Result<(), Error> {
        let members = self.0.as_object().ok_or("not an object")?;
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(format!("the floor does not send {name}").into()),
            None => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0[name].as_str().map(str::to_owned)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.0[name].as_bool()
    }

    fn object(&self, name: &str) -> Result<&Map<String, Value>, Error> {
        self.0[name].as_object().ok_or_else(|| format!("{name} is not an object").into())
    }

    fn attributes(&self, name: &str) -> Result<Option<HashMap<String, AttributeValue>>, Error> {
        self.0.get(name).map(attributes).transpose()
    }

    fn names(&self) -> Option<HashMap<String, String>> {
        let names = self.0["ExpressionAttributeNames"].as_object()?;
        Some(
            names
                .iter()
                .filter_map(|(name, stands_for)| Some((name.clone(), stands_for.as_str()?.to_owned())))
                .collect(),
        )
    }

    fn returned(&self) -> Option<ReturnValue> {
        self.0["ReturnValues"].as_str().map(ReturnValue::from)
    }

    fn returned_on_failure(&self) -> Option<ReturnValuesOnConditionCheckFailure> {
        self.0["ReturnValuesOnConditionCheckFailure"].as_str().map(ReturnValuesOnConditionCheckFailure::from)
    }
}

fn attributes(value: &Value) -> Result<HashMap<String, AttributeValue>, Error> {
    let members = value.as_object().ok_or("not a map of attributes")?;
    members.iter().map(|(name, value)| Ok((name.clone(), attribute(value)?))).collect()
}

fn attribute(value: &Value) -> Result<AttributeValue, Error> {
    let (kind, value) =
        value.as_object().and_then(|members| members.iter().next()).ok_or("not an attribute")?;
    let text = || value.as_str().map(str::to_owned).ok_or("not text");
    let texts = || {
        let list = value.as_array().ok_or("not a list")?;
        list.iter()
            .map(|one| one.as_str().map(str::to_owned).ok_or("not text"))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match kind.as_str() {
        "S" => AttributeValue::S(text()?),
        "N" => AttributeValue::N(text()?),
        "B" => AttributeValue::B(Blob::new(STANDARD.decode(text()?)?)),
        "BOOL" => AttributeValue::Bool(value.as_bool().ok_or("not a truth value")?),
        "NULL" => AttributeValue::Null(true),
        "SS" => AttributeValue::Ss(texts()?),
        "NS" => AttributeValue::Ns(texts()?),
        "M" => AttributeValue::M(attributes(value)?),
        "L" => {
            let list = value.as_array().ok_or("not a list")?;
            AttributeValue::L(list.iter().map(attribute).collect::<Result<_, _>>()?)
        }
        other => return Err(format!("the floor does not know the attribute type {other}").into()),
    })
}

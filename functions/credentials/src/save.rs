//! `POST /api/credentials/save`

use lambda_http::Request;
use shared::{
    credentials::Order,
    http::{self, Answer},
    identity::Person,
    time,
};

use crate::{BODY_MAX, Deps};

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let order = Order::parse(http::body_within(request, BODY_MAX)?)?;
    let saved = deps.credentials.save(&person, order, time::now()).await?;
    Ok(http::created(&saved))
}

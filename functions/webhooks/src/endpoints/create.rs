//! `POST /api/webhooks/endpoints`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    time,
    webhooks::endpoints::Order,
};

use super::BODY_MAX;
use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let order = Order::parse(http::body_within(request, BODY_MAX)?, time::now())?;
    let created = deps.endpoints.create(&person, order, time::now()).await?;
    Ok(http::created(&created))
}

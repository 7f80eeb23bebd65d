//! `PUT /api/services/{service}`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    services::Order,
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let service = crate::service(request)?;
    let order = Order::parse(service, http::body(request)?)?;
    Ok(http::ok(&deps.services.set(&person, service, order, time::now()).await?))
}

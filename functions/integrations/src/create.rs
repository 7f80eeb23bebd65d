//! `POST /api/integrations`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    integrations::Order,
    time,
};

use crate::{Deps, passed};

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let order = Order::parse(http::body(request)?)?;
    let workspace = &person.workspace;
    deps.tester.check(workspace, &order.provider, &order.content, None).await?;
    let test = if order.require_test {
        let test = deps.tester.test(workspace, &order.provider, &order.content, time::now()).await?;
        Some(passed(test)?)
    } else {
        None
    };
    let created = deps.integrations.create(&person, order, test.as_ref(), time::now()).await?;
    Ok(http::created(&deps.view(workspace, created).await?))
}

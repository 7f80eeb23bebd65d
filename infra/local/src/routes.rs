//! Which route answers a request: API Gateway's order of precedence.
//!
//! A route matches by method and path. Of those that match, a fixed segment wins over a variable
//! one and that over a greedy one, segment by segment; then the named method wins over `ANY`;
//! `$default` comes last.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::template::Route;

/// The routes, the most specific first.
#[derive(Debug)]
pub struct Routes(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    route: Route,
    /// `None` is `$default`.
    segments: Option<Vec<Segment>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Fixed(String),
    Variable(String),
    Greedy(String),
}

impl Segment {
    fn rank(&self) -> u8 {
        match self {
            Self::Fixed(_) => 0,
            Self::Variable(_) => 1,
            Self::Greedy(_) => 2,
        }
    }
}

/// A route with the values of its path parameters.
#[derive(Debug, PartialEq)]
pub struct Match<'a> {
    /// The route.
    pub route: &'a Route,
    /// By name.
    pub parameters: BTreeMap<&'a str, String>,
}

impl Routes {
    /// Orders the routes.
    pub fn new(routes: &[Route]) -> Self {
        let mut patterns: Vec<_> = routes
            .iter()
            .map(|route| Pattern { route: route.clone(), segments: route.path.as_deref().map(segments) })
            .collect();
        patterns.sort_by_cached_key(|pattern| {
            let ranks = pattern
                .segments
                .as_ref()
                .map(|segments| segments.iter().map(Segment::rank).collect::<Vec<_>>());
            // `None`, which is `$default` and `ANY`, sorts first and belongs last.
            (ranks.is_none(), ranks, Reverse(pattern.route.method.is_some()))
        });
        Self(patterns)
    }

    /// The route for a request with this decoded path.
    pub fn find(&self, method: &str, path: &str) -> Option<Match<'_>> {
        let path = split(path);
        self.0.iter().find_map(|pattern| {
            if pattern.route.method.as_deref().is_some_and(|wanted| wanted != method) {
                return None;
            }
            let parameters = match &pattern.segments {
                None => BTreeMap::new(),
                Some(segments) => parameters(segments, &path)?,
            };
            Some(Match { route: &pattern.route, parameters })
        })
    }
}

/// The route key as API Gateway writes it.
pub fn key(route: &Route) -> String {
    match &route.path {
        Some(path) => format!("{} {path}", route.method.as_deref().unwrap_or("ANY")),
        None => "$default".to_owned(),
    }
}

fn split(path: &str) -> Vec<&str> {
    path.strip_prefix('/').unwrap_or(path).split('/').collect()
}

fn segments(path: &str) -> Vec<Segment> {
    split(path)
        .into_iter()
        .map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Segment::Greedy(name.to_owned()),
                None => Segment::Variable(name.to_owned()),
            },
            None => Segment::Fixed(segment.to_owned()),
        })
        .collect()
}

fn parameters<'a>(segments: &'a [Segment], path: &[&str]) -> Option<BTreeMap<&'a str, String>> {
    let mut parameters = BTreeMap::new();
    for (index, segment) in segments.iter().enumerate() {
        let here = path.get(index).filter(|here| !here.is_empty() || matches!(segment, Segment::Fixed(_)))?;
        match segment {
            Segment::Fixed(fixed) if fixed == here => {}
            Segment::Fixed(_) => return None,
            Segment::Variable(name) => {
                parameters.insert(name.as_str(), (*here).to_owned());
            }
            Segment::Greedy(name) => {
                parameters.insert(name.as_str(), path.get(index..)?.join("/"));
                return Some(parameters);
            }
        }
    }
    (segments.len() == path.len()).then_some(parameters)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn routes(keys: &[&str]) -> Routes {
        let routes: Vec<_> = keys
            .iter()
            .map(|key| {
                let (method, path) = key.split_once(' ').unzip();
                Route {
                    method: method.filter(|method| *method != "ANY").map(str::to_owned),
                    path: path.map(str::to_owned),
                    function: "F".into(),
                    authorizer: None,
                    timeout: Duration::ZERO,
                }
            })
            .collect();
        Routes::new(&routes)
    }

    #[test]
    fn the_most_specific_route_answers() {
        let routes = routes(&[
            "$default",
            "ANY /{proxy+}",
            "GET /pets/{proxy+}",
            "GET /pets/dog/{id}",
            "GET /pets/dog/1",
            "ANY /pets/dog/{id}",
            "GET /",
        ]);
        for (method, path, route, parameter) in [
            ("GET", "/pets/dog/1", "GET /pets/dog/1", None),
            ("GET", "/pets/dog/2", "GET /pets/dog/{id}", Some(("id", "2"))),
            ("PUT", "/pets/dog/2", "ANY /pets/dog/{id}", Some(("id", "2"))),
            ("GET", "/pets/cat/1", "GET /pets/{proxy+}", Some(("proxy", "cat/1"))),
            ("GET", "/pets/dog/", "GET /pets/{proxy+}", Some(("proxy", "dog/"))),
            ("POST", "/test/5", "ANY /{proxy+}", Some(("proxy", "test/5"))),
            ("GET", "/", "GET /", None),
            ("POST", "/", "$default", None),
        ] {
            let found = routes.find(method, path).unwrap();
            assert_eq!(key(found.route), route, "{method} {path}");
            let expected: BTreeMap<_, _> =
                parameter.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
            assert_eq!(found.parameters, expected, "{method} {path}");
        }
    }

    #[test]
    fn what_no_route_matches_is_not_found() {
        let routes = routes(&["GET /keys/{id}", "POST /keys"]);
        for (method, path) in [
            ("GET", "/keys"),
            ("GET", "/keys/"),
            ("GET", "/keys/1/2"),
            ("HEAD", "/keys/1"),
            ("POST", "/keys/"),
            ("GET", "//keys/1"),
            ("GET", "/"),
        ] {
            assert_eq!(routes.find(method, path), None, "{method} {path}");
        }
    }
}

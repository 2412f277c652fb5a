//! Event routes: the data-plane body, checked.
//!
//! Source: Azure Digital Twins data plane, `EventRoute`, 2020-10-31 to 2023-10-31.

use crate::body::{BodyObject, MemberSpelling};
use crate::endpoint::FieldError;
use crate::json::JsonDocument;
use crate::name::{EndpointName, RouteId};
use serde_json::Value;

/// Sends matching events to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its id within the instance.
    pub id: RouteId,
    /// Where matching events go.
    pub endpoint_name: EndpointName,
    /// Which events, in the filter language; byte for byte as given.
    pub filter: String,
}

const KNOWN: &[&str] = &["$schema", "endpointName", "filter", "id"];

/// Reads the file of a route.
///
/// `id` is the id it goes by (the file's stem); an `id` inside must agree.
///
/// # Errors
/// Every field that is wrong, not only the first.
pub fn parse(id: &RouteId, json: &str) -> Result<Route, Vec<FieldError>> {
    let wrong = |reason: String| vec![FieldError::new("(body)", format!("not a route: {reason}"))];
    let document = JsonDocument::read(json.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let members = document.object();
    let members = members.ok_or_else(|| wrong("must be an object".to_owned()))?;
    let body = BodyObject::new("", Some(members), KNOWN, MemberSpelling::Published);
    let mut errors = Vec::new();
    body.refuse_unknown(&mut errors);
    if let Some(inside) = body.text("id", &mut errors)
        && inside != id.as_str()
    {
        let rule = format!("is {inside:?}, but the route goes by {:?}", id.as_str());
        errors.push(FieldError::new("id", rule));
    }
    if body.get("endpointName").is_none() {
        body.missing("endpointName", "required, but missing", &mut errors);
    }
    let endpoint_name = body
        .text("endpointName", &mut errors)
        .map(EndpointName::new);
    if let Some(Err(error)) = &endpoint_name {
        errors.push(FieldError::new("endpointName", error.to_string()));
    }
    if body.get("filter").is_none() {
        let rule = "required, but missing; `true` routes every event";
        body.missing("filter", rule, &mut errors);
    }
    // For its type alone: the filter itself stays as it was given.
    body.text("filter", &mut errors);
    let filter = body.get("filter").and_then(Value::as_str);
    match (endpoint_name, filter) {
        (Some(Ok(endpoint_name)), Some(filter)) if errors.is_empty() => Ok(Route {
            id: id.clone(),
            endpoint_name,
            filter: filter.to_owned(),
        }),
        _ => Err(errors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_keeps_its_filter_and_names_what_is_wrong() {
        let id = RouteId::new("r1").unwrap();
        let route = parse(&id, r#"{"endpointName":"hub-1","filter":" true "}"#).unwrap();
        assert_eq!(route.filter, " true ");
        let errors = parse(&id, r#"{"id":"R1","endpointName":"x"}"#).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["id", "endpointName", "filter"]);
    }

    #[test]
    fn text_hygiene_and_slips_of_a_route() {
        let id = RouteId::new("r1").unwrap();
        let marked = "\u{feff}{\"endpointName\":\" hub-1\\n\",\"filter\":\"true\",\"id\":null}";
        let route = parse(&id, marked).unwrap();
        assert_eq!(route.endpoint_name.as_str(), "hub-1");
        let slip = parse(&id, r#"{"endpointname":"hub-1","filter":"true"}"#).unwrap_err();
        let lines: Vec<_> = slip.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["`endpointname`: is not known here; did you mean `endpointName`?"]
        );
        let empty = parse(&id, r#"{"endpointName":"","filter":" "}"#).unwrap_err();
        let fields: Vec<_> = empty.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["endpointName", "filter"]);
        assert!(
            parse(&id, "[]").unwrap_err()[0]
                .rule
                .contains("must be an object")
        );
    }
}

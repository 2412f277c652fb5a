//! Event routes: the data-plane body, checked.
//!
//! Source: Azure Digital Twins data plane, `EventRoute`, 2020-10-31 to 2023-10-31.

use crate::endpoint::FieldError;
use crate::name::{EndpointName, RouteId};
use crate::secret::without_value;
use serde::Deserialize;

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    id: Option<String>,
    endpoint_name: Option<String>,
    filter: Option<String>,
}

/// Reads a route's body.
///
/// `id` is the id it goes by (the file's stem, the URL's segment); an `id` inside must agree.
///
/// # Errors
/// Every field that is wrong, not only the first.
pub fn parse(id: &RouteId, json: &str) -> Result<Route, Vec<FieldError>> {
    let body: Body = serde_json::from_str(json).map_err(|error| {
        vec![FieldError::new(
            "(body)",
            format!("not a route: {}", without_value(&error.to_string())),
        )]
    })?;
    let mut errors = Vec::new();
    if let Some(inside) = body.id.filter(|inside| inside != id.as_str()) {
        let rule = format!("is {inside:?}, but the route goes by {:?}", id.as_str());
        errors.push(FieldError::new("id", rule));
    }
    let endpoint_name = match body.endpoint_name.as_deref().map(EndpointName::new) {
        Some(Ok(name)) => Some(name),
        Some(Err(error)) => {
            errors.push(FieldError::new("endpointName", error.to_string()));
            None
        }
        None => {
            errors.push(FieldError::new("endpointName", "required, but missing"));
            None
        }
    };
    if body.filter.is_none() {
        let rule = "required, but missing; `true` routes every event";
        errors.push(FieldError::new("filter", rule));
    }
    match (endpoint_name, body.filter) {
        (Some(endpoint_name), Some(filter)) if errors.is_empty() => Ok(Route {
            id: id.clone(),
            endpoint_name,
            filter,
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
}

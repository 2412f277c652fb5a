//! Plays one example: state, request, answer, operation, end.

use super::operation;
use super::server::RunningServer;
use super::shape;
use super::spec::{PublishedApi, SpecExample};
use super::state;
use super::substitutes::{self, SubstituteValue};
use crate::http::{HttpRequest, HttpResponse};
use anyhow::{Context as _, bail};
use jsonschema::Validator;
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value};
use twinroute_model::uri::RESERVED;

/// What is wrong with one example, after it was played.
pub(super) fn play(
    server: &RunningServer,
    api: &PublishedApi,
    example: &SpecExample,
) -> anyhow::Result<Vec<String>> {
    operation::clear(server)?;
    let mut play = ExamplePlay {
        server,
        api,
        example,
        parameters: Map::new(),
        secrets: Vec::new(),
        faults: Vec::new(),
    };
    play.parameters = play.given()?;
    play.refusals()?;
    state::prepare(&mut play).context("the state before")?;
    play.judge()?;
    Ok(play.faults)
}

/// An example on its way.
pub(super) struct ExamplePlay<'a> {
    pub(super) server: &'a RunningServer,
    pub(super) api: &'a PublishedApi,
    pub(super) example: &'a SpecExample,
    /// What is sent, after substitution.
    pub(super) parameters: Map<String, Value>,
    /// What no answer may hold.
    pub(super) secrets: Vec<String>,
    faults: Vec<String>,
}

impl ExamplePlay<'_> {
    /// The example's parameters, with those that are at fault replaced.
    fn given(&self) -> anyhow::Result<Map<String, Value>> {
        let given = self.example.parameters.as_object();
        let mut parameters = Map::new();
        for (name, value) in given.context("an example has parameters")? {
            let mut name = name.as_str();
            let mut value = value.clone();
            let known = substitutes::PARAMETERS
                .iter()
                .find(|known| known.example == self.example.name && known.parameter == name);
            match known.map(|known| known.given) {
                Some(SubstituteValue::Text(text)) => value = text.into(),
                Some(SubstituteValue::Named(other)) => name = other,
                Some(SubstituteValue::Nothing) => continue,
                Some(SubstituteValue::FromState) | None => {}
            }
            let operation = &self.example.operation;
            if !operation.parameters.iter().any(|(known, _)| known == name) {
                bail!("{} has no parameter {name}", operation.id);
            }
            parameters.insert(name.to_owned(), value);
        }
        Ok(parameters)
    }

    /// A parameter that is a text.
    pub(super) fn text(&self, name: &str) -> anyhow::Result<&str> {
        let value = self.parameters.get(name).and_then(Value::as_str);
        value.with_context(|| format!("the example has no parameter {name}"))
    }

    /// The body that the example is sent with.
    pub(super) fn body(&self) -> Option<&Value> {
        let mut parameters = self.example.operation.parameters.iter();
        let (name, _) = parameters.find(|(_, place)| place == "body")?;
        self.parameters.get(name)
    }

    /// The example's request.
    fn request(&self) -> anyhow::Result<HttpRequest> {
        let operation = &self.example.operation;
        let mut request = HttpRequest {
            method: operation.method.clone(),
            target: operation.path.clone(),
            ..HttpRequest::default()
        };
        let mut query = Vec::new();
        for (name, place) in &operation.parameters {
            let Some(value) = self.parameters.get(name) else {
                continue;
            };
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            match place.as_str() {
                "path" => {
                    let part = escape(&text);
                    request.target = request.target.replace(&format!("{{{name}}}"), &part);
                }
                "query" => query.push(format!("{}={}", escape(name), escape(&text))),
                "header" => request.headers.push((name.clone(), text)),
                "body" => request.body = Some(value.clone()),
                other => bail!("a parameter in {other}"),
            }
        }
        if request.target.contains('{') {
            bail!("the example gives no value for {}", request.target);
        }
        request.target = format!("{}?{}", request.target, query.join("&"));
        Ok(request)
    }

    /// Requests that must be refused, and how: without a version, with a broken body, and, where the resource
    /// must be there, without it.
    fn refusals(&mut self) -> anyhow::Result<()> {
        let request = self.request()?;
        let mut without_version = request.clone();
        let bare = request.target.split('?').next().unwrap_or_default();
        without_version.target = bare.to_owned();
        self.is_refused("without api-version", &without_version, &[400])?;
        if request.body.is_some() {
            let mut broken = request.clone();
            broken.body = Some(Value::Array(Vec::new()));
            self.is_refused("with [] for a body", &broken, &[400, 404])?;
        }
        // Putting what is not there is no mistake.
        if request.method != "PUT" {
            let answer = self.server.ask(&request)?;
            self.check_body("without anything there", &answer)?;
        }
        Ok(())
    }

    fn is_refused(&mut self, how: &str, request: &HttpRequest, with: &[u16]) -> anyhow::Result<()> {
        let answer = self.server.ask(request)?;
        if !with.contains(&answer.status) {
            self.fault(how, format!("answered {}, not {with:?}", answer.status));
        }
        self.check_body(how, &answer)
    }

    fn fault(&mut self, how: &str, what: impl AsRef<str>) {
        let what = what.as_ref();
        self.faults.push(format!("{how}: {what}"));
    }

    /// Sends the request, and follows what it began.
    fn judge(&mut self) -> anyhow::Result<()> {
        let request = self.request()?;
        let answer = self.server.ask(&request)?;
        let how = answer.status.to_string();
        let Some(expected) = self.example.responses.get(&answer.status).cloned() else {
            let listed: Vec<_> = self.example.responses.keys().collect();
            let text = answer.text;
            self.fault(&how, format!("not one of the example's {listed:?}: {text}"));
            return Ok(());
        };
        self.check_body(&how, &answer)?;
        self.compare(&how, answer.status, &answer);
        for header in &expected.headers {
            self.check_header(&how, header, &answer);
        }
        let Some(ended) = operation::finish(self.server, &answer)? else {
            return match request.method.as_str() {
                "PATCH" | "PUT" => self.final_get(&request),
                "DELETE" => self.gone(&request),
                _ => Ok(()),
            };
        };
        self.check_status("the operation's status", &answer, &ended);
        if let Some(url) = answer.headers.get("location") {
            let result = operation::follow(self.server, url)?;
            let wanted = if request.method == "DELETE" {
                [204, 200]
            } else {
                [200, 200]
            };
            if !wanted.contains(&result.status) {
                self.fault(
                    "Location",
                    format!("answered {}: {}", result.status, result.text),
                );
            }
            if result.status == 200 {
                self.check_body("Location", &result)?;
            }
        }
        if request.method == "DELETE" {
            self.gone(&request)
        } else {
            self.final_get(&request)
        }
    }

    /// The resource as a client gets it at the end is what the example shows for 200.
    fn final_get(&mut self, request: &HttpRequest) -> anyhow::Result<()> {
        if request.target.starts_with("/eventroutes/") {
            return self.route_is_there(request);
        }
        let answer = self.server.ask(&HttpRequest::get(&request.target))?;
        if answer.status != 200 {
            self.fault(
                "the final GET",
                format!("{} {}", answer.status, answer.text),
            );
            return Ok(());
        }
        self.check_body("the final GET", &answer)?;
        self.compare("the final GET", 200, &answer);
        let state = &answer.body["properties"]["provisioningState"];
        if !state.is_null() && state != "Succeeded" {
            self.fault("the final GET", format!("the provisioningState is {state}"));
        }
        Ok(())
    }

    fn route_is_there(&mut self, request: &HttpRequest) -> anyhow::Result<()> {
        let answer = self.server.ask(&HttpRequest::get(&request.target))?;
        for (member, value) in self
            .body()
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
        {
            if answer.body[&member] != value {
                self.fault("the final GET", format!("{member}: {}", answer.text));
            }
        }
        Ok(())
    }

    /// After a DELETE nothing is there, and another DELETE says so.
    fn gone(&mut self, request: &HttpRequest) -> anyhow::Result<()> {
        let answer = self.server.ask(&HttpRequest::get(&request.target))?;
        if answer.status != 404 {
            self.fault(
                "GET after the end",
                format!("{} {}", answer.status, answer.text),
            );
        }
        self.check_body("GET after the end", &answer)?;
        let again = self.server.ask(request)?;
        // Event routes are the exception: real Azure answers 404.
        let is_route = request.target.starts_with("/eventroutes/");
        let wanted = if is_route { 404 } else { 204 };
        if again.status != wanted {
            self.fault("DELETE again", format!("{} {}", again.status, again.text));
        }
        self.check_body("DELETE again", &again)
    }

    fn compare(&mut self, how: &str, status: u16, answer: &HttpResponse) {
        let expected = self.example.responses.get(&status);
        let Some(wanted) = expected.and_then(|expected| expected.body.as_ref()) else {
            return;
        };
        let wanted = substitutes::substituted(&self.example.name, status, wanted);
        for difference in shape::differences(&wanted, &answer.body) {
            self.fault(how, difference);
        }
    }

    fn check_header(&mut self, how: &str, name: &str, answer: &HttpResponse) {
        let Some(value) = answer.headers.get(name) else {
            self.fault(how, format!("the header {name} is missing"));
            return;
        };
        let good = match name {
            "retry-after" => value.parse::<u32>().is_ok_and(|seconds| seconds > 0),
            _ => value.starts_with(&format!("{}/", self.server.base())),
        };
        if !good {
            self.fault(how, format!("the header {name} is {value:?}"));
        }
    }

    fn check_status(&mut self, how: &str, begun: &HttpResponse, ended: &HttpResponse) {
        // The Device Provisioning Service says nothing but the status.
        if self.api.name.starts_with("microsoft.devices") {
            return;
        }
        let url = &begun.headers["azure-asyncoperation"];
        let path = url.split('?').next().unwrap_or_default();
        let id = ended.body["id"].as_str().unwrap_or_default();
        let name = ended.body["name"].as_str().unwrap_or_default();
        if id.is_empty() || !path.ends_with(id) || name.is_empty() || !id.ends_with(name) {
            self.fault(how, format!("id or name: {}", ended.text));
        }
        for member in ["startTime", "endTime"] {
            if !ended.body[member].is_string() {
                self.fault(how, format!("{member} is missing: {}", ended.text));
            }
        }
    }

    /// The body is as the schema of its status says, and holds no secret.
    fn check_body(&mut self, how: &str, answer: &HttpResponse) -> anyhow::Result<()> {
        if self
            .secrets
            .iter()
            .any(|secret| answer.text.contains(secret))
        {
            self.fault(how, "the answer holds a secret");
        }
        let status = answer.status;
        let validator = if status < 300 {
            let operation = &self.example.operation;
            // A final GET of what was put by an operation with 201 alone.
            self.api.validator(operation, &status.to_string())?
        } else {
            self.error_validator(how, answer)?
        };
        match validator {
            Some(validator) => self.validate(how, &validator, &answer.body),
            None if !answer.text.is_empty() => {
                self.fault(
                    how,
                    format!("a body where none is published: {}", answer.text),
                );
            }
            None => {}
        }
        Ok(())
    }

    /// ARM's own refusals have its shape at every provider.
    fn error_validator(
        &mut self,
        how: &str,
        answer: &HttpResponse,
    ) -> anyhow::Result<Option<Validator>> {
        let error = &answer.body["error"];
        if error.is_object() {
            for member in ["code", "message"] {
                if error[member].as_str().is_none_or(str::is_empty) {
                    self.fault(how, format!("an error without {member}: {}", answer.text));
                }
            }
            return match self.api.definition("ErrorResponse") {
                Ok(validator) => Ok(Some(validator)),
                // A provider whose own errors have another shape does not publish ARM's.
                Err(_) => Ok(None),
            };
        }
        let code = &answer.body["code"];
        if !code.is_number() || !answer.body["message"].is_string() {
            self.fault(
                how,
                format!("an error without code or message: {}", answer.text),
            );
        }
        self.api.definition("ErrorDetails").map(Some)
    }

    fn validate(&mut self, how: &str, validator: &Validator, body: &Value) {
        for error in validator.iter_errors(body) {
            let place = error.instance_path().to_string();
            let value = body.pointer(&place).unwrap_or(&Value::Null);
            if !substitutes::is_excepted(&self.api.name, &place, value) {
                self.faults
                    .push(format!("{how}: the schema refuses {place}: {error}"));
            }
        }
    }
}

/// RFC 3986: all but unreserved characters.
fn escape(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

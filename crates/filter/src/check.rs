//! Warnings about filters that are legal and yet will not do what they look like.
//!
//! Each comes from a filter that somebody published. A warning needs a reason that holds whatever
//! the events are: producers may invent types, attributes and members, so *unknown* alone is
//! none. What a warning looks at is therefore
//!
//! - types, where the value is one of the seven of Azure Digital Twins in other letters;
//! - names that no event can have (with `$` or a capital) but that resemble one it has;
//! - clauses that the event types required beside them rule out. *Beside* means joined by `AND`:
//!   under `OR` the same clause may be there for other types.

mod allowed;
mod known;

use serde::Serialize;
use twinroute_model::event::{ADT_TYPES, TELEMETRY};

use allowed::{allowed, both, contradictions};
pub(crate) use known::resembles;
use known::{near_type, near_type_prefix};

use crate::ast::{
    CompareExpr, CompareOp, CompareOperand, FieldPath, FilterExpr, FilterFunction, FilterSpan,
    FunctionCall, LiteralValue, PathTarget,
};
use crate::error::FilterExcerpt;
use crate::eval::CoreAttribute;

/// Something that a filter's author ought to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FilterWarning {
    /// Which of the checks.
    pub code: CheckCode,
    /// The clause it is about, in bytes of the filter.
    pub span: FilterSpan,
    /// What is the matter.
    pub message: String,
    /// What to write instead, where we know.
    pub suggestion: Option<String>,
}

/// The checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckCode {
    /// A `type` that differs from one of Azure's in letters only.
    UnknownType,
    /// `$body.$metadata` of an update, whose data has none.
    UpdateMetadata,
    /// A look into the patch of an update, which is an array.
    PatchAccess,
    /// A twin id in the `subject` of telemetry, which names the component.
    TelemetrySubject,
    /// A `source` in a form that Azure never sends.
    SourceForm,
    /// A content type that telemetry often does not have.
    JsonContentType,
    /// A field name from elsewhere.
    FieldName,
    /// Two clauses that exclude each other.
    Contradiction,
    /// A clause that does not look at the event.
    ConstantClause,
    /// A clause that compares what never compares.
    TypeMismatch,
}

impl CheckCode {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::UnknownType,
        Self::UpdateMetadata,
        Self::PatchAccess,
        Self::TelemetrySubject,
        Self::SourceForm,
        Self::JsonContentType,
        Self::FieldName,
        Self::Contradiction,
        Self::ConstantClause,
        Self::TypeMismatch,
    ];

    /// The code as it stands in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown-type",
            Self::UpdateMetadata => "update-metadata",
            Self::PatchAccess => "patch-access",
            Self::TelemetrySubject => "telemetry-subject",
            Self::SourceForm => "source-form",
            Self::JsonContentType => "json-content-type",
            Self::FieldName => "field-name",
            Self::Contradiction => "contradiction",
            Self::ConstantClause => "constant-clause",
            Self::TypeMismatch => "type-mismatch",
        }
    }
}

impl FilterWarning {
    /// The message, the line of the filter `text` with carets under the place, and the suggestion.
    pub fn render(&self, text: &str) -> String {
        let drawn = FilterExcerpt::at(text, self.span);
        let mut rendered = format!("{}: {}\n{drawn}", self.code.name(), self.message);
        if let Some(suggestion) = &self.suggestion {
            rendered.push_str(&format!("hint: {suggestion}\n"));
        }
        rendered
    }
}

/// What holds wherever a clause matters.
struct CheckContext<'a> {
    /// The types that the clauses beside it allow; `None` is any.
    types: Option<Vec<&'a str>>,
    /// The filter cannot match unless the clause is true.
    required: bool,
}

impl CheckContext<'_> {
    fn only(&self, wanted: impl Fn(&str) -> bool) -> bool {
        let types = self.types.as_deref();
        types.is_some_and(|types| !types.is_empty() && types.iter().all(|name| wanted(name)))
    }

    fn allows(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.types
            .as_deref()
            .is_none_or(|types| types.iter().any(|name| wanted(name)))
    }
}

fn is_update(event_type: &str) -> bool {
    ADT_TYPES.contains(&event_type) && event_type.ends_with(".Update")
}

/// What the author of a filter ought to know; nothing for most filters.
pub(crate) fn warnings(expr: &FilterExpr) -> Vec<FilterWarning> {
    let mut checker = FilterChecker {
        warnings: Vec::new(),
    };
    checker.visit(
        expr,
        &CheckContext {
            types: None,
            required: true,
        },
    );
    for (span, path) in contradictions(expr) {
        let message = format!("no `{path}` passes this and what stands before it");
        checker.warn(CheckCode::Contradiction, span, message, None);
    }
    checker.warnings.sort_by_key(|warning| warning.span.start);
    checker.warnings
}

struct FilterChecker {
    warnings: Vec<FilterWarning>,
}

impl FilterChecker {
    fn warn(
        &mut self,
        code: CheckCode,
        span: FilterSpan,
        message: String,
        suggestion: Option<String>,
    ) {
        self.warnings.push(FilterWarning {
            code,
            span,
            message,
            suggestion,
        });
    }

    fn visit(&mut self, expr: &FilterExpr, context: &CheckContext<'_>) {
        match expr {
            FilterExpr::And(group) => {
                let here = allowed(expr, "type");
                let types = both(context.types.clone(), here);
                let context = CheckContext {
                    types,
                    required: context.required,
                };
                group
                    .children
                    .iter()
                    .for_each(|child| self.visit(child, &context));
            }
            FilterExpr::Or(group) => {
                let context = CheckContext {
                    types: context.types.clone(),
                    required: false,
                };
                group
                    .children
                    .iter()
                    .for_each(|child| self.visit(child, &context));
            }
            FilterExpr::Constant { .. } => {}
            FilterExpr::Flag(_) | FilterExpr::Compare(_) | FilterExpr::Call(_) => {
                self.clause(expr, context)
            }
        }
    }

    fn clause(&mut self, expr: &FilterExpr, context: &CheckContext<'_>) {
        for path in expr.paths() {
            self.path(path, context);
        }
        match expr {
            FilterExpr::Compare(compare) => self.compare(compare, context),
            FilterExpr::Call(call) => self.call(call, context),
            FilterExpr::Flag(path) if is_core(path) => {
                let message = format!(
                    "`{}` is a string, and so never true by itself",
                    path.as_str()
                );
                self.warn(CheckCode::TypeMismatch, path.span, message, None);
            }
            _ => {}
        }
        if let Some([left, right]) = expr.operands() {
            let same = left
                .path()
                .is_some_and(|path| right.path().map(FieldPath::as_str) == Some(path.as_str()));
            let message = if same {
                Some("both sides are the same")
            } else {
                let constant = expr.paths().is_empty();
                constant.then_some("this does not depend on the event")
            };
            if let Some(message) = message {
                self.warn(
                    CheckCode::ConstantClause,
                    expr.span(),
                    message.to_owned(),
                    None,
                );
            }
        }
    }

    fn path(&mut self, path: &FieldPath, context: &CheckContext<'_>) {
        let text = path.as_str();
        if text.starts_with("$body.$metadata") && context.only(is_update) {
            let message =
                format!("the data of an update is `modelId` and `patch`, so `{text}` is missing");
            let suggestion = Some("the model id of an update is $body.modelId".to_owned());
            self.warn(CheckCode::UpdateMetadata, path.span, message, suggestion);
        }
        if text.starts_with("$body.patch.") && context.allows(is_update) {
            let message = "the patch of an update is an array, and filters cannot look into arrays";
            self.warn(CheckCode::PatchAccess, path.span, message.to_owned(), None);
        }
        if let Some(known) = resembles(path) {
            let message = format!("no event has a field `{}`", path.root());
            let suggestion = Some(format!("did you mean {known}?"));
            self.warn(CheckCode::FieldName, path.span, message, suggestion);
        }
    }

    fn compare(&mut self, compare: &CompareExpr, context: &CheckContext<'_>) {
        let CompareExpr {
            left,
            op,
            right,
            span,
        } = compare;
        let (path, other) = match (left.path(), right.path()) {
            (Some(path), None) => (Some(path), right),
            (None, Some(path)) => (Some(path), left),
            _ => (None, right),
        };
        let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
        for literal in [left, right]
            .into_iter()
            .filter_map(CompareOperand::literal)
        {
            if ordered && matches!(literal, LiteralValue::Null | LiteralValue::Bool(_)) {
                let message = format!("`{op} {literal}` is never true: {literal} has no order");
                self.warn(CheckCode::TypeMismatch, *span, message, None);
            }
        }
        let Some(path) = path else {
            return;
        };
        if let Some(text) = other.text() {
            self.text(path, text, *op, *span, context);
        } else if is_core(path)
            && !ordered
            && let Some(literal) = other.literal()
            && !(*literal == LiteralValue::Null && *op == CompareOp::NotEqual)
        {
            let name = path.as_str();
            let (message, suggestion) = match literal {
                LiteralValue::Null => {
                    (format!("`{name}` is a string or missing, never null"), None)
                }
                _ => (
                    format!("`{name}` is a string, which never compares with {literal}"),
                    Some(format!("write {name} {op} '{literal}'")),
                ),
            };
            self.warn(CheckCode::TypeMismatch, *span, message, suggestion);
        }
    }

    /// A path and the string that it is compared with.
    fn text(
        &mut self,
        path: &FieldPath,
        text: &str,
        op: CompareOp,
        span: FilterSpan,
        context: &CheckContext<'_>,
    ) {
        let equality = matches!(op, CompareOp::Equal | CompareOp::NotEqual);
        match path.as_str() {
            "type" if equality => {
                if let Some(known) = near_type(text) {
                    let message = format!("Azure Digital Twins has no type '{text}'");
                    self.warn(
                        CheckCode::UnknownType,
                        span,
                        message,
                        Some(format!("did you mean '{known}'?")),
                    );
                }
            }
            "source" => self.source(text, span),
            "datacontenttype"
                if op == CompareOp::Equal && text.eq_ignore_ascii_case("application/json") =>
            {
                let telemetry = |name: &str| name == TELEMETRY;
                let required = context.required && context.allows(telemetry);
                if required || (context.types.is_some() && context.allows(telemetry)) {
                    let message =
                        "telemetry keeps the content type of its sender, often another one";
                    self.warn(CheckCode::JsonContentType, span, message.to_owned(), None);
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &FunctionCall, context: &CheckContext<'_>) {
        let FunctionCall {
            function,
            subject,
            part,
            span,
        } = call;
        for literal in [subject, part]
            .into_iter()
            .filter_map(CompareOperand::literal)
        {
            if !matches!(literal, LiteralValue::Text(_)) {
                let message = format!(
                    "{} is true of strings only, never of {literal}",
                    function.name()
                );
                self.warn(CheckCode::TypeMismatch, *span, message, None);
            }
        }
        let (Some(path), Some(text)) = (subject.path(), part.text()) else {
            return;
        };
        match (path.as_str(), function) {
            ("type", FilterFunction::StartsWith) => {
                if let Some(known) = near_type_prefix(text) {
                    let message = format!("no type of Azure Digital Twins begins with '{text}'");
                    self.warn(
                        CheckCode::UnknownType,
                        *span,
                        message,
                        Some(format!("did you mean '{known}'?")),
                    );
                }
            }
            ("source", FilterFunction::StartsWith) => self.source(text, *span),
            ("subject", FilterFunction::Contains) if context.only(|name| name == TELEMETRY) => {
                let message =
                    "the subject of telemetry names the component, not the twin".to_owned();
                let suggestion = Some(format!("write ENDS_WITH(source, '/digitaltwins/{text}')"));
                self.warn(CheckCode::TelemetrySubject, *span, message, suggestion);
            }
            _ => {}
        }
    }

    fn source(&mut self, text: &str, span: FilterSpan) {
        // Azure Digital Twins, "Event notifications": `source` is the host name of the instance;
        // all published telemetry has `/digitaltwins/<twin>` after it, against the table on that
        // page.
        const HOST_END: &str = ".digitaltwins.azure.net/";
        let (host, rest) = match text.split_once("://") {
            Some((_, host)) if host.contains(".digitaltwins.azure.net") => (host, None),
            Some(_) => return,
            None => (text, text.split_once(HOST_END).map(|(_, rest)| rest)),
        };
        if host != text {
            let message = "the source of an event is a host name without a scheme".to_owned();
            self.warn(
                CheckCode::SourceForm,
                span,
                message,
                Some(format!("write '{host}'")),
            );
        }
        const TWINS: &str = "digitaltwins/";
        if let Some(rest) = rest
            && !rest.starts_with(TWINS)
            && !TWINS.starts_with(rest)
        {
            let message = "the source of telemetry is <host>/digitaltwins/<twin>".to_owned();
            let fixed = text.replace(HOST_END, &format!("{HOST_END}{TWINS}"));
            self.warn(
                CheckCode::SourceForm,
                span,
                message,
                Some(format!("write '{fixed}'")),
            );
        }
    }
}

fn is_core(path: &FieldPath) -> bool {
    matches!(path.target(), PathTarget::Attribute(name) if CoreAttribute::of_name(name).is_some())
}

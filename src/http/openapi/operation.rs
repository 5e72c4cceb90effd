//! What one endpoint takes and gives.

use serde_json::{Map, Value, json};

/// An operation without what its route says: that is added by the document.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The part of the surface that it belongs to.
    pub tag: &'static str,
    /// Of its query and headers; those of its path are the route's.
    pub parameters: Vec<Value>,
    /// What is sent.
    pub body: Option<Value>,
    /// What it answers when it does what it was asked for, by status code.
    pub answers: Vec<(u16, Value)>,
    /// What else it may answer, besides what every operation of its kind does.
    pub problems: Vec<u16>,
}

impl Operation {
    /// Takes nothing, and answers nothing yet.
    pub fn of(tag: &'static str) -> Operation {
        Operation { tag, parameters: Vec::new(), body: None, answers: Vec::new(), problems: Vec::new() }
    }

    /// Takes a query parameter.
    pub fn query(self, name: &str, schema: Value, description: &str) -> Operation {
        self.parameter(json!({"name": name, "in": "query", "schema": schema, "description": description}))
    }

    /// Takes a query parameter that may have no value: to be there is enough.
    pub fn flag(self, name: &str, description: &str) -> Operation {
        let schema = json!({"type": "string"});
        self.parameter(json!({
            "name": name, "in": "query", "schema": schema, "allowEmptyValue": true, "description": description,
        }))
    }

    /// Needs a query parameter.
    pub fn needs_query(self, name: &str, schema: Value, description: &str) -> Operation {
        self.parameter(
            json!({"name": name, "in": "query", "required": true, "schema": schema, "description": description}),
        )
    }

    /// Needs query parameters whose names are the object's.
    pub fn needs_queries(self, name: &str, schema: Value, description: &str) -> Operation {
        self.parameter(json!({
            "name": name, "in": "query", "required": true, "style": "form", "explode": true,
            "schema": schema, "description": description,
        }))
    }

    /// Takes a header.
    pub fn header(self, name: &str, schema: Value, description: &str) -> Operation {
        self.parameter(json!({"name": name, "in": "header", "schema": schema, "description": description}))
    }

    fn parameter(mut self, parameter: Value) -> Operation {
        self.parameters.push(parameter);
        self
    }

    /// Needs a body of JSON.
    pub fn takes_json(self, schema: Value) -> Operation {
        self.takes("application/json", json!({"schema": schema}))
    }

    /// Needs a body of a media type.
    pub fn takes(mut self, media_type: &str, of: Value) -> Operation {
        self.body = Some(json!({"required": true, "content": {media_type: of}}));
        self.problem(&[408, 413])
    }

    /// Answers with JSON.
    pub fn json(self, status: u16, schema: Value) -> Operation {
        self.gives(status, "application/json", json!({"schema": schema}))
    }

    /// Answers with plain text.
    pub fn text(self, status: u16, schema: Value) -> Operation {
        self.gives(status, "text/plain", json!({"schema": schema}))
    }

    /// Answers with a page.
    pub fn page(self, status: u16) -> Operation {
        self.gives(status, "text/html", json!({"schema": {"type": "string"}}))
    }

    /// Answers with some media type; a second call for a status adds a second one.
    pub fn gives(mut self, status: u16, media_type: &str, of: Value) -> Operation {
        match self.answers.iter_mut().find(|(known, _)| *known == status) {
            Some((_, answer)) => answer["content"][media_type] = of,
            None => self.answers.push((status, json!({"content": {media_type: of}}))),
        }
        self
    }

    /// Answers without a body.
    pub fn empty(mut self, status: u16) -> Operation {
        self.answers.push((status, json!({})));
        self
    }

    /// Has a header in the answer with this status, which was described before.
    pub fn with_header(mut self, status: u16, name: &str, schema: Value, description: &str) -> Operation {
        if let Some((_, answer)) = self.answers.iter_mut().find(|(known, _)| *known == status) {
            let headers = answer.as_object_mut().map(|answer| answer.entry("headers").or_insert(json!({})));
            if let Some(headers) = headers {
                headers[name] = json!({"schema": schema, "description": description});
            }
        }
        self
    }

    /// May answer so, too.
    pub fn problem(mut self, statuses: &[u16]) -> Operation {
        self.problems.extend(statuses);
        self
    }
}

/// Schemas of the components, by name.
pub type Schemas = Vec<(&'static str, Value)>;

/// Names and values as an object of JSON.
pub fn object_of(pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Object(pairs.into_iter().collect::<Map<String, Value>>())
}

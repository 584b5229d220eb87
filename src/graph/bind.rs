//! Bindings: the values of placeholders in one node.

use std::collections::BTreeMap;

use crate::spec::model::{ParamValue, Part, Template};

pub use crate::spec::Value;

/// Placeholder name -> value.
#[derive(Clone, Debug, Default)]
pub struct Bindings(pub BTreeMap<String, Value>);

/// A template that can't be filled in. The checks of the spec find most of these.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A placeholder without a value.
    #[error("placeholder {{{0}}} has no value here")]
    Unbound(String),
    /// A list where one text is expected.
    #[error("placeholder {{{0}}} is a list and must stand alone")]
    ListInText(String),
}

impl Bindings {
    /// The value of a placeholder.
    pub fn get(&self, placeholder: &str) -> Option<&Value> {
        self.0.get(placeholder)
    }

    /// The value of a placeholder that is one text; empty if it has none.
    pub fn text_of(&self, placeholder: &str) -> String {
        match self.get(placeholder) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::List(_)) | None => String::new(),
        }
    }

    /// Binds a parameter. Numbers and truth values become text.
    pub fn bind(&mut self, name: &str, value: &ParamValue) {
        let value = match value {
            ParamValue::Text(text) => Value::Text(text.clone()),
            ParamValue::Int(number) => Value::Text(number.to_string()),
            ParamValue::Bool(truth) => Value::Text(truth.to_string()),
            ParamValue::List(list) => Value::List(list.clone()),
        };
        self.0.insert(name.to_owned(), value);
    }

    /// The template as one text.
    pub fn text(&self, template: &Template) -> Result<String, BindError> {
        let mut text = String::new();
        for part in &template.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Placeholder(placeholder) => match self.get(placeholder) {
                    Some(Value::Text(value)) => text.push_str(value),
                    Some(Value::List(_)) => return Err(BindError::ListInText(placeholder.clone())),
                    None => return Err(BindError::Unbound(placeholder.clone())),
                },
            }
        }
        Ok(text)
    }

    /// The template as a list. A template that is one list placeholder is spliced; any other is one text.
    pub fn list(&self, template: &Template) -> Result<Vec<String>, BindError> {
        if let [Part::Placeholder(placeholder)] = template.parts.as_slice()
            && let Some(Value::List(list)) = self.get(placeholder)
        {
            return Ok(list.clone());
        }
        Ok(vec![self.text(template)?])
    }
}

//! Bindings: what a placeholder stands for in one node.

use std::collections::BTreeMap;

use crate::spec::model::{ParamValue, Part, Template};

pub use crate::spec::Value;

/// Placeholder name -> value.
#[derive(Clone, Debug, Default)]
pub struct Bindings(pub BTreeMap<String, Value>);

/// A template that can't be filled in. The spec's checks find these first; this is what is left for values that are
/// known late.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A placeholder without a value.
    #[error("placeholder {{{0}}} has no value here")]
    Unbound(String),
    /// A list where one text is wanted.
    #[error("placeholder {{{0}}} is a list and must stand alone")]
    ListInText(String),
}

impl Bindings {
    /// The value of a placeholder.
    pub fn get(&self, hole: &str) -> Option<&Value> {
        self.0.get(hole)
    }

    /// The value of a placeholder that is one text; empty where it has none.
    pub fn text_of(&self, hole: &str) -> String {
        match self.get(hole) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::List(_)) | None => String::new(),
        }
    }

    /// Binds a parameter. Numbers and truth values become text, as placeholders are.
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
                Part::Hole(hole) => match self.get(hole) {
                    Some(Value::Text(value)) => text.push_str(value),
                    Some(Value::List(_)) => return Err(BindError::ListInText(hole.clone())),
                    None => return Err(BindError::Unbound(hole.clone())),
                },
            }
        }
        Ok(text)
    }

    /// The template as a list: a single list placeholder is spliced, anything else is one text.
    pub fn list(&self, template: &Template) -> Result<Vec<String>, BindError> {
        if let [Part::Hole(hole)] = template.parts.as_slice()
            && let Some(Value::List(list)) = self.get(hole)
        {
            return Ok(list.clone());
        }
        Ok(vec![self.text(template)?])
    }
}

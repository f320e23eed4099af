//! Operator's condition on an event, in CEL (<https://cel.dev>).
//!
//! It is compiled with the config and evaluated on verified events. Its cost is bounded at compile time: loops cannot
//! be nested, patterns must be literals, and an expression with a loop only runs over small bodies. The gate rejects
//! the event if the result is an error or anything but true or false.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, Env, Program, Value as CelValue};
use http::HeaderName;
use serde_json::Value;

/// Maximum number of bytes of an expression.
const MAX_TEXT: usize = 2048;

/// Maximum number of characters of an error message.
const MAX_FAULT: usize = 200;

/// Maximum size of a body for a loop, in bytes: the text that is searched for in each item may be as long as the body.
const MAX_LOOP_BODY: usize = 256 << 10;

/// Maximum number of values of a body for a loop.
const MAX_LOOP_VALUES: usize = 2_000;

/// Variables that an expression can use.
pub(crate) const VARIABLES: [&str; 9] = [
    "method", "path", "query", "headers", "event", "body", "provider", "route", "source",
];

/// Functions of CEL that are allowed. Operators have names of their own and are not listed.
const FUNCTIONS: [&str; 13] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "dyn",
];

/// A compiled condition with a bounded cost.
pub struct WhenExpression {
    text: Box<str>,
    program: Program,
    /// Standard library of CEL, built once.
    env: Arc<Env>,
    variables: Vec<&'static str>,
    headers: Vec<HeaderName>,
    has_loop: bool,
}

/// Reason why a text is not a usable condition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WhenError {
    /// The expression is longer than `MAX_TEXT`.
    #[error("the expression is longer than 2048 characters")]
    TooLong,
    /// The text is not CEL; the message has the location.
    #[error("the expression is not valid CEL: {0}")]
    Syntax(String),
    /// No variable or function has this name.
    #[error("there is no variable or function `{0}`")]
    Unknown(String),
    /// A loop is inside another loop.
    #[error(
        "a loop inside another loop is not allowed: a sender could make it run arbitrarily long"
    )]
    Nested,
    /// The pattern of `matches` is not a literal, so it could come from the event.
    #[error("the pattern of `matches` must be a literal text")]
    Pattern,
    /// The expression is a literal other than true or false.
    #[error("the result of the expression is never true or false")]
    NotBool,
}

impl WhenExpression {
    /// Compiles an expression and checks its names and its cost.
    ///
    /// # Errors
    /// Returns a [`WhenError`] that says what to change.
    pub fn compile(text: &str) -> Result<Self, WhenError> {
        if text.len() > MAX_TEXT {
            return Err(WhenError::TooLong);
        }
        // The parser of the library panics on some malformed inputs; a config must never stop the process.
        let compiled = catch_unwind(AssertUnwindSafe(|| Program::compile(text)));
        let program = compiled
            .map_err(|_| WhenError::Syntax("it cannot be parsed".to_owned()))?
            .map_err(|err| {
                WhenError::Syntax(cut(err.to_string().trim_start_matches("ERROR: <input>:")))
            })?;
        let mut walk = ExpressionWalk::default();
        walk.visit(program.expression())?;
        if matches!(&program.expression().expr, Expr::Literal(value) if !matches!(value, LiteralValue::Boolean(_)))
        {
            return Err(WhenError::NotBool);
        }
        Ok(Self {
            text: text.into(),
            variables: walk.variables,
            headers: walk.headers,
            has_loop: walk.has_loop,
            env: Arc::new(Env::stdlib()),
            program,
        })
    }

    /// Returns the expression as the operator wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if the expression uses this variable, so that the gate only computes what is needed.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        self.variables.contains(&variable)
    }

    /// Returns the headers that the expression names by a literal.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter()
    }

    /// Prepares an evaluation with the facts that are equal for all events of one request.
    ///
    /// # Errors
    /// Returns an error if a fact cannot be a value of the language.
    pub fn evaluation<'f>(
        &self,
        facts: impl IntoIterator<Item = (&'static str, Cow<'f, Value>)>,
    ) -> Result<Evaluation<'_>, Box<str>> {
        let mut evaluation = Evaluation {
            when: self,
            context: Context::with_env(Arc::clone(&self.env)),
        };
        for (name, value) in facts {
            evaluation.set(name, &value)?;
        }
        Ok(evaluation)
    }

    /// Returns true if the body is small enough for this expression; only loops have a bound.
    #[must_use]
    pub fn fits(&self, bytes: usize, body: &Value) -> bool {
        !self.has_loop || (bytes <= MAX_LOOP_BODY && count(body) <= MAX_LOOP_VALUES)
    }
}

/// One condition on one request, whose body is converted once.
pub struct Evaluation<'w> {
    when: &'w WhenExpression,
    context: Context<'static, 'static>,
}

impl Evaluation<'_> {
    /// Sets a variable, replacing its earlier value.
    ///
    /// # Errors
    /// Returns an error for a value that the language does not have.
    pub fn set(&mut self, name: &'static str, value: &Value) -> Result<(), Box<str>> {
        let added = self.context.add_variable(name, value);
        added.map_err(|err| cut(&err.to_string()).into())
    }

    /// Evaluates the condition. Every variable that the expression uses must be set.
    ///
    /// # Errors
    /// Returns the error of the evaluation, cut. It may contain names from the body, but no values.
    pub fn holds(&self) -> Result<bool, Box<str>> {
        let run = AssertUnwindSafe(|| self.when.program.execute(&self.context));
        match catch_unwind(run) {
            Ok(Ok(CelValue::Bool(holds))) => Ok(holds),
            // A number or a text has no truth value, so the gate must not guess.
            Ok(Ok(_)) => Err("the result is neither true nor false".into()),
            Ok(Err(err)) => Err(cut(&err.to_string()).into()),
            Err(_) => Err("it cannot be evaluated".into()),
        }
    }
}

/// Counts a value with all values inside it.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// Visitor that collects the names of an expression and rejects what could cost too much.
#[derive(Default)]
struct ExpressionWalk {
    variables: Vec<&'static str>,
    headers: Vec<HeaderName>,
    /// Variables that the enclosing loop defines.
    bound: Vec<String>,
    has_loop: bool,
    in_loop: bool,
}

impl ExpressionWalk {
    fn visit(&mut self, expr: &IdedExpr) -> Result<(), WhenError> {
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                if is_headers(&select.operand) {
                    self.header(&select.field);
                }
                self.visit(&select.operand)
            }
            Expr::List(list) => list.elements.iter().try_for_each(|one| self.visit(one)),
            Expr::Map(map) => map.entries.iter().try_for_each(|one| self.entry(&one.expr)),
            Expr::Struct(one) => Err(WhenError::Unknown(one.type_name.clone())),
            Expr::Call(call) => {
                // The library names operators `_+_`, `@in`, `!_` or `-_`.
                let is_operator = call.func_name.starts_with(['_', '@', '!', '-']);
                if !is_operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err(WhenError::Unknown(call.func_name.clone()));
                }
                let pattern = call.args.last().map(|last| &last.expr);
                let is_literal = matches!(pattern, Some(Expr::Literal(LiteralValue::String(_))));
                if call.func_name == "matches" && !is_literal {
                    return Err(WhenError::Pattern);
                }
                // Matches `headers["x-a"]` and `"x-a" in headers`.
                if call.args.iter().any(is_headers) {
                    for arg in &call.args {
                        if let Expr::Literal(LiteralValue::String(name)) = &arg.expr {
                            self.header(name);
                        }
                    }
                }
                let target = call.target.iter().map(AsRef::as_ref);
                target.chain(&call.args).try_for_each(|one| self.visit(one))
            }
            Expr::Comprehension(one) => {
                // Range and start value are evaluated once, outside of the loop, so they may contain a loop of their
                // own.
                self.visit(&one.iter_range)?;
                self.visit(&one.accu_init)?;
                // Nested loops multiply: 2,000 values would be four million steps.
                if std::mem::replace(&mut self.in_loop, true) {
                    return Err(WhenError::Nested);
                }
                self.has_loop = true;
                let bound = self.bound.len();
                self.bound.push(one.iter_var.clone());
                self.bound.extend(one.iter_var2.clone());
                self.bound.push(one.accu_var.clone());
                for inner in [&one.loop_cond, &one.loop_step, &one.result] {
                    self.visit(inner)?;
                }
                self.bound.truncate(bound);
                self.in_loop = false;
                Ok(())
            }
        }
    }

    fn header(&mut self, name: &str) {
        // The map of headers has lower-case names and is compared byte by byte, so another spelling never matches.
        self.headers.extend(HeaderName::from_bytes(name.as_bytes()));
    }

    fn entry(&mut self, entry: &EntryExpr) -> Result<(), WhenError> {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key)?;
                self.visit(&entry.value)
            }
        }
    }

    fn name(&mut self, name: &str) -> Result<(), WhenError> {
        if self.bound.iter().any(|bound| bound == name) {
            return Ok(());
        }
        let known = VARIABLES.iter().find(|known| **known == name);
        let known = known.ok_or_else(|| WhenError::Unknown(name.to_owned()))?;
        if !self.variables.contains(known) {
            self.variables.push(known);
        }
        Ok(())
    }
}

fn is_headers(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Ident(name) if name == "headers")
}

/// Returns the first line of a text, cut at `MAX_FAULT` characters.
fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(MAX_FAULT).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(text: &str, body: Value) -> Result<bool, Box<str>> {
        let event = json!({ "type": "invoice.paid", "id": "evt_1" });
        let facts = [("path", "/hook".into()), ("event", event), ("body", body)];
        evaluate(&WhenExpression::compile(text).unwrap(), facts)
    }

    fn evaluate<const N: usize>(
        when: &WhenExpression,
        facts: [(&'static str, Value); N],
    ) -> Result<bool, Box<str>> {
        let facts = facts.map(|(name, value)| (name, Cow::Owned(value)));
        when.evaluation(facts)?.holds()
    }

    #[test]
    fn conditions_are_true_or_false() {
        let body = json!({ "amount": 200, "items": [{ "n": 1 }, { "n": 2 }], "a.b": "x" });
        for (text, expected) in [
            ("true", true),
            ("body.amount > 100", true),
            ("body.amount > 100 && event.type == \"invoice.void\"", false),
            ("event.type.startsWith(\"invoice.\")", true),
            ("has(event.version)", false),
            ("has(body.amount) && !has(body.total)", true),
            ("body.items.all(item, item.n > 0)", true),
            ("body.items.exists(item, item.n == 3)", false),
            ("body.items.filter(item, item.n > 1).size() == 1", true),
            ("body[\"a.b\"] in [\"x\", \"y\"]", true),
            ("path.matches(\"^/ho+k$\")", true),
        ] {
            assert_eq!(holds(text, body.clone()), Ok(expected), "{text}");
        }
    }

    /// Fails if an error counts as true or as false.
    #[test]
    fn what_cannot_be_judged_is_neither() {
        for text in [
            "body.missing > 1",
            "body.amount / 0 == 1",
            "body.amount > \"1\"",
            "body.amount",
            "event.version == \"1\"",
            "body.items[7].n == 1",
        ] {
            let found = holds(text, json!({ "amount": 200, "items": [] }));
            assert!(found.is_err(), "{text}: {found:?}");
            assert!(found.unwrap_err().chars().count() <= MAX_FAULT);
        }
    }

    /// Fails if `visit` accepts one of these expressions.
    #[test]
    fn what_could_cost_too_much_or_means_nothing_is_refused_at_once() {
        for text in [
            "",
            "1 +",
            "body.amount >",
            "amount > 1",
            "secret == \"x\"",
            "now() > 1",
            "path.lowerAscii() == \"/a\"",
            "\"text\"",
            "body.items.all(a, body.items.all(b, a == b))",
            "path.matches(body.pattern)",
            "item.n == 1",
            "body.items.all(x, x == 1) && x == 1",
            &format!("path == \"{}\"", "x".repeat(MAX_TEXT)),
            &"(".repeat(2000),
        ] {
            assert!(WhenExpression::compile(text).is_err(), "{text}");
        }
    }

    /// Fails if an allowed function does not exist in the library.
    #[test]
    fn every_function_that_is_let_through_is_there() {
        let all = "size(\"a\") == 1 && \"abc\".contains(\"b\") && \"a\".startsWith(\"a\") && \"a\".endsWith(\"a\") && \"a\".matches(\"a\") && string(1) == \"1\" && int(\"1\") == 1 && uint(1) == 1u && double(1) == 1.0 && bool(\"true\") && bytes(\"a\") == b\"a\" && type(1) == type(2) && dyn(1) == 1";
        assert!(
            FUNCTIONS
                .iter()
                .all(|name| all.contains(&format!("{name}(")))
        );
        assert_eq!(holds(all, Value::Null), Ok(true));
    }

    #[test]
    fn a_loop_runs_over_small_bodies_only() {
        let plain = WhenExpression::compile("body.n == 1").unwrap();
        let looping = WhenExpression::compile("body.items.all(item, item in body.items)").unwrap();
        let large = json!({ "items": vec![1; MAX_LOOP_VALUES] });
        assert!(plain.fits(1 << 20, &large) && !looping.fits(1000, &large));
        assert!(!looping.fits(MAX_LOOP_BODY + 1, &json!({})));
        let items: Vec<usize> = (0..MAX_LOOP_VALUES - 2).collect();
        let worst = json!({ "items": items });
        assert!(looping.fits(1000, &worst));
        assert_eq!(evaluate(&looping, [("body", worst)]), Ok(true));
    }
}

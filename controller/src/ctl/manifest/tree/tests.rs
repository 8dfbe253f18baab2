use super::*;

fn only(text: &str) -> Value {
    let (mut documents, problems) = documents(text);
    assert_eq!(problems, []);
    documents.remove(0).value
}

fn problems(text: &str) -> Vec<String> {
    let (_, problems) = documents(text);
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn a_scalar_without_quotes_is_what_the_core_schema_says() {
    for (text, value) in [
        ("~", Value::Null),
        ("true", Value::Bool(true)),
        ("yes", Value::Text("yes".to_owned())),
        ("8080", Value::Number("8080".to_owned())),
        ("-1", Value::Number("-1".to_owned())),
        ("1.5e3", Value::Number("1.5e3".to_owned())),
        ("0x1F", Value::Number("0x1F".to_owned())),
        ("10.0.0.11", Value::Text("10.0.0.11".to_owned())),
        ("fd00::11", Value::Text("fd00::11".to_owned())),
        ("inf", Value::Text("inf".to_owned())),
        ("--1", Value::Text("--1".to_owned())),
        ("\"8080\"", Value::Text("8080".to_owned())),
        ("'true'", Value::Text("true".to_owned())),
        ("!!str 8080", Value::Text("8080".to_owned())),
    ] {
        assert_eq!(
            only(&format!("[{text}]")),
            Value::List(vec![Node { line: 1, value }]),
            "{text}"
        );
    }
}

#[test]
fn every_key_and_value_knows_its_line() {
    assert_eq!(
        only("# head\na: 1\nb:\n  - x\n"),
        Value::Map(vec![
            Entry {
                key: "a".to_owned(),
                line: 2,
                value: Node {
                    line: 2,
                    value: Value::Number("1".to_owned())
                },
            },
            Entry {
                key: "b".to_owned(),
                line: 3,
                value: Node {
                    line: 4,
                    value: Value::List(vec![Node {
                        line: 4,
                        value: Value::Text("x".to_owned())
                    }]),
                },
            },
        ])
    );
}

#[test]
fn empty_documents_say_nothing() {
    let (documents, problems) = documents("---\n---\na: 1\n---\n# the end\n");
    assert_eq!((documents.len(), problems), (1, vec![]));
}

#[test]
fn a_key_given_twice_is_named_with_both_lines() {
    assert_eq!(
        problems("a: 1\nb: 2\na: 3\n"),
        ["3: \"a\" is given twice; first on line 1"]
    );
}

#[test]
fn an_alias_is_what_it_stands_for() {
    assert_eq!(only("[&x {k: v}, *x]"), only("[{k: v}, {k: v}]"));
}

#[test]
fn aliases_that_grow_without_bound_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{below}]\n");
    }
    assert_eq!(
        problems(&text),
        ["7: more than 2000000 values: split the file"]
    );
}

#[test]
fn what_is_no_yaml_is_named_with_its_line() {
    let (documents, problems) = documents("a: 1\n---\nb: [1\nc: 2\n");
    assert_eq!(documents.len(), 1);
    assert_eq!(problems.len(), 1);
    let problem = problems[0].to_string();
    assert!(problem.starts_with("4: not YAML: "), "{problem}");
}

#[test]
fn a_tag_of_no_meaning_is_named() {
    assert_eq!(
        problems("a: !vault x\n"),
        ["1: tag !vault has no meaning here"]
    );
}

#[test]
fn json_indented_with_tabs_is_read() {
    assert_eq!(problems("{\n\t\"a\": [\n\t\t\"x\"\n\t]\n}\n"), [""; 0]);
}

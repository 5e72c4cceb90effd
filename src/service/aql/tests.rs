//! What is understood, and where it is said what isn't.

use artimesh_core::clock::Timestamp;

use super::criteria::{Criterion, Field, Operator};
use super::reach::{Reach, Span};
use super::{Include, Query};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn parse(text: &str) -> Query {
    Query::parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn queries_that_clients_send_are_understood() {
    // The shapes that Artifactory's own command line and its Python clients write.
    for text in [
        r#"items.find()"#,
        r#"items.find({})"#,
        r#"items.find({"repo":"libs"})"#,
        r#"items.find({"repo": {"$eq":"libs"}}, {"name": {"$match":"*.jar"}})"#,
        r#"items.find({"repo":"r","path":{"$ne":"."},"$or":[{"$and":[{"path":{"$match":"a/b"},"name":{"$match":"*"}}]},{"$and":[{"path":{"$match":"a/b/*"},"name":{"$match":"*"}}]}]}).include("name","repo","path","actual_md5","actual_sha1","sha256","size","type","modified","created","property")"#,
        r#"items.find({"$or":[{"$and":[{"repo":"r","path":"a","name":"x"}]}],"@build.name":"b","type":"any"}).include("*","property.*").sort({"$desc":["created"]}).offset(2).limit(1)"#,
        r#"items.find({"@a":{"$ne":"b"},"@c":{"$nmatch":"d*"},"$msp":[{"@x":"1"},{"property.value":"1"}]})"#,
        "items.find(\n  {\n \"created\" : {\"$gt\" : \"2026-11-21T21:47:22.005+01:00\"},\n \"modified\": {\"$before\": \"2d\"}, \"size\":{\"$gt\": 10, \"$lte\": \"20\"}}\n)\n.include( \"stat\" , \"@a\", \"virtual_repos\" )\n.transitive().distinct(false);\n",
        r#"items.find({"item.name":"x","actual_sha1":"2aae","updated":{"$last":"1mo"}}).sort({"$asc":"name"})"#,
    ] {
        parse(text);
    }
}

#[test]
fn what_is_not_understood_is_named_with_its_column() {
    for (text, column, reason) in [
        ("", 1, "a query begins with items.find("),
        ("builds.find({})", 1, "'builds' can't be asked for here"),
        ("items.search({})", 7, "'find' was expected"),
        ("items.find({)", 13, "a text in double quotes was expected"),
        (r#"items.find({"nom":"x"})"#, 13, "'nom' is no field"),
        (r#"items.find({"ä":{"$eq":"x"},"nom":"x"})"#, 13, "'ä' is no field"),
        (r#"items.find({"name":{"$eqq":"x"}})"#, 21, "'$eqq' is no operator"),
        (r#"items.find({"size":"x"})"#, 20, "'size' is a number"),
        (r#"items.find({"size":{"$match":"1*"}})"#, 21, "'$match' is for texts"),
        (r#"items.find({"name":{"$last":"1d"}})"#, 21, "'$last' is for points in time"),
        (r#"items.find({"created":{"$last":"soon"}})"#, 32, "an age is a number and its unit"),
        (r#"items.find({"created":"soon"})"#, 23, "'created' is a time"),
        (r#"items.find({"type":"link"})"#, 20, "'link' is no type"),
        (r#"items.find({"name":"x"}"#, 24, "',' was expected, and the query ends"),
        (r#"items.find({"name":"x"#, 20, "the quotes are never closed"),
        (r#"items.find({"name":null})"#, 20, "a value was expected"),
        (r#"items.find({"$msp":[{"name":"x"}]})"#, 13, "'$msp' takes criteria about properties only"),
        (r#"items.find({"$not":[]})"#, 13, "'$not' can't stand here"),
        (r#"items.find().limit(-1)"#, 20, "a value was expected"),
        (r#"items.find().include("archive")"#, 22, "'archive' is no field"),
        (r#"items.find().sort({"$up":["name"]})"#, 20, "'$up' is no order"),
        (r#"items.find().sort({"$asc":["property"]})"#, 28, "can't be sorted by 'property'"),
        (r#"items.find().group("name")"#, 14, "'group' is unknown"),
        (r#"items.find() x"#, 14, "the query is over here"),
    ] {
        let error = Query::parse(text, NOW).expect_err(text);
        assert!(error.column == column && error.reason.contains(reason), "{text}: {error}");
    }
    let deep = format!("items.find({}{})", r#"{"$and":["#.repeat(100), "]}".repeat(100));
    assert!(Query::parse(&deep, NOW).expect_err("too deep").reason.contains("deep"));
    let long = format!("items.find({{\"name\":\"{}\"}})", "x".repeat(300_000));
    assert!(Query::parse(&long, NOW).expect_err("too long").reason.contains("bytes"));
}

#[test]
fn ages_count_from_now_and_calls_say_what_is_told() {
    let query = parse(r#"items.find({"created":{"$before":"2d"}}).include("name","@a","@b","stat").limit(5)"#);
    let Criterion::All(parts) = &query.criteria else { panic!("{query:?}") };
    let Criterion::All(asked) = &parts[1] else { panic!("{query:?}") };
    let Criterion::Field(Field::Created, comparison) = &asked[0] else { panic!("{query:?}") };
    assert_eq!(comparison.operator, Operator::Less);
    assert_eq!(comparison.operand, super::criteria::Operand::Number(NOW.0 - 2 * 86_400_000));
    let properties = Some(vec!["a".to_owned(), "b".to_owned()]);
    let include = Include { fields: vec![Field::Name], all: false, properties, statistics: true };
    assert_eq!((query.include, query.limit), (include, Some(5)));
}

#[test]
fn a_reach_is_in_order_and_names_nothing_twice() {
    let span = |prefix: &str, levels| Span { prefix: prefix.into(), levels };
    let reach = |criteria: &str| Reach::of(&parse(&format!("items.find({criteria})")).criteria, "libs").0;
    assert_eq!(reach("{}"), [span("", None)]);
    assert_eq!(reach(r#"{"repo":{"$match":"o*"}}"#), []);
    assert_eq!(reach(r#"{"path":"a/b","name":{"$match":"x*"}}"#), [span("a/b/x", Some(3))]);
    assert_eq!(reach(r#"{"path":".","name":"x"}"#), [span("x", Some(1))]);
    assert_eq!(reach(r#"{"path":{"$match":".*"}}"#), [span("", None)]);
    assert_eq!(
        reach(r#"{"$or":[{"path":{"$match":"b/*"}},{"path":"a"},{"path":"b/c"}]}"#),
        [span("a/", Some(2)), span("b/", None)]
    );
    assert_eq!(reach(r#"{"$or":[{"path":"a"},{"size":1}]}"#), [span("", None)]);
    assert_eq!(reach(r#"{"path":{"$match":"a/*"},"depth":{"$lt":4}}"#), [span("a/", Some(3))]);
    let many: Vec<String> = (0..1000).map(|number| format!(r#"{{"path":"p{number}"}}"#)).collect();
    assert_eq!(reach(&format!(r#"{{"$or":[{}]}}"#, many.join(","))), [span("", None)]);
}

#[test]
fn what_is_hostile_is_refused_or_cheap() {
    let refused = |text: &str| Query::parse(text, NOW).expect_err("it is refused").reason;
    let name = "n".repeat(300);
    assert!(refused(&format!(r#"items.find({{"@{name}":"x"}})"#)).contains("255 bytes"));
    let operators = [r#""$eq":"x""#].repeat(20_000).join(",");
    assert!(refused(&format!(r#"items.find({{"@n":{{{operators}}}}})"#)).contains("at most 10000 criteria"));
    let braces = ["{}"].repeat(20_000).join(",");
    assert!(refused(&format!(r#"items.find({{"$or":[{braces}]}})"#)).contains("at most 10000 criteria"));
    assert!(refused(&format!(r#"items.find({{"name":{{"$match":"{}"}}}})"#, "*a".repeat(2000))).contains("2400 bytes"));
    let names: Vec<String> = (0..200).map(|number| format!("\"@{number}\"")).collect();
    assert!(refused(&format!("items.find().include({})", names.join(","))).contains("at most 128"));
    let query = parse(r#"items.find().include("name","size","name","@a","@a").sort({"$asc":["name","name","size"]})"#);
    assert_eq!(query.include.fields, [Field::Name, Field::Size]);
    assert_eq!(query.include.properties, Some(vec!["a".to_owned()]));
    assert_eq!(query.sort.map(|sort| sort.fields), Some(vec![Field::Name, Field::Size]));
    let path = format!(r#"{{"path":"{}","$and":[{{"$or":[{{}},{{}}]}}]}}"#, "p".repeat(2000));
    assert_eq!(Reach::of(&parse(&format!("items.find({path})")).criteria, "libs").0, [], "no path is as long");
}

#[test]
fn keys_of_repositories_are_the_same_whatever_their_case() {
    let reach =
        |criteria: &str, repo: &str| Reach::of(&parse(&format!("items.find({criteria})")).criteria, repo).0.len();
    assert_eq!(reach(r#"{"repo":"LIBS"}"#, "libs"), 1);
    assert_eq!(reach(r#"{"repo":{"$match":"l*"}}"#, "Libs"), 1);
    assert_eq!(reach(r#"{"repo":{"$ne":"Libs"}}"#, "libs"), 0);
}

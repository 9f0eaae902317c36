//! Lists and searches over 250 real flows, walked as real clients walk them (flow-service.md 7, 8).

use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt as _, stream};
use headwaters_testkit::Flavour;
use headwaters_testkit::world::FLOW_SERVICE;
use serde_json::{Value, json};

use crate::scene::{FAR_S, Scene, assert_refused, text};

const FLOWS: usize = 250;
/// How many flows are made at a time.
const PARALLEL: usize = 8;
/// Every so many-th flow is disabled.
const DISABLED_EVERY: usize = 10;
/// What has to be encoded, and what only looks like it.
const DESCRIPTION: &str = "an even one, with a comma & a + sign = much";
/// How many pages a walk may have before it counts as endless.
const PAGES_MAX: usize = 100;

/// 250 flows of one table: `flow-000` to `flow-249`, every tenth disabled, every second one described, each with a start
/// of its own.
struct Many {
    scene: Scene,
    source: String,
    spec: String,
}

impl Many {
    async fn made() -> Self {
        let scene = Scene::set(Flavour::MariaDb).await;
        let connection = scene.connection().await;
        let source = scene.world.source_of(&connection, scene.spec_name(), &scene.table()).await.expect("a source");
        let data_set = scene.world.data_set("many").await.expect("a data set");
        let target = scene.world.target_of(&data_set).await.expect("a target");
        let body = scene.world.flow_body("", &source, &target, FAR_S).await.expect("a body");
        stream::iter(0..FLOWS)
            .for_each_concurrent(PARALLEL, async |at| {
                let mut body = body.clone();
                body["name"] = json!(name(at));
                body["scheduleParams"]["startTime"] = json!(FAR_S + at as u64);
                body["options"] = json!({"errorDiagnosticsEnabled": at % 4 == 0});
                body["labels"] = json!(["core/C1", format!("core/C{}", at % 3 + 2)]);
                if at % 2 == 0 {
                    body["description"] = json!(DESCRIPTION);
                }
                let id = scene.create("flows", &body).await;
                if at % DISABLED_EVERY == 0 {
                    assert_eq!(scene.act(&format!("flows/{id}/action?op=disable")).await.status, 200);
                }
            })
            .await;
        let spec = text(&scene.spec().await["id"]);
        Self { scene, source, spec }
    }

    /// The names that a query finds on one page of 100.
    async fn names(&self, query: &str) -> Vec<String> {
        let target = format!("{FLOW_SERVICE}/flows?limit=100&{query}");
        let answer = self.scene.world.spell("GET", &target, &[], None).await.expect("an answer");
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        names(&answer.body)
    }
}

fn name(at: usize) -> String {
    format!("flow-{at:03}")
}

fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().expect("items").iter().map(|item| text(&item["name"])).collect()
}

/// Where a page says that the next one is.
fn next(page: &Value) -> Option<String> {
    let links = page["_links"].as_object().expect("every page has links");
    links.get("next").map(|next| text(&next["href"]))
}

/// How a client gets from a page to the next.
#[derive(Debug, Clone, Copy)]
enum Habit {
    /// Takes the text between the first and the second `=` as the token; sends it with its own parameters.
    Token,
    /// The same, but the token alone.
    TokenAlone,
    /// Sticks the link to the base URL and its own parameters to the link.
    Link,
    /// Follows the link as it is.
    LinkAlone,
}

impl Habit {
    fn target(self, query: &str, href: &str) -> String {
        let token = href.split('=').nth(1).unwrap_or_default();
        match self {
            Self::Token => format!("{FLOW_SERVICE}/flows?{query}&continuationToken={token}"),
            Self::TokenAlone => format!("{FLOW_SERVICE}/flows?continuationToken={token}"),
            Self::Link => format!("{FLOW_SERVICE}{href}&{query}"),
            Self::LinkAlone => format!("{FLOW_SERVICE}{href}"),
        }
    }
}

/// All names, page by page, and how many pages there were.
async fn walk(scene: &Scene, habit: Habit, query: &str) -> (Vec<String>, usize) {
    let mut target = format!("{FLOW_SERVICE}/flows?{query}");
    let mut seen = Vec::new();
    for page in 1..PAGES_MAX {
        let answer = scene.world.spell("GET", &target, &[], None).await.expect("an answer");
        assert_eq!(answer.status, 200, "{habit:?}: {target}: {}", answer.body);
        seen.extend(names(&answer.body));
        let Some(href) = next(&answer.body) else {
            assert_eq!(answer.body["_links"], json!({}));
            return (seen, page);
        };
        assert!(href.starts_with("/flows?continuationToken="), "{href}");
        let token = href.replace("/flows?continuationToken=", "");
        let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(token.chars().all(safe), "{token}");
        target = habit.target(query, &href);
    }
    panic!("{habit:?} {query}: no end of pages")
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_searches_over_250_flows_answer_as_documented() {
    let many = Many::made().await;
    every_client_sees_each_flow_once(&many.scene).await;
    a_list_begins_with_the_newest_and_shows_20(&many.scene).await;
    filters_find_what_they_say(&many).await;
    a_filter_in_any_spelling_is_the_same_filter(&many).await;
    what_is_no_filter_is_refused_with_its_code(&many.scene).await;
    a_count_is_a_count_and_nothing_else(&many.scene).await;
    a_projection_shows_what_was_asked_for(&many.scene).await;
    searches_find_what_lists_find(&many.scene).await;
    flows_that_come_and_go_while_a_client_pages_disturb_nothing(&many.scene).await;
}

async fn every_client_sees_each_flow_once(scene: &Scene) {
    let all: Vec<String> = (0..FLOWS).map(name).collect();
    let reversed: Vec<String> = all.iter().rev().cloned().collect();
    for habit in [Habit::Token, Habit::TokenAlone, Habit::Link, Habit::LinkAlone] {
        let (seen, pages) = walk(scene, habit, "limit=100&count=false&orderby=name").await;
        assert_eq!((&seen, pages), (&all, 3), "{habit:?}");
        let (seen, pages) = walk(scene, habit, "orderby=-name&limit=50").await;
        assert_eq!((&seen, pages), (&reversed, 5), "an exact number of pages, {habit:?}");
        let (seen, _) = walk(scene, habit, "limit=37").await;
        assert_eq!((seen.len(), seen.iter().collect::<HashSet<_>>().len()), (FLOWS, FLOWS), "{habit:?}");
        let (seen, pages) =
            walk(scene, habit, "property=state==\"disabled\"&property=name>flow-100&orderby=-state,+name&limit=7")
                .await;
        let expected: Vec<String> = (101..FLOWS).filter(|at| at % DISABLED_EVERY == 0).map(name).collect();
        assert_eq!((seen, pages), (expected, 2), "{habit:?}");
    }
    // A walk that sorts by a field with few values needs its tie-break.
    let (seen, _) = walk(scene, Habit::Token, "limit=60&orderby=state").await;
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), FLOWS);
    let disabled: HashSet<String> = (0..FLOWS).filter(|at| at % DISABLED_EVERY == 0).map(name).collect();
    assert_eq!(
        seen[..disabled.len()].iter().cloned().collect::<HashSet<_>>(),
        disabled,
        "disabled comes before enabled"
    );
}

async fn a_list_begins_with_the_newest_and_shows_20(scene: &Scene) {
    let page = scene.get("flows").await.body;
    let created: Vec<i64> =
        page["items"].as_array().expect("items").iter().filter_map(|item| item["createdAt"].as_i64()).collect();
    assert_eq!(created.len(), 20);
    assert!(created.is_sorted_by(|a, b| a >= b), "{created:?}");
    assert_eq!(page["items"][0], scene.document("flows", &text(&page["items"][0]["id"])).await, "items are whole");
    let clamped = scene.get("flows?limit=1000").await.body;
    assert_eq!(names(&clamped).len(), 100);
    assert!(next(&clamped).is_some());
}

async fn filters_find_what_they_say(many: &Many) {
    let Many { scene, source, spec } = many;
    let found = async |property: &str| scene.count("flows", property).await;
    let one = text(&scene.get("flows?property=name==flow-007").await.body["items"][0]["id"]);
    let middle =
        scene.get("flows?orderby=createdAt&limit=100").await.body["items"][99]["createdAt"].as_i64().expect("a time");
    for (property, expected) in [
        ("name==flow-007".to_owned(), 1),
        ("name=flow-007".to_owned(), 1),
        ("name==FLOW-007".to_owned(), 0),
        ("name!=flow-007".to_owned(), 249),
        ("name==flow-007,flow-008,no-such".to_owned(), 2),
        ("name!=flow-007,flow-008,no-such".to_owned(), 248),
        ("name>flow-239".to_owned(), 10),
        ("name>=flow-239".to_owned(), 11),
        ("name<flow-010".to_owned(), 10),
        ("name<=flow-010".to_owned(), 11),
        (format!("id=={one}"), 1),
        (format!("id!={one}"), 249),
        ("state==disabled".to_owned(), 25),
        ("state==Disabled".to_owned(), 25),
        ("state!=disabled".to_owned(), 225),
        ("description==\"an%20even%20one,%20with%20a%20comma%20%26%20a%20%2B%20sign%20=%20much\"".to_owned(), 125),
        ("description!=x".to_owned(), 250),
        ("options.errorDiagnosticsEnabled==true".to_owned(), 63),
        ("options.errorDiagnosticsEnabled==false".to_owned(), 187),
        (format!("scheduleParams.startTime=={}", FAR_S + 17), 1),
        (format!("scheduleParams.startTime>{}", FAR_S + 239), 10),
        ("scheduleParams.frequency==once".to_owned(), 250),
        ("labels[]==core/C2".to_owned(), 84),
        ("labels[]==core/C2,core/C3".to_owned(), 167),
        (format!("sourceConnectionIds[]=={source}"), 250),
        (format!("sourceConnectionIds[]=={one}"), 0),
        (format!("inheritedAttributes.sourceConnections[].connectionSpec.id=={spec}"), 250),
        ("inheritedAttributes.properties.isSourceFlow==true".to_owned(), 250),
        ("lastRunDetails.startedAtUTC>0".to_owned(), 0),
        ("lastRunDetails.state!=failed".to_owned(), 250),
        ("createdAt>0".to_owned(), 250),
    ] {
        assert_eq!(found(&property).await, expected, "{property}");
    }
    let (older, newer) = (found(&format!("createdAt<{middle}")).await, found(&format!("createdAt>={middle}")).await);
    assert!(older <= 99 && newer >= 151, "{older} {newer}");
    assert_eq!(older + newer, 250);
    let both = found(&format!("createdAt>={middle}&property=state==disabled&property=name<flow-100")).await;
    let one = found(&format!("createdAt<{middle}&property=state==disabled&property=name<flow-100")).await;
    assert_eq!(both + one, 10, "conditions are joined by and");
}

async fn a_filter_in_any_spelling_is_the_same_filter(many: &Many) {
    assert_eq!(many.names("property=name==flow-042").await, ["flow-042"]);
    for query in [
        "property=name==\"flow-042\"",
        "property=name==%22flow-042%22",
        "property=name%3D%3D%22flow-042%22",
        "property=name=%22flow-042%22",
        "property=name%3D%3Dflow-042&property=state%3D%3Denabled",
        "property=name==\"flow-042\",\"no-such\"",
        "property=name>flow-041&property=name<flow-043",
        "property=name%3Eflow-041&property=name%3Cflow-043",
        "property=name==flow-042&property=labels[]==core/C1",
        "property=name==flow-042&property=labels%5B%5D==core%2FC1",
    ] {
        assert_eq!(many.names(query).await, ["flow-042"], "{query}");
    }
    for space in ["%20", "+"] {
        let described = DESCRIPTION.replace('+', "%2B").replace('&', "%26").replace(' ', space);
        let query = format!("property=description==\"{described}\"&property=name==flow-042");
        assert_eq!(many.names(&query).await, ["flow-042"], "{query}");
    }
    assert_eq!(many.names("property=name=='flow-042'").await, [] as [&str; 0], "only double quotes are quotes");
}

async fn what_is_no_filter_is_refused_with_its_code(scene: &Scene) {
    for (query, code) in [
        ("limit=5&count=true", "FLOW-1401-400"),
        ("orderby=*name", "FLOW-1432-400"),
        ("orderby=noSuchField", "FLOW-1433-400"),
        ("property=name~flow", "FLOW-1440-400"),
        ("property=name<=a,b", "FLOW-1443-400"),
        ("property=id>=00000000-0000-0000-0000-000000000000", "FLOW-1448-400"),
        ("property=noSuchField==1", "FLOW-1449-400"),
        ("property=name!>a", "FLOW-1450-400"),
        ("noSuchParameter=1", "FLOW-1451-400"),
        ("property=createdAt==1,2", "FLOW-1452-400"),
        ("property=createdAt==", "FLOW-1453-400"),
        ("limit=0", "FLOW-1452-400"),
        ("limit=-1", "FLOW-1452-400"),
        ("limit=ten", "FLOW-1452-400"),
        ("continuationToken=no-such-token", "FLOW-1452-400"),
    ] {
        let target = format!("{FLOW_SERVICE}/flows?{query}");
        let answer = scene.world.spell("GET", &target, &[], None).await.expect("an answer");
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        assert_refused(&answer, code);
        assert_eq!(answer.body["title"], "Invalid request", "{query}");
    }
}

async fn a_count_is_a_count_and_nothing_else(scene: &Scene) {
    assert_eq!(scene.get("flows?count=true").await.body, json!({"count": FLOWS}));
    assert_eq!(scene.get("flows?count=true&orderby=-name").await.body, json!({"count": FLOWS}));
    assert_eq!(scene.get("flows?count=true&property=name==no-such").await.body, json!({"count": 0}));
    let empty = scene.get("flows?property=name==no-such").await;
    assert_eq!((empty.status, empty.body), (200, json!({"items": [], "_links": {}})));
}

async fn a_projection_shows_what_was_asked_for(scene: &Scene) {
    let page = scene.get("flows?property=name,state&property=name==flow-042").await.body;
    let item = page["items"][0].as_object().expect("an item");
    assert_eq!(item.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(["id", "name", "state"]));
    assert_eq!((&item["name"], &item["state"]), (&json!("flow-042"), &json!("enabled")));
}

async fn searches_find_what_lists_find(scene: &Scene) {
    let search = async |body: Value| scene.post("flows/search", &body).await;
    for query in [
        "name==\"flow-042\"",
        "property=name==flow-042",
        "name>flow-041&property=name<flow-043",
        "state==enabled&name==flow-042",
    ] {
        let found = search(json!({"queryString": query})).await;
        assert_eq!((found.status, names(&found.body)), (200, vec!["flow-042".to_owned()]), "{query}: {}", found.body);
    }
    let all = search(json!({"limit": 1000, "orderby": "-name"})).await.body;
    assert_eq!((names(&all).len(), names(&all)[0].as_str(), next(&all)), (FLOWS, "flow-249", None));
    let counted = search(json!({"queryString": "state==disabled", "count": true})).await;
    assert_eq!(counted.body, json!({"count": 25}));
    let projected = search(json!({"queryString": "name==flow-042", "projectionFields": "name,state"})).await.body;
    let item = projected["items"][0].as_object().expect("an item");
    assert_eq!(item.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(["id", "name", "state"]));
    assert_refused(&search(json!({"limit": 1001})).await, "FLOW-1452-400");
    assert_refused(&search(json!({"queryString": "noSuchField==1"})).await, "FLOW-1449-400");

    let body = json!({"limit": 100, "orderby": "name", "queryString": "name!=flow-000"});
    let mut page = search(body.clone()).await.body;
    let mut seen = names(&page);
    while let Some(href) = next(&page) {
        let token = href.split('=').nth(1).expect("a token").to_owned();
        page = scene.post(&format!("flows/search?continuationToken={token}"), &body).await.body;
        seen.extend(names(&page));
        assert!(seen.len() < 2 * FLOWS, "no end of pages");
    }
    assert_eq!(seen, (1..FLOWS).map(name).collect::<Vec<_>>());

    let connections = scene.post("connections/search", &json!({"queryString": "name==\"the shop\""})).await;
    assert_eq!(names(&connections.body), ["the shop"], "{}", connections.body);
    let specs =
        scene.post("flowSpecs/search", &json!({"queryString": "name==CRMToAEP", "groupByProperty": "name"})).await;
    assert_eq!(names(&specs.body), ["CRMToAEP"], "{}", specs.body);
    let everywhere = [("x-active-sandbox-ids", "*"), ("Content-Type", "application/json")];
    let target = format!("{FLOW_SERVICE}/flows/search/");
    let body = json!({"queryString": "name==flow-042"}).to_string();
    let found = scene.world.spell("POST", &target, &everywhere, Some(&body)).await.expect("an answer");
    assert_eq!(names(&found.body), ["flow-042"], "{}", found.body);
}

async fn flows_that_come_and_go_while_a_client_pages_disturb_nothing(scene: &Scene) {
    let first = scene.get("flows?limit=100&orderby=name").await.body;
    let gone = text(&first["items"][50]["id"]);
    let last = text(&first["items"][99]["id"]);
    for id in [gone, last] {
        assert_eq!(scene.delete("flows", &id).await.status, 204);
    }
    let href = next(&first).expect("a second page");
    let second = scene.world.get(&format!("{FLOW_SERVICE}{href}")).await.expect("an answer").body;
    assert_eq!(names(&second), (100..200).map(name).collect::<Vec<_>>(), "no row is skipped or repeated");
}

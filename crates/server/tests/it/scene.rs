//! What the tests of the Flow Service begin with: a small table on the shared server, and the program beside it.

use headwaters_testkit::world::{Answer, FLOW_SERVICE, World};
use headwaters_testkit::{DatabaseServer, Flavour};
use serde_json::{Value, json};

/// How long a small run may take.
pub(crate) const RUN_SECONDS_MAX: u64 = 60;
/// A start that no test lives to see (the year 2100), for flows that must not run by themselves.
pub(crate) const FAR_S: u64 = 4_102_444_800;
/// The rows of the table `orders` of a scene.
pub(crate) const ROWS: u64 = 3;
/// What stands for a secret in answers.
pub(crate) const MASK: &str = "*****";

/// A schema of its own with the table `orders`, and a program of its own.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) database: &'static DatabaseServer,
    pub(crate) schema: String,
}

impl Scene {
    pub(crate) async fn set(flavour: Flavour) -> Self {
        Self::set_with(flavour, &[]).await
    }

    /// A scene whose program has these settings in its environment.
    pub(crate) async fn set_with(flavour: Flavour, settings: &[(&str, &str)]) -> Self {
        let database = DatabaseServer::shared(flavour).await.expect("a database");
        let schema = database.fresh_schema("scene").await.expect("a schema");
        let options = World::options(env!("CARGO_BIN_EXE_headwaters"));
        let options = settings.iter().fold(options, |options, (name, value)| options.env(name, value));
        let scene = Self { world: options.start().await.expect("a server"), database, schema };
        scene.make_table().await;
        scene
    }

    pub(crate) async fn make_table(&self) {
        let table = self.table();
        for sql in [
            format!(
                "create table {table} (id int primary key, title varchar(40) not null, changed datetime(6) not null)"
            ),
            format!(
                "insert into {table} values (1, 'a lamp', '2024-01-01 00:00:00'), (2, 'a chair', '2024-01-02 12:00:00'), \
                 (3, 'two cups', '2024-01-03 23:59:59.999999')"
            ),
        ] {
            self.database.execute(&sql).await.expect("a statement");
        }
    }

    /// The path of the table, as explore shows it.
    pub(crate) fn table(&self) -> String {
        format!("{}.orders", self.schema)
    }

    /// The name of the source's connection spec.
    pub(crate) fn spec_name(&self) -> &'static str {
        if self.database.flavour().is_maria_db() { "maria-db" } else { "mysql" }
    }

    /// The parameters of Basic Authentication of `reader`, all of them texts as in the tutorials.
    pub(crate) fn basic_params(&self) -> Value {
        let account = self.database.account("reader");
        json!({
            "server": self.database.host(), "port": self.database.port().to_string(), "database": self.schema,
            "username": account.name, "password": account.password, "sslMode": "PREFERRED",
        })
    }

    /// What creates a base connection by Basic Authentication.
    pub(crate) async fn basic_body(&self) -> Value {
        json!({
            "name": "the shop", "connectionSpec": self.spec().await,
            "auth": {"specName": "Basic Authentication", "params": self.basic_params()},
        })
    }

    /// A base connection by Basic Authentication.
    pub(crate) async fn connection(&self) -> String {
        self.create("connections", &self.basic_body().await).await
    }

    /// The source's connection spec, as bodies refer to it.
    pub(crate) async fn spec(&self) -> Value {
        self.world.spec("connectionSpecs", self.spec_name()).await.expect("a spec")
    }

    pub(crate) async fn create(&self, collection: &str, body: &Value) -> String {
        self.world.create(&format!("{FLOW_SERVICE}/{collection}"), body).await.expect("a new resource")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.world.get(&format!("{FLOW_SERVICE}/{path}")).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.world.post(&format!("{FLOW_SERVICE}/{path}"), body).await.expect("an answer")
    }

    pub(crate) async fn act(&self, path: &str) -> Answer {
        self.world.act(&format!("{FLOW_SERVICE}/{path}")).await.expect("an answer")
    }

    pub(crate) async fn delete(&self, collection: &str, id: &str) -> Answer {
        self.world.delete(&path(collection, id)).await.expect("an answer")
    }

    pub(crate) async fn document(&self, collection: &str, id: &str) -> Value {
        self.world.document(collection, id).await.expect("a document")
    }

    /// Changes a resource under the etag that it has at this moment.
    pub(crate) async fn patch(&self, collection: &str, id: &str, patch: &Value) -> Answer {
        let etag = text(&self.document(collection, id).await["etag"]);
        self.world.patch(&path(collection, id), &etag, patch).await.expect("an answer")
    }

    /// The newest run of a flow, once it has ended.
    pub(crate) async fn finished_run(&self, flow: &str) -> Value {
        self.world.finished_run(flow, RUN_SECONDS_MAX).await.expect("a run")
    }

    /// How many of a collection's resources a filter finds.
    pub(crate) async fn count(&self, collection: &str, property: &str) -> u64 {
        let answer = self.get(&format!("{collection}?count=true&property={property}")).await;
        answer.body["count"].as_u64().unwrap_or_else(|| panic!("no count: {} {}", answer.status, answer.body))
    }

    /// How many rows the table of a data set has.
    pub(crate) async fn landed(&self, data_set: &str) -> u64 {
        crate::land::count(&self.world.table_dir(data_set).await.expect("a table"))
    }
}

/// The path of a resource.
pub(crate) fn path(collection: &str, id: &str) -> String {
    format!("{FLOW_SERVICE}/{collection}/{id}")
}

/// The status that a run record shows.
pub(crate) fn status(run: &Value) -> String {
    text(&run["metrics"]["statusSummary"]["status"])
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The code of an error's body.
pub(crate) fn code(answer: &Answer) -> String {
    text(&answer.body["type"]).rsplit('/').next().unwrap_or_default().to_owned()
}

/// The answer is an error of that code, in the one body that the service has, with the status that the code ends in.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, expected: &str) {
    let status = expected.rsplit('-').next().unwrap_or_default();
    assert_eq!((code(answer).as_str(), answer.status.to_string().as_str()), (expected, status), "{}", answer.body);
    let sentence = &answer.body["errorMessage"];
    assert!(sentence.as_str().is_some_and(|sentence| !sentence.is_empty()), "{}", answer.body);
    assert_eq!((sentence, sentence), (&answer.body["errorDetails"], &answer.body["report"]["detailed-message"]));
    assert_eq!(answer.body["status"], answer.status, "{}", answer.body);
}

/// The answer is a success of that status with the id and a well-formed etag; returns the etag.
#[track_caller]
pub(crate) fn assert_written(answer: &Answer, status: u16, id: &str) -> String {
    assert_eq!((answer.status, text(&answer.body["id"]).as_str()), (status, id), "{}", answer.body);
    let etag = text(&answer.body["etag"]);
    let inner = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"'));
    let groups: Vec<usize> = inner.expect("quotes belong to an etag").split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{etag}");
    etag
}

//! The questions, and how long their answers take.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Error;
use crate::client::{Access, Connection};
use crate::fill::{Filled, START_MS, pick};

/// How many flows are written while others read, in a second.
const WRITES_PER_SECOND: u32 = 50;
/// How long a client that was told to come back stays away: what `Retry-After` says.
const PAUSE: Duration = Duration::from_secs(1);
/// How many clients ask what reads the whole table, where the time of an answer is of interest: more wait for each other.
const SCANNING_CLIENTS: usize = 4;
/// How many clients ask such things while others ask for single resources.
const SCANNING_BESIDE: usize = 16;

/// Something that all clients ask for some time.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    /// The requests, which the clients send in turn.
    requests: Arc<Vec<String>>,
    /// At how many requests a second; none is as often as they are answered.
    per_second: Option<u32>,
    /// At most how many clients ask.
    clients_max: usize,
    /// Whether somebody writes meanwhile.
    writers: bool,
    /// What other clients ask meanwhile, again and again.
    beside: Option<String>,
}

/// How a client fared.
#[derive(Default)]
struct Answers {
    took: Vec<Duration>,
    refused: Vec<Duration>,
}

/// The questions of the measurement.
pub(crate) async fn questions(access: &Access, filled: &Filled) -> Result<Vec<Question>, Error> {
    let count = filled.flows.len();
    let one = |name, target: String| asking(access, name, vec![target]);
    let each = |name, target: &dyn Fn(usize) -> String| asking(access, name, (0..997).map(target).collect());
    let flows = |query: &str| format!("/flows?{query}&limit=20&count=false");
    let connection = |name| each(name, &|n| format!("/connections/{}", pick(&filled.connections, n)));
    let last_ms = START_MS.saturating_add(i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1000));
    let nothing = flows("property=options.errorDiagnosticsEnabled==false");
    let middle = deep(access, "orderby=-createdAt", count).await?;
    let middle_by_name = deep(access, "orderby=-name", count).await?;
    let middle_by_state = deep(access, "property=state==enabled", count).await?;
    Ok(vec![
        connection("connection by id"),
        Question { per_second: Some(1_000), ..connection("connection by id, 1000 a second") },
        Question { per_second: Some(2_000), ..connection("connection by id, 2000 a second") },
        Question { writers: true, ..connection("connection by id, flows written") },
        Question {
            per_second: Some(1_000),
            beside: Some(access.get(&nothing)),
            ..connection("connection by id, 1000 a second, 16 clients scan")
        },
        one("flows, first page", flows("orderby=-createdAt")),
        Question { per_second: Some(1_000), ..one("flows, first page, 1000 a second", flows("orderby=-createdAt")) },
        Question { per_second: Some(2_000), ..one("flows, first page, 2000 a second", flows("orderby=-createdAt")) },
        Question { writers: true, ..one("flows, first page, flows written", flows("orderby=-createdAt")) },
        one("flows, first page of 100", "/flows?limit=100&count=false".to_owned()),
        one("flows, page in the middle", middle),
        one("flows, page in the middle by -name", middle_by_name),
        one("flows, page in the middle of a state", middle_by_state),
        each("flows by name", &|n| flows(&format!("property=name==%22orders%20{:06}%22", n * 89 % count))),
        one("flows by state", flows("property=state==disabled")),
        one("flows by two states", flows("property=state==disabled,draft")),
        each("flows by source", &|n| flows(&format!("property=sourceConnectionIds[]=={}", pick(&filled.sources, n)))),
        each("flows by base connection", &|n| {
            let path = "inheritedAttributes.sourceConnections[].baseConnection.id";
            flows(&format!("property={path}=={}", pick(&filled.connections, n)))
        }),
        one("flows ordered by name", flows("orderby=name")),
        one("flows of a state ordered by name", flows("property=state==disabled&orderby=name")),
        one(
            "flows whose run began lately",
            flows(&format!("property=lastRunDetails.startedAtUTC>{}", last_ms - 60_000)),
        ),
        one("flows whose run began later than any", flows(&format!("property=lastRunDetails.startedAtUTC>{last_ms}"))),
        Question {
            clients_max: SCANNING_CLIENTS,
            ..one("flows, an option that none has (full scan, 4 clients)", nothing.clone())
        },
        one("flows, an option that none has (full scan)", nothing),
        Question {
            clients_max: SCANNING_CLIENTS,
            ..one("flows ordered by an option (full sort, 4 clients)", flows("orderby=options.partialIngestionPercent"))
        },
        one("flows counted", "/flows?count=true".to_owned()),
        one("flows counted by state", "/flows?count=true&property=state==enabled".to_owned()),
        each("latest run of a flow", &|n| {
            format!("/runs?property=flowId=={}&orderby=-createdAt&limit=1", pick(&filled.flows, n * 89))
        }),
        one("failed runs", "/runs?property=metrics.statusSummary.status==failed&limit=20".to_owned()),
    ])
}

fn asking(access: &Access, name: &'static str, targets: Vec<String>) -> Question {
    let requests = targets.iter().map(|target| access.get(target)).collect();
    Question {
        name,
        requests: Arc::new(requests),
        per_second: None,
        clients_max: usize::MAX,
        writers: false,
        beside: None,
    }
}

/// The link to a page in the middle of a list, found by walking there.
async fn deep(access: &Access, query: &str, count: usize) -> Result<String, Error> {
    let mut connection = access.connect().await?;
    let mut target = format!("/flows?{query}&limit=100");
    for _ in 0..count / 200 {
        let page: Value = serde_json::from_slice(connection.ask(&access.get(&target)).await?)?;
        let next = page["_links"]["next"]["href"].as_str();
        next.ok_or("the list ended before its middle")?.clone_into(&mut target);
    }
    Ok(target)
}

/// How long the answers to a question took.
pub(crate) struct Measured {
    name: &'static str,
    per_second: f64,
    /// In order.
    took: Vec<Duration>,
    /// How long those waited that were told to come back, in order.
    refused: Vec<Duration>,
}

/// Lets clients ask a question for some time.
pub(crate) async fn ask(
    access: &Access,
    filled: &Filled,
    question: Question,
    clients: usize,
    time: Duration,
) -> Result<Measured, Error> {
    let clients = clients.min(question.clients_max);
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(access.connect().await?);
    }
    let mut others = JoinSet::new();
    for request in question.beside.iter().cycle().take(SCANNING_BESIDE) {
        others.spawn(repeat(access.connect().await?, request.clone()));
    }
    let started = Instant::now();
    let mut asking = JoinSet::new();
    for (client, connection) in (0_u32..).zip(connections) {
        let (requests, next) = (Arc::clone(&question.requests), Arc::clone(&next));
        let clients = u32::try_from(clients).unwrap_or(1);
        let pace = question.per_second.map(|all| Pace {
            every: Duration::from_secs(1) * clients / all,
            due: started + Duration::from_secs(1) * client / all,
        });
        asking.spawn(one_client(connection, requests, next, pace, started + time));
    }
    let all = async {
        let mut answers = Answers::default();
        while let Some(client) = asking.join_next().await {
            let Answers { took, refused } = client??;
            answers.took.extend(took);
            answers.refused.extend(refused);
        }
        Ok::<_, Error>(answers)
    };
    let Answers { mut took, mut refused } = tokio::select! {
        answers = all => answers?,
        Some(failed) = others.join_next() => return Err(failed?.err().unwrap_or_else(|| "the others ended".into())),
        failed = write(filled), if question.writers => return Err(failed.err().unwrap_or_else(|| "no writer".into())),
    };
    took.sort_unstable();
    refused.sort_unstable();
    let per_second = took.len() as f64 / started.elapsed().as_secs_f64();
    Ok(Measured { name: question.name, per_second, took, refused })
}

/// When a client asks that does not ask as often as it is answered.
struct Pace {
    every: Duration,
    due: Instant,
}

/// Asks one request after the other until it is time to stop.
async fn one_client(
    mut connection: Connection,
    requests: Arc<Vec<String>>,
    next: Arc<AtomicUsize>,
    mut pace: Option<Pace>,
    until: Instant,
) -> Result<Answers, Error> {
    let mut answers = Answers::default();
    while Instant::now() < until {
        let mut begun = Instant::now();
        if let Some(Pace { every, due }) = &mut pace {
            tokio::time::sleep_until((*due).into()).await;
            // A request that is sent late, because the one before took so long, has waited since it was due.
            begun = *due;
            *due += *every;
        }
        let request = &requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()];
        if connection.try_ask(request).await?.is_some() {
            answers.took.push(begun.elapsed());
        } else {
            answers.refused.push(begun.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(answers)
}

/// Asks one thing for ever.
async fn repeat(mut connection: Connection, request: String) -> Result<(), Error> {
    loop {
        if connection.try_ask(&request).await?.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Writes flows for ever.
async fn write(filled: &Filled) -> Result<(), Error> {
    for number in filled.flows.len().. {
        filled.write_one(number).await?;
        tokio::time::sleep(Duration::from_secs(1) / WRITES_PER_SECOND).await;
    }
    Ok(())
}

/// The time that this share of some sorted times is within, in milliseconds; none where there is none.
fn quantile_ms(sorted: &[Duration], share: f64) -> Option<f64> {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).map(|took| took.as_secs_f64() * 1000.0)
}

impl Measured {
    /// Stands above the rows of a table.
    pub(crate) const HEADING: &str = "\
| asked | a second | p50 ms | p99 ms | max ms | refused |
|---|---|---|---|---|---|";

    pub(crate) fn json(&self) -> Value {
        json!({
            "asked": self.name,
            "answers": self.took.len(),
            "per_second": self.per_second,
            "p50_ms": quantile_ms(&self.took, 0.5),
            "p99_ms": quantile_ms(&self.took, 0.99),
            "max_ms": quantile_ms(&self.took, 1.0),
            "refused": self.refused.len(),
            "refused_max_ms": quantile_ms(&self.refused, 1.0),
        })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| quantile_ms(&self.took, share).unwrap_or(f64::NAN));
        write!(f, "| {} | {:.0} | {p50:.2} | {p99:.2} | {max:.2} | ", self.name, self.per_second)?;
        match quantile_ms(&self.refused, 1.0) {
            None => write!(f, "0 |"),
            Some(max) => write!(f, "{}, after {max:.0} ms at most |", self.refused.len()),
        }
    }
}

//! The questions, and how long their answers take.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Error;
use crate::client::Access;
use crate::fill::{Filled, START_MS, pick};

/// How many flows are written while others read, in a second.
const WRITES_PER_SECOND: u32 = 50;
/// How many requests a second all clients together send where they don't ask as often as they can.
const STEADY_PER_SECOND: u32 = 1_000;

/// How many clients ask what reads the whole table: more would only wait for each other, and be told so in the end (503).
const SCANNING_CLIENTS: usize = 4;

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
    /// What one client of the others asks meanwhile, again and again.
    beside: Option<String>,
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
        Question { per_second: Some(STEADY_PER_SECOND), ..connection("connection by id, 1000 a second") },
        Question { writers: true, ..connection("connection by id, flows written") },
        Question { beside: Some(access.get(&nothing)), ..connection("connection by id, a full scan beside") },
        one("flows, first page", flows("orderby=-createdAt")),
        Question {
            per_second: Some(STEADY_PER_SECOND),
            ..one("flows, first page, 1000 a second", flows("orderby=-createdAt"))
        },
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
            ..one("flows, an option that none has (full scan, 4 clients)", nothing)
        },
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
    let started = Instant::now();
    let until = started + time;
    let next = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    for client in 0..clients {
        let mut connection = access.connect().await?;
        let (requests, next) = (Arc::clone(&question.requests), Arc::clone(&next));
        let pace = question.per_second.map(|all| Duration::from_secs(1) * u32::try_from(clients).unwrap_or(1) / all);
        asking.spawn(async move {
            let mut took = Vec::new();
            let mut due = pace
                .map(|pace| started + pace / u32::try_from(clients).unwrap_or(1) * u32::try_from(client).unwrap_or(0));
            while Instant::now() < until {
                let mut begun = Instant::now();
                if let (Some(at), Some(pace)) = (due, pace) {
                    tokio::time::sleep_until(at.into()).await;
                    // A request that is sent late, because the one before took so long, has waited since it was due.
                    begun = at.max(begun);
                    due = Some(at + pace);
                }
                let request = &requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()];
                connection.ask(request).await?;
                took.push(begun.elapsed());
            }
            Ok::<_, Error>(took)
        });
    }
    let mut beside = match &question.beside {
        Some(request) => Some((access.connect().await?, request)),
        None => None,
    };
    let others = async {
        for number in filled.flows.len().. {
            match &mut beside {
                Some((connection, request)) => drop(connection.ask(request).await?.len()),
                None if question.writers => {
                    filled.write_one(number).await?;
                    tokio::time::sleep(Duration::from_secs(1) / WRITES_PER_SECOND).await;
                }
                None => std::future::pending().await,
            }
        }
        Ok::<_, Error>(())
    };
    let all = async {
        let mut took = Vec::new();
        while let Some(client) = asking.join_next().await {
            took.extend(client??);
        }
        Ok::<_, Error>(took)
    };
    let mut took = tokio::select! {
        took = all => took?,
        failed = others => return Err(failed.err().unwrap_or_else(|| "the others ended".into())),
    };
    took.sort_unstable();
    Ok(Measured { name: question.name, per_second: took.len() as f64 / started.elapsed().as_secs_f64(), took })
}

impl Measured {
    /// Stands above the rows of a table.
    pub(crate) const HEADING: &str = "\
| asked | a second | p50 ms | p99 ms | max ms |
|---|---|---|---|---|";

    /// The time that this share of the answers took at most, in milliseconds.
    fn quantile_ms(&self, share: f64) -> f64 {
        let place = (self.took.len() as f64 * share).ceil() as usize;
        self.took.get(place.saturating_sub(1)).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "asked": self.name,
            "answers": self.took.len(),
            "per_second": self.per_second,
            "p50_ms": self.quantile_ms(0.5),
            "p99_ms": self.quantile_ms(0.99),
            "max_ms": self.quantile_ms(1.0),
        })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| self.quantile_ms(share));
        write!(f, "| {} | {:.0} | {p50:.2} | {p99:.2} | {max:.2} |", self.name, self.per_second)
    }
}

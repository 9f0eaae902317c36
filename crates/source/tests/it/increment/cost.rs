//! What a window costs, and what a run says about it.

use std::time::{Duration, Instant};

use anyhow::Result;
use headwaters_model::watermark::FirstRead;
use headwaters_testkit::ServerOptions;
use serde_json::json;

use super::{FAR_MS, FLAVOURS, Table, delta, ms, own_server};
use crate::filters::filter;

/// An empty run shall take 50 ms; machines that test are busy.
const EMPTY_RUN_MAX: Duration = Duration::from_millis(500);

/// Columns of every kind with a value for row `n`, a minute further each; the `dateFormat`.
const INDEXED: [(&str, &str, Option<&str>); 14] = [
    ("datetime", "at", None),
    ("datetime(6)", "at", None),
    ("timestamp(3) null", "at", None),
    ("date", "date('2024-01-01' + interval n day)", None),
    ("varchar(19) character set latin1 collate latin1_bin", "at", None),
    ("varchar(30) character set latin1 collate latin1_swedish_ci", "at", None),
    ("char(19) character set utf8mb4 collate utf8mb4_unicode_ci", "at", None),
    ("varchar(30) character set utf8mb3 collate utf8mb3_bin", "at", None),
    ("varchar(30) character set utf8mb4 collate utf8mb4_bin", "at", None),
    ("int", "1704067200 + 60 * n", Some("epoch")),
    ("bigint unsigned", "1000 * (1704067200 + 60 * n)", Some("epochMillis")),
    ("decimal(20,3)", "1704067200 + 60 * n", Some("epoch")),
    ("double", "1704067200 + 60 * n", Some("epoch")),
    ("float", "1704067200 + 60 * n", Some("epoch")),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_read_over_the_index_of_its_column_under_every_type_and_collation() -> Result<()> {
    for flavour in FLAVOURS {
        let server = ServerOptions::new(flavour)
            .argument("--slow-query-log=1")
            .argument("--log-output=TABLE")
            .argument("--log-queries-not-using-indexes=1")
            .start()
            .await?;
        for (kind, value, format) in INDEXED {
            let table = Table::make_on(&server, &format!("c {kind}, index (c)")).await?;
            let rows = "with recursive r as (select 1 as n union all select n + 1 from r where n < 900)";
            table.execute(&format!(
                "insert into t {rows} select n, {value} from (select n, '2024-01-01' + interval n minute as at from r) as v"
            )).await?;
            table.execute("analyze table t").await?;
            let mut flow = table.flow("c");
            flow.column = delta("c", format, None);
            let read = match kind {
                "date" => flow.asked(ms("2024-01-11"), ms("2024-01-21")).await?.len(),
                _ => flow.asked(ms("2024-01-01 01:00:00"), ms("2024-01-01 01:10:00")).await?.len(),
            };
            assert!(read == 10 || kind == "float", "{flavour} {kind}: {read}");
        }
        let table = Table::make_on(&server, "n int, index (n)").await?;
        table.execute("insert into t with recursive r as (select 1 as n union all select n + 1 from r where n < 900) select n, n from r").await?;
        table.execute("analyze table t").await?;
        let mut flow = table.flow("n");
        flow.first = FirstRead::From(0);
        flow.run().await?;
        table.execute("insert into t values (901, 901)").await?;
        assert_eq!(flow.run().await?.ids, [901]);
        let walked = server.query("select convert(sql_text using utf8mb4) from mysql.slow_log where sql_text like '%split%' and sql_text not like '%1 = 0%'").await?;
        assert!(walked.is_empty(), "{flavour}: {walked:?}");
        // The proof works: without an index the table is walked.
        let table = Table::make_on(&server, "n datetime").await?;
        table.execute("insert into t with recursive r as (select 1 as n union all select n + 1 from r where n < 900) select n, now() from r").await?;
        table.flow("n").asked(0, FAR_MS).await?;
        assert_eq!(
            server
                .query("select 1 from mysql.slow_log where sql_text like '%split%' and sql_text not like '%1 = 0%'")
                .await?
                .len(),
            1
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_run_is_cheap() -> Result<()> {
    for flavour in FLAVOURS {
        // The list of transactions of a server that others look at is often too old.
        let server = own_server(flavour).await?;
        let table = Table::make_on(&server, "at datetime(6), index (at)").await?;
        table.execute("insert into t values (1, '2024-01-01')").await?;
        let mut flow = table.flow("at");
        flow.run().await?;
        let mut took = Vec::new();
        for _ in 0..20 {
            // The list of transactions is renewed when nobody has looked at it for a tenth of a second.
            tokio::time::sleep(Duration::from_millis(120)).await;
            let started = Instant::now();
            assert_eq!(flow.run().await?.ids, [0; 0]);
            took.push(started.elapsed());
        }
        took.sort_unstable();
        println!("an empty run on {flavour}: {:?} at best, {:?} in the middle", took[0], took[10]);
        assert!(took[10] < EMPTY_RUN_MAX, "{flavour}: {took:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_few_rows_is_one_split_of_a_large_table() -> Result<()> {
    for flavour in FLAVOURS {
        let table = Table::make(flavour, "at datetime, pad varchar(1000), index (at)").await?;
        table
            .execute("insert into t values (1, '2024-01-01', repeat('x', 1000)), (2, '2024-01-01', repeat('x', 1000))")
            .await?;
        for step in 1..15 {
            let last = 1 << step;
            table
                .execute(&format!(
                    "insert into t select id + {last}, '2024-01-01' + interval id + {last} second, pad from t"
                ))
                .await?;
        }
        table.execute("analyze table t").await?;
        let mut flow = table.flow("at");
        let window = flow.read(flow.since(ms("2024-01-01 00:00:10"))).await?;
        assert_eq!((window.plan.splits.len(), window.ids.len()), (1, 9), "{flavour}");
        // As many rows as this are cut like a table.
        flow.splits = headwaters_model::job::Splits::Exactly(4);
        let all = flow.run().await?;
        assert_eq!((all.plan.splits.len(), all.ids.len()), (4, 1 << 15), "{flavour}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_says_why_there_are_no_rows_and_which_index_lacks() -> Result<()> {
    for flavour in FLAVOURS {
        let table = Table::make(flavour, "at datetime").await?;
        let mut flow = table.flow("at");
        let empty = flow.run_at(ms("2024-01-02")).await?;
        assert!(empty.has_note("the table is empty"), "{:?}", empty.plan.notes);
        assert!(
            empty.has_note(&format!("CREATE INDEX `at` ON `{}`.`t` (`at`)", table.schema)),
            "{:?}",
            empty.plan.notes
        );
        table.execute("insert into t values (1, '2024-01-01 12:00:00'), (2, '2024-01-05')").await?;
        table.execute("create index at on t (at)").await?;
        let passed = flow.run_at(ms("2024-01-03")).await?;
        assert!(passed.has_note("the newest value in the column at is 2024-01-05"), "{:?}", passed.plan.notes);
        assert!(!passed.has_note("CREATE INDEX"));
        flow.filter = Some(json!({"type": "PQL", "format": "pql/json", "value": filter(">", "id", 2)}));
        let filtered = flow.run_at(ms("2024-01-06")).await?;
        assert_eq!(filtered.ids, [0; 0]);
        assert!(filtered.has_note("the row filter lets none"), "{:?}", filtered.plan.notes);
        table.execute("insert into t values (3, '2024-01-06'), (0, '2024-01-06')").await?;
        assert_eq!(flow.run_at(ms("2024-01-07")).await?.ids, [3], "{flavour}: filter and window both hold");
    }
    Ok(())
}

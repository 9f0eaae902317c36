//! Errors that a healthy server can not be brought to: a view raises them in the middle of its rows, under their numbers,
//! until it is told to stop.

use headwaters_testkit::Flavour;
use headwaters_testkit::world::CopyOnce;
use tokio::time::{Instant, sleep};

use super::{SOON, Trouble, errors, on_both, told_by_failed};

on_both!(errors_in_the_middle_of_the_rows_are_followed_by_what_the_table_says);

/// Errors that pass, on both flavours.
const PASSING: [u16; 6] = [1038, 1159, 1205, 1213, 1412, 1615];
/// Errors that do not.
const LASTING: [u16; 4] = [1030, 1194, 1356, 1836];
/// At which row they are raised.
const AT_ROW: u32 = 20_000;

async fn errors_in_the_middle_of_the_rows_are_followed_by_what_the_table_says(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    trouble.execute("create table d.raised (number int primary key)").await;
    let too_long = if flavour.is_maria_db() { 1969 } else { 3024 };
    // MariaDB shows a view with functions to those who may execute them.
    let connection = trouble.connection("admin").await;
    let mut passing = Vec::new();
    for number in PASSING.into_iter().chain([too_long]) {
        passing.push((number, raises(&trouble, &connection, number).await));
    }
    let mut lasting = Vec::new();
    for number in LASTING {
        lasting.push((number, raises(&trouble, &connection, number).await));
    }
    for (number, copy) in &passing {
        broken_once(&trouble, *number, copy).await;
        trouble.execute(&format!("delete from d.raised where number = {number}")).await;
    }
    for (number, copy) in &passing {
        let run = trouble.ended(copy).await;
        assert_eq!(run["metrics"]["statusSummary"]["status"], "success", "{number}: {run:#}");
        let told = format!("error {number}");
        assert!(errors(&run).iter().all(|error| error.contains(&told)), "{number}: {run:#}");
    }
    for (number, copy) in &lasting {
        let run = trouble.ended(copy).await;
        let told = told_by_failed(&run);
        assert!(told.contains(&format!("error {number}")) && errors(&run).len() == 1, "{number}: {run:#}");
    }
}

/// A flow over a view that raises an error at one of its rows.
async fn raises(trouble: &Trouble, connection: &str, number: u16) -> CopyOnce {
    for sql in [
        format!("insert into d.raised values ({number})"),
        format!(
            "create function d.f{number}(id int) returns int reads sql data begin \
             if id = {AT_ROW} and exists (select 1 from d.raised where number = {number}) then \
             signal sqlstate 'HY000' set mysql_errno = {number}, message_text = 'raised on purpose'; end if; \
             return id; end"
        ),
        format!(
            "create view d.v{number} as select d.f{number}(id) as id, filler from d.t where id between 19000 and 21000"
        ),
    ] {
        trouble.execute(&sql).await;
    }
    trouble.world.copy_once(connection, trouble.spec_name(), &format!("d.v{number}")).await.expect("a flow")
}

/// Waits until an attempt of the flow's run has broken.
async fn broken_once(trouble: &Trouble, number: u16, copy: &CopyOnce) {
    let start = Instant::now();
    loop {
        let runs = trouble.world.items("runs", &format!("flowId=={}", copy.flow)).await.expect("the runs");
        if runs.first().is_some_and(|run| !errors(run).is_empty()) {
            return;
        }
        assert!(start.elapsed() < SOON, "{number} broke nothing: {runs:#?}\n{}", trouble.world.log());
        sleep(std::time::Duration::from_millis(20)).await;
    }
}
